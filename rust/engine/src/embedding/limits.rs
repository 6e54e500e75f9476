//! Texts as tokens, no longer than a model reads them.

use crate::error::{Error, Result};
use crate::tokenizer::{Passage, Tokenizer};

/// How long texts may be, and what is told of them.
pub(super) struct TextLimits {
    pub(super) max_tokens: usize,
    /// Whether the beginning of a text that is too long is left out, and not its end.
    pub(super) left: bool,
    /// Whether the model tells the second text of a pair.
    pub(super) has_types: bool,
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
        let mut passage = tokenizer.passage(text, second, self.max_tokens, self.left)?;
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
        let around = before.len() + behind.len();
        let Some(room) = self.max_tokens.checked_sub(around) else {
            return Err(Error::argument(
                "max_tokens",
                format!(
                    "expected room for the {around} tokens around every text, got {}",
                    self.max_tokens
                ),
            ));
        };
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

    /// The tokens of a prompt that a chat template wrote. Where they are too many, those of `end` stand in the last places.
    pub(super) fn rendered(
        &self,
        tokens: Vec<u32>,
        truncate: bool,
        end: impl FnOnce() -> Result<Vec<u32>>,
    ) -> Result<Passage> {
        let (total, most) = (tokens.len(), self.max_tokens);
        let mut kept = tokens;
        if total > most {
            match self.left {
                true => drop(kept.drain(..total - most)),
                false => kept.truncate(most),
            }
            let end = end()?;
            let written = end.len().min(most);
            kept[most - written..].copy_from_slice(&end[end.len() - written..]);
        }
        self.check(
            Passage {
                types: vec![0; kept.len()],
                left_out: total - kept.len(),
                tokens: kept,
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
