//! Speculative decoding by prompt lookup (Saxena 2023): the tokens that followed the last n-gram before are likely to
//! follow it again, so they run as a draft in the same pass.
//!
//! It is lossless, for greedy and sampled answers alike. The sampler chooses every token from the logits that it would
//! have had anyway. A draft token that it chooses is accepted: its logits are there already. At the first one that it
//! does not choose, the rest of the draft is dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use candle4j_kernels::are_finite;

use super::ngrams::{Match, Ngrams};
use crate::cancel::Stop;
use crate::engines::CandleModel;
use crate::error::Result;

/// Longest draft.
const MOST: usize = 15;

/// Length of the first draft.
const FIRST: usize = 3;

/// Shortest match that is tried while drafts are paused.
const CERTAIN: usize = 8;

/// Length of the first pause in tokens; each further one is twice as long.
const PAUSE: usize = 8;

/// Longest pause in tokens.
const LONGEST_PAUSE: usize = 512;

/// A sequence whose model may be some draft tokens ahead of it. Dropping it drops those.
pub(super) struct Lookahead<'a, M: CandleModel + ?Sized> {
    model: &'a mut M,
    stop: &'a Stop,
    /// `None` without prompt lookup.
    ngrams: Option<Ngrams>,
    worth: Worth,
    /// Draft tokens in the cache that are not accepted yet.
    ahead: VecDeque<u32>,
    /// The logits of the last draft's pass, a row for the token before it and for each of its tokens.
    rows: Vec<f32>,
    pending: Option<Pending>,
}

/// A draft that is neither accepted nor dropped yet.
#[derive(Debug)]
struct Pending {
    size: usize,
    took: Duration,
}

impl<'a, M: CandleModel + ?Sized> Lookahead<'a, M> {
    /// Starts at the end of the model's cache.
    pub(super) fn new(model: &'a mut M, stop: &'a Stop, looks_up: bool) -> Self {
        Self {
            model,
            stop,
            ngrams: looks_up.then(Ngrams::default),
            worth: Worth::default(),
            ahead: VecDeque::new(),
            rows: Vec::new(),
            pending: None,
        }
    }

    /// Runs the last `unseen` tokens of `context`; `logits` become those of the last one. Up to `most` draft tokens run
    /// with them.
    ///
    /// # Errors
    /// As [`CandleModel::forward`].
    pub(super) fn forward(
        &mut self,
        context: &[u32],
        unseen: usize,
        most: usize,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let mut unseen = &context[context.len() - unseen..];
        while let (Some(ahead), [first, rest @ ..]) = (self.ahead.front(), unseen)
            && ahead == first
        {
            self.ahead.pop_front();
            unseen = rest;
        }
        if unseen.is_empty() {
            let size = self.pending.as_ref().map_or(0, |pending| pending.size);
            self.copy_row(size - self.ahead.len(), logits);
            if are_finite(logits) {
                return Ok(());
            }
            // The engine says what is wrong, once it computes them alone.
            unseen = &context[context.len() - 1..];
            self.ahead.push_front(unseen[0]);
        }
        self.settle();
        // What forced tokens beside it cost would count against a draft.
        let draft = match unseen.len() {
            1 => self.draft(context, most),
            _ => Vec::new(),
        };
        let start = Instant::now();
        if draft.is_empty() {
            self.model.forward(unseen, self.stop, logits)?;
            if unseen.len() == 1 {
                self.worth.passed(start.elapsed());
            }
            return Ok(());
        }
        let count = self
            .model
            .forward_ahead(unseen, &draft, self.stop, &mut self.rows)?;
        let took = start.elapsed();
        if count == 0 {
            std::mem::swap(logits, &mut self.rows);
            self.worth.passed(took);
            return Ok(());
        }
        self.ahead.extend(&draft[..count]);
        self.pending = Some(Pending { size: count, took });
        self.copy_row(0, logits);
        Ok(())
    }

    /// Copies the logits of a token of the last draft's pass, which the sampler changes.
    fn copy_row(&self, row: usize, logits: &mut Vec<f32>) {
        let count = 1 + self.pending.as_ref().map_or(0, |pending| pending.size);
        let size = self.rows.len() / count;
        logits.clear();
        logits.extend_from_slice(&self.rows[row * size..][..size]);
    }

    /// Drops the draft tokens that were not accepted.
    fn settle(&mut self) {
        let dropped = self.ahead.len();
        if dropped > 0 {
            self.model.truncate(self.model.position() - dropped);
            self.ahead.clear();
        }
        if let Some(Pending { size, took }) = self.pending.take() {
            self.worth.settle(size, size - dropped, took);
        }
    }

    fn draft(&mut self, context: &[u32], most: usize) -> Vec<u32> {
        let Some(ngrams) = &mut self.ngrams else {
            return Vec::new();
        };
        let Some(Match { next, length }) = ngrams.find(context) else {
            self.worth.wait();
            return Vec::new();
        };
        let size = self.worth.size(length).min(most);
        // A text that repeats itself goes on with its period.
        context[next..].iter().copied().cycle().take(size).collect()
    }
}

impl<M: CandleModel + ?Sized> Drop for Lookahead<'_, M> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Decides how long drafts are: accepted tokens are weighed against how much longer than a pass of one token a draft's
/// pass takes.
#[derive(Debug)]
struct Worth {
    /// Seconds of a pass of one token; `None` before there was one.
    single: Option<f64>,
    /// Length of the next draft.
    size: usize,
    /// Tokens accepted, less those that the time of drafts would have generated.
    balance: f64,
    /// Tokens left of the pause.
    wait: usize,
    /// Length of the next pause.
    pause: usize,
}

impl Default for Worth {
    fn default() -> Self {
        Self {
            single: None,
            size: FIRST,
            balance: 0.0,
            wait: 0,
            pause: PAUSE,
        }
    }
}

impl Worth {
    /// Observes a pass of one token.
    fn passed(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.single = Some(
            self.single
                .map_or(took, |before| before.mul_add(0.8, took * 0.2)),
        );
    }

    /// Counts a token of the pause.
    fn wait(&mut self) {
        self.wait = self.wait.saturating_sub(1);
    }

    /// Length of the next draft after a match of so many tokens; 0 for none.
    fn size(&mut self, length: usize) -> usize {
        if self.single.is_none() {
            return 0;
        }
        if self.wait > 0 && length < CERTAIN {
            self.wait();
            return 0;
        }
        self.size
    }

    /// Observes a draft's pass.
    fn settle(&mut self, size: usize, accepted: usize, took: Duration) {
        let Some(single) = self.single else {
            return;
        };
        self.size = match accepted == size {
            true => (2 * size + 1).min(MOST),
            false => (accepted + 1).min(FIRST),
        };
        let cost = took.as_secs_f64() / single.max(f64::MIN_POSITIVE) - 1.0;
        // Old gains must not pay for new losses.
        self.balance = (self.balance + accepted as f64 - cost).min(2.0);
        if self.balance < 0.0 {
            self.balance = 0.0;
            self.wait = self.pause;
            self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        } else if accepted == size {
            self.wait = 0;
            self.pause = PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Duration = Duration::from_millis(10);

    fn worth() -> Worth {
        let mut worth = Worth::default();
        worth.passed(PASS);
        worth
    }

    #[test]
    fn drafts_grow_while_they_pay() {
        let mut worth = worth();
        assert_eq!(worth.size(3), FIRST);
        for size in [3, 7, 15, 15] {
            assert_eq!(worth.size(3), size);
            worth.settle(size, size, 2 * PASS);
        }
        worth.settle(15, 1, 2 * PASS);
        assert_eq!(worth.size(3), 2);
    }

    #[test]
    fn drafts_that_do_not_pay_are_made_ever_less() {
        let mut worth = worth();
        let tokens = 2000;
        let drafts = (0..tokens).filter(|_| {
            let size = worth.size(3);
            if size > 0 {
                worth.settle(size, 0, PASS * 13 / 10);
            }
            size > 0
        });
        assert!(drafts.count() < 12);
        // Those that cost more than they gain do not pay either.
        let mut worth = self::worth();
        let size = worth.size(3);
        worth.settle(size, size, PASS * 5);
        assert_eq!(worth.size(3), 0);
    }

    #[test]
    fn long_matches_end_a_pause() {
        let mut worth = worth();
        worth.settle(3, 0, 2 * PASS);
        assert_eq!(worth.size(CERTAIN - 1), 0);
        assert_eq!(worth.size(CERTAIN), 1);
        worth.settle(1, 1, PASS);
        assert_eq!(worth.size(3), 3);
    }
}
