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
    /// Sliding window: positions that a query sees, its own included; `None` for full causal attention.
    pub window: Option<usize>,
    /// Scale of the scores, usually `1/√width`.
    pub scale: f32,
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
        let end = self.first + row + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// The positions that some of these rows see.
    pub(super) fn seen_by(&self, rows: &Range<usize>) -> Range<usize> {
        self.seen(rows.start).start..self.seen(rows.end - 1).end
    }
}
