//! Log-probabilities out of logits. Natural logarithms.

use serde::Serialize;

/// A token and its log-probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// How probable the model took a token that was chosen, and what else it could have been. The numbers
/// are the model's own, before biases, penalties and temperature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChosenLogprob {
    /// The token that was chosen.
    pub id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The most probable tokens in its place, best first, as many as were asked for.
    pub top: Vec<TokenLogprob>,
}

/// The distribution of one place.
#[derive(Debug, Clone)]
pub(crate) struct Distribution {
    total: f32,
    top: Vec<TokenLogprob>,
}

impl Distribution {
    /// Takes down what is to be told of logits that are changed afterwards.
    pub(crate) fn of(logits: &[f32], top: usize) -> Self {
        let total = log_sum_exp(logits);
        Self {
            total,
            top: most_probable(logits, total, top),
        }
    }

    /// The choice of a token whose logit was `logit`.
    pub(crate) fn choice(self, id: u32, logit: f32) -> ChosenLogprob {
        ChosenLogprob {
            id,
            logprob: logit - self.total,
            top: self.top,
        }
    }
}

/// ln Σ exp, without overflow.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f32 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - best).exp()).sum();
    best + sum.ln() as f32
}

/// The tokens of the `count` largest logits, best first; `total` is [`log_sum_exp`] of all.
pub(crate) fn most_probable(logits: &[f32], total: f32, count: usize) -> Vec<TokenLogprob> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let best_first = |a: &u32, b: &u32| {
        logits[*b as usize]
            .total_cmp(&logits[*a as usize])
            .then(a.cmp(b))
    };
    if count < ids.len() {
        ids.select_nth_unstable_by(count, best_first);
        ids.truncate(count);
    }
    ids.sort_unstable_by(best_first);
    ids.into_iter()
        .map(|id| TokenLogprob {
            id,
            logprob: logits[id as usize] - total,
        })
        .collect()
}
