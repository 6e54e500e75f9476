//! A loaded model, which any number of sessions share.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use candle_core::DType;
use serde::Serialize;

use crate::chat::ChatTemplate;
use crate::description::ModelDescription;
use crate::device::device_name;
use crate::engines::{CandleModel, ModelLimits};
use crate::error::{Error, Result};
use crate::files;
use crate::formats::{Checkpoint, GenerationDefaults};
use crate::generate::Constraints;
use crate::loader::{LoadListener, LoadOptions, Loaded, Loader, may_come_from_f16, numbers};
use crate::metrics::{ModelMetrics, RequestCounts};
use crate::request_slots::RequestSlots;
use crate::runtime;
use crate::tokenizer::Tokenizer;

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
    ignored_keys: Vec<String>,
    loader: Loader,
    tokenizer: Arc<Tokenizer>,
    /// The error of a template that is none: it costs chatting, not the model.
    template: Result<Option<ChatTemplate>>,
    defaults: GenerationDefaults,
    /// What the user should know of that.
    generation_warnings: Vec<String>,
    /// The tokens that contain texts, by the texts that were asked for last.
    tokens_with: Mutex<Option<TokensWith>>,
    /// Made when the first answer has to follow a grammar.
    constraints: OnceLock<Result<Arc<Constraints>>>,
    request_slots: RequestSlots,
    counts: RequestCounts,
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
        Self::load_watched(path, options, &mut |_| ControlFlow::Continue(()))
    }

    /// Like [`Self::load`], and tells a listener how far it is. (The `candle` engine does not say.)
    ///
    /// # Errors
    /// Further [`Error::Cancelled`] and [`Error::CallbackFailed`], when the listener says so.
    pub fn load_watched(
        path: &Path,
        options: &LoadOptions,
        listener: &mut LoadListener,
    ) -> Result<Self> {
        Self::load_files(path, options, listener).map_err(|error| {
            if path.is_file() {
                let name = files::name(path);
                error.in_files(&name, &name)
            } else {
                error.in_files("config.json", "model.safetensors")
            }
        })
    }

    fn load_files(path: &Path, options: &LoadOptions, listener: &mut LoadListener) -> Result<Self> {
        let start = Instant::now();
        runtime::start(options.instructions.as_deref())?;
        let checkpoint = Checkpoint::open_with(path, options.adapter.as_deref())?;
        let eos_ids = EosIds::of(&checkpoint.eos_ids, checkpoint.description.vocab_size);
        let mut warnings = [
            checkpoint.warnings,
            checkpoint.generation_warnings.clone(),
            eos_ids.warnings,
        ]
        .concat();
        let template = checkpoint.template.map(ChatTemplate::of).transpose();
        match &template {
            Err(error @ Error::ChatTemplate(_)) => {
                warnings.push(format!("the model cannot chat: {error}"));
            }
            Err(error) => return Err(error.clone()),
            Ok(_) => {}
        }
        let loader = Loader::new(
            checkpoint.description,
            checkpoint.tensors,
            eos_ids.known,
            options,
        )?;
        let request_slots = RequestSlots::new(options.max_requests()?);
        let loaded = loader.load(options, listener)?;
        Ok(Self {
            path: path.to_path_buf(),
            ignored_keys: checkpoint.ignored_keys,
            loader,
            tokenizer: Arc::new(checkpoint.tokenizer),
            template,
            defaults: checkpoint.defaults,
            generation_warnings: checkpoint.generation_warnings,
            tokens_with: Mutex::default(),
            constraints: OnceLock::new(),
            request_slots,
            counts: RequestCounts::default(),
            load_time: start.elapsed(),
            warnings,
            loaded: Mutex::new(loaded),
            reloading: Mutex::default(),
        })
    }

    /// What the model has done since it was loaded.
    pub fn metrics(&self) -> ModelMetrics {
        let counts = &self.counts;
        let (active, waiting) = self.request_slots.counts();
        let mut metrics = ModelMetrics {
            requests: counts.requests.get(),
            failed: counts.failed.get(),
            rejected: counts.rejected.get(),
            active: active as u64,
            waiting: waiting as u64,
            prompt_tokens: counts.prompt_tokens.get(),
            cached_tokens: counts.cached_tokens.get(),
            generated_tokens: counts.generated_tokens.get(),
            wait_ms: counts.wait.ms(),
            prefill_ms: counts.prefill.ms(),
            decode_ms: counts.decode.ms(),
            ..ModelMetrics::default()
        };
        let loaded = self.loaded();
        if let Some(passes) = loaded.model.pass_counts() {
            metrics.passes = passes.passes.get();
            metrics.pass_sequences = passes.sequences.get();
            metrics.pass_tokens = passes.tokens.get();
            metrics.pass_ms = passes.time.ms();
        }
        let kv_memory = loaded.model.kv_memory();
        metrics.kv_cache_used = kv_memory.map(|memory| memory.used);
        metrics.kv_cache_limit = kv_memory.map(|memory| memory.limit);
        metrics
    }

    /// Where generations are counted.
    pub(crate) fn counts(&self) -> &RequestCounts {
        &self.counts
    }

    /// What there is to know about this model.
    pub fn info(&self) -> ModelInfo {
        let loaded = self.loaded();
        let kv_memory = loaded.model.kv_memory();
        ModelInfo {
            kv_cache_used: kv_memory.map(|memory| memory.used),
            kv_cache_limit: kv_memory.map(|memory| memory.limit),
            path: self.path.clone(),
            architecture: self.description().architecture,
            engine: loaded.engine.name(),
            device: device_name(self.loader.device()),
            precision: loaded.precision,
            context_length: self.limits().context_length,
            vocab_size: self.limits().vocab_size,
            layers: self.description().layers.len(),
            hidden_size: self.description().hidden_size,
            parameters: numbers(self.description().tensors()),
            eos_token_ids: self.limits().eos_ids.clone(),
            has_chat_template: self.can_chat(),
            load_ms: self.load_time.as_secs_f64() * 1e3,
            warnings: [&self.warnings[..], &loaded.warnings[..]].concat(),
            ignored_keys: self.ignored_keys.clone(),
        }
    }

    /// What makes answers follow a grammar, made when it is asked for first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model without an end-of-sequence token.
    pub(crate) fn constraints(&self) -> Result<&Constraints> {
        let constraints = self.constraints.get_or_init(|| {
            let limits = self.limits();
            Constraints::new(&self.tokenizer, limits.vocab_size, &limits.eos_ids).map(Arc::new)
        });
        constraints.as_deref().map_err(Clone::clone)
    }

    /// The requests that it takes at a time.
    pub(crate) fn request_slots(&self) -> &RequestSlots {
        &self.request_slots
    }

    /// The description that was read from its files.
    pub fn description(&self) -> &ModelDescription {
        self.loader.description()
    }

    /// Context length, vocabulary and end-of-sequence ids.
    pub fn limits(&self) -> &ModelLimits {
        self.loader.limits()
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

    /// How the model's own files propose to generate.
    pub fn generation_defaults(&self) -> &GenerationDefaults {
        &self.defaults
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
        self.loaded().model.new_sequence()
    }

    /// Such a sequence, and the precision of its weights, for [`Self::retry_in_f32`].
    pub(crate) fn precise_sequence(&self) -> (Box<dyn CandleModel>, Option<DType>) {
        let loaded = self.loaded();
        (loaded.model.new_sequence(), loaded.dtype)
    }

    /// A new sequence over weights in F32 for one over weights in `dtype` that met `error`, when that is F16
    /// and the error can come from it. The first one that comes loads them, while others go on; sequences
    /// made before keep the old ones until they meet such an error too.
    pub(crate) fn retry_in_f32(
        &self,
        error: Error,
        dtype: Option<DType>,
    ) -> Result<(Box<dyn CandleModel>, Option<DType>)> {
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
            let retried = self.loader.load_in_f32(engine, &error)?;
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
