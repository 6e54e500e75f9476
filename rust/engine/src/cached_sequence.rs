//! A sequence and the tokens whose keys and values it holds.

use std::sync::Arc;

use candle_core::DType;

use crate::engines::CandleModel;
use crate::error::Result;
use crate::model::Model;

/// A sequence, and what is known to be in its cache.
pub(crate) struct CachedSequence {
    pub(crate) model: Arc<Model>,
    pub(crate) sequence: Box<dyn CandleModel>,
    /// The precision of the weights that it was made over.
    pub(crate) dtype: Option<DType>,
    tokens: Vec<u32>,
}

impl CachedSequence {
    /// One with an empty cache.
    pub(crate) fn new(model: Arc<Model>) -> Self {
        let (sequence, dtype) = model.precise_sequence();
        Self {
            model,
            sequence,
            dtype,
            tokens: Vec::new(),
        }
    }

    /// Another one that goes on from here, with a copy of the cache where the engine can.
    pub(crate) fn fork(&self) -> Result<Self> {
        let sequence = self.sequence.fork()?;
        // What was given up in the meantime is missing.
        let tokens = self.tokens[..sequence.position()].to_vec();
        Ok(Self {
            model: self.model.clone(),
            sequence,
            dtype: self.dtype,
            tokens,
        })
    }

    /// How many tokens the cache has in common with the beginning of `prompt`.
    pub(crate) fn shared(&self, prompt: &[u32]) -> usize {
        let pairs = self.tokens.iter().zip(prompt);
        pairs.take_while(|(a, b)| a == b).count()
    }

    /// Whether all that is in the cache begins `prompt`, so that nothing is lost to it.
    pub(crate) fn begins(&self, prompt: &[u32]) -> bool {
        self.shared(prompt) == self.tokens.len()
    }

    /// Empties the cache.
    pub(crate) fn clear(&mut self) {
        self.sequence.truncate(0);
        self.tokens.clear();
    }

    /// Cuts the cache back to what it shares with `prompt`, leaving at least one token to compute;
    /// answers with how many tokens stay.
    pub(crate) fn reuse(&mut self, prompt: &[u32]) -> usize {
        self.sequence
            .truncate(self.shared(prompt).min(prompt.len() - 1));
        let kept = self.sequence.adopt(prompt);
        self.tokens.clear();
        self.tokens.extend_from_slice(&prompt[..kept]);
        kept
    }

    /// Does something with the sequence; once more with another one over weights in F32 where those in F16 did
    /// not do. Whatever comes out, the caller has to [remember](Self::remember) what is in the cache then.
    pub(crate) fn or_in_f32<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn CandleModel) -> Result<T>,
    ) -> Result<T> {
        work(self.sequence.as_mut()).or_else(|error| {
            (self.sequence, self.dtype) = self.model.retry_in_f32(error, self.dtype)?;
            work(self.sequence.as_mut())
        })
    }

    /// Notes what is in the cache now: the beginning of prompt and answer that was computed.
    pub(crate) fn remember(&mut self, prompt: &[u32], generated: &[u32]) {
        self.sequence.rest();
        let position = self.sequence.position();
        self.tokens.clear();
        self.tokens
            .extend(prompt.iter().chain(generated).take(position));
    }
}
