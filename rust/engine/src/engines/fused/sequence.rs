//! One sequence of the `fused` engine, behind the engine's own trait.

use std::sync::{Arc, PoisonError};

use super::budget::{Busy, Resting};
use super::cache::SequenceCache;
use super::decoder::{Logits, SequenceStep};
use super::scheduler::{PendingStep, Scheduler};
use crate::cancel::Stop;
use crate::engines::{CandleModel, KvMemoryUse, ModelLimits};
use crate::error::{Error, Result, candle_error};
use crate::metrics::PassCounts;

/// Tokens that go through the model at once where the logits behind each are wanted.
const SCORE_CHUNK: usize = 64;

/// A sequence with its KV cache, over weights that others share.
pub(crate) struct FusedSequence {
    scheduler: Arc<Scheduler>,
    limits: Arc<ModelLimits>,
    cache: Place,
    /// Tokens that the sequence has once the call under way is done.
    expected: usize,
    /// The [frequencies](Decoder::frequency_set) that the keys in the cache were rotated with: the first
    /// position of each run of equal ones.
    rotated: Vec<(usize, usize)>,
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
            rotated: Vec::new(),
            busy: None,
        }
    }

    /// The cache, to be used; empty when it was given up.
    fn cache(&mut self) -> &mut SequenceCache {
        if let Place::Resting(place) = &self.cache {
            let kept = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut cache = kept.unwrap_or_else(|| {
                self.expected = 0;
                self.rotated.clear();
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

    /// Drops the keys that a sequence of this length would have rotated with other frequencies.
    fn keep_rotated_for(&mut self, length: usize) {
        let set = self.scheduler.decoder().frequency_set(length);
        let position = self.cache().len();
        let kept = match self.rotated.first() {
            Some((_, own)) if *own == set => self.rotated.get(1).map_or(position, |next| next.0),
            _ => 0,
        };
        if kept < position {
            self.truncate(kept);
        }
    }

    /// How many of `draft` draft tokens can run behind `tokens` others, and be taken back afterwards.
    fn draft_room(&mut self, tokens: usize, draft: usize) -> usize {
        let position = self.cache().len();
        let length = position + tokens;
        let draft = draft.min(self.limits.context_length.saturating_sub(length));
        let decoder = self.scheduler.decoder();
        let set = |length| decoder.frequency_set(self.expected.max(length));
        match decoder.can_go_back() && set(length) == set(length + draft) {
            true => draft,
            false => 0,
        }
    }

    /// Notes the frequencies of the keys from a position on.
    fn note_rotation(&mut self, position: usize, set: usize) {
        let is_new = self.rotated.last().is_none_or(|(_, last)| *last != set);
        if self.cache().len() > position && is_new {
            self.rotated.push((position, set));
        }
    }

    /// Runs tokens, of which the last `draft` are draft tokens, and returns the logits of the last `wanted`. Answers with
    /// how many draft tokens ran.
    fn run(
        &mut self,
        tokens: &[u32],
        wanted: usize,
        draft: usize,
        stop: &Stop,
        logits: &mut Vec<f32>,
    ) -> Result<usize> {
        let position = self.cache().len();
        self.limits.check(position, tokens)?;
        if self.busy.is_none() {
            self.busy = Some(Busy::new(self.scheduler.decoder().budget()));
        }
        let length = self.expected.max(position + tokens.len());
        let set = self.scheduler.decoder().frequency_set(length);
        self.cache().share_if(set == 0);
        let nothing = self.scheduler.decoder().new_cache(0);
        let cache = std::mem::replace(self.cache(), nothing);
        let (done, outcome) = self.scheduler.forward(PendingStep {
            tokens: tokens.to_vec(),
            cache,
            final_len: length,
            wanted,
            draft,
            logits: std::mem::take(logits),
            stop: stop.clone(),
        });
        *self.cache() = done.cache;
        *logits = done.logits;
        self.note_rotation(position, set);
        outcome.map(|()| done.draft).map_err(|error| {
            let error = match error {
                Error::Numeric { place, what } => {
                    let certain = &tokens[..tokens.len() - draft];
                    let layer = self.locate_fault(position, certain, length);
                    Error::Numeric {
                        place: layer.unwrap_or(place),
                        what,
                    }
                }
                // What was computed stays.
                Error::Cancelled => return Error::Cancelled,
                other => other,
            };
            self.truncate(0);
            error
        })
    }

    /// The layer in which the numbers of tokens stop being finite.
    fn locate_fault(&mut self, position: usize, tokens: &[u32], length: usize) -> Option<String> {
        let scheduler = self.scheduler.clone();
        self.cache().truncate(position);
        let step = SequenceStep {
            tokens,
            cache: self.cache(),
            final_len: length,
            wanted: Logits::Last(1),
            logits: &mut Vec::new(),
        };
        let layer = scheduler.decoder().locate_fault(step)?;
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
        // An empty cache is reset too: a call that was stopped may have said that it shares nothing.
        if position > 0 && position >= self.cache().len() {
            return;
        }
        self.cache().truncate(position);
        self.expected = 0;
        let len = self.cache().len();
        self.rotated.retain(|(start, _)| *start < len);
    }

    fn expect_length(&mut self, length: usize) {
        self.keep_rotated_for(length);
        self.expected = length;
    }

    fn forward(&mut self, tokens: &[u32], stop: &Stop, logits: &mut Vec<f32>) -> Result<()> {
        self.run(tokens, 1, 0, stop, logits).map(|_| ())
    }

    fn forward_ahead(
        &mut self,
        tokens: &[u32],
        draft: &[u32],
        stop: &Stop,
        logits: &mut Vec<f32>,
    ) -> Result<usize> {
        let draft = &draft[..self.draft_room(tokens.len(), draft.len())];
        let all = [tokens, draft].concat();
        self.run(&all, 1 + draft.len(), draft.len(), stop, logits)
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
            self.run(tokens, tokens.len(), 0, stop, &mut logits)?;
            let rows = logits.chunks_exact(logits.len() / tokens.len());
            for (index, logits) in rows.enumerate() {
                visit(chunk * SCORE_CHUNK + index, logits)?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, prompt: &[u32]) -> usize {
        self.keep_rotated_for(prompt.len());
        let position = self.cache().len();
        if self.scheduler.decoder().frequency_set(prompt.len()) == 0 {
            self.cache().adopt(&prompt[position..prompt.len() - 1]);
            self.note_rotation(position, 0);
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

    fn pass_counts(&self) -> Option<&PassCounts> {
        Some(self.scheduler.counts())
    }

    fn new_sequence(&self) -> Box<dyn CandleModel> {
        Box::new(Self::new(self.scheduler.clone(), self.limits.clone()))
    }

    fn fork(&self) -> Result<Box<dyn CandleModel>> {
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
        let mut fork = Self {
            scheduler: self.scheduler.clone(),
            limits: self.limits.clone(),
            cache: Place::Here(cache),
            expected: self.expected,
            rotated: self.rotated.clone(),
            busy: None,
        };
        fork.rest();
        Ok(Box::new(fork))
    }
}
