//! Text to tokens and back.

mod budget;
mod class;
mod config;
mod masked;
mod passage;
mod steps;
mod token_bytes;
mod vocabulary;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokenizers::{AddedToken, TokenizerImpl, TruncationDirection};

pub(crate) use config::TokenizerConfig;
pub(crate) use masked::Masks;
pub(crate) use passage::{LengthSettings, Passage};
pub(crate) use token_bytes::TokenBytes;

use crate::error::{Error, Result};
use crate::files::{self, Limit};
use crate::stack;

type HfTokenizer = TokenizerImpl<
    vocabulary::Vocabulary,
    steps::Normalizers,
    steps::PreTokenizers,
    steps::PostProcessors,
    steps::Decoders,
>;

/// A model's tokenizer. Any number of threads may use it at once.
pub struct Tokenizer {
    inner: Arc<HfTokenizer>,
    special: Vec<(String, u32)>,
    /// By token id: whether it stands for one raw byte, as `<0x0A>` does.
    bytes: Vec<bool>,
    /// Bytes of the longest token.
    longest: usize,
    /// Whether its file has the beginning of long texts cut, and not their end.
    cuts_beginning: bool,
}

/// The most text that is encoded at once, and that tokens are decoded to.
const TEXT_LIMIT: usize = 64 << 20;

/// The longest text that is encoded on the caller's thread. What a vocabulary or a regular expression can
/// do with so few bytes ends by itself.
const SHORT_TEXT: usize = 256;

/// Time for a step of an encoding to notice that its own is over.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes of all added tokens together that a tokenizer has room to normalize.
const ADDED_TOKENS: usize = 64 << 10;

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &TokenizerConfig::default())
    }

    /// Reads a `tokenizer.json`, joined with what the configuration beside it has.
    pub(crate) fn open_with(path: &Path, config: &TokenizerConfig) -> Result<Self> {
        let json = files::read(path, Limit::Tokenizer)?;
        Self::parse(&files::name(path), &json, config).map_err(|error| {
            // Where it is no JSON at all, what it is tells more than where that shows.
            match files::json::<serde::de::IgnoredAny>(path, &json) {
                Err(other) => other,
                Ok(_) => error,
            }
        })
    }

    /// Parses the contents of a `tokenizer.json`; `file` names it in errors.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        Self::parse(file, json, &TokenizerConfig::default())
    }

    fn parse(file: &str, json: &[u8], config: &TokenizerConfig) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidFile {
            file: file.into(),
            reason,
        };
        let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
        // A malformed file can panic inside the parser, and recurse as deep as its JSON is nested. Added
        // tokens are normalized there.
        let parsed = stack::run(|| {
            guarded(|| {
                budget::with(ADDED_TOKENS, || {
                    let mut tokenizer =
                        HfTokenizer::from_bytes(json).map_err(|e| invalid(e.to_string()))?;
                    config.apply(&mut tokenizer)?;
                    Ok(tokenizer)
                })
                .unwrap_or_else(|reason| Err(invalid(reason)))
            })
            .unwrap_or_else(|_| Err(invalid("malformed".into())))
        })?;
        let mut inner = parsed?;
        let truncation = inner.get_truncation();
        let cuts_beginning =
            truncation.is_some_and(|truncation| truncation.direction == TruncationDirection::Left);
        inner
            .with_truncation(None)
            .map_err(|e| invalid(e.to_string()))?;
        inner.with_padding(None);
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
        let longest = inner.get_vocab(true).keys().map(String::len).max();
        Ok(Self {
            longest: longest.unwrap_or(0),
            inner: Arc::new(inner),
            special,
            bytes,
            cuts_beginning,
        })
    }

    /// Writes texts small before anything else becomes of them but the search for special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub(crate) fn lower_case(&mut self) -> Result<()> {
        let inner = Arc::make_mut(&mut self.inner);
        let steps = steps::Normalizers::lower_case(inner.get_normalizer());
        inner
            .with_normalizer(Some(steps))
            .map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(())
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
        self.encode_with(text, move |tokenizer, text| {
            tokenizer
                .encode_fast(text, add_special)
                .map(|encoding| encoding.get_ids().to_vec())
        })
    }

    /// Encodes a text in which some characters are masked: they begin no special token. Everything else
    /// becomes the tokens that it becomes in [`Self::encode`].
    pub(crate) fn encode_masked(&self, text: &str, masks: &Masks) -> Result<Vec<u32>> {
        let masks = masks.clone();
        self.encode_with(text, move |tokenizer, text| {
            masked::encode(tokenizer, text, &masks)
        })
    }

    fn encode_with<T: Send + 'static>(
        &self,
        text: &str,
        work: impl FnOnce(&HfTokenizer, &str) -> tokenizers::Result<T> + Send + 'static,
    ) -> Result<T> {
        if text.len() > TEXT_LIMIT {
            return Err(Error::argument(
                "text",
                format!(
                    "at most {TEXT_LIMIT} bytes are encoded at once, got {}",
                    text.len()
                ),
            ));
        }
        if text.len() <= SHORT_TEXT {
            return encode_within_budget(&self.inner, text, work);
        }
        // One search of a regular expression, or one word of the model, may take a time that grows with the
        // square of the text, and cannot be stopped.
        let time = budget::time(text.len());
        let (tokenizer, text) = (self.inner.clone(), text.to_owned());
        stack::run_within(time + GRACE, move || {
            encode_within_budget(&tokenizer, &text, work)
        })?
        .unwrap_or_else(|| Err(Error::Tokenizer(budget::too_slow(time))))
    }

    /// Decodes tokens. `skip_special` leaves special tokens out of the text.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let length = self.length(ids);
        if length > TEXT_LIMIT {
            return Err(Error::argument(
                "ids",
                format!("stand for {length} bytes; at most {TEXT_LIMIT} are decoded at once"),
            ));
        }
        guarded(|| {
            budget::with(length, || {
                self.inner
                    .decode(ids, skip_special)
                    .map_err(|e| e.to_string())
            })
            .flatten()
        })
        .unwrap_or_else(|_| Err("the decoder panicked".into()))
        .map_err(Error::Tokenizer)
    }

    /// Bytes of tokens in the vocabulary's own spelling; an upper bound where there are few.
    fn length(&self, ids: &[u32]) -> usize {
        let most = ids.len().saturating_mul(self.longest);
        if most <= TEXT_LIMIT {
            return most;
        }
        ids.iter()
            .filter_map(|id| self.inner.id_to_token(*id))
            .fold(0, |sum, token| sum.saturating_add(token.len()))
    }

    /// Whether a token stands for one raw byte of a character that has no token of its own.
    pub(crate) fn is_byte(&self, id: u32) -> bool {
        self.bytes.get(id as usize).copied().unwrap_or(false)
    }

    /// The text of a special token, which decoding leaves out.
    pub(crate) fn special_text(&self, id: u32) -> Option<&str> {
        self.special
            .iter()
            .find(|(_, special)| *special == id)
            .map(|(text, _)| text.as_str())
    }

    /// The tokens whose text contains one of `texts`, and the special ones.
    pub(crate) fn tokens_with(&self, texts: &[String]) -> Result<HashSet<u32>> {
        let mut found: HashSet<u32> = self.special.iter().map(|(_, id)| *id).collect();
        if texts.is_empty() {
            return Ok(found);
        }
        for id in self.inner.get_vocab(true).into_values() {
            let text = self.decode(&[id], false)?;
            if texts.iter().any(|part| text.contains(part.as_str())) {
                found.insert(id);
            }
        }
        Ok(found)
    }

    /// The special tokens and their ids, the longest first.
    pub(crate) fn special(&self) -> &[(String, u32)] {
        &self.special
    }
}

fn encode_within_budget<T>(
    tokenizer: &HfTokenizer,
    text: &str,
    work: impl FnOnce(&HfTokenizer, &str) -> tokenizers::Result<T>,
) -> Result<T> {
    guarded(|| {
        budget::with(text.len(), || {
            work(tokenizer, text).map_err(|e| e.to_string())
        })
        .flatten()
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
