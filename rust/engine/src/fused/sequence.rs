//! One sequence of the `fused` engine, behind the engine's own trait.

use std::sync::Arc;

use super::cache::SequenceCache;
use super::decoder::{Logits, Piece};
use super::scheduler::{Scheduler, Work};
use crate::candle::candle_error;
use crate::error::{Error, Result};
use crate::generate::Stop;
use crate::model::{CandleModel, ModelLimits};

/// Tokens that go through the model at once where the logits behind each are wanted.
const SCORE_CHUNK: usize = 64;

/// A sequence with its KV cache, over weights that others share.
pub(crate) struct FusedSequence {
    scheduler: Arc<Scheduler>,
    limits: Arc<ModelLimits>,
    cache: SequenceCache,
    /// Tokens that the sequence has once the call under way is done.
    expected: usize,
    /// The longest that it was ever expected to be since it was empty.
    longest: usize,
}

impl FusedSequence {
    /// An empty sequence.
    pub(crate) fn new(scheduler: Arc<Scheduler>, limits: Arc<ModelLimits>) -> Self {
        let cache = scheduler.decoder().new_cache(limits.context_length);
        Self {
            scheduler,
            limits,
            cache,
            expected: 0,
            longest: 0,
        }
    }

    fn run(
        &mut self,
        tokens: &[u32],
        every: bool,
        stop: &Stop,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let position = self.cache.len();
        self.limits.check(position, tokens)?;
        let length = self.expected.max(position + tokens.len());
        self.longest = self.longest.max(length);
        let nothing = self.scheduler.decoder().new_cache(0);
        let (done, outcome) = self.scheduler.forward(Work {
            tokens: tokens.to_vec(),
            cache: std::mem::replace(&mut self.cache, nothing),
            length,
            every,
            logits: std::mem::take(logits),
            stop: stop.clone(),
        });
        self.cache = done.cache;
        *logits = done.logits;
        outcome.map_err(|error| {
            let error = match error {
                Error::Numeric { place, what } => Error::Numeric {
                    place: self.locate_fault(position, tokens, length).unwrap_or(place),
                    what,
                },
                // What was computed stays.
                Error::Cancelled => return Error::Cancelled,
                other => other,
            };
            self.cache.truncate(0);
            error
        })
    }

    /// The layer in which the numbers of tokens stop being finite.
    fn locate_fault(&mut self, position: usize, tokens: &[u32], length: usize) -> Option<String> {
        self.cache.truncate(position);
        let piece = Piece {
            tokens,
            cache: &mut self.cache,
            length,
            wanted: Logits::Last,
            logits: &mut Vec::new(),
        };
        let layer = self.scheduler.decoder().locate_fault(piece)?;
        Some(format!("layer {layer}"))
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
        let position = match self.scheduler.decoder().fixed_up_to() {
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

    fn forward(&mut self, tokens: &[u32], stop: &Stop, logits: &mut Vec<f32>) -> Result<()> {
        self.run(tokens, false, stop, logits)
    }

    fn forward_each(
        &mut self,
        tokens: &[u32],
        stop: &Stop,
        visit: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.expect_length(self.cache.len() + tokens.len());
        let mut logits = Vec::new();
        for (chunk, tokens) in tokens.chunks(SCORE_CHUNK).enumerate() {
            self.run(tokens, true, stop, &mut logits)?;
            let rows = logits.chunks_exact(logits.len() / tokens.len());
            for (index, logits) in rows.enumerate() {
                visit(chunk * SCORE_CHUNK + index, logits)?;
            }
        }
        Ok(())
    }

    fn fork(&self) -> Box<dyn CandleModel> {
        Box::new(Self::new(self.scheduler.clone(), self.limits.clone()))
    }

    fn branch(&self) -> Result<Box<dyn CandleModel>> {
        Ok(Box::new(Self {
            scheduler: self.scheduler.clone(),
            limits: self.limits.clone(),
            cache: self.cache.fork().map_err(|e| candle_error(&e))?,
            expected: self.expected,
            longest: self.longest,
        }))
    }
}
