//! Continuous batching: the sequences that are being generated share the forward passes.
//!
//! There is no scheduler thread. The first waiting caller becomes the leader: it runs one batched forward pass
//! after the other until its own tokens are computed, and then hands the lead to another caller that waits. So
//! sequences join and leave between two passes, one alone pays nothing for the others that might come, and each
//! caller samples and calls back on its own thread. A caller is woken for its own result or to lead.
//!
//! Decode comes first: a pass takes the next token of every sequence that has one, and as much of the waiting
//! prompts, in turns, as the latency target allows (as in vLLM's chunked prefill).

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use candle4j_kernels::{are_finite, for_each_part};

use super::budget::KvBudget;
use super::cache::SequenceCache;
use super::decoder::{Decoder, Logits, SequenceStep};
use super::pace::{LEAST_ROWS, Pace};
use crate::cancel::Stop;
use crate::engines::check_finite;
use crate::error::{Error, Result, panic_message};
use crate::metrics::PassCounts;

/// The longest that a leader waits for sequences that were in the last pass.
const LONGEST_WAIT: Duration = Duration::from_millis(10);

/// The longest that sequences wait for memory that calls outside of the queue hold.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most draft tokens of one pass: they take time from the sequences that have none.
const MOST_DRAFT: usize = 32;

/// How often the leader looks whether there is memory again.
const AGAIN: Duration = Duration::from_millis(5);

/// Tokens of one sequence that are to be computed.
pub(crate) struct PendingStep {
    /// At least one.
    pub(crate) tokens: Vec<u32>,
    /// The sequence's cache, which comes back with the outcome.
    pub(crate) cache: SequenceCache,
    /// As [`SequenceStep::final_len`].
    pub(crate) final_len: usize,
    /// How many of the last tokens, at least one, return logits.
    pub(crate) wanted: usize,
    /// How many of the last tokens, fewer than `wanted`, are draft tokens. They run in one pass with the others, and are
    /// dropped where there is no memory for them, or where other sequences have enough of them.
    pub(crate) draft: usize,
    /// As [`SequenceStep::logits`]; they come back too.
    pub(crate) logits: Vec<f32>,
    /// Why the call may have to stop.
    pub(crate) stop: Stop,
}

impl PendingStep {
    /// The logits but those of draft tokens, which need not be finite: the draft may be a text that no answer contains.
    fn certain_logits(&self) -> &[f32] {
        &self.logits[..self.logits.len() / self.wanted * (self.wanted - self.draft)]
    }

    /// [`Self::certain_logits`] by token.
    fn certain_rows(&self) -> impl Iterator<Item = &[f32]> {
        let logits = self.certain_logits();
        logits.chunks_exact(logits.len() / (self.wanted - self.draft))
    }

    /// Drops the draft tokens.
    fn drop_draft(&mut self) {
        self.tokens.truncate(self.tokens.len() - self.draft);
        self.wanted -= std::mem::take(&mut self.draft);
    }
}

/// A step as it comes back: with its tokens in the cache and its logits, unless the outcome is an
/// error. After [`Error::Cancelled`] the cache holds what was computed; after another one it is to
/// be thrown away.
type Done = (PendingStep, Result<()>);

/// A step in the queue.
struct QueuedStep {
    work: PendingStep,
    /// Tokens that are in the cache already.
    computed: usize,
    ticket: Arc<Ticket>,
}

impl QueuedStep {
    fn left(&self) -> usize {
        self.work.tokens.len() - self.computed
    }

    /// Whether these are the next tokens of a sequence, or the last of a prompt, rather than a prompt.
    fn is_decode(&self) -> bool {
        self.left() == 1 || self.work.draft > 0
    }

    /// Takes over what another sequence has computed, but the last token, whose logits are wanted.
    fn adopt(&mut self) {
        if self.work.wanted == 1 {
            let next = &self.work.tokens[self.computed..self.work.tokens.len() - 1];
            self.computed += self.work.cache.adopt(next);
        }
    }

    /// See [`SequenceCache::next_page`]; `None` where logits of more than the last token are wanted.
    fn next_page(&self) -> Option<(usize, Vec<u32>)> {
        let next = &self.work.tokens[self.computed..];
        match self.work.wanted {
            1 => self.work.cache.next_page(next),
            _ => None,
        }
    }
}

/// What a caller waits for.
struct Ticket {
    thread: Thread,
    signal: Mutex<Signal>,
}

#[derive(Default)]
struct Signal {
    lead: bool,
    done: Option<Done>,
}

impl Ticket {
    fn signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, done: Done) {
        self.signal().done = Some(done);
        self.thread.unpark();
    }

    /// Waits for the result; `None` when this caller is to lead.
    fn wait(&self) -> Option<Done> {
        loop {
            let mut signal = self.signal();
            if signal.done.is_some() {
                return signal.done.take();
            }
            if signal.lead {
                return None;
            }
            drop(signal);
            std::thread::park();
        }
    }
}

/// The queue of one decoder.
pub(crate) struct Scheduler {
    decoder: Arc<Decoder>,
    /// Most sequences of one pass.
    limit: usize,
    state: Mutex<State>,
    /// Something came into the queue while the leader waits for it.
    arrived: Condvar,
    counts: PassCounts,
}

struct State {
    waiting: VecDeque<QueuedStep>,
    leading: bool,
    /// Sequences that the next pass is likely to have: those of the last one, which will come back soon,
    /// and those that wait.
    expected: usize,
    /// How long the last pass took.
    took: Duration,
    /// Since when nothing that waits has had memory.
    starved: Option<Instant>,
    pace: Pace,
}

/// Gives the lead to a caller that waits, also when the leader panics.
struct Lead<'a>(&'a Scheduler);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        match state.waiting.front() {
            Some(next) => {
                next.ticket.signal().lead = true;
                next.ticket.thread.unpark();
            }
            None => state.leading = false,
        }
    }
}

impl Scheduler {
    /// Up to `limit` sequences of a decoder at a time, in passes of about `target` where there are prompts.
    pub(crate) fn new(decoder: Arc<Decoder>, limit: usize, target: Duration) -> Self {
        Self {
            decoder,
            limit,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                leading: false,
                expected: 0,
                took: Duration::ZERO,
                starved: None,
                pace: Pace::new(target),
            }),
            arrived: Condvar::new(),
            counts: PassCounts::default(),
        }
    }

    /// What the passes so far were.
    pub(crate) fn counts(&self) -> &PassCounts {
        &self.counts
    }

    /// The weights.
    pub(crate) fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// Computes tokens, together with what others want computed. Blocks until it is done, or stopped.
    pub(crate) fn forward(&self, mut work: PendingStep) -> Done {
        let budget = self.decoder.budget();
        let needed = |work: &PendingStep| {
            let cache = self.decoder.new_cache(0);
            cache.bytes_for(work.cache.len() + work.tokens.len())
        };
        if needed(&work) > budget.limit() {
            work.drop_draft();
        }
        let needed = needed(&work);
        if needed > budget.limit() {
            let error = Error::OutOfMemory {
                what: format!("the KV cache of {} tokens", work.final_len),
                needed: needed as u64,
                available: budget.limit() as u64,
            };
            return (work, Err(error));
        }
        let ticket = Arc::new(Ticket {
            thread: std::thread::current(),
            signal: Mutex::default(),
        });
        let mut state = self.lock();
        state.waiting.push_back(QueuedStep {
            work,
            computed: 0,
            ticket: ticket.clone(),
        });
        let leads = !std::mem::replace(&mut state.leading, true);
        drop(state);
        if !leads {
            self.arrived.notify_one();
            if let Some(done) = ticket.wait() {
                return done;
            }
        }
        let _lead = Lead(self);
        loop {
            self.pass();
            let done = ticket.signal().done.take();
            if let Some(done) = done {
                return done;
            }
        }
    }

    /// Runs one pass and hands out what is done.
    fn pass(&self) {
        let batch = self.next_batch();
        if batch.is_empty() {
            return;
        }
        let tokens: usize = batch.iter().map(|(_, rows)| rows).sum();
        let prompts = batch.iter().filter(|(pending, _)| !pending.is_decode());
        let rows: usize = prompts.map(|(_, rows)| rows).sum();
        let decodes = batch.iter().filter(|(p, _)| p.is_decode()).count();
        let tickets: Vec<Arc<Ticket>> = batch.iter().map(|(p, _)| p.ticket.clone()).collect();
        let start = Instant::now();
        let computed = catch_unwind(AssertUnwindSafe(|| self.compute(batch)));
        let took = start.elapsed();
        self.counts.passes.add(1);
        self.counts.sequences.add(tickets.len());
        self.counts.tokens.add(tokens);
        self.counts.time.add(took);

        let mut state = self.lock();
        state.took = took;
        state.pace.observe(decodes, rows, took);
        let outcomes = computed.unwrap_or_else(|panic| {
            // Nobody is left waiting, whatever went wrong.
            let error = Error::Panic(panic_message(panic.as_ref()));
            let lost = tickets.into_iter().map(|ticket| self.lost(ticket));
            lost.map(|pending| (pending, Err(error.clone()))).collect()
        });
        let mut back = 0;
        for (pending, outcome) in outcomes {
            if outcome.is_ok() && pending.left() > 0 {
                // Behind the others, so that prompts take turns.
                state.waiting.push_back(pending);
            } else {
                back += usize::from(outcome.is_ok());
                pending.ticket.deliver((pending.work, outcome));
            }
        }
        state.expected = back + state.waiting.len();
    }

    fn lost(&self, ticket: Arc<Ticket>) -> QueuedStep {
        QueuedStep {
            work: PendingStep {
                tokens: Vec::new(),
                cache: self.decoder.new_cache(0),
                final_len: 0,
                wanted: 1,
                draft: 0,
                logits: Vec::new(),
                stop: Stop::default(),
            },
            computed: 0,
            ticket,
        }
    }

    /// Takes what the next pass computes out of the queue, with the number of tokens of each.
    fn next_batch(&self) -> Vec<(QueuedStep, usize)> {
        let mut state = self.lock();
        if state.starved.is_some() {
            let waited = self.arrived.wait_timeout(state, AGAIN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let expected = state.expected.min(self.limit);
        let deadline = Instant::now() + (state.took / 4).min(LONGEST_WAIT);
        while state.waiting.len() < expected {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (stopped, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|pending| pending.work.stop.reason().is_some());
        state.waiting = waiting.into();
        for pending in stopped {
            let done = (pending.work, Err(Error::Cancelled));
            pending.ticket.deliver(done);
        }
        self.plan(&mut state)
    }

    fn plan(&self, state: &mut State) -> Vec<(QueuedStep, usize)> {
        let batch = self.within_time(state);
        self.within_memory(batch, state)
    }

    /// Leaves out what there is no memory for. It waits for what other calls give back; when there are none,
    /// or none has for a while, the last that came fails.
    fn within_memory(
        &self,
        batch: Vec<(QueuedStep, usize)>,
        state: &mut State,
    ) -> Vec<(QueuedStep, usize)> {
        let budget = self.decoder.budget();
        let (mut taken, mut fitting, mut left_out) = (0, Vec::new(), Vec::new());
        for (mut pending, mut rows) in batch {
            let mut needed = pending.work.cache.bytes_for(rows);
            let mut fits = budget.make_room(taken + needed);
            if !fits && pending.work.draft > 0 {
                pending.work.drop_draft();
                rows = pending.left();
                needed = pending.work.cache.bytes_for(rows);
                fits = budget.make_room(taken + needed);
            }
            if fits {
                taken += needed;
                fitting.push((pending, rows));
            } else {
                left_out.push((pending, needed));
            }
        }
        if !fitting.is_empty() || left_out.is_empty() {
            state.starved = None;
        } else {
            let others = budget.busy() > left_out.len() + state.waiting.len();
            let since = *state.starved.get_or_insert_with(Instant::now);
            if (!others || since.elapsed() > PATIENCE)
                && let Some((pending, needed)) = left_out.pop()
            {
                state.starved = None;
                let error = out_of_memory(&pending.work.cache, needed, budget);
                pending.ticket.deliver((pending.work, Err(error)));
            }
        }
        let left_out = left_out.into_iter().map(|(pending, _)| pending);
        state.waiting.extend(left_out);
        fitting
    }

    fn within_time(&self, state: &mut State) -> Vec<(QueuedStep, usize)> {
        let (decodes, prompts): (Vec<_>, Vec<_>) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(QueuedStep::is_decode);
        let mut batch = Vec::new();
        // One place is kept for prompts, which would wait for ever otherwise.
        let places = match prompts.is_empty() {
            true => self.limit,
            false => (self.limit - 1).max(1),
        };
        let mut drafts = MOST_DRAFT;
        for mut pending in decodes {
            match batch.len() < places {
                true => {
                    match drafts.checked_sub(pending.work.draft) {
                        Some(left) => drafts = left,
                        None => pending.work.drop_draft(),
                    }
                    let rows = pending.left();
                    batch.push((pending, rows));
                }
                false => state.waiting.push_back(pending),
            }
        }
        let mut rows = state.pace.rows(batch.len());
        let places = self.limit.max(2) - batch.len();
        let mut same = HashSet::new();
        for (index, mut pending) in prompts.into_iter().enumerate() {
            pending.adopt();
            // Of sequences that need the same page next one computes it, and the others take it over.
            if pending.next_page().is_some_and(|page| !same.insert(page)) {
                state.waiting.push_back(pending);
                continue;
            }
            // Prompts take turns, instead of each having a part of every pass: fewer rows of more sequences
            // read more keys and values.
            let wanted = match pending.work.wanted {
                1 => pending.left().min(rows),
                _ => pending.left(),
            };
            if index < places && (rows >= LEAST_ROWS || pending.left() <= rows) {
                rows = rows.saturating_sub(wanted);
                batch.push((pending, wanted));
            } else {
                state.waiting.push_back(pending);
            }
        }
        batch
    }

    fn compute(&self, mut batch: Vec<(QueuedStep, usize)>) -> Vec<(QueuedStep, Result<()>)> {
        match self.forward_pass(&mut batch) {
            Ok(()) => {
                for (pending, rows) in &mut batch {
                    pending.computed += *rows;
                }
                let finite = finite(&batch);
                let outcome = |((pending, _), finite): ((QueuedStep, usize), bool)| {
                    let outcome = match finite {
                        true => Ok(()),
                        false => pending.work.certain_rows().try_for_each(check_finite),
                    };
                    (pending, outcome)
                };
                batch.into_iter().zip(finite).map(outcome).collect()
            }
            // Whose fault it was shows when each runs alone. The caches are as they were.
            Err(_) if batch.len() > 1 => batch
                .into_iter()
                .flat_map(|one| self.compute(vec![one]))
                .collect(),
            Err(error) => batch
                .into_iter()
                .map(|(pending, _)| (pending, Err(error.clone())))
                .collect(),
        }
    }

    fn forward_pass(&self, batch: &mut [(QueuedStep, usize)]) -> Result<()> {
        let mut steps: Vec<SequenceStep> = batch
            .iter_mut()
            .map(|(pending, rows)| SequenceStep {
                wanted: match pending.work.tokens.len() - pending.computed == *rows {
                    true => Logits::Last(pending.work.wanted),
                    false => Logits::None,
                },
                tokens: &pending.work.tokens[pending.computed..][..*rows],
                cache: &mut pending.work.cache,
                final_len: pending.work.final_len,
                logits: &mut pending.work.logits,
            })
            .collect();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.decoder.forward(&mut steps)))
            .unwrap_or_else(|panic| Err(Error::Panic(panic_message(panic.as_ref()))));
        if outcome.is_err() {
            steps.iter_mut().for_each(|step| step.cache.rollback());
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn out_of_memory(cache: &SequenceCache, more: usize, budget: &KvBudget) -> Error {
    Error::OutOfMemory {
        what: format!("the KV cache of a sequence of {} tokens", cache.len()),
        needed: more as u64,
        available: budget.limit().saturating_sub(budget.used()) as u64,
    }
}

/// Whose logits are finite, or not there yet. All threads look while they wait for work anyway: afterwards the
/// sequences would share what processors these leave to them.
fn finite(batch: &[(QueuedStep, usize)]) -> Vec<bool> {
    /// Logits that a thread looks at at a time.
    const PART: usize = 1 << 14;
    let answers: Vec<AtomicBool> = batch.iter().map(|_| AtomicBool::new(true)).collect();
    let complete = batch
        .iter()
        .zip(&answers)
        .filter(|((pending, _), _)| pending.left() == 0);
    let parts = complete.flat_map(|((pending, _), answer)| {
        let parts = pending.work.certain_logits().chunks(PART);
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
