//! One sequence of the `fused` engine, behind the engine's own trait.

use std::sync::Arc;

use super::cache::SequenceCache;
use super::decoder::{Decoder, Piece};
use crate::error::{Error, Result};
use crate::generate::check_finite;
use crate::model::{CandleModel, ModelLimits};

/// Tokens that go through the model at once where the logits behind each are wanted.
const SCORE_CHUNK: usize = 64;

/// A sequence with its KV cache, over weights that others share.
pub(crate) struct FusedSequence {
    decoder: Arc<Decoder>,
    limits: Arc<ModelLimits>,
    cache: SequenceCache,
    /// Tokens that the sequence has once the call under way is done.
    expected: usize,
    /// The longest that it was ever expected to be since it was empty.
    longest: usize,
}

impl FusedSequence {
    /// An empty sequence.
    pub(crate) fn new(decoder: Arc<Decoder>, limits: Arc<ModelLimits>) -> Self {
        let cache = decoder.new_cache(limits.context_length);
        Self {
            decoder,
            limits,
            cache,
            expected: 0,
            longest: 0,
        }
    }

    fn run(&mut self, tokens: &[u32], every: bool) -> Result<Vec<Vec<f32>>> {
        self.limits.check(self.cache.len(), tokens)?;
        let position = self.cache.len();
        let length = self.expected.max(position + tokens.len());
        self.longest = self.longest.max(length);
        let decoder = self.decoder.clone();
        let outcome = decoder
            .forward(&mut [self.piece(tokens, length, every)])
            .and_then(|logits| {
                match logits
                    .iter()
                    .map(|row| check_finite(row))
                    .find(Result::is_err)
                {
                    Some(Err(fault)) => Err(fault),
                    _ => Ok(logits),
                }
            });
        outcome.map_err(|error| {
            let error = match error {
                Error::Numeric { place, what } => {
                    self.cache.truncate(position);
                    let piece = self.piece(tokens, length, every);
                    let place = match decoder.locate_fault(piece) {
                        Some(layer) => format!("layer {layer}"),
                        None => place,
                    };
                    Error::Numeric { place, what }
                }
                other => other,
            };
            self.cache.truncate(0);
            error
        })
    }

    fn piece<'a>(&'a mut self, tokens: &'a [u32], length: usize, every: bool) -> Piece<'a> {
        Piece {
            tokens,
            cache: &mut self.cache,
            length,
            every,
        }
    }
}

impl CandleModel for FusedSequence {
    fn limits(&self) -> &ModelLimits {
        &self.limits
    }

    fn position(&self) -> usize {
        self.cache.len()
    }

    fn truncate(&mut self, position: usize) {
        if position >= self.cache.len() {
            return;
        }
        // Keys that were rotated for a longer sequence are of no use to a shorter one.
        let position = match self.decoder.fixed_up_to() {
            Some(limit) if self.longest > limit => 0,
            _ => position,
        };
        self.cache.truncate(position);
        self.expected = 0;
        if position == 0 {
            self.longest = 0;
        }
    }

    fn expect_length(&mut self, length: usize) {
        self.expected = length;
    }

    fn forward(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let rows = self.run(tokens, false)?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    fn forward_each(
        &mut self,
        tokens: &[u32],
        visit: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.expect_length(self.cache.len() + tokens.len());
        for (chunk, tokens) in tokens.chunks(SCORE_CHUNK).enumerate() {
            for (index, logits) in self.run(tokens, true)?.iter().enumerate() {
                visit(chunk * SCORE_CHUNK + index, logits)?;
            }
        }
        Ok(())
    }

    fn fork(&self) -> Box<dyn CandleModel> {
        Box::new(Self::new(self.decoder.clone(), self.limits.clone()))
    }
}
