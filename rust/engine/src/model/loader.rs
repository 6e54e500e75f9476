//! Loading a model from its folder, or from one GGUF file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::architecture::Architecture;
use super::config_file::ConfigFile;
use super::decoder_config::{DecoderConfig, EMBEDDING, HEAD};
use super::generation_config;
use super::places::Places;
use super::read_keys;
use super::weights::Weights;
use super::{CandleModel, Engine, ModelLimits, Quantisation};
use crate::candle::CandleDecoder;
use crate::chat::ChatTemplate;
use crate::device::{DeviceKind, Precision, device_name, precision_name};
use crate::error::{Error, Result};
use crate::files::{self, Limit};
use crate::fused::{
    Decoder, FolderSource, FusedSequence, Scheduler, kept_type, quantised_bytes, quantised_type,
};
use crate::generate::{ProposedSampling, Stop};
use crate::gguf::{GgufModel, GgufWeights};
use crate::memory;
use crate::pool;
use crate::runtime;
use crate::tokenizer::{Tokenizer, TokenizerConfig};

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
    pub quantize: Option<Quantisation>,
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
}

impl LoadOptions {
    fn max_requests(&self) -> Result<usize> {
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

/// What a loaded model says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The folder or the file that it came from.
    pub path: PathBuf,
    /// Such as `llama`.
    pub architecture: &'static str,
    /// Which implementation runs, such as `fused`.
    pub engine: &'static str,
    /// Where it runs.
    pub device: &'static str,
    /// The type of its weights.
    pub precision: &'static str,
    /// Tokens that prompt and answer may have together.
    pub context_length: usize,
    /// Token ids are below this number.
    pub vocab_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of weights.
    pub parameters: u64,
    /// Any of these ends an answer.
    pub eos_token_ids: Vec<u32>,
    /// Whether it can chat.
    pub has_chat_template: bool,
    /// Bytes that the keys and values of all sessions use now, what they share counted once; `None` where they
    /// are not counted.
    pub kv_cache_used: Option<u64>,
    /// Bytes that they may use.
    pub kv_cache_limit: Option<u64>,
    /// How long loading took.
    pub load_ms: f64,
    /// What the user should know, such as a precision that had to be changed.
    pub warnings: Vec<String>,
    /// Keys of the configuration that nothing reads, because they change nothing.
    pub ignored_keys: Vec<String>,
}

/// A loaded model: weights, tokenizer and chat template, shared by any number of sessions.
pub struct Model {
    path: PathBuf,
    config: DecoderConfig,
    ignored_keys: Vec<String>,
    source: Source,
    device: Device,
    limits: Arc<ModelLimits>,
    tokenizer: Arc<Tokenizer>,
    /// The error of a template that is none: it costs chatting, not the model.
    template: Result<Option<ChatTemplate>>,
    proposed: ProposedSampling,
    /// What the user should know of that.
    generation_warnings: Vec<String>,
    /// The tokens that contain texts, by the texts that were asked for last.
    tokens_with: Mutex<Option<TokensWith>>,
    places: Places,
    load_time: Duration,
    /// What the user should know of the model's files.
    warnings: Vec<String>,
    loaded: Mutex<Loaded>,
    /// Held while the weights are loaded again.
    reloading: Mutex<()>,
}

/// Texts and the tokens that contain one of them.
type TokensWith = (Vec<String>, Arc<HashSet<u32>>);

/// The end-of-sequence ids of a model's files that are token ids.
struct EosIds {
    known: Vec<u32>,
    warnings: Vec<String>,
}

impl EosIds {
    /// Leaves out ids beyond the vocabulary, which no token ever has. −1 and its unsigned form stand for
    /// none; others are told.
    fn of(ids: &[u32], vocab_size: usize) -> Self {
        let (known, unknown): (Vec<u32>, Vec<u32>) =
            ids.iter().partition(|id| (**id as usize) < vocab_size);
        let warnings = unknown
            .into_iter()
            .filter(|id| *id != u32::MAX)
            .map(|id| {
                format!("eos_token_id {id} is ignored: the vocabulary has {vocab_size} tokens")
            })
            .collect();
        Self { known, warnings }
    }
}

/// Everything that a model's files say, its weights still on disk.
struct Files {
    config: DecoderConfig,
    /// Keys of the configuration that change nothing.
    ignored_keys: Vec<String>,
    source: Source,
    eos_ids: Vec<u32>,
    proposed: ProposedSampling,
    /// What the user should know of that.
    generation_warnings: Vec<String>,
    /// What the user should know of the files otherwise.
    warnings: Vec<String>,
    tokenizer: Tokenizer,
    template: Result<Option<ChatTemplate>>,
}

/// Where the weights come from.
enum Source {
    /// Safetensors, which are converted to the type asked for.
    Folder {
        architecture: &'static Architecture,
        weights: Arc<Weights>,
    },
    /// Blocks of numbers, each tensor in a type of its own.
    Gguf(GgufWeights),
}

/// The weights in memory. They change once, when half precision turns out not to do.
struct Loaded {
    model: Box<dyn CandleModel>,
    engine: Engine,
    /// The type of the weights, where it is one that was chosen.
    dtype: Option<DType>,
    precision: &'static str,
    warnings: Vec<String>,
}

/// Longest context that tables of rotary angles are made for unless the caller asks for more. It
/// keeps a damaged `max_position_embeddings` from becoming a huge allocation.
const CONTEXT_LIMIT: usize = 1 << 18;

impl Model {
    /// Loads the model in `path`: a folder with `config.json`, `tokenizer.json` and safetensors
    /// weights, and where they are there `generation_config.json` and the chat template; or a GGUF
    /// file, which holds all of that.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidFile`], [`Error::InvalidConfig`] and [`Error::InvalidTensor`]
    /// for what is missing or damaged, [`Error::UnsupportedModel`] for what would not be computed
    /// rightly, [`Error::OutOfMemory`] and [`Error::DeviceUnavailable`].
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        Self::load_files(path, options).map_err(|error| {
            if path.is_file() {
                let name = files::name(path);
                error.in_files(&name, &name)
            } else {
                error.in_files("config.json", "model.safetensors")
            }
        })
    }

    fn load_files(path: &Path, options: &LoadOptions) -> Result<Self> {
        let start = Instant::now();
        runtime::start()?;
        let files = Files::open(path)?;
        let device = options.device.open()?;
        let reach = match (&files.source, options.engine.resolve(&device)) {
            (Source::Gguf(_), Engine::Candle) => {
                files.config.reach().min(GgufWeights::CANDLE_POSITIONS)
            }
            _ => files.config.reach(),
        };
        let eos_ids = EosIds::of(&files.eos_ids, files.config.vocab_size);
        let limits = Arc::new(ModelLimits {
            context_length: context_length(reach, files.config.published_context(), options)?,
            vocab_size: files.config.vocab_size,
            eos_ids: eos_ids.known,
            latency_target: options.latency_target()?,
            kv_cache_limit: options.kv_cache_bytes,
        });
        let mut warnings = [
            files.warnings,
            files.generation_warnings.clone(),
            eos_ids.warnings,
        ]
        .concat();
        match &files.template {
            Err(error @ Error::ChatTemplate(_)) => {
                warnings.push(format!("the model cannot chat: {error}"));
            }
            Err(error) => return Err(error.clone()),
            Ok(_) => {}
        }
        let loaded = files
            .source
            .first_load(&files.config, &limits, options, &device)?;
        Ok(Self {
            path: path.to_path_buf(),
            config: files.config,
            ignored_keys: files.ignored_keys,
            source: files.source,
            device,
            limits,
            tokenizer: Arc::new(files.tokenizer),
            template: files.template,
            proposed: files.proposed,
            generation_warnings: files.generation_warnings,
            tokens_with: Mutex::default(),
            places: Places::new(options.max_requests()?),
            load_time: start.elapsed(),
            warnings,
            loaded: Mutex::new(loaded),
            reloading: Mutex::default(),
        })
    }

    /// What there is to know about this model.
    pub fn info(&self) -> ModelInfo {
        let loaded = self.loaded();
        let kv_memory = loaded.model.kv_memory();
        ModelInfo {
            kv_cache_used: kv_memory.map(|memory| memory.used),
            kv_cache_limit: kv_memory.map(|memory| memory.limit),
            path: self.path.clone(),
            architecture: self.config.architecture,
            engine: loaded.engine.name(),
            device: device_name(&self.device),
            precision: loaded.precision,
            context_length: self.limits.context_length,
            vocab_size: self.config.vocab_size,
            layers: self.config.layers.len(),
            hidden_size: self.config.hidden_size,
            parameters: self
                .config
                .tensors()
                .map(|(_, shape)| shape.iter().product::<usize>() as u64)
                .sum(),
            eos_token_ids: self.limits.eos_ids.clone(),
            has_chat_template: self.can_chat(),
            load_ms: self.load_time.as_secs_f64() * 1e3,
            warnings: [&self.warnings[..], &loaded.warnings[..]].concat(),
            ignored_keys: self.ignored_keys.clone(),
        }
    }

    /// Where requests take their places.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The description that was read from `config.json`.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Context length, vocabulary and end-of-sequence ids.
    pub fn limits(&self) -> &ModelLimits {
        &self.limits
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The chat template.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] when the model has none, or one that cannot be parsed.
    pub fn chat_template(&self) -> Result<&ChatTemplate> {
        match &self.template {
            Ok(Some(template)) => Ok(template),
            Ok(None) => Err(Error::ChatTemplate(
                "the model has none; give the prompt as raw text instead".into(),
            )),
            Err(error) => Err(error.clone()),
        }
    }

    /// Whether the model has a chat template.
    pub fn can_chat(&self) -> bool {
        matches!(self.template, Ok(Some(_)))
    }

    /// Sampling that the model's own file proposes.
    pub fn proposed_sampling(&self) -> &ProposedSampling {
        &self.proposed
    }

    /// What of the model's own file is not honoured in a generation.
    pub fn generation_warnings(&self) -> &[String] {
        &self.generation_warnings
    }

    /// The tokens whose text contains one of `texts`, and the special ones.
    pub(crate) fn tokens_with(&self, texts: &[String]) -> Result<Arc<HashSet<u32>>> {
        // Nothing is half done while it is locked.
        let mut last = self
            .tokens_with
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*last {
            Some((known, tokens)) if known == texts => Ok(tokens.clone()),
            _ => {
                let tokens = Arc::new(self.tokenizer.tokens_with(texts)?);
                *last = Some((texts.to_vec(), tokens.clone()));
                Ok(tokens)
            }
        }
    }

    /// A new sequence with an empty KV cache.
    pub fn new_sequence(&self) -> Box<dyn CandleModel> {
        self.loaded().model.fork()
    }

    /// Such a sequence, and the precision of its weights, for [`Self::retry_in_f32`].
    pub(crate) fn precise_sequence(&self) -> (Box<dyn CandleModel>, Option<DType>) {
        let loaded = self.loaded();
        (loaded.model.fork(), loaded.dtype)
    }

    /// A new sequence over weights in F32 for one over weights in `dtype` that met `error`, when that is F16
    /// and the error can come from it. The first one that comes loads them, while others go on; sequences
    /// made before keep the old ones until they meet such an error too.
    pub(crate) fn retry_in_f32(
        &self,
        error: Error,
        dtype: Option<DType>,
    ) -> Result<(Box<dyn CandleModel>, Option<DType>)> {
        let Source::Folder {
            architecture,
            weights,
        } = &self.source
        else {
            return Err(error);
        };
        if dtype != Some(DType::F16) || !may_come_from_f16(&error) {
            return Err(error);
        }
        let _one_at_a_time = self
            .reloading
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let (is_f16, engine) = {
            let loaded = self.loaded();
            (loaded.is_f16(), loaded.engine)
        };
        if is_f16 {
            let mut retried = load_folder(
                architecture,
                &self.config,
                weights,
                &self.limits,
                engine,
                DType::F32,
                &self.device,
            )?;
            retried.warnings.push(f16_warning(&error));
            *self.loaded() = retried;
        }
        Ok(self.precise_sequence())
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        // The lock is held by code that replaces the value as a whole, so it is never half done.
        self.loaded
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

const GENERATION: &str = "generation_config.json";

impl Files {
    fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            Self::open_gguf(path)
        } else {
            Self::open_folder(path)
        }
    }

    fn open_gguf(path: &Path) -> Result<Self> {
        let model = GgufModel::open(path)?;
        // As the file of the model that comes with this library has it.
        let beside = path.parent().map(|folder| read_json(folder, GENERATION));
        let (proposed, generation_warnings) = match beside.transpose()?.flatten() {
            Some(keys) => generation_config::proposed_sampling(&keys),
            None => (model.proposed, model.generation_warnings),
        };
        Ok(Self {
            config: model.config,
            ignored_keys: model.ignored_keys,
            source: Source::Gguf(model.weights),
            eos_ids: model.eos_ids,
            proposed,
            generation_warnings,
            warnings: model.warnings,
            tokenizer: model.tokenizer,
            template: model.template,
        })
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let config_json =
            read_json(folder, "config.json")?.ok_or_else(|| without_config(folder))?;
        let generation_json = read_json(folder, GENERATION)?;
        let architecture = Architecture::of("config.json", &config_json)?;
        let (mut config, ignored_keys) = describe(architecture, &config_json)?;
        let mut weights = Weights::open(folder)?;
        weights.split_experts()?;
        if config.tie_word_embeddings {
            config.tie_word_embeddings = weights.ties_embeddings(EMBEDDING, HEAD)?;
        }
        let tokens = TokenizerConfig::open(folder)?;
        let tokenizer = Tokenizer::open_with(&folder.join("tokenizer.json"), &tokens)?;
        let (proposed, generation_warnings) = match &generation_json {
            Some(keys) => generation_config::proposed_sampling(keys),
            None => Default::default(),
        };
        Ok(Self {
            config,
            ignored_keys,
            source: Source::Folder {
                architecture,
                weights: Arc::new(weights),
            },
            eos_ids: {
                let mut ids = generation_config::eos_ids(&config_json, generation_json.as_ref())?;
                // vLLM ends an answer at it too; transformers looks at the two configurations alone, which
                // in many fine-tuned chat models still name the base model's.
                ids.extend(
                    tokens
                        .named()
                        .find(|(name, _)| *name == "eos_token")
                        .and_then(|(_, text)| tokenizer.id_of(text)),
                );
                ids.sort_unstable();
                ids.dedup();
                ids
            },
            proposed,
            generation_warnings,
            warnings: Vec::new(),
            tokenizer,
            template: ChatTemplate::open_with(folder, &tokens),
        })
    }
}

impl Source {
    /// Loads in the precision asked for, and in F32 when F16 fails at once.
    fn first_load(
        &self,
        config: &DecoderConfig,
        limits: &Arc<ModelLimits>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Loaded> {
        let engine = options.engine.resolve(device);
        let (architecture, weights) = match self {
            Source::Folder {
                architecture,
                weights,
            } => (*architecture, weights),
            Source::Gguf(weights) => return load_gguf(weights, config, limits, options, device),
        };
        if let Some(quantisation) = options.quantize {
            return load_quantised(config, weights, limits, options, quantisation, device);
        }
        let load =
            |dtype| load_folder(architecture, config, weights, limits, engine, dtype, device);
        let dtype = options.precision.resolve(device);
        if dtype != DType::F32 && engine == Engine::Candle && !architecture.candle_half_precision {
            let mut loaded = load(DType::F32)?;
            loaded.warnings.push(format!(
                "{} runs in f32 instead of {}: in half precision, Candle's model of this \
                 architecture is inexact",
                architecture.name,
                precision_name(dtype)
            ));
            return Ok(loaded);
        }
        let loaded = load(dtype);
        if dtype != DType::F16 {
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
        let mut loaded = load(DType::F32)?;
        loaded.warnings.push(f16_warning(&failure));
        Ok(loaded)
    }
}

fn load_folder(
    architecture: &Architecture,
    config: &DecoderConfig,
    weights: &Arc<Weights>,
    limits: &Arc<ModelLimits>,
    engine: Engine,
    dtype: DType,
    device: &Device,
) -> Result<Loaded> {
    if device.is_cpu() {
        let needed = weights.iter().map(|(_, entry)| {
            let kept = match engine {
                Engine::Candle => dtype,
                _ => kept_type(entry.dtype, dtype, device),
            };
            (entry.byte_len() / entry.dtype.size_in_bytes() * kept.size_in_bytes()) as u64
        });
        memory::ensure("the model", needed.sum())?;
    }
    let model: Box<dyn CandleModel> = match engine {
        Engine::Candle => Box::new(CandleDecoder::load(
            architecture,
            config,
            weights,
            limits.clone(),
            dtype,
            device,
        )?),
        _ => {
            let source = FolderSource {
                weights: weights.clone(),
                dtype,
                quantise: None,
                device: device.clone(),
            };
            fused(Decoder::load(config, &source)?, limits)?
        }
    };
    Ok(Loaded {
        model,
        engine,
        dtype: Some(dtype),
        precision: precision_name(dtype),
        warnings: Vec::new(),
    })
}

/// A sequence over a decoder's weights, from which others are forked.
fn fused(mut decoder: Decoder, limits: &Arc<ModelLimits>) -> Result<Box<dyn CandleModel>> {
    let left = || memory::available().map(|bytes| bytes / 10 * 8);
    let bytes = limits.kv_cache_limit.or_else(left).unwrap_or(u64::MAX);
    decoder.limit_caches(usize::try_from(bytes).unwrap_or(usize::MAX));
    let scheduler = Scheduler::new(
        Arc::new(decoder),
        pool::most_together()?,
        limits.latency_target,
    );
    Ok(Box::new(FusedSequence::new(
        Arc::new(scheduler),
        limits.clone(),
    )))
}

fn load_quantised(
    config: &DecoderConfig,
    weights: &Arc<Weights>,
    limits: &Arc<ModelLimits>,
    options: &LoadOptions,
    quantisation: Quantisation,
    device: &Device,
) -> Result<Loaded> {
    let engine = options.engine.resolve(device);
    if engine == Engine::Candle {
        return Err(Error::argument(
            "quantize",
            "the candle engine computes folders in the type of precision; expected engine fused",
        ));
    }
    if options.precision != Precision::Auto {
        return Err(Error::argument(
            "precision",
            format!("expected auto with quantize {}", quantisation.name()),
        ));
    }
    let wanted = Some(quantisation.dtype());
    if device.is_cpu() {
        let needed = config.tensors().map(|(name, shape)| {
            let elements = shape.iter().product::<usize>() as u64;
            match (
                shape.len(),
                quantised_type(&name, shape[shape.len() - 1], wanted),
            ) {
                (2, Some(dtype)) => quantised_bytes(dtype, elements, device),
                _ => elements * size_of::<f32>() as u64,
            }
        });
        memory::ensure("the model", needed.sum())?;
    }
    let source = FolderSource {
        weights: weights.clone(),
        dtype: DType::F32,
        quantise: wanted,
        device: device.clone(),
    };
    Ok(Loaded {
        model: fused(Decoder::load(config, &source)?, limits)?,
        engine,
        dtype: None,
        precision: quantisation.name(),
        warnings: Vec::new(),
    })
}

fn load_gguf(
    weights: &GgufWeights,
    config: &DecoderConfig,
    limits: &Arc<ModelLimits>,
    options: &LoadOptions,
    device: &Device,
) -> Result<Loaded> {
    if options.precision != Precision::Auto {
        return Err(Error::argument(
            "precision",
            "expected auto: the weights of a GGUF file keep the types that they have there",
        ));
    }
    if options.quantize.is_some() {
        return Err(Error::argument(
            "quantize",
            "expected none: the weights of a GGUF file keep the types that they have there",
        ));
    }
    let engine = options.engine.resolve(device);
    if device.is_cpu() {
        memory::ensure("the model", weights.byte_len(device, engine))?;
    }
    let model: Box<dyn CandleModel> = match engine {
        Engine::Candle => Box::new(CandleDecoder::new(
            weights.load_candle(config, device)?,
            limits.clone(),
            device,
        )),
        _ => fused(weights.load_fused(config, device)?, limits)?,
    };
    Ok(Loaded {
        model,
        engine,
        dtype: None,
        precision: weights.precision(device, engine),
        warnings: Vec::new(),
    })
}

impl Loaded {
    fn is_f16(&self) -> bool {
        self.dtype == Some(DType::F16)
    }

    /// One forward pass, to see whether the numbers stay finite.
    fn probe(&mut self) -> Result<()> {
        let mut logits = Vec::new();
        self.model.forward(&[0], &Stop::default(), &mut logits)?;
        self.model.truncate(0);
        Ok(())
    }
}

fn may_come_from_f16(error: &Error) -> bool {
    matches!(error, Error::Numeric { .. })
}

fn f16_warning(error: &Error) -> String {
    format!("f16 failed ({error}), so the weights were loaded again in f32")
}

/// The description, and the keys that say nothing to it.
fn describe(
    architecture: &Architecture,
    keys: &Map<String, Value>,
) -> Result<(DecoderConfig, Vec<String>)> {
    let file = ConfigFile::new("config.json", keys);
    let config = (architecture.describe)(&file)?;
    file.finish(read_keys::of_config(architecture.name))?;
    Ok((config, file.ignored()))
}

fn context_length(reach: usize, published: usize, options: &LoadOptions) -> Result<usize> {
    match options.context_length {
        None => Ok(reach.min(published).min(CONTEXT_LIMIT)),
        Some(n) if (1..=reach).contains(&n) => Ok(n),
        Some(n) => Err(Error::argument(
            "context_length",
            format!("expected 1 to the model's {reach}, got {n}"),
        )),
    }
}

/// What a folder without `config.json` is, as far as that can be told.
fn without_config(folder: &Path) -> Error {
    let has = |name: &str| folder.join(name).is_file();
    let ends_in = |ending: &str| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| name.ends_with(ending))
    };
    let (file, reason) = if !folder.is_dir() {
        (
            folder.display().to_string(),
            "no such file or folder".into(),
        )
    } else if has("adapter_config.json") {
        (
            folder.join("adapter_config.json").display().to_string(),
            "this is a LoRA adapter and no model; merge it into its base model first".into(),
        )
    } else if let Some(gguf) = ends_in(".gguf") {
        (
            folder.join("config.json").display().to_string(),
            format!("no such file; to load {gguf}, give the file and not its folder"),
        )
    } else {
        (
            folder.join("config.json").display().to_string(),
            "no such file".into(),
        )
    };
    Error::InvalidFile { file, reason }
}

fn read_json(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let path = folder.join(name);
    files::read_if_present(&path, Limit::Settings)?
        .map(|bytes| files::json(&path, &bytes))
        .transpose()
}
