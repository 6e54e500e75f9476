//! What the files of a model for texts say: its transformer, the steps behind it, prompts and lengths.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::Prompt;
use crate::architectures::encoders::EncoderArchitecture;
use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::formats::folder::encoder::{self, EncoderCheckpoint};
use crate::formats::folder::sentence::{self, Module, PoolingMode, SentenceFiles};
use crate::formats::{Checkpoint, gguf};
use crate::loader::{
    LoadListener, LoadedTexts, TextQuantization, TextWeights, load_texts, numbers,
};
use crate::tokenizer::{LengthSettings, Passage, Tokenizer, TokenizerConfig};

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
    is_decoder: bool,
    lengths: LengthSettings,
}

/// How long texts may be, and how they are written.
pub(super) struct TextLimits {
    pub(super) max_tokens: usize,
    left: bool,
    lower_case: bool,
    /// Whether the model tells the second text of a pair.
    has_types: bool,
}

/// Reads everything but the weights.
pub(super) fn open(path: &Path) -> Result<(Source, TextCheckpoint)> {
    if path.is_file()
        && let Some((checkpoint, pooling)) = gguf::encoder::open(path)?
    {
        let mut files = sentence::none(path);
        files.modules = pooling.map(|mode| {
            vec![Module::Pooling {
                modes: vec![mode],
                include_prompt: true,
            }]
        });
        return Ok(of_encoder(checkpoint, files));
    }
    if path.is_file() {
        let checkpoint = Checkpoint::open(path)?;
        let files = sentence::none(path);
        return Ok(of_decoder(checkpoint, files, LengthSettings::default()));
    }
    let files = sentence::read(path)?;
    let folder = &files.transformer;
    let config = encoder::config(folder)?;
    if let Some(architecture) = EncoderArchitecture::of("config.json", &config)? {
        let checkpoint = encoder::open(folder, &config, architecture)?;
        return Ok(of_encoder(checkpoint, files));
    }
    let checkpoint = Checkpoint::open(folder)?;
    let lengths = LengthSettings::of(&TokenizerConfig::open(folder)?);
    Ok(of_decoder(checkpoint, files, lengths))
}

fn of_encoder(checkpoint: EncoderCheckpoint, files: SentenceFiles) -> (Source, TextCheckpoint) {
    let description = &checkpoint.description;
    let source = Source {
        architecture: description.architecture,
        vocab_size: description.vocab_size,
        layers: description.layers.len(),
        parameters: numbers(description.tensors(checkpoint.names)),
        ignored_keys: checkpoint.ignored_keys.clone(),
        is_decoder: false,
        lengths: checkpoint.lengths,
        files,
    };
    (source, TextCheckpoint::Encoder(Box::new(checkpoint)))
}

fn of_decoder(
    checkpoint: Checkpoint,
    files: SentenceFiles,
    lengths: LengthSettings,
) -> (Source, TextCheckpoint) {
    let description = &checkpoint.description;
    let source = Source {
        architecture: description.architecture,
        vocab_size: description.vocab_size,
        layers: description.layers.len(),
        parameters: numbers(description.tensors()),
        ignored_keys: checkpoint.ignored_keys.clone(),
        is_decoder: true,
        lengths,
        files,
    };
    (source, TextCheckpoint::Decoder(Box::new(checkpoint)))
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
        let said = self.files.max_seq_length.or(self.lengths.max_length);
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
        let types = match checkpoint {
            TextCheckpoint::Encoder(checkpoint) => checkpoint.description.token_types,
            TextCheckpoint::Decoder(_) => 0,
        };
        Ok(TextLimits {
            max_tokens,
            left: self.lengths.left,
            lower_case: self.files.lower_case,
            has_types: types > 1,
        })
    }

    /// The steps behind the transformer: those of the files, else what sentence-transformers assumes.
    pub(super) fn modules(&self) -> Vec<Module> {
        self.files.modules.clone().unwrap_or_else(|| {
            vec![Module::Pooling {
                modes: vec![match self.is_decoder {
                    true => PoolingMode::LastToken,
                    false => PoolingMode::Mean,
                }],
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

impl TextLimits {
    /// The tokens of a text, or of a pair.
    pub(super) fn passage(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        second: Option<&str>,
        truncate: bool,
    ) -> Result<Passage> {
        let small = |text: &str| text.to_lowercase();
        let mut passage = match self.lower_case {
            true => tokenizer.passage(
                &small(text),
                second.map(small).as_deref(),
                self.max_tokens,
                self.left,
            )?,
            false => tokenizer.passage(text, second, self.max_tokens, self.left)?,
        };
        if !self.has_types {
            passage.types.fill(0);
        }
        self.check(passage, truncate)
    }

    /// The tokens of a text between two others, which stay whole when it is too long.
    pub(super) fn between(
        &self,
        tokenizer: &Tokenizer,
        [before, text, behind]: [&str; 3],
        truncate: bool,
    ) -> Result<Passage> {
        let before = tokenizer.encode(before, false)?;
        let behind = tokenizer.encode(behind, false)?;
        let text = tokenizer.encode(text, false)?;
        let room = self.max_tokens.saturating_sub(before.len() + behind.len());
        let kept = text.len().min(room);
        let tokens = [&before[..], &text[..kept], &behind[..]].concat();
        self.check(
            Passage {
                types: vec![0; tokens.len()],
                tokens,
                left_out: text.len() - kept,
            },
            truncate,
        )
    }

    /// Tokens that were given.
    pub(super) fn given(
        &self,
        tokens: &[u32],
        vocab_size: usize,
        truncate: bool,
    ) -> Result<Passage> {
        if let Some(id) = tokens.iter().find(|id| **id as usize >= vocab_size) {
            return Err(Error::argument(
                "tokens",
                format!("token id {id} is not in the vocabulary of {vocab_size}"),
            ));
        }
        let kept = &tokens[..tokens.len().min(self.max_tokens)];
        let passage = Passage {
            tokens: kept.to_vec(),
            types: vec![0; kept.len()],
            left_out: tokens.len() - kept.len(),
        };
        self.check(passage, truncate)
    }

    fn check(&self, passage: Passage, truncate: bool) -> Result<Passage> {
        if passage.tokens.is_empty() {
            return Err(Error::argument("text", "has no tokens"));
        }
        if passage.left_out > 0 && !truncate {
            return Err(Error::ContextFull {
                needed: passage.tokens.len() + passage.left_out,
                limit: self.max_tokens,
            });
        }
        Ok(passage)
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
