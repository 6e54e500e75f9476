//! Texts and pairs of texts as encoders take them: with the tokens around them, and no longer than the model reads.

use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};
use tokenizers::{Encoding, PostProcessor};

use super::{HfTokenizer, Tokenizer, TokenizerConfig, guarded};
use crate::error::{Error, Result};

/// An encoded text, or pair of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The tokens, those around the texts included.
    pub(crate) tokens: Vec<u32>,
    /// For each, 0, or 1 for those of a pair's second text where the tokenizer tells them apart.
    pub(crate) types: Vec<u32>,
    /// Tokens that did not fit.
    pub(crate) left_out: usize,
}

/// What a tokenizer's settings say of texts that are too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LengthSettings {
    /// `model_max_length`, or by its old name `max_len`, where it is a length and not the placeholder for none.
    pub(crate) max_length: Option<usize>,
    /// Whether the beginning of a text that is too long is left out, and not its end.
    pub(crate) left: bool,
}

/// Above this, a length stands for none.
const NO_LENGTH: f64 = 1e9;

impl LengthSettings {
    /// Those of a `tokenizer_config.json`, and of the `tokenizer.json` beside it.
    pub(crate) fn of(config: &TokenizerConfig, tokenizer: &Tokenizer) -> Self {
        let keys = config.keys();
        let number = |name: &str| keys.get(name).and_then(|length| length.as_f64());
        let length = match keys.contains_key("model_max_length") {
            true => number("model_max_length"),
            false => number("max_len"),
        };
        let side = keys.get("truncation_side").and_then(|side| side.as_str());
        Self {
            max_length: length
                .filter(|length| (1.0..NO_LENGTH).contains(length))
                .map(|length| length as usize),
            left: side.map_or(tokenizer.cuts_beginning, |side| side == "left"),
        }
    }
}

impl Tokenizer {
    /// Encodes a text, or a pair of texts, with the tokens that the tokenizer puts around them. What exceeds `most` tokens
    /// is left out, token by token from the longer text of a pair.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], and [`Error::InvalidArgument`] where `most` tokens have no room for those around a text.
    pub(crate) fn passage(
        &self,
        text: &str,
        second: Option<&str>,
        most: usize,
        left: bool,
    ) -> Result<Passage> {
        let first = self.encoding(text)?;
        let second = second.map(|text| self.encoding(text)).transpose()?;
        let total = first.len() + second.as_ref().map_or(0, Encoding::len);
        let added = self.added_tokens(second.is_some());
        if added > most {
            return Err(Error::argument(
                "max_tokens",
                format!("expected room for the {added} tokens around every text, got {most}"),
            ));
        }
        let params = TruncationParams {
            max_length: most - added,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
            direction: match left {
                true => TruncationDirection::Left,
                false => TruncationDirection::Right,
            },
        };
        let finished = guarded(|| -> tokenizers::Result<Passage> {
            let (first, mut second) = truncate_encodings(first, second, &params)?;
            let kept = first.len() + second.as_ref().map_or(0, Encoding::len);
            if let Some(second) = &mut second {
                second.set_type_ids(vec![1; second.len()]);
            }
            let whole = self.inner.post_process(first, second, true)?;
            Ok(Passage {
                tokens: whole.get_ids().to_vec(),
                types: whole.get_type_ids().to_vec(),
                left_out: total - kept,
            })
        });
        match finished {
            Ok(passage) => passage.map_err(|e| Error::Tokenizer(e.to_string())),
            Err(_) => Err(Error::Tokenizer("the encoder panicked".into())),
        }
    }

    /// How many tokens the tokenizer puts around a text, or a pair of them.
    pub(crate) fn added_tokens(&self, is_pair: bool) -> usize {
        let processor = self.inner.get_post_processor();
        processor.map_or(0, |processor| processor.added_tokens(is_pair))
    }

    fn encoding(&self, text: &str) -> Result<Encoding> {
        self.encode_with(text, |tokenizer: &HfTokenizer, text| {
            tokenizer.encode_fast(text, false)
        })
    }
}
