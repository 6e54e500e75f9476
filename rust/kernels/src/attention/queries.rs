//! The queries of a sequence, and the positions that they see.

use std::ops::Range;

use super::cache::KvCache;
use super::strided::Strided;

/// Queries of a sequence over its KV cache, their own positions included.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// The cache, with everything written that the queries see.
    pub cache: &'a KvCache,
    /// `[positions, heads × width]`.
    pub rows: Strided<'a>,
    /// Query heads, a multiple of the cache's.
    pub heads: usize,
    /// Position of the first query.
    pub first: usize,
    /// Whether a query sees no later positions; else it sees all of the sequence.
    pub causal: bool,
    /// Sliding window: positions that a query sees on each side of it that it sees at all, its own included; all when
    /// `None`.
    pub window: Option<usize>,
    /// Added to the scores by the distance of a key from its query.
    pub bias: Option<DistanceBias<'a>>,
    /// Scale of the scores, usually `1/√width`.
    pub scale: f32,
    /// The bound that scaled scores approach by a hyperbolic tangent, above 0 (Bello et al. 2016).
    pub cap: Option<f32>,
    /// A score of each query head that takes part in its softmax beside those of the positions, with no value (Xiao et al.
    /// 2023, attention sinks).
    pub sinks: Option<&'a [f32]>,
}

/// Numbers that are added to scores by head and distance (Raffel et al. 2020, T5).
#[derive(Debug, Clone, Copy)]
pub struct DistanceBias<'a> {
    /// `[heads, 2 · reach + 1]`: for keys from `reach` positions before the query to as many behind it. Those further away
    /// get what the outermost do.
    pub numbers: &'a [f32],
    /// The greatest distance with a number of its own.
    pub reach: usize,
}

impl DistanceBias<'_> {
    /// Adds them to the scores of keys from position `first` on, for a head of the query at position `own`.
    #[inline(always)]
    pub(super) fn add(&self, head: usize, own: usize, first: usize, scores: &mut [f32]) {
        let each = 2 * self.reach + 1;
        let numbers = &self.numbers[head * each..][..each];
        for (index, score) in scores.iter_mut().enumerate() {
            let place = (first + index + self.reach).saturating_sub(own);
            *score += numbers[place.min(each - 1)];
        }
    }
}

impl<'a> Queries<'a> {
    /// Query heads per head of keys and values.
    pub(super) fn group(&self) -> usize {
        self.heads / self.cache.kv_heads()
    }

    /// One head of a query.
    pub(super) fn head(&self, row: usize, head: usize) -> &'a [f32] {
        let width = self.cache.width();
        &self.rows.row(row)[head * width..][..width]
    }

    /// The positions that a row sees.
    pub(super) fn seen(&self, row: usize) -> Range<usize> {
        let own = self.first + row;
        let all = self.first + self.rows.rows;
        let window = self.window.unwrap_or(all);
        let end = match self.causal {
            true => own + 1,
            false => all.min(own.saturating_add(window)),
        };
        (own + 1).saturating_sub(window)..end
    }

    /// The positions that some of these rows see.
    pub(super) fn seen_by(&self, rows: &Range<usize>) -> Range<usize> {
        self.seen(rows.start).start..self.seen(rows.end - 1).end
    }
}
