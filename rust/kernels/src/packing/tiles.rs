//! How rows of activations are split into tiles.

use std::ops::Range;

/// Splits rows into tiles of `most` rows, and one of those that are left. The first has as many as can be: it waits for
/// weights from memory, which the others find in a cache.
pub(crate) fn tiles(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows)
        .step_by(most)
        .map(move |start| start..rows.min(start + most))
}
