//! What the files of a model for texts say: its transformer, the steps behind it, prompts and lengths.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::Prompt;
use super::limits::TextLimits;
use super::messages::Messages;
use crate::architectures::Architecture;
use crate::architectures::config_file::ConfigFile;
use crate::architectures::encoders::EncoderArchitecture;
use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::formats::folder::encoder::{self, EncoderCheckpoint};
use crate::formats::folder::read_template;
use crate::formats::folder::sentence::{self, ModelType, Module, PoolingMode, SentenceFiles};
use crate::formats::{Checkpoint, TemplateSource, Tensors, gguf};
use crate::loader::{
    LoadListener, LoadedTexts, TextQuantization, TextWeights, load_texts, numbers,
};
use crate::tokenizer::{LengthSettings, Tokenizer, TokenizerConfig};

/// A transformer whose weights are still on disk.
pub(super) enum TextCheckpoint {
    Encoder(Box<EncoderCheckpoint>),
    Decoder(Box<Checkpoint>),
}

/// What there is to know of a model's files.
pub(super) struct Source {
    pub(super) architecture: &'static str,
    pub(super) vocab_size: usize,
    pub(super) layers: usize,
    pub(super) parameters: u64,
    pub(super) ignored_keys: Vec<String>,
    pub(super) files: SentenceFiles,
    /// How texts become prompts, where they are messages of a chat.
    pub(super) messages: Option<Messages>,
    /// What pooling there is where no file says so.
    pooling: PoolingMode,
    lengths: LengthSettings,
}

/// Reads everything but the weights of a model that is to be used as `wanted`.
pub(super) fn open(path: &Path, wanted: ModelType) -> Result<(Source, TextCheckpoint)> {
    if path.is_file() {
        return open_file(path, wanted);
    }
    let files = sentence::read(path, wanted)?;
    let folder = &files.transformer;
    let config = encoder::config(folder)?;
    let tokens = TokenizerConfig::open(folder)?;
    if let Some(architecture) = EncoderArchitecture::of("config.json", &config)? {
        let messages = messages_of(&files, read_template(folder, &tokens)?)?;
        let checkpoint = encoder::open(folder, &config, architecture, tokens)?;
        return of_encoder(checkpoint, files, messages);
    }
    check_family(&config)?;
    let pooling = decoder_pooling(&ConfigFile::new("config.json", &config))?;
    let checkpoint = Checkpoint::open(folder)?;
    let messages = messages_of(&files, checkpoint.template.clone())?;
    let mut source = of_decoder(&checkpoint, files, pooling);
    source.messages = messages;
    source.lengths = LengthSettings::of(&tokens, &checkpoint.tokenizer);
    with_lower_case(source, TextCheckpoint::Decoder(Box::new(checkpoint)))
}

/// How texts become messages: as the files say, else, where they say nothing of texts, by the chat template if there is one.
fn messages_of(
    files: &SentenceFiles,
    template: Option<TemplateSource>,
) -> Result<Option<Messages>> {
    match (&files.settings.messages, template) {
        (None, Some(template)) if files.modules.is_none() => Messages::of(template, None).map(Some),
        (None, _) => Ok(None),
        (settings, Some(template)) => Messages::of(template, settings.as_ref()).map(Some),
        (Some(_), None) => Err(Error::ChatTemplate(
            "the model's files say that texts are messages, and have no chat template".into(),
        )),
    }
}

/// Refuses a model of no known family, and names encoders too.
fn check_family(config: &Map<String, Value>) -> Result<()> {
    Architecture::of("config.json", config)
        .map(|_| ())
        .map_err(|error| match error {
            Error::UnsupportedModel {
                file, key, value, ..
            } => {
                let known: Vec<&str> = EncoderArchitecture::names()
                    .chain(Architecture::names())
                    .collect();
                Error::UnsupportedModel {
                    file,
                    key,
                    value,
                    reason: format!("the known architectures are {}", known.join(", ")),
                }
            }
            other => other,
        })
}

/// A GGUF file.
fn open_file(path: &Path, wanted: ModelType) -> Result<(Source, TextCheckpoint)> {
    let mut files = sentence::none(path);
    if let Some((checkpoint, pooling)) = gguf::encoder::open(path)? {
        files.modules = pooling.map(|mode| {
            vec![Module::Pooling {
                modes: vec![mode],
                include_prompt: true,
            }]
        });
        return of_encoder(checkpoint, files, None);
    }
    let checkpoint = match wanted {
        ModelType::CrossEncoder => Checkpoint::open(path)?,
        ModelType::SentenceTransformer => {
            let (checkpoint, modules) = gguf::open_embedder(path)?;
            files.modules = modules;
            checkpoint
        }
    };
    let source = of_decoder(&checkpoint, files, PoolingMode::LastToken);
    Ok((source, TextCheckpoint::Decoder(Box::new(checkpoint))))
}

/// What sentence-transformers pools the states of a decoder by where no file says so.
fn decoder_pooling(keys: &ConfigFile) -> Result<PoolingMode> {
    let classes = keys.texts("architectures")?.unwrap_or_default();
    let generates = classes
        .first()
        .is_some_and(|class| class.ends_with("ForCausalLM"));
    Ok(match generates && keys.flag("is_causal")?.unwrap_or(true) {
        true => PoolingMode::LastToken,
        false => PoolingMode::Mean,
    })
}

fn of_encoder(
    checkpoint: EncoderCheckpoint,
    files: SentenceFiles,
    messages: Option<Messages>,
) -> Result<(Source, TextCheckpoint)> {
    let description = &checkpoint.description;
    let source = Source {
        architecture: description.architecture,
        vocab_size: description.vocab_size,
        layers: description.layers.len(),
        parameters: numbers(description.tensors(checkpoint.names)),
        ignored_keys: checkpoint.ignored_keys.clone(),
        messages,
        pooling: PoolingMode::Mean,
        lengths: checkpoint.lengths,
        files,
    };
    with_lower_case(source, TextCheckpoint::Encoder(Box::new(checkpoint)))
}

fn of_decoder(checkpoint: &Checkpoint, files: SentenceFiles, pooling: PoolingMode) -> Source {
    let description = &checkpoint.description;
    Source {
        architecture: description.architecture,
        vocab_size: description.vocab_size,
        layers: description.layers.len(),
        parameters: numbers(description.tensors()),
        ignored_keys: checkpoint.ignored_keys.clone(),
        messages: None,
        pooling,
        lengths: LengthSettings::default(),
        files,
    }
}

/// Has the tokenizer write texts small where the files say so.
fn with_lower_case(
    source: Source,
    mut checkpoint: TextCheckpoint,
) -> Result<(Source, TextCheckpoint)> {
    if source.files.settings.lower_case {
        match &mut checkpoint {
            TextCheckpoint::Encoder(checkpoint) => checkpoint.tokenizer.lower_case()?,
            TextCheckpoint::Decoder(checkpoint) => checkpoint.tokenizer.lower_case()?,
        }
    }
    Ok((source, checkpoint))
}

impl TextCheckpoint {
    /// The tokens that the model can read at most.
    fn longest(&self) -> usize {
        match self {
            TextCheckpoint::Encoder(checkpoint) => checkpoint.description.max_tokens,
            TextCheckpoint::Decoder(checkpoint) => checkpoint.description.max_context(),
        }
    }

    /// Loads the weights; with the head of a classifier of so many scores, or the decoder's own, if that is wanted.
    pub(super) fn load(
        &self,
        quantize: Option<TextQuantization>,
        scores: Option<usize>,
        listener: &mut LoadListener,
    ) -> Result<(LoadedTexts, &'static str)> {
        let weights = match self {
            TextCheckpoint::Encoder(checkpoint) => TextWeights::Encoder(checkpoint, scores),
            TextCheckpoint::Decoder(checkpoint) => TextWeights::Decoder(
                &checkpoint.description,
                &checkpoint.tensors,
                scores.is_some(),
            ),
        };
        load_texts(weights, quantize, listener)
    }

    /// Its tensors, still on disk.
    pub(super) fn tensors(&self) -> &Tensors {
        match self {
            TextCheckpoint::Encoder(checkpoint) => &checkpoint.tensors,
            TextCheckpoint::Decoder(checkpoint) => &checkpoint.tensors,
        }
    }

    pub(super) fn into_tokenizer(self) -> Tokenizer {
        match self {
            TextCheckpoint::Encoder(checkpoint) => checkpoint.tokenizer,
            TextCheckpoint::Decoder(checkpoint) => checkpoint.tokenizer,
        }
    }
}

impl Source {
    /// The lengths of texts, cut to `wanted` where something is wanted.
    pub(super) fn limits(
        &self,
        wanted: Option<usize>,
        checkpoint: &TextCheckpoint,
    ) -> Result<TextLimits> {
        let longest = checkpoint.longest();
        let said = self
            .files
            .settings
            .max_seq_length
            .or(self.lengths.max_length);
        let max_tokens = match wanted {
            None => said.map_or(longest, |said| said.min(longest)),
            Some(wanted) if (1..=longest).contains(&wanted) => wanted,
            Some(wanted) => {
                return Err(Error::argument(
                    "max_tokens",
                    format!("expected 1 to the model's {longest}, got {wanted}"),
                ));
            }
        };
        let has_types = match checkpoint {
            TextCheckpoint::Encoder(checkpoint) => {
                checkpoint.tells_pairs && checkpoint.description.token_types > 1
            }
            TextCheckpoint::Decoder(_) => false,
        };
        Ok(TextLimits {
            max_tokens,
            left: self.lengths.left,
            has_types,
        })
    }

    /// The steps behind the transformer: those of the files, else what sentence-transformers assumes.
    pub(super) fn modules(&self) -> Vec<Module> {
        self.files.modules.clone().unwrap_or_else(|| {
            vec![Module::Pooling {
                modes: vec![self.pooling],
                include_prompt: true,
            }]
        })
    }

    /// The text of a prompt.
    pub(super) fn prompt<'a>(&'a self, prompt: &'a Prompt) -> Result<&'a str> {
        let of = |name: &str| {
            let mut all = self.files.prompts.iter();
            all.find(|(known, _)| known == name)
                .map(|(_, text)| text.as_str())
        };
        let default = || {
            self.files
                .default_prompt
                .as_deref()
                .and_then(of)
                .unwrap_or("")
        };
        let first = |names: &[&str]| names.iter().find_map(|name| of(name));
        Ok(match prompt {
            Prompt::Text(text) => text,
            Prompt::Default => default(),
            Prompt::Query => first(&["query"]).unwrap_or_else(default),
            Prompt::Document => first(&["document", "passage", "corpus"]).unwrap_or_else(default),
            Prompt::Named(name) => of(name).ok_or_else(|| {
                let known: Vec<&str> = self.files.prompts.iter().map(|(name, _)| &**name).collect();
                Error::argument(
                    "prompt",
                    match known.is_empty() {
                        true => format!("the model has no prompts, so none called {name:?}"),
                        false => format!("expected one of {}, got {name:?}", known.join(", ")),
                    },
                )
            })?,
        })
    }
}

/// What `work` makes of each, on several threads. It stops when `stop` has a reason.
pub(super) fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    stop: &Stop,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<Result<R>>> {
    let stopped = AtomicBool::new(false);
    let one = |item: &T| {
        if stopped.load(Ordering::Relaxed) || stop.reason().is_some() {
            stopped.store(true, Ordering::Relaxed);
            return Err(Error::Cancelled);
        }
        work(item)
    };
    let done = match all.len() {
        0 | 1 => all.iter().map(one).collect(),
        _ => all.par_iter().map(one).collect(),
    };
    match stopped.into_inner() {
        true => Err(Error::Cancelled),
        false => Ok(done),
    }
}
