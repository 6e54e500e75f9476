//! Vectors of texts, and scores of pairs of texts, by encoders and decoders.

mod calls;
mod limits;
mod messages;
mod passes;
mod pooling;
mod reranker;
mod settings;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use calls::Calls;
use limits::TextLimits;
use passes::{Item, Passes};
use pooling::Pooling;
pub use reranker::{RerankRequest, Reranker, RerankerInfo};
use settings::Source;

use crate::cancel::Stop;
use crate::engines::{TextTokens, Wanted};
use crate::error::{Error, Result};
use crate::files;
use crate::formats::folder::sentence::ModelType;
pub use crate::formats::folder::sentence::{PoolingMode, Similarity};
pub use crate::loader::TextQuantization;
use crate::loader::{LoadListener, LoadedTexts};
use crate::runtime;
use crate::tokenizer::{Passage, Tokenizer};

/// How a model for embeddings, or a reranker, is to be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextOptions {
    /// What the matrices of a folder become, instead of numbers in the type that they have there.
    pub quantize: Option<TextQuantization>,
    /// The most tokens of a text, those around it included; what the files say when left out.
    pub max_tokens: Option<usize>,
}

/// What an embedder says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbedderInfo {
    /// The folder or the file that it came from.
    pub path: PathBuf,
    /// Such as `bert`.
    pub architecture: &'static str,
    /// The type of its weights.
    pub precision: &'static str,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// The most tokens of a text, those around it included.
    pub max_tokens: usize,
    /// Token ids are below this number.
    pub vocab_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of weights.
    pub parameters: u64,
    /// How the states of tokens become one vector; several stand beside each other.
    pub pooling: Vec<PoolingMode>,
    /// How its vectors are compared.
    pub similarity: Similarity,
    /// The names of its prompts.
    pub prompts: Vec<String>,
    /// The prompt that is used where nothing else is said.
    pub default_prompt: Option<String>,
    /// How long loading took.
    pub load_ms: f64,
    /// Keys of the configuration that nothing reads, because they change nothing.
    pub ignored_keys: Vec<String>,
}

/// Texts to embed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedRequest {
    /// The texts.
    #[serde(default)]
    pub texts: Vec<String>,
    /// Or their tokens as the model is to read them: nothing is put around or before them.
    #[serde(default)]
    pub tokens: Vec<Vec<u32>>,
    /// What is put before each text.
    #[serde(default)]
    pub prompt: Prompt,
    /// Whether vectors get the length 1, after they were cut to `dimensions`.
    #[serde(default = "yes")]
    pub normalize: bool,
    /// Whether the end of a text that is too long is left out; it is an error of that text otherwise.
    #[serde(default = "yes")]
    pub truncate: bool,
    /// How many numbers of each vector are kept, for models that were trained for it; what the files say, or all, when
    /// left out.
    #[serde(default)]
    pub dimensions: Option<usize>,
    /// A number by which [`Embedder::cancel`] can stop it.
    #[serde(default)]
    pub call: u64,
}

fn yes() -> bool {
    true
}

/// What is put before texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// The model's default prompt, if it has one.
    #[default]
    Default,
    /// Its prompt for what is looked for, else the default.
    Query,
    /// Its prompt for what is found, else the default.
    Document,
    /// Its prompt of this name.
    Named(String),
    /// This text; an empty one for nothing.
    Text(String),
}

/// The vector of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Its numbers.
    pub vector: Vec<f32>,
    /// Tokens that were read, those of the prompt and around the text included.
    pub tokens: usize,
    /// Tokens that did not fit.
    pub left_out: usize,
}

/// A loaded model for embeddings. Any number of threads may use it; their texts go through it together.
pub struct Embedder {
    path: PathBuf,
    source: Source,
    limits: TextLimits,
    tokenizer: Tokenizer,
    weights: LoadedTexts,
    precision: &'static str,
    pooling: Pooling,
    passes: Passes,
    calls: Calls,
    load_time: Duration,
}

impl Embedder {
    /// Loads the model in `path`: a folder as sentence-transformers and transformers have it, or a GGUF file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidFile`], [`Error::InvalidConfig`] and [`Error::InvalidTensor`] for what is missing or
    /// damaged, [`Error::UnsupportedModel`] for what would not be computed rightly, [`Error::InvalidArgument`] for options
    /// that do not fit, and [`Error::OutOfMemory`].
    pub fn load(path: &Path, options: &TextOptions) -> Result<Self> {
        Self::load_watched(path, options, &mut |_| ControlFlow::Continue(()))
    }

    /// Like [`Self::load`], and tells a listener how far it is.
    ///
    /// # Errors
    /// Further [`Error::Cancelled`] and [`Error::CallbackFailed`], when the listener says so.
    pub fn load_watched(
        path: &Path,
        options: &TextOptions,
        listener: &mut LoadListener,
    ) -> Result<Self> {
        named(path, || {
            let start = Instant::now();
            runtime::start(None)?;
            let (source, checkpoint) = settings::open(path, ModelType::SentenceTransformer)?;
            let limits = source.limits(options.max_tokens, &checkpoint)?;
            let (weights, precision) = checkpoint.load(options.quantize, None, listener)?;
            let width = weights.model().width();
            let pooling = Pooling::load(&source.modules(), width, checkpoint.tensors())?;
            Ok(Self {
                path: path.to_path_buf(),
                source,
                limits,
                tokenizer: checkpoint.into_tokenizer(),
                weights,
                precision,
                pooling,
                passes: Passes::default(),
                calls: Calls::default(),
                load_time: start.elapsed(),
            })
        })
    }

    /// What there is to know about it.
    pub fn info(&self) -> EmbedderInfo {
        let source = &self.source;
        EmbedderInfo {
            path: self.path.clone(),
            architecture: source.architecture,
            precision: self.precision,
            dimensions: self.dimensions(None),
            max_tokens: self.limits.max_tokens,
            vocab_size: source.vocab_size,
            layers: source.layers,
            parameters: source.parameters,
            pooling: self.pooling.modes.clone(),
            similarity: source.files.similarity,
            prompts: source
                .files
                .prompts
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            default_prompt: source.files.default_prompt.clone(),
            load_ms: self.load_time.as_secs_f64() * 1e3,
            ignored_keys: source.ignored_keys.clone(),
        }
    }

    /// Cancels the call of this number, and no other. Any thread may call it.
    pub fn cancel(&self, call: u64) {
        self.calls.cancel(call);
    }

    /// The numbers of vectors of a request.
    fn dimensions(&self, wanted: Option<usize>) -> usize {
        let all = self.pooling.dimensions;
        wanted
            .or(self.source.files.truncate_dim)
            .map_or(all, |kept| kept.min(all))
    }

    /// The vector of each text, in order. What is wrong with one text is told in its place.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a request that is none, [`Error::Cancelled`].
    pub fn embed(&self, request: &EmbedRequest) -> Result<Vec<Result<Embedding>>> {
        if !request.texts.is_empty() && !request.tokens.is_empty() {
            return Err(Error::argument(
                "tokens",
                "expected texts or tokens, got both",
            ));
        }
        let all = self.pooling.dimensions;
        if let Some(wanted) = request.dimensions
            && !(1..=all).contains(&wanted)
        {
            return Err(Error::argument(
                "dimensions",
                format!("expected 1 to {all}, got {wanted}"),
            ));
        }
        let prompt = self.source.prompt(&request.prompt)?;
        let counts = self.pooling.include_prompt || prompt.is_empty();
        let prompt_tokens = match counts || self.source.messages.is_some() {
            true => 0,
            false => self.prompt_tokens(prompt)?,
        };
        let call = self.calls.begin(request.call);
        let stop = call.stop();
        let read: Vec<Result<Item>> = match request.tokens.is_empty() {
            true => settings::in_parallel(&request.texts, stop, |text| {
                Ok(Item {
                    passage: self.read(prompt, text, request.truncate)?,
                    prompt: prompt_tokens,
                })
            })?,
            false => request
                .tokens
                .iter()
                .map(|tokens| self.given(tokens, request.truncate))
                .collect(),
        };
        let made = self
            .passes
            .run(read, &|items, stop| self.vectors(items, stop), stop)?;
        let dimensions = self.dimensions(request.dimensions);
        Ok(made
            .into_iter()
            .map(|made| {
                let mut made = made?;
                made.vector.truncate(dimensions);
                if request.normalize {
                    pooling::normalize(&mut made.vector);
                }
                Ok(Embedding {
                    vector: made.vector,
                    tokens: made.tokens,
                    left_out: made.left_out,
                })
            })
            .collect())
    }

    /// The tokens of a text behind a prompt.
    fn read(&self, prompt: &str, text: &str, truncate: bool) -> Result<Passage> {
        if let Some(messages) = &self.source.messages {
            return messages.text(&self.limits, &self.tokenizer, prompt, text, truncate);
        }
        let whole;
        let text = match prompt.is_empty() {
            true => text,
            false => {
                whole = format!("{prompt}{text}");
                &whole
            }
        };
        self.limits.passage(&self.tokenizer, text, None, truncate)
    }

    fn given(&self, tokens: &[u32], truncate: bool) -> Result<Item> {
        let passage = self
            .limits
            .given(tokens, self.source.vocab_size, truncate)?;
        Ok(Item { passage, prompt: 0 })
    }

    /// Tokens of a prompt that stand before the text, as sentence-transformers counts them: without a special one at the end.
    fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        let passage = self.limits.passage(&self.tokenizer, prompt, None, true)?;
        let is_special = |id: &u32| self.tokenizer.special_text(*id).is_some();
        let behind = passage.tokens.last().is_some_and(is_special);
        Ok(passage.tokens.len() - usize::from(behind))
    }

    fn vectors(&self, items: &[&Item], stop: &Stop) -> Result<Vec<Vec<f32>>> {
        let texts = texts_of(items);
        let model = self.weights.model();
        let width = model.width();
        let wanted = match self.pooling.needs_last_alone() {
            true => Wanted::Last,
            false => Wanted::Every,
        };
        let states = model.states(&texts, wanted, stop)?;
        items
            .iter()
            .zip(states_of(&states, &texts, wanted, width))
            .map(|(item, own)| self.pooling.vector(own, width, item.prompt))
            .collect()
    }
}

/// The states of each text, which stand behind each other.
fn states_of<'a>(
    states: &'a [f32],
    texts: &'a [TextTokens],
    wanted: Wanted,
    width: usize,
) -> impl Iterator<Item = &'a [f32]> {
    let mut rest = states;
    texts.iter().map(move |text| {
        let rows = match wanted {
            Wanted::Last => 1,
            Wanted::Every => text.tokens.len(),
        };
        let (own, behind) = rest.split_at(rows * width);
        rest = behind;
        own
    })
}

/// Texts as models take them.
fn texts_of<'a>(items: &[&'a Item]) -> Vec<TextTokens<'a>> {
    items
        .iter()
        .map(|item| TextTokens {
            tokens: &item.passage.tokens,
            types: &item.passage.types,
        })
        .collect()
}

/// Names the files of `path` in errors that cannot know them.
fn named<T>(path: &Path, load: impl FnOnce() -> Result<T>) -> Result<T> {
    load().map_err(|error| {
        if path.is_file() {
            let name = files::name(path);
            error.in_files(&name, &name)
        } else {
            error.in_files("config.json", "model.safetensors")
        }
    })
}
