//! Continuous batching: the sequences that are being generated share the forward passes.
//!
//! There is no thread of its own. Whoever wants tokens computed puts them into a queue; the first
//! that finds nobody at it leads: it takes what is waiting, as much as may run together, through the
//! decoder in one pass, and hands out the results. So sequences join and leave between two tokens,
//! one alone pays nothing for the others that might come, and each caller samples and calls back on
//! its own thread.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use candle4j_kernels::{are_finite, for_each_part};

use super::cache::SequenceCache;
use super::decoder::{Decoder, Piece};
use crate::error::{Error, Result};
use crate::generate::check_finite;
use crate::pool::panic_message;

/// Rows that go through the model in one pass, as long as one sequence alone does not bring more.
const ROWS_AT_ONCE: usize = 512;

/// The longest that a leader waits for sequences that were in the last pass.
const LONGEST_WAIT: Duration = Duration::from_millis(10);

/// Tokens of one sequence that are to be computed.
pub(crate) struct Work {
    /// At least one.
    pub(crate) tokens: Vec<u32>,
    /// The sequence's cache, which comes back with the outcome.
    pub(crate) cache: SequenceCache,
    /// As [`Piece::length`].
    pub(crate) length: usize,
    /// As [`Piece::every`].
    pub(crate) every: bool,
    /// As [`Piece::logits`]; they come back too.
    pub(crate) logits: Vec<f32>,
}

impl Work {
    /// The logits of each token for which they were asked.
    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let count = if self.every { self.tokens.len() } else { 1 };
        self.logits.chunks_exact(self.logits.len() / count)
    }
}

/// Work as it comes back, with its tokens in the cache and its logits unless the outcome is an error.
type Done = (Work, Result<()>);

/// The queue of one decoder.
pub(crate) struct Scheduler {
    decoder: Arc<Decoder>,
    /// Most sequences of one pass.
    limit: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: VecDeque<(u64, Work)>,
    done: HashMap<u64, Done>,
    leading: bool,
    /// Sequences that the next pass is likely to have: those of the last one, which will come back soon,
    /// and those that came meanwhile.
    expected: usize,
    /// How long the last pass took.
    took: Duration,
}

impl Scheduler {
    /// Up to `limit` sequences of a decoder at a time.
    pub(crate) fn new(decoder: Arc<Decoder>, limit: usize) -> Self {
        Self {
            decoder,
            limit: AtomicUsize::new(limit),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The weights.
    pub(crate) fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// Lets at least `count` sequences run together.
    pub(crate) fn allow_together(&self, count: usize) {
        self.limit.fetch_max(count, Ordering::Relaxed);
    }

    /// Computes tokens, together with what others want computed. Blocks until it is done.
    pub(crate) fn forward(&self, work: Work) -> Done {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.waiting.push_back((id, work));
        if state.leading {
            self.changed.notify_all();
        }
        loop {
            if let Some(done) = state.done.remove(&id) {
                return done;
            }
            state = if state.leading {
                self.wait(state, None)
            } else {
                self.lead(state)
            };
        }
    }

    /// Takes one batch through the decoder.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.leading = true;
        let limit = self.limit.load(Ordering::Relaxed);
        let expected = state.expected.min(limit);
        let deadline = Instant::now() + (state.took / 4).min(LONGEST_WAIT);
        while state.waiting.len() < expected {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.wait(state, Some(left));
        }
        let batch = take(&mut state.waiting, limit);
        drop(state);

        let start = Instant::now();
        let done = self.compute(batch);
        let took = start.elapsed();

        let mut state = self.lock();
        state.expected = done.len() + state.waiting.len();
        state.took = took;
        state.done.extend(done);
        state.leading = false;
        self.changed.notify_all();
        state
    }

    fn compute(&self, mut batch: Vec<(u64, Work)>) -> Vec<(u64, Done)> {
        let outcome = self.pass(&mut batch);
        match outcome {
            Ok(()) => {
                let finite = finite(&batch);
                let done = |((id, work), finite): ((u64, Work), bool)| {
                    let outcome = match finite {
                        true => Ok(()),
                        false => work.rows().try_for_each(check_finite),
                    };
                    (id, (work, outcome))
                };
                batch.into_iter().zip(finite).map(done).collect()
            }
            // Whose fault it was shows when each runs alone.
            Err(_) if batch.len() > 1 => batch
                .into_iter()
                .flat_map(|one| self.compute(vec![one]))
                .collect(),
            Err(error) => batch
                .into_iter()
                .zip(std::iter::once(error))
                .map(|((id, work), error)| (id, (work, Err(error))))
                .collect(),
        }
    }

    fn pass(&self, batch: &mut [(u64, Work)]) -> Result<()> {
        let mut pieces: Vec<Piece> = batch
            .iter_mut()
            .map(|(_, work)| Piece {
                tokens: &work.tokens,
                cache: &mut work.cache,
                length: work.length,
                every: work.every,
                logits: &mut work.logits,
            })
            .collect();
        catch_unwind(AssertUnwindSafe(|| self.decoder.forward(&mut pieces)))
            .unwrap_or_else(|panic| Err(Error::Panic(panic_message(panic.as_ref()))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match limit {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
            Some(limit) => {
                let (state, _) = self
                    .changed
                    .wait_timeout(state, limit)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                state
            }
        }
    }
}

/// Whose logits are finite. All threads look while they wait for work anyway: afterwards the sequences would
/// share what processors these leave to them.
fn finite(batch: &[(u64, Work)]) -> Vec<bool> {
    /// Logits that a thread looks at at a time.
    const PART: usize = 1 << 14;
    let answers: Vec<AtomicBool> = batch.iter().map(|_| AtomicBool::new(true)).collect();
    let parts = batch.iter().zip(&answers).flat_map(|((_, work), answer)| {
        let parts = work.logits.chunks(PART);
        parts.map(move |logits| (logits, answer))
    });
    for_each_part(
        parts.collect(),
        |(logits, answer): (&[f32], &AtomicBool)| {
            if !are_finite(logits) {
                answer.store(false, Ordering::Relaxed);
            }
        },
    );
    answers.into_iter().map(AtomicBool::into_inner).collect()
}

/// Takes the oldest of what is waiting, as much as may run together.
fn take(waiting: &mut VecDeque<(u64, Work)>, limit: usize) -> Vec<(u64, Work)> {
    let mut rows = 0;
    let count = waiting
        .iter()
        .take(limit)
        .take_while(|(_, work)| {
            rows += work.tokens.len();
            rows <= ROWS_AT_ONCE
        })
        .count()
        .max(1);
    waiting.drain(..count.min(waiting.len())).collect()
}
