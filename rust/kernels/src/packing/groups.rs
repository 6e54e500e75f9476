//! Reads rows of weights in groups of 16, on all threads.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::simd::LANES;
use crate::team::for_each_part;

/// What [`read_groups`] reads rows with that are in memory.
pub(crate) fn copy_rows(
    bytes: &[u8],
    row_bytes: usize,
) -> impl Fn(usize, &mut [u8]) -> Result<(), Infallible> + Sync {
    move |first, buffer| {
        buffer.copy_from_slice(&bytes[first * row_bytes..][..buffer.len()]);
        Ok(())
    }
}

/// Fills groups of 16 rows, of which there are `rows`, on all threads: `read` copies rows from the given one on, `fill`
/// packs those of a group and tells whether they fit. Answers with whether all did.
pub(crate) fn read_groups<G: Send, E: Send>(
    groups: Vec<G>,
    rows: usize,
    row_bytes: usize,
    read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    fill: impl Fn(G, &[u8]) -> bool + Sync,
) -> Result<bool, E> {
    /// Bytes of groups that are read together, unless one has more.
    const TOGETHER: usize = 1 << 18;
    let (fits, failure) = (AtomicBool::new(true), Mutex::new(None));
    let each = (TOGETHER / (LANES * row_bytes)).max(1);
    let mut groups = groups.into_iter();
    let mut parts: Vec<(usize, Vec<G>)> = Vec::new();
    for first in (0..groups.len()).step_by(each) {
        parts.push((first * LANES, groups.by_ref().take(each).collect()));
    }
    for_each_part(parts, |(first, groups): (usize, Vec<G>)| {
        if !fits.load(Ordering::Relaxed) {
            return;
        }
        let count = (groups.len() * LANES).min(rows - first);
        let mut bytes = vec![0; count * row_bytes];
        let filled = match read(first, &mut bytes) {
            Ok(()) => groups
                .into_iter()
                .zip(bytes.chunks(LANES * row_bytes))
                .all(|(group, bytes)| fill(group, bytes)),
            Err(error) => {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                false
            }
        };
        if !filled {
            fits.store(false, Ordering::Relaxed);
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(fits.into_inner()),
    }
}
