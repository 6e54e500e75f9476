//! The tokens that may be drawn, and what cuts them down.
//!
//! Each cut looks at what the one before left, and at its probabilities renormalised, as transformers'
//! warpers do.

use std::cmp::Ordering;

use rand::Rng;

use super::Sampling;

/// A token that may be drawn. The best one of a step has weight 1.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    weight: f64,
}

fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

/// The candidates of a step; there is at least one.
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// Those that `sampling` leaves, weighted by the softmax at its temperature. `best` is the greatest
    /// of the logits, and finite.
    pub(super) fn of(logits: &[f32], best: f32, sampling: &Sampling) -> Self {
        let least = sigma_threshold(logits, best, sampling.top_n_sigma);
        let scale = 1.0 / sampling.temperature;
        let weight = |logit: f32| (f64::from(logit - best) * scale).exp();
        let mut candidates = Self(
            logits
                .iter()
                .enumerate()
                .filter(|(_, logit)| **logit >= least)
                .map(|(id, logit)| Candidate {
                    id: id as u32,
                    weight: weight(*logit),
                })
                .collect(),
        );
        if let Some(k) = sampling.top_k {
            candidates.keep_best(k);
        }
        if sampling.top_p < 1.0 {
            candidates.keep_nucleus(sampling.top_p);
        }
        if sampling.min_p > 0.0 {
            candidates.0.retain(|c| c.weight >= sampling.min_p);
        }
        if sampling.typical_p < 1.0 {
            candidates.keep_typical(sampling.typical_p);
        }
        if sampling.epsilon_cutoff > 0.0 {
            candidates.keep_above(sampling.epsilon_cutoff);
        }
        if sampling.eta_cutoff > 0.0 {
            let eta = sampling.eta_cutoff;
            let entropy = candidates.entropy();
            candidates.keep_above(eta.min(eta.sqrt() * (-entropy).exp()));
        }
        candidates
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|c| c.weight).sum()
    }

    /// In nats.
    fn entropy(&self) -> f64 {
        let total = self.total();
        let terms = self.0.iter().filter(|c| c.weight > 0.0).map(|c| {
            let p = c.weight / total;
            -p * p.ln()
        });
        terms.sum()
    }

    /// Keeps the `count` best, sorted.
    fn keep_best(&mut self, count: usize) {
        if count < self.0.len() {
            self.0.select_nth_unstable_by(count - 1, best_first);
            self.0.truncate(count);
        }
        self.0.sort_unstable_by(best_first);
    }

    /// Keeps the fewest best that reach the fraction `top_p` of the whole weight together, the one that
    /// crosses it included, sorted.
    ///
    /// They are few as a rule, so only a head of the vocabulary is sorted, and a longer one when that
    /// does not reach far enough.
    fn keep_nucleus(&mut self, top_p: f64) {
        let goal = top_p * self.total();
        let candidates = &mut self.0;
        let mut head = 256;
        loop {
            let whole = head >= candidates.len();
            let sorted = if whole {
                &mut candidates[..]
            } else {
                candidates.select_nth_unstable_by(head - 1, best_first);
                &mut candidates[..head]
            };
            sorted.sort_unstable_by(best_first);
            let mut sum = 0.0;
            let crossing = sorted.iter().position(|c| {
                sum += c.weight;
                sum >= goal
            });
            match crossing {
                Some(index) => return candidates.truncate(index + 1),
                None if whole => return,
                None => head *= 8,
            }
        }
    }

    /// Meister et al. 2022: keeps those whose information is nearest to the entropy and that reach the
    /// fraction `mass` together, and others as near as the last of them.
    fn keep_typical(&mut self, mass: f64) {
        let (total, entropy) = (self.total(), self.entropy());
        let distance = |c: &Candidate| (-(c.weight / total).ln() - entropy).abs();
        let mut nearest: Vec<(f64, f64)> = self
            .0
            .iter()
            .map(|c| (distance(c), c.weight / total))
            .collect();
        nearest.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sum = 0.0;
        let last = nearest.iter().position(|(_, p)| {
            sum += p;
            sum >= mass
        });
        let most = nearest[last.unwrap_or(nearest.len() - 1)].0;
        self.0.retain(|c| distance(c) <= most);
    }

    /// Keeps those of at least a probability, and the best one.
    fn keep_above(&mut self, least: f64) {
        let total = self.total();
        let best = self.0.iter().map(|c| c.weight).fold(0.0, f64::max);
        self.0
            .retain(|c| c.weight / total >= least || c.weight == best);
    }

    /// Draws by weight, going through the candidates in their order.
    pub(super) fn draw(&self, random: &mut impl Rng) -> u32 {
        let mut left = random.random::<f64>() * self.total();
        let mut last = self.0.first().map_or(0, |c| c.id);
        for candidate in &self.0 {
            left -= candidate.weight;
            if candidate.weight > 0.0 {
                last = candidate.id;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }
}

/// The logit below which top-nσ (Tang et al. 2024) cuts: `n` standard deviations below the best.
fn sigma_threshold(logits: &[f32], best: f32, n: f64) -> f32 {
    if n <= 0.0 {
        return f32::NEG_INFINITY;
    }
    let finite = || {
        logits
            .iter()
            .filter(|x| x.is_finite())
            .map(|x| f64::from(*x))
    };
    let count = finite().count() as f64;
    let mean = finite().sum::<f64>() / count;
    let variance = finite().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (f64::from(best) - n * variance.sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(weights: &[f32], change: impl FnOnce(&mut Sampling)) -> Vec<u32> {
        let mut sampling = Sampling {
            temperature: 1.0,
            ..Default::default()
        };
        change(&mut sampling);
        let logits: Vec<f32> = weights.iter().map(|w| w.ln()).collect();
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut ids: Vec<u32> = Candidates::of(&logits, best, &sampling)
            .0
            .iter()
            .map(|c| c.id)
            .collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_nucleus_larger_than_the_sorted_head_is_found() {
        let mut candidates =
            Candidates((0..5000).map(|id| Candidate { id, weight: 1.0 }).collect());
        candidates.keep_nucleus(0.5);
        let ids: Vec<u32> = candidates.0.iter().map(|c| c.id).collect();
        assert_eq!(ids, (0..2500).collect::<Vec<u32>>());
    }

    #[test]
    fn each_cut_keeps_what_it_should() {
        let weights = [0.4, 0.3, 0.15, 0.1, 0.05];
        assert_eq!(kept(&weights, |_| ()), [0, 1, 2, 3, 4]);
        // Computed with transformers' TypicalLogitsWarper, EpsilonLogitsWarper and EtaLogitsWarper.
        assert_eq!(kept(&weights, |s| s.typical_p = 0.29), [1]);
        assert_eq!(kept(&weights, |s| s.typical_p = 0.6), [0, 1]);
        assert_eq!(kept(&weights, |s| s.typical_p = 0.8), [0, 1, 2]);
        assert_eq!(kept(&weights, |s| s.epsilon_cutoff = 0.12), [0, 1, 2]);
        assert_eq!(kept(&weights, |s| s.epsilon_cutoff = 0.9), [0]);
        assert_eq!(kept(&weights, |s| s.eta_cutoff = 0.2), [0, 1, 2]);
        // Of equal logits no deviation cuts any; of these the second is one deviation below the first.
        assert_eq!(kept(&[0.5, 0.5], |s| s.top_n_sigma = 1.0), [0, 1]);
        assert_eq!(kept(&weights, |s| s.top_n_sigma = 1.0), [0, 1]);
        assert_eq!(kept(&weights, |s| s.top_n_sigma = 2.0), [0, 1, 2, 3]);
    }
}
