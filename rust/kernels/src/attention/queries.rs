//! What a sequence's queries are, and what they see.

use std::ops::Range;

use super::cache::{KvCache, Strided};

/// Queries of a sequence that are to look at its keys and values, those of their own positions included.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// Where keys and values are; what the queries see is written.
    pub cache: &'a KvCache,
    /// Rows of `heads × width` numbers, a row for each position.
    pub rows: Strided<'a>,
    /// Heads of a query: a multiple of those of a key.
    pub heads: usize,
    /// The position of the first.
    pub first: usize,
    /// How many positions a query sees, its own included; all up to its own when `None`.
    pub window: Option<usize>,
    /// What products of queries and keys are multiplied with.
    pub scale: f32,
}

impl<'a> Queries<'a> {
    /// Heads that share keys and values.
    pub(super) fn group(&self) -> usize {
        self.heads / self.cache.kv_heads()
    }

    /// A head of a row.
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
