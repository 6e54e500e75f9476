//! Loading: a checkpoint and options become an engine over weights in memory.
//!
//! There is one path for folders and GGUF files: what to load and how is a `Plan`, decided before any weight is
//! read.

mod texts;
mod watched;

pub use texts::TextQuantization;
pub(crate) use texts::{LoadedTexts, TextWeights, load_texts};
use watched::WatchedSource;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::cancel::{Interrupt, Stop};
use crate::description::ModelDescription;
use crate::device::{DeviceKind, Precision, precision_name};
use crate::engines::candle::{self, CandleArchitecture, CandleDecoder};
use crate::engines::{CandleModel, Engine, ModelLimits, fused};
use crate::error::{Error, Result};
use crate::formats::{Kernels, Quantization, Storage, Tensors};
use crate::memory;

/// How a model is to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadOptions {
    /// Which implementation runs.
    pub engine: Engine,
    /// Where it runs.
    pub device: DeviceKind,
    /// The type of its weights there.
    pub precision: Precision,
    /// What the matrices of a folder become, instead of numbers in that type.
    pub quantize: Option<Quantization>,
    /// The folder of a LoRA adapter as PEFT saves it, which is merged into the weights of a folder while they are read.
    pub adapter: Option<PathBuf>,
    /// The longest context to make room for; the model's own limit when left out.
    pub context_length: Option<usize>,
    /// Milliseconds that a forward pass with prompts takes while other sequences decode, about; 1 to 10000,
    /// 50 when left out. The prompts' share of a pass is what fits.
    pub latency_target_ms: Option<u64>,
    /// Bytes that the keys and values of all sequences may take together; what the machine and the control
    /// group leave when left out.
    pub kv_cache_bytes: Option<u64>,
    /// The most requests at a time, those that wait included; 1024 when left out.
    pub max_requests: Option<usize>,
    /// The most that kernels use, in the whole process, see
    /// [`limit_instructions`](crate::runtime::limit_instructions); what the processor has when left out.
    pub instructions: Option<String>,
}

impl LoadOptions {
    pub(crate) fn max_requests(&self) -> Result<usize> {
        match self.max_requests.unwrap_or(1024) {
            0 => Err(Error::argument(
                "max_requests",
                "expected at least 1, got 0",
            )),
            count => Ok(count),
        }
    }

    fn latency_target(&self) -> Result<Duration> {
        match self.latency_target_ms.unwrap_or(50) {
            ms @ 1..=10_000 => Ok(Duration::from_millis(ms)),
            ms => Err(Error::argument(
                "latency_target_ms",
                format!("expected 1 to 10000, got {ms}"),
            )),
        }
    }
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LoadProgress {
    /// Bytes of weights in memory, about.
    pub bytes: u64,
    /// Bytes that they will be.
    pub total: u64,
}

/// Told how far loading is, some times a second, on the thread that loads; a break ends it.
pub type LoadListener<'a> = dyn FnMut(LoadProgress) -> ControlFlow<Interrupt> + 'a;

/// What is loaded, and how.
#[derive(Debug, Clone)]
struct Plan {
    engine: Engine,
    storage: Storage,
    /// The type of the weights where it was chosen.
    dtype: Option<DType>,
    precision: &'static str,
    warnings: Vec<String>,
}

/// The weights in memory.
pub(crate) struct Loaded {
    /// An empty sequence over them, which makes others.
    pub(crate) model: Box<dyn CandleModel>,
    /// Which implementation it is.
    pub(crate) engine: Engine,
    /// The type of the weights where it was chosen.
    pub(crate) dtype: Option<DType>,
    /// The name of the type.
    pub(crate) precision: &'static str,
    /// What the user should know, such as a precision that had to be changed.
    pub(crate) warnings: Vec<String>,
}

/// Loads a model, and once more where half precision turns out not to do.
pub(crate) struct Loader {
    description: ModelDescription,
    tensors: Tensors,
    device: Device,
    limits: Arc<ModelLimits>,
}

/// Longest context that tables of rotary angles are made for unless the caller asks for more. It
/// keeps a damaged `max_position_embeddings` from becoming a huge allocation.
const CONTEXT_LIMIT: usize = 1 << 18;

impl Loader {
    /// Decides the limits of a model. Nothing is read yet.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for options that do not fit, [`Error::DeviceUnavailable`].
    pub(crate) fn new(
        description: ModelDescription,
        tensors: Tensors,
        eos_ids: Vec<u32>,
        options: &LoadOptions,
    ) -> Result<Self> {
        if !description.is_causal() {
            let (key, value) = match &tensors {
                Tensors::Folder(_) => ("use_bidirectional_attention", "true"),
                Tensors::Gguf(gguf) => ("general.architecture", gguf.architecture()),
            };
            return Err(Error::UnsupportedModel {
                file: String::new(),
                key: key.into(),
                value: value.into(),
                reason: "such a model reads texts and writes none: load it as an embedder".into(),
            });
        }
        let device = options.device.open()?;
        let max_context = match (&tensors, options.engine.resolve(&device)) {
            (Tensors::Gguf(_), Engine::Candle) => {
                description.max_context().min(candle::GGUF_MAX_POSITIONS)
            }
            _ => description.max_context(),
        };
        let limits = ModelLimits {
            context_length: context_length(max_context, description.published_context(), options)?,
            vocab_size: description.vocab_size,
            eos_ids,
            latency_target: options.latency_target()?,
            kv_cache_limit: options.kv_cache_bytes,
        };
        Ok(Self {
            description,
            tensors,
            device,
            limits: Arc::new(limits),
        })
    }

    /// What is loaded.
    pub(crate) fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Where it runs.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The limits that callers must keep to.
    pub(crate) fn limits(&self) -> &ModelLimits {
        &self.limits
    }

    /// Loads the weights as the options say, and in F32 when F16 fails at once.
    pub(crate) fn load(
        &self,
        options: &LoadOptions,
        listener: &mut LoadListener,
    ) -> Result<Loaded> {
        let plan = self.plan(options)?;
        let loaded = self.run(&plan, listener);
        if plan.dtype != Some(DType::F16) {
            return loaded;
        }
        let failure = match loaded {
            Ok(mut loaded) => match loaded.probe() {
                Ok(()) => return Ok(loaded),
                Err(error) => error,
            },
            Err(error) if may_come_from_f16(&error) => error,
            Err(error) => return Err(error),
        };
        self.load_in_f32(plan.engine, &failure)
    }

    /// Loads the weights of a folder in F32, since they failed in F16.
    pub(crate) fn load_in_f32(&self, engine: Engine, failure: &Error) -> Result<Loaded> {
        let plan = Plan::in_type(engine, DType::F32);
        let mut loaded = self.run(&plan, &mut |_| ControlFlow::Continue(()))?;
        loaded.warnings.push(format!(
            "f16 failed ({failure}), so the weights were loaded again in f32"
        ));
        Ok(loaded)
    }

    fn plan(&self, options: &LoadOptions) -> Result<Plan> {
        let engine = options.engine.resolve(&self.device);
        match (&self.tensors, options.quantize) {
            (Tensors::Gguf(tensors), None) if options.precision == Precision::Auto => {
                let mut plan = Plan::in_type(engine, DType::F32);
                plan.dtype = None;
                plan.precision = tensors.precision(&self.device, plan.storage.kernels);
                Ok(plan)
            }
            (Tensors::Gguf(_), quantize) => {
                let (name, expected) = match quantize {
                    Some(_) if options.precision == Precision::Auto => ("quantize", "none"),
                    _ => ("precision", "auto"),
                };
                Err(Error::argument(
                    name,
                    format!(
                        "expected {expected}: the weights of a GGUF file keep the types that they have there"
                    ),
                ))
            }
            (Tensors::Folder(_), Some(_)) if engine == Engine::Candle => Err(Error::argument(
                "quantize",
                "the candle engine computes folders in the type of precision; expected engine fused",
            )),
            (Tensors::Folder(_), Some(quantization)) if options.precision != Precision::Auto => {
                Err(Error::argument(
                    "precision",
                    format!("expected auto with quantize {}", quantization.name()),
                ))
            }
            (Tensors::Folder(_), Some(quantization)) => {
                let mut plan = Plan::in_type(engine, DType::F32);
                plan.dtype = None;
                plan.storage.quantize = Some(quantization.dtype());
                plan.precision = quantization.name();
                Ok(plan)
            }
            (tensors @ Tensors::Folder(_), None) => {
                let dtype = options.precision.resolve(&self.device);
                let exact = engine != Engine::Candle
                    || CandleArchitecture::of(&self.description)?.exact_in_half_precision;
                if dtype == DType::F32 || exact {
                    let mut plan = Plan::in_type(engine, dtype);
                    plan.storage.blocks = options.precision == Precision::Auto;
                    if plan.storage.blocks
                        && engine != Engine::Candle
                        && let Some(block_type) = tensors.most_blocks(&self.device)
                    {
                        plan.precision = block_type.name();
                    }
                    return Ok(plan);
                }
                let mut plan = Plan::in_type(engine, DType::F32);
                plan.warnings.push(format!(
                    "{} runs in f32 instead of {}: in half precision, Candle's model of this architecture is \
                     inexact",
                    self.description.architecture,
                    precision_name(dtype)
                ));
                Ok(plan)
            }
        }
    }

    fn run(&self, plan: &Plan, listener: &mut LoadListener) -> Result<Loaded> {
        let (description, device) = (&self.description, &self.device);
        let needed = self.tensors.byte_len(description, plan.storage, device);
        if device.is_cpu() {
            memory::ensure("the model", needed)?;
        }
        let model: Box<dyn CandleModel> = match plan.engine {
            Engine::Candle => Box::new(CandleDecoder::load(
                description,
                &self.tensors,
                self.limits.clone(),
                plan.storage.dtype,
                device,
            )?),
            _ => {
                let source = self.tensors.source(description, plan.storage, device);
                let watched =
                    WatchedSource::new(&*source, numbers(description.tensors()), needed, listener);
                fused::load(description, &watched, &self.limits)?
            }
        };
        Ok(Loaded {
            model,
            engine: plan.engine,
            dtype: plan.dtype,
            precision: plan.precision,
            warnings: plan.warnings.clone(),
        })
    }
}

impl Plan {
    /// Weights in one type.
    fn in_type(engine: Engine, dtype: DType) -> Self {
        Self {
            engine,
            storage: Storage {
                dtype,
                quantize: None,
                blocks: true,
                kernels: match engine {
                    Engine::Candle => Kernels::Candle,
                    _ => Kernels::Packed,
                },
            },
            dtype: Some(dtype),
            precision: precision_name(dtype),
            warnings: Vec::new(),
        }
    }
}

impl Loaded {
    /// Whether the weights are in F16.
    pub(crate) fn is_f16(&self) -> bool {
        self.dtype == Some(DType::F16)
    }

    /// One forward pass, to see whether the numbers stay finite. It leaves the sequence at rest, so
    /// that nobody waits for its memory.
    fn probe(&mut self) -> Result<()> {
        let mut logits = Vec::new();
        let outcome = self.model.forward(&[0], &Stop::default(), &mut logits);
        self.model.truncate(0);
        self.model.rest();
        outcome
    }
}

/// Whether numbers that F16 cannot hold may be the cause.
pub(crate) fn may_come_from_f16(error: &Error) -> bool {
    matches!(error, Error::Numeric { .. })
}

/// How many numbers tensors have together.
pub(crate) fn numbers(tensors: impl Iterator<Item = (String, Vec<usize>)>) -> u64 {
    tensors
        .map(|(_, shape)| shape.iter().product::<usize>() as u64)
        .sum()
}

fn context_length(max_context: usize, published: usize, options: &LoadOptions) -> Result<usize> {
    match options.context_length {
        None => Ok(max_context.min(published).min(CONTEXT_LIMIT)),
        Some(n) if (1..=max_context).contains(&n) => Ok(n),
        Some(n) => Err(Error::argument(
            "context_length",
            format!("expected 1 to the model's {max_context}, got {n}"),
        )),
    }
}
