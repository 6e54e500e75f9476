//! Scores of documents for a query.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::calls::Calls;
use super::limits::TextLimits;
use super::messages::Messages;
use super::passes::{Item, Passes};
use super::settings::{self, Source, TextCheckpoint};
use super::{Prompt, TextOptions, named, states_of, texts_of};
use crate::architectures::config_file::ConfigFile;
use crate::cancel::Stop;
use crate::engines::Wanted;
use crate::error::{Error, Result, candle_error};
use crate::formats::folder::encoder;
use crate::formats::folder::sentence::{ModelType, Module, torch_class};
use crate::loader::{LoadListener, LoadedTexts};
use crate::runtime;
use crate::tokenizer::{Passage, Tokenizer};

/// What a reranker says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RerankerInfo {
    /// The folder or the file that it came from.
    pub path: PathBuf,
    /// Such as `bert`.
    pub architecture: &'static str,
    /// The type of its weights.
    pub precision: &'static str,
    /// The most tokens of a pair, those around it included.
    pub max_tokens: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of weights.
    pub parameters: u64,
    /// What its scores stand for; one for a plain reranker.
    pub labels: Vec<String>,
    /// What scores go through: `sigmoid`, `tanh` or `identity`.
    pub activation: &'static str,
    /// How long loading took.
    pub load_ms: f64,
    /// Keys of the configuration that nothing reads, because they change nothing.
    pub ignored_keys: Vec<String>,
}

/// Documents to score for a query.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankRequest {
    /// What is looked for.
    pub query: String,
    /// Where it is looked for.
    pub documents: Vec<String>,
    /// What a decoder is told that makes a document relevant; its own default when left out.
    #[serde(default)]
    pub instruction: Option<String>,
    /// Whether scores are given as they come, without the model's activation.
    #[serde(default)]
    pub raw: bool,
    /// Whether the end of a pair that is too long is left out; it is an error of that document otherwise.
    #[serde(default = "super::yes")]
    pub truncate: bool,
    /// A number by which [`Reranker::cancel`] can stop it.
    #[serde(default)]
    pub call: u64,
}

/// The scores of one document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// One a label.
    pub scores: Vec<f32>,
    /// Tokens that were read.
    pub tokens: usize,
    /// Tokens that did not fit.
    pub left_out: usize,
}

/// What a reranker's scores go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activation {
    Identity,
    Sigmoid,
    Tanh,
}

/// How a model scores.
enum Method {
    /// By the head of a classifier, over a pair or the messages of a chat.
    Head,
    /// By the logit of one token behind a pair, less that of another.
    Logits {
        yes: u32,
        no: Option<u32>,
        reading: Reading,
    },
}

/// How a decoder reads a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As messages of a chat.
    Messages,
    /// As two texts behind each other.
    Pair,
    /// As Qwen3-Reranker does.
    Qwen3Card,
}

/// A loaded reranker. Any number of threads may use it; their documents go through it together.
pub struct Reranker {
    path: PathBuf,
    source: Source,
    limits: TextLimits,
    tokenizer: Tokenizer,
    weights: LoadedTexts,
    precision: &'static str,
    method: Method,
    labels: Vec<String>,
    activation: Activation,
    passes: Passes,
    calls: Calls,
    load_time: Duration,
}

impl Reranker {
    /// Loads the model in `path`: the folder of a classifier over pairs of texts, or a Qwen3-Reranker.
    ///
    /// # Errors
    /// As [`Embedder::load`](super::Embedder::load).
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
            let (source, checkpoint) = settings::open(path, ModelType::CrossEncoder)?;
            let limits = source.limits(options.max_tokens, &checkpoint)?;
            let config = match path.is_file() {
                true => Map::new(),
                false => encoder::config(&source.files.transformer)?,
            };
            let keys = ConfigFile::new("config.json", &config);
            let method = method(&checkpoint, &keys, &source)?;
            let labels = match method {
                Method::Head => labels(&keys)?,
                Method::Logits { .. } => vec!["yes".into()],
            };
            let activation = activation(&keys, &source, &method, labels.len())?;
            let (weights, precision) =
                checkpoint.load(options.quantize, Some(labels.len()), listener)?;
            Ok(Self {
                path: path.to_path_buf(),
                source,
                limits,
                tokenizer: checkpoint.into_tokenizer(),
                weights,
                precision,
                method,
                labels,
                activation,
                passes: Passes::default(),
                calls: Calls::default(),
                load_time: start.elapsed(),
            })
        })
    }

    /// What there is to know about it.
    pub fn info(&self) -> RerankerInfo {
        RerankerInfo {
            path: self.path.clone(),
            architecture: self.source.architecture,
            precision: self.precision,
            max_tokens: self.limits.max_tokens,
            layers: self.source.layers,
            parameters: self.source.parameters,
            labels: self.labels.clone(),
            activation: match self.activation {
                Activation::Identity => "identity",
                Activation::Sigmoid => "sigmoid",
                Activation::Tanh => "tanh",
            },
            load_ms: self.load_time.as_secs_f64() * 1e3,
            ignored_keys: self.source.ignored_keys.clone(),
        }
    }

    /// Cancels the call of this number, and no other. Any thread may call it.
    pub fn cancel(&self, call: u64) {
        self.calls.cancel(call);
    }

    /// The scores of each document, in order. What is wrong with one document is told in its place.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a request that is none, [`Error::Cancelled`].
    pub fn score(&self, request: &RerankRequest) -> Result<Vec<Result<Scores>>> {
        if request.instruction.is_some() && matches!(self.method, Method::Head) {
            return Err(Error::argument(
                "instruction",
                "a classifier takes none; expected null",
            ));
        }
        let call = self.calls.begin(request.call);
        let stop = call.stop();
        let read = settings::in_parallel(&request.documents, stop, |document| {
            Ok(Item {
                passage: self.read(request, document)?,
                prompt: 0,
            })
        })?;
        let made = self
            .passes
            .run(read, &|items, stop| self.vectors(items, stop), stop)?;
        Ok(made
            .into_iter()
            .map(|made| {
                let mut made = made?;
                let activation = match request.raw {
                    true => Activation::Identity,
                    false => self.activation,
                };
                for score in &mut made.vector {
                    *score = match activation {
                        Activation::Identity => *score,
                        Activation::Sigmoid => 1.0 / (1.0 + (-*score).exp()),
                        Activation::Tanh => score.tanh(),
                    };
                }
                Ok(Scores {
                    scores: made.vector,
                    tokens: made.tokens,
                    left_out: made.left_out,
                })
            })
            .collect())
    }

    fn read(&self, request: &RerankRequest, document: &str) -> Result<Passage> {
        let (query, truncate) = (&*request.query, request.truncate);
        let prompt = match &request.instruction {
            Some(instruction) => instruction,
            None => self.source.prompt(&Prompt::Default)?,
        };
        let pair = || {
            let query = format!("{prompt}{query}");
            self.limits
                .passage(&self.tokenizer, &query, Some(document), truncate)
        };
        let reading = match self.method {
            Method::Head => Reading::Messages,
            Method::Logits { reading, .. } => reading,
        };
        match (reading, &self.source.messages) {
            (Reading::Messages, Some(messages)) => messages.pair(
                &self.limits,
                &self.tokenizer,
                prompt,
                [query, document],
                truncate,
            ),
            (Reading::Qwen3Card, _) => {
                let instruction = request.instruction.as_deref().unwrap_or(INSTRUCTION);
                let text =
                    format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}");
                self.limits
                    .between(&self.tokenizer, [BEFORE, &text, BEHIND], truncate)
            }
            (Reading::Pair | Reading::Messages, _) => pair(),
        }
    }

    fn vectors(&self, items: &[&Item], stop: &Stop) -> Result<Vec<Vec<f32>>> {
        let texts = texts_of(items);
        match (&self.weights, &self.method) {
            (LoadedTexts::Decoder(decoder), Method::Logits { yes, no, .. }) => {
                let logits = decoder.logits(&texts, stop)?;
                let rows = logits.chunks_exact(self.source.vocab_size);
                Ok(rows
                    .map(|row| vec![row[*yes as usize] - no.map_or(0.0, |no| row[no as usize])])
                    .collect())
            }
            (LoadedTexts::Encoder(_, Some(head)), Method::Head) => {
                let model = self.weights.model();
                let width = model.width();
                let states = model.states(&texts, Wanted::Every, stop)?;
                let mut pooled = Vec::with_capacity(items.len() * width);
                for own in states_of(&states, &texts, Wanted::Every, width) {
                    head.pool(own, width, &mut pooled);
                }
                let scores = head.scores(&pooled).map_err(|e| candle_error(&e))?;
                Ok(scores
                    .chunks_exact(self.labels.len())
                    .map(<[f32]>::to_vec)
                    .collect())
            }
            _ => Err(Error::NotSupported("scores of this model".into())),
        }
    }
}

/// What a Qwen3-Reranker reads before a pair, behind it, and where no instruction is given (its model card).
const BEFORE: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the \
                      Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
const BEHIND: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const INSTRUCTION: &str =
    "Given a web search query, retrieve relevant passages that answer the query";

/// How a model scores: as its files say.
fn method(checkpoint: &TextCheckpoint, keys: &ConfigFile, source: &Source) -> Result<Method> {
    let classes = keys.texts("architectures")?.unwrap_or_default();
    let of_kind = |kind: &str| classes.iter().any(|class| class.ends_with(kind));
    let steps = source.files.modules.as_deref().unwrap_or_default();
    let checkpoint = match checkpoint {
        TextCheckpoint::Encoder(_) => {
            if !steps.is_empty() {
                return Err(keys.unsupported(
                    "architectures",
                    "of encoders, those whose own classifier gives the scores are computed as rerankers",
                ));
            }
            if let Some(reason) = source.messages.as_ref().and_then(Messages::pair_failure) {
                return Err(keys.unsupported(
                    "architectures",
                    format!("as a reranker, this model is not known: {reason}"),
                ));
            }
            return match classes.is_empty() || of_kind("ForSequenceClassification") {
                true => Ok(Method::Head),
                false => Err(keys.unsupported(
                    "architectures",
                    "a reranker is a model for sequence classification",
                )),
            };
        }
        TextCheckpoint::Decoder(checkpoint) => checkpoint,
    };
    if of_kind("ForSequenceClassification") {
        return Err(keys.unsupported(
            "architectures",
            "of decoders, those that answer yes or no are computed as rerankers",
        ));
    }
    let (yes, no) = match steps {
        [Module::LogitScore { yes, no }] => (Some(*yes), *no),
        [] => {
            let id = |token: &str| checkpoint.tokenizer.id_of(token);
            let both = id("yes").zip(id("no"));
            (both.map(|(yes, _)| yes), both.map(|(_, no)| no))
        }
        _ => {
            return Err(keys.unsupported(
                "architectures",
                "its files have steps other than the score of a token",
            ));
        }
    };
    let Some(yes) = yes else {
        return Err(keys.unsupported(
            "architectures",
            "a decoder is a reranker that answers yes or no, and its vocabulary lacks these tokens",
        ));
    };
    let known = |id: u32| (id as usize) < source.vocab_size;
    if !known(yes) || !no.is_none_or(known) {
        return Err(keys.invalid("vocab_size", "the tokens of the answers are not in it"));
    }
    let failure = source.messages.as_ref().map(Messages::pair_failure);
    let reading = match failure {
        Some(None) => Reading::Messages,
        // Files from before sentence-transformers could load them have the template of Qwen3's chat models.
        _ if source.files.modules.is_none() && source.architecture == "qwen3" => Reading::Qwen3Card,
        None if source.files.settings.messages.is_none() => Reading::Pair,
        failure => {
            let reason = failure.flatten();
            let reason = reason.unwrap_or_else(|| "it has no chat template".into());
            return Err(keys.unsupported(
                "architectures",
                format!("as a reranker, this decoder is not known: {reason}"),
            ));
        }
    };
    Ok(Method::Logits { yes, no, reading })
}

/// More labels than any classifier has.
const LABEL_LIMIT: usize = 1 << 16;

/// The names of a classifier's scores: by `id2label`, unless `num_labels` gives another number, of which transformers
/// assumes 2; sentence-transformers assumes 1 for a model that does not say that it is a classifier.
fn labels(keys: &ConfigFile) -> Result<Vec<String>> {
    let names = match keys.value("id2label") {
        Some(Value::Object(names)) => Some(names),
        Some(_) => return Err(keys.invalid("id2label", "expected an object of texts")),
        None => None,
    };
    let count = match keys.value("architectures") {
        None => Some(1),
        Some(_) => keys.count("num_labels")?,
    };
    let names = match (names, count) {
        (Some(names), None) => names,
        (Some(names), Some(count)) if names.len() == count => names,
        (_, count) => {
            let count = count.unwrap_or(2);
            if count > LABEL_LIMIT {
                return Err(keys.invalid(
                    "num_labels",
                    format!("more than {LABEL_LIMIT} labels are not believed"),
                ));
            }
            return Ok((0..count).map(|index| format!("LABEL_{index}")).collect());
        }
    };
    (0..names.len())
        .map(|index| match names.get(&index.to_string()) {
            Some(Value::String(name)) => Ok(name.clone()),
            _ => Err(keys.invalid("id2label", "expected a text for each number from 0 on")),
        })
        .collect()
}

/// What scores go through: what the files say, else a sigmoid for a single score.
fn activation(
    keys: &ConfigFile,
    source: &Source,
    method: &Method,
    labels: usize,
) -> Result<Activation> {
    let inner = match keys.object("sentence_transformers")? {
        Some(own) => own.text("activation_fn")?.map(str::to_owned),
        None => None,
    };
    let old = keys.text("sbert_ce_default_activation_function")?;
    let said = source.files.activation.clone();
    let said = said.or(inner).or(old.map(str::to_owned));
    match said.as_deref().map(|class| (torch_class(class), class)) {
        Some(("Identity", _)) => Ok(Activation::Identity),
        Some(("Sigmoid", _)) => Ok(Activation::Sigmoid),
        Some(("Tanh", _)) => Ok(Activation::Tanh),
        Some((_, class)) => Err(Error::UnsupportedModel {
            file: "config.json".into(),
            key: "activation_fn".into(),
            value: class.into(),
            reason: "of activations, Identity, Sigmoid and Tanh are computed".into(),
        }),
        // The probability of yes against no.
        None if matches!(method, Method::Logits { .. }) => Ok(Activation::Sigmoid),
        None => Ok(match labels {
            1 => Activation::Sigmoid,
            _ => Activation::Identity,
        }),
    }
}
