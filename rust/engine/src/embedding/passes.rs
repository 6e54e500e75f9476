//! Texts of many callers, taken through a model together.
//!
//! Whoever waits for texts takes a pass when nobody else does: with its own texts and others', the first that came, and no
//! more than a pass should take. So threads that come and go share passes, and no thread of the library's own is needed.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::Stop;
use crate::error::{Error, Result};
use crate::tokenizer::Passage;

/// How long a pass is to take, so that somebody who stops, or comes, does not wait.
const PASS: Duration = Duration::from_millis(40);

/// Tokens of the first pass, whose pace is not known yet, and the most and the fewest of any.
const TOKENS: [usize; 3] = [512, 2048, 64];

/// How long a caller sleeps before it looks at its stop again.
const LOOK: Duration = Duration::from_millis(20);

/// The texts that wait for a model.
#[derive(Default)]
pub(super) struct Passes {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Whether somebody takes a pass.
    is_running: bool,
    /// Tokens of the next pass; 0 before the first.
    tokens: usize,
}

/// A text, and how many of its tokens are those of the prompt.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) passage: Passage,
    pub(super) prompt: usize,
}

/// What was made of a text.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) vector: Vec<f32>,
    /// Tokens that were read.
    pub(super) tokens: usize,
    /// Tokens that did not fit.
    pub(super) left_out: usize,
}

/// What is made of texts: a vector each, which depends on its own text alone.
pub(super) type Work<'a> = dyn Fn(&[&Item], &Stop) -> Result<Vec<Vec<f32>>> + 'a;

/// Where a text's vector is put.
type Place = Arc<Mutex<Option<Result<Vec<f32>>>>>;

struct Job {
    item: Arc<Item>,
    place: Place,
    /// The call that it belongs to.
    call: usize,
}

/// A job that nobody does any more, as when a pass panics, is told to who waits for it.
impl Drop for Job {
    fn drop(&mut self) {
        lock(&self.place).get_or_insert_with(|| Err(lost()));
    }
}

impl Passes {
    /// What is made of each text that could be read, in order. All callers have the same `work`, which one of them does for
    /// several.
    ///
    /// # Errors
    /// [`Error::Cancelled`] soon after `stop` has a reason; what befalls one text is told in its place.
    pub(super) fn run(
        &self,
        read: Vec<Result<Item>>,
        work: &Work,
        stop: &Stop,
    ) -> Result<Vec<Result<Made>>> {
        let mut items = Vec::with_capacity(read.len());
        let counts: Vec<Result<(usize, usize)>> = read
            .into_iter()
            .map(|item| {
                let item = item?;
                let counts = (item.passage.tokens.len(), item.passage.left_out);
                items.push(item);
                Ok(counts)
            })
            .collect();
        let mut vectors = self.vectors(items, work, stop)?.into_iter();
        Ok(counts
            .into_iter()
            .map(|counts| {
                let (tokens, left_out) = counts?;
                Ok(Made {
                    vector: vectors.next().unwrap_or_else(|| Err(lost()))?,
                    tokens,
                    left_out,
                })
            })
            .collect())
    }

    fn vectors(&self, items: Vec<Item>, work: &Work, stop: &Stop) -> Result<Vec<Result<Vec<f32>>>> {
        let places: Vec<Place> = items.iter().map(|_| Arc::default()).collect();
        // The address of what lives as long as the call tells calls apart.
        let call = places.as_ptr().addr();
        let mut jobs: Vec<Job> = items
            .into_iter()
            .zip(&places)
            .map(|(item, place)| Job {
                item: Arc::new(item),
                place: place.clone(),
                call,
            })
            .collect();
        // Long texts first, so that passes are even and none is left for the end.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.item.passage.tokens.len()));
        let mut state = lock(&self.state);
        state.waiting.extend(jobs);
        let is_done = || places.iter().all(|place| lock(place).is_some());
        while !is_done() {
            if stop.reason().is_some() {
                state.waiting.retain(|job| job.call != call);
                return Err(Error::Cancelled);
            }
            if state.is_running || state.waiting.is_empty() {
                let waited = self.done.wait_timeout(state, LOOK);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let jobs = state.take();
            state.is_running = true;
            drop(state);
            let running = Running(self);
            // A pass that serves others goes on when this caller stops.
            let nothing = Stop::default();
            let is_own = jobs.iter().all(|job| job.call == call);
            let tokens = pass(&jobs, work, if is_own { stop } else { &nothing });
            drop(running);
            drop(jobs);
            state = lock(&self.state);
            state.tokens = tokens.unwrap_or(state.tokens);
        }
        drop(state);
        if stop.reason().is_some() {
            return Err(Error::Cancelled);
        }
        Ok(places
            .iter()
            .map(|place| lock(place).take().unwrap_or_else(|| Err(lost())))
            .collect())
    }
}

/// Says that no pass runs any more, also when one panics.
struct Running<'a>(&'a Passes);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_running = false;
        self.0.done.notify_all();
    }
}

impl State {
    /// The jobs of the next pass: those that came first.
    fn take(&mut self) -> Vec<Job> {
        let most = if self.tokens == 0 {
            TOKENS[0]
        } else {
            self.tokens
        };
        let mut jobs: Vec<Job> = Vec::new();
        let mut tokens = 0;
        while let Some(job) = self.waiting.front() {
            let count = job.item.passage.tokens.len();
            if !jobs.is_empty() && tokens + count > most {
                break;
            }
            tokens += count;
            jobs.extend(self.waiting.pop_front());
        }
        jobs
    }
}

/// Does jobs. Answers with the tokens of the next pass, as far as this one tells.
fn pass(jobs: &[Job], work: &Work, stop: &Stop) -> Option<usize> {
    let items: Vec<&Item> = jobs.iter().map(|job| &*job.item).collect();
    let start = Instant::now();
    match work(&items, stop) {
        Ok(vectors) => {
            for (job, vector) in jobs.iter().zip(vectors) {
                *lock(&job.place) = Some(Ok(vector));
            }
        }
        // One text's numbers fail no other text.
        Err(Error::Numeric { .. }) if jobs.len() > 1 => {
            for job in jobs {
                pass(std::slice::from_ref(job), work, stop);
            }
            return None;
        }
        Err(error) => {
            for job in jobs {
                *lock(&job.place) = Some(Err(error.clone()));
            }
            return None;
        }
    }
    let tokens: usize = items.iter().map(|item| item.passage.tokens.len()).sum();
    let pace = tokens as f64 / start.elapsed().as_secs_f64().max(1e-6);
    let next = (pace * PASS.as_secs_f64()) as usize;
    (tokens >= TOKENS[2]).then(|| next.clamp(TOKENS[2], TOKENS[1]))
}

/// The error of a text that no pass has taken to its end.
fn lost() -> Error {
    Error::Compute("the pass that the text was in did not end".into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind them is never half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
