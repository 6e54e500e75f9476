//! The engines: implementations of one trait, [`CandleModel`], a decoder with a KV cache of its own over shared
//! weights.
//!
//! - `fused`: one decoder of this crate for all architectures;
//! - `candle`: Candle's own models, one file an architecture.

pub(crate) mod candle;
pub(crate) mod encoder;
mod engine;
pub(crate) mod fused;

use std::time::Duration;

use candle4j_kernels::are_finite;
pub use engine::Engine;

use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::metrics::PassCounts;

/// The numbers of a model that its callers must keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLimits {
    /// Tokens that prompt and answer may have together.
    pub context_length: usize,
    /// Token ids are below this number.
    pub vocab_size: usize,
    /// Any of these ends an answer.
    pub eos_ids: Vec<u32>,
    /// How long a pass with prompts is to take while other sequences decode.
    pub latency_target: Duration,
    /// Bytes that the keys and values of all sequences may take together; what the machine leaves when `None`.
    pub kv_cache_limit: Option<u64>,
}

/// Memory of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvMemoryUse {
    /// Bytes that all sequences use, what they share counted once.
    pub used: u64,
    /// Bytes that they may use.
    pub limit: u64,
}

impl ModelLimits {
    /// Refuses tokens that the vocabulary or the context do not hold.
    pub fn check(&self, position: usize, tokens: &[u32]) -> Result<()> {
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= self.vocab_size) {
            return Err(Error::argument(
                "tokens",
                format!(
                    "token id {id} is not in the vocabulary of {}",
                    self.vocab_size
                ),
            ));
        }
        let needed = position.saturating_add(tokens.len());
        if needed > self.context_length {
            return Err(Error::ContextFull {
                needed,
                limit: self.context_length,
            });
        }
        Ok(())
    }
}

/// A decoder-only language model with the KV cache of one sequence.
///
/// It is used by one thread at a time. [`CandleModel::new_sequence`] makes another sequence over the same
/// weights.
pub trait CandleModel: Send {
    /// Context length, vocabulary and end-of-sequence ids.
    fn limits(&self) -> &ModelLimits;

    /// Tokens in the cache.
    fn position(&self) -> usize;

    /// Forgets all but the first `position` tokens. An engine whose cache cannot be cut forgets
    /// them all, so ask [`CandleModel::position`] what is left.
    fn truncate(&mut self, position: usize);

    /// Says how many tokens the sequence will have once the prompt that follows is in the cache.
    /// Some rotary embeddings depend on it, and a prompt may come in several pieces.
    fn expect_length(&mut self, _length: usize) {}

    /// Appends `tokens` (at least one) to the cache. `logits` become those of what follows them, one a
    /// token id; what it held is lost, its memory may be used again. They are finite: if not, that is an
    /// [`Error::Numeric`].
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `stop` has a reason before the tokens were computed; some of them may be in
    /// the cache then. After any other error the cache is empty.
    fn forward(&mut self, tokens: &[u32], stop: &Stop, logits: &mut Vec<f32>) -> Result<()>;

    /// Like [`CandleModel::forward`], and runs as many of the `draft` tokens behind `tokens` in the same pass as it can.
    /// Answers with how many, which are in the cache then: [`CandleModel::truncate`] takes them back. `logits` become those
    /// of the last of `tokens` and of each draft token, `[1 + answer, vocabulary]`, bit for bit those of
    /// [`CandleModel::forward`]. Those of draft tokens need not be finite.
    ///
    /// Engines whose cache cannot be cut run no draft tokens.
    ///
    /// # Errors
    /// As [`CandleModel::forward`].
    fn forward_ahead(
        &mut self,
        tokens: &[u32],
        _draft: &[u32],
        stop: &Stop,
        logits: &mut Vec<f32>,
    ) -> Result<usize> {
        self.forward(tokens, stop, logits)?;
        Ok(0)
    }

    /// Calls `visit` with the logits that follow each of `tokens` in turn.
    ///
    /// # Errors
    /// As [`CandleModel::forward`].
    fn forward_each(
        &mut self,
        tokens: &[u32],
        stop: &Stop,
        visit: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut logits = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            if stop.reason().is_some() {
                return Err(Error::Cancelled);
            }
            self.forward(std::slice::from_ref(token), stop, &mut logits)?;
            visit(index, &logits)?;
        }
        Ok(())
    }

    /// Takes over what other sequences over the same weights have computed of `prompt` but its last token;
    /// its beginning is in the cache. Answers with how many tokens of it then are.
    fn adopt(&mut self, _prompt: &[u32]) -> usize {
        self.position()
    }

    /// Says that the call under way is over. Until the next one the cache may be given up for others, so ask
    /// [`CandleModel::position`] what is left.
    fn rest(&mut self) {}

    /// The memory of the caches of all sequences over these weights, where it is counted.
    fn kv_memory(&self) -> Option<KvMemoryUse> {
        None
    }

    /// What forward passes of all sequences over these weights were, where they are counted.
    fn pass_counts(&self) -> Option<&PassCounts> {
        None
    }

    /// Another sequence over the same weights, with an empty cache.
    fn new_sequence(&self) -> Box<dyn CandleModel>;

    /// Another sequence over the same weights with a copy of this one's cache. An engine whose cache
    /// cannot be copied answers with an empty one, so ask [`CandleModel::position`] what is in it.
    fn fork(&self) -> Result<Box<dyn CandleModel>> {
        Ok(self.new_sequence())
    }
}

/// The tokens of one text, and the type (segment) of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextTokens<'a> {
    /// At least one.
    pub(crate) tokens: &'a [u32],
    /// As many; all 0 in a text that stands for itself. Decoders have none and look at none.
    pub(crate) types: &'a [u32],
}

/// Of which tokens states are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Of all of them.
    Every,
    /// Of each text's last one.
    Last,
}

/// A model that turns the tokens of texts into states. Threads share it.
pub(crate) trait TextModel: Send + Sync {
    /// Numbers of a state.
    fn width(&self) -> usize;

    /// The states behind the last layer, `tokens × width`, the texts behind each other. A state depends on its own text
    /// alone, to the last bit.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `stop` has a reason on the way, [`Error::Numeric`] for states that are not finite.
    fn states(&self, texts: &[TextTokens], wanted: Wanted, stop: &Stop) -> Result<Vec<f32>>;
}

/// Refuses NaN and infinities, which would turn every choice into token 0 or a lottery.
pub(crate) fn check_finite(logits: &[f32]) -> Result<()> {
    if are_finite(logits) {
        return Ok(());
    }
    let is_not = |logit: &f32| !logit.is_finite();
    let id = logits.iter().position(is_not).unwrap_or_default();
    Err(Error::Numeric {
        place: "logits".into(),
        what: format!("the logit of token {id} is {}", logits[id]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_that_are_not_finite_are_an_error() {
        assert!(check_finite(&[1.0, -2.0]).is_ok());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = check_finite(&[1.0, bad]).unwrap_err();
            assert!(matches!(error, Error::Numeric { .. }), "{error}");
        }
    }
}
