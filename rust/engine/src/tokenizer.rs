//! Text to tokens and back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::{AddedToken, Tokenizer as HfTokenizer};

use crate::error::{Error, Result};
use crate::files;

/// A model's tokenizer. Any number of threads may use it at once.
pub struct Tokenizer {
    /// Takes special tokens in the text for what they mean.
    inner: HfTokenizer,
    /// Takes them for ordinary text.
    literal: HfTokenizer,
    special: Vec<(String, u32)>,
    /// By token id: whether it stands for one raw byte, as `<0x0A>` does.
    bytes: Vec<bool>,
}

/// The most text that is encoded at once. The regular expressions of some tokenizers recurse over
/// long runs of one character, so longer texts are refused rather than trusted to the stack.
const TEXT_LIMIT: usize = 64 << 20;

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_json(&files::name(path), &files::read(path)?)
    }

    /// Parses the contents of a `tokenizer.json`; `file` names it in errors.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidFile {
            file: file.into(),
            reason,
        };
        // A malformed file can panic inside the parser.
        let parsed = guarded(|| HfTokenizer::from_bytes(json).map_err(|e| e.to_string()))
            .unwrap_or_else(|_| Err("malformed".into()));
        let mut inner = parsed.map_err(invalid)?;
        inner
            .with_truncation(None)
            .map_err(|e| invalid(e.to_string()))?;
        inner.with_padding(None);
        let mut literal = inner.clone();
        literal.set_encode_special_tokens(true);
        let mut special: Vec<(String, u32)> = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token): &(u32, AddedToken)| token.special && !token.content.is_empty())
            .map(|(id, token)| (token.content, id))
            .collect();
        // The longest first, so that none is found inside another.
        special.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(&b.0)));
        let size = inner.get_vocab_size(true);
        let mut bytes = vec![false; size];
        for value in 0..=255u8 {
            if let Some(id) = inner.token_to_id(&format!("<0x{value:02X}>"))
                && let Some(entry) = bytes.get_mut(id as usize)
            {
                *entry = true;
            }
        }
        Ok(Self {
            inner,
            literal,
            special,
            bytes,
        })
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token by its exact text, such as `<|im_end|>`.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The text of a token in the vocabulary's own spelling.
    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Encodes a text. Special tokens in it are taken for what they mean; `add_special` adds those
    /// that the tokenizer puts around every text, such as a beginning-of-sequence token.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        encode(&self.inner, text, add_special)
    }

    /// Encodes a text in which special tokens are just characters.
    pub fn encode_literal(&self, text: &str) -> Result<Vec<u32>> {
        encode(&self.literal, text, false)
    }

    /// Decodes tokens. `skip_special` leaves special tokens out of the text.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guarded(|| {
            self.inner
                .decode(ids, skip_special)
                .map_err(|e| e.to_string())
        })
        .unwrap_or_else(|_| Err("the decoder panicked".into()))
        .map_err(Error::Tokenizer)
    }

    /// Whether a token stands for one raw byte of a character that has no token of its own.
    pub(crate) fn is_byte(&self, id: u32) -> bool {
        self.bytes.get(id as usize).copied().unwrap_or(false)
    }

    /// The special tokens and their ids, the longest first.
    pub(crate) fn special(&self) -> &[(String, u32)] {
        &self.special
    }
}

fn encode(tokenizer: &HfTokenizer, text: &str, add_special: bool) -> Result<Vec<u32>> {
    if text.len() > TEXT_LIMIT {
        return Err(Error::argument(
            "text",
            format!(
                "at most {TEXT_LIMIT} bytes are encoded at once, got {}",
                text.len()
            ),
        ));
    }
    guarded(|| {
        tokenizer
            .encode_fast(text, add_special)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| e.to_string())
    })
    .unwrap_or_else(|_| Err("the encoder panicked".into()))
    .map_err(Error::Tokenizer)
}

/// Runs a piece of the tokenizers library, which panics on some malformed files and texts.
fn guarded<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    catch_unwind(AssertUnwindSafe(f))
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}
