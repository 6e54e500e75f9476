//! The parts of a `tokenizer.json` that the metadata of a GGUF file become.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{Error, Result};

/// What `tokenizer.json` has besides its added tokens.
pub(super) struct TokenizerParts {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) decoder: Value,
    /// Text, as it has most of the file.
    pub(super) model: Box<RawValue>,
    /// What is put around texts when the file does not say.
    pub(super) special_tokens: SpecialTokens,
}

/// What is put around texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpecialTokens {
    /// A beginning-of-sequence token in front.
    pub(super) bos: bool,
    /// An end-of-sequence token behind.
    pub(super) eos: bool,
    /// The ids of those tokens where the file has none.
    pub(super) bos_id: Option<u32>,
    pub(super) eos_id: Option<u32>,
}

/// The tokens in the order of their ids, none of them twice.
pub(super) struct Vocab<'a> {
    tokens: &'a [&'a str],
    all: HashSet<&'a str>,
}

impl<'a> Vocab<'a> {
    /// The first token that occurs twice is an error.
    pub(super) fn new(tokens: &'a [&'a str]) -> std::result::Result<Self, &'a str> {
        let mut all = HashSet::with_capacity(tokens.len());
        match tokens.iter().find(|token| !all.insert(**token)) {
            Some(twice) => Err(twice),
            None => Ok(Self { tokens, all }),
        }
    }

    pub(super) fn contains(&self, token: &str) -> bool {
        self.all.contains(token)
    }
}

impl Serialize for Vocab<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.tokens.iter().zip(0u32..))
    }
}

/// The JSON of a model with these settings.
pub(super) fn model(
    settings: Value,
    vocab: &impl Serialize,
    merges: Option<&[(&str, &str)]>,
) -> Result<Box<RawValue>> {
    #[derive(Serialize)]
    struct Model<'a, V> {
        #[serde(flatten)]
        settings: Value,
        vocab: &'a V,
        #[serde(skip_serializing_if = "Option::is_none")]
        merges: Option<&'a [(&'a str, &'a str)]>,
    }

    to_raw_value(&Model {
        settings,
        vocab,
        merges,
    })
    .map_err(|e| Error::Tokenizer(e.to_string()))
}
