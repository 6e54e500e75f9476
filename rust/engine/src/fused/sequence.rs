//! One sequence of the `fused` engine, behind the engine's own trait.

use std::sync::{Arc, PoisonError};

use super::budget::{Busy, Resting};
use super::cache::SequenceCache;
use super::decoder::{Logits, Piece};
use super::scheduler::{Scheduler, Work};
use crate::candle::candle_error;
use crate::error::{Error, Result};
use crate::generate::Stop;
use crate::model::{CandleModel, KvMemoryUse, ModelLimits};

/// Tokens that go through the model at once where the logits behind each are wanted.
const SCORE_CHUNK: usize = 64;

/// A sequence with its KV cache, over weights that others share.
pub(crate) struct FusedSequence {
    scheduler: Arc<Scheduler>,
    limits: Arc<ModelLimits>,
    cache: Place,
    /// Tokens that the sequence has once the call under way is done.
    expected: usize,
    /// The longest that it was ever expected to be since it was empty.
    longest: usize,
    /// There while a call is under way.
    busy: Option<Busy>,
}

/// Where a sequence's cache is.
enum Place {
    /// In use.
    Here(SequenceCache),
    /// Between two calls, where it can be given up.
    Resting(Arc<Resting>),
}

impl FusedSequence {
    /// An empty sequence.
    pub(crate) fn new(scheduler: Arc<Scheduler>, limits: Arc<ModelLimits>) -> Self {
        let cache = scheduler.decoder().new_cache(limits.context_length);
        Self {
            scheduler,
            limits,
            cache: Place::Here(cache),
            expected: 0,
            longest: 0,
            busy: None,
        }
    }

    /// The cache, to be used; empty when it was given up.
    fn cache(&mut self) -> &mut SequenceCache {
        if let Place::Resting(place) = &self.cache {
            let kept = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut cache = kept.unwrap_or_else(|| {
                (self.expected, self.longest) = (0, 0);
                let decoder = self.scheduler.decoder();
                decoder.new_cache(self.limits.context_length)
            });
            cache.wake();
            self.cache = Place::Here(cache);
        }
        match &mut self.cache {
            Place::Here(cache) => cache,
            Place::Resting(_) => unreachable!("it was taken back"),
        }
    }

    /// Whether keys of a sequence this long are those of any other with the same tokens.
    fn shares(&self, length: usize) -> bool {
        let fixed = self.scheduler.decoder().fixed_up_to();
        fixed.is_none_or(|limit| length <= limit)
    }

    fn run(
        &mut self,
        tokens: &[u32],
        every: bool,
        stop: &Stop,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let position = self.cache().len();
        self.limits.check(position, tokens)?;
        if self.busy.is_none() {
            self.busy = Some(Busy::new(self.scheduler.decoder().budget()));
        }
        let length = self.expected.max(position + tokens.len());
        self.longest = self.longest.max(length);
        let shares = self.shares(self.longest);
        self.cache().share_if(shares);
        let nothing = self.scheduler.decoder().new_cache(0);
        let cache = std::mem::replace(self.cache(), nothing);
        let (done, outcome) = self.scheduler.forward(Work {
            tokens: tokens.to_vec(),
            cache,
            length,
            every,
            logits: std::mem::take(logits),
            stop: stop.clone(),
        });
        *self.cache() = done.cache;
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
            self.cache().truncate(0);
            error
        })
    }

    /// The layer in which the numbers of tokens stop being finite.
    fn locate_fault(&mut self, position: usize, tokens: &[u32], length: usize) -> Option<String> {
        let scheduler = self.scheduler.clone();
        self.cache().truncate(position);
        let piece = Piece {
            tokens,
            cache: self.cache(),
            length,
            wanted: Logits::Last,
            logits: &mut Vec::new(),
        };
        let layer = scheduler.decoder().locate_fault(piece)?;
        Some(format!("layer {layer}"))
    }
}

impl CandleModel for FusedSequence {
    fn limits(&self) -> &ModelLimits {
        &self.limits
    }

    fn position(&self) -> usize {
        match &self.cache {
            Place::Here(cache) => cache.len(),
            Place::Resting(place) => {
                let cache = place.lock().unwrap_or_else(PoisonError::into_inner);
                cache.as_ref().map_or(0, SequenceCache::len)
            }
        }
    }

    fn truncate(&mut self, position: usize) {
        if position >= self.cache().len() {
            return;
        }
        // Keys that were rotated for a longer sequence are of no use to a shorter one.
        let position = match self.scheduler.decoder().fixed_up_to() {
            Some(limit) if self.longest > limit => 0,
            _ => position,
        };
        self.cache().truncate(position);
        self.expected = 0;
        if self.cache().len() == 0 {
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
        let length = self.cache().len() + tokens.len();
        self.expect_length(length);
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

    fn adopt(&mut self, prompt: &[u32]) -> usize {
        let shares = self.shares(prompt.len());
        if !shares && self.shares(self.longest) {
            // Keys that were rotated for a shorter sequence are of no use to a longer one.
            self.truncate(0);
        }
        let position = self.cache().len();
        if shares {
            self.cache().adopt(&prompt[position..prompt.len() - 1]);
        }
        self.cache().len()
    }

    fn rest(&mut self) {
        self.busy = None;
        if let Place::Here(cache) = &mut self.cache {
            let nothing = self.scheduler.decoder().new_cache(0);
            let mut cache = std::mem::replace(cache, nothing);
            cache.rest();
            self.cache = Place::Resting(self.scheduler.decoder().budget().rest(cache));
        }
    }

    fn kv_memory(&self) -> Option<KvMemoryUse> {
        let budget = self.scheduler.decoder().budget();
        Some(KvMemoryUse {
            used: budget.used() as u64,
            limit: budget.limit() as u64,
        })
    }

    fn fork(&self) -> Box<dyn CandleModel> {
        Box::new(Self::new(self.scheduler.clone(), self.limits.clone()))
    }

    fn branch(&self) -> Result<Box<dyn CandleModel>> {
        let copy = |cache: &SequenceCache| cache.fork().map_err(|e| candle_error(&e));
        let cache = match &self.cache {
            Place::Here(cache) => copy(cache)?,
            Place::Resting(place) => {
                let cache = place.lock().unwrap_or_else(PoisonError::into_inner);
                let new = || {
                    self.scheduler
                        .decoder()
                        .new_cache(self.limits.context_length)
                };
                cache.as_ref().map_or_else(|| Ok(new()), copy)?
            }
        };
        let mut branch = Self {
            scheduler: self.scheduler.clone(),
            limits: self.limits.clone(),
            cache: Place::Here(cache),
            expected: self.expected,
            longest: self.longest,
            busy: None,
        };
        branch.rest();
        Ok(Box::new(branch))
    }
}
