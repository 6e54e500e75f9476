//! A grammar beside the sampling loop: what may follow, and what must.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Result;
use crate::generate::{ConstrainedAnswer, Next};

/// A grammar and how far its answer is.
pub(super) struct Grammar {
    answer: Arc<ConstrainedAnswer>,
    /// What the answer begins with, once that was asked for.
    first: Option<Vec<u32>>,
    /// Tokens that are forced and still to come.
    outstanding: VecDeque<u32>,
    /// The token by which a thought may begin before the answer.
    thought: Option<u32>,
}

impl Grammar {
    /// The beginning of an answer, before which the token `thought` may begin a thought.
    pub(super) fn new(answer: ConstrainedAnswer, thought: Option<u32>) -> Self {
        Self {
            answer: Arc::new(answer),
            first: None,
            outstanding: VecDeque::new(),
            thought,
        }
    }

    /// The beginning of the answer; or of a thought, if one `may` come before it.
    pub(super) fn begin(&mut self, may_think: bool) -> Result<Next> {
        let asked_before = self.first.is_some();
        let first = match &self.first {
            Some(first) => first.clone(),
            None => self.answer.forced()?,
        };
        self.first = Some(first.clone());
        let also = self.thought.filter(|_| may_think);
        if !first.is_empty() && also.is_none() {
            self.outstanding.extend(&first);
            return Ok(Next::Force(first));
        }
        if !first.is_empty() || asked_before {
            self.answer.ask_mask();
        }
        Ok(Next::Among {
            answer: self.answer.clone(),
            also,
        })
    }

    /// What follows a token of the answer.
    pub(super) fn follow(&mut self, id: u32) -> Result<Next> {
        if self.outstanding.pop_front().is_some() && !self.outstanding.is_empty() {
            self.answer.take(id);
            return Ok(Next::Sample);
        }
        self.answer.follow(id);
        let forced = self.answer.forced()?;
        if forced.is_empty() {
            return Ok(Next::Among {
                answer: self.answer.clone(),
                also: None,
            });
        }
        self.outstanding.extend(&forced);
        Ok(Next::Force(forced))
    }

    /// What was to follow when a pass failed.
    pub(super) fn again(&self) -> Next {
        if self.outstanding.is_empty() {
            return Next::Among {
                answer: self.answer.clone(),
                also: None,
            };
        }
        Next::Force(self.outstanding.iter().copied().collect())
    }
}
