//! How recurrent layers go through the rows of a pass.

use std::ops::Range;

use super::cache::SequenceCache;
use super::recurrent::Snapshot;

/// Lets `step` make the states of a recurrent layer behind the rows of each sequence, part by part: it gets the rows, counted
/// over all sequences, and the states before and behind them.
pub(super) fn step_parts(
    layer: usize,
    sequences: &mut [(&mut SequenceCache, usize)],
    mut step: impl FnMut(Range<usize>, &Snapshot, &mut Snapshot),
) {
    let mut start = 0;
    for (cache, count) in sequences {
        for range in cache.parts(*count) {
            let rows = start + range.start..start + range.end;
            cache
                .recurrent(layer)
                .step(|before, after| step(rows, before, after));
            cache.keep_at(layer, range.end);
        }
        start += *count;
    }
}
