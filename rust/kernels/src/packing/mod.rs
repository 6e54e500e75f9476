//! Weights and activations in the order in which the micro-kernels read them.

mod activations;
mod matrix;

#[cfg(target_arch = "x86_64")]
pub(crate) use activations::{ACTIVATION_MAX, ROUND_MAGIC, inverse_scale};
pub(crate) use activations::{ActivationBlock, Pairs, QuantizedActivations, quantize_blocks};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use activations::{ActivationBlock8, TILE_ROWS, split_blocks};
pub use matrix::PackedMatrix;
pub(crate) use matrix::{F16x16, PackedLine, RowGroup};

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::simd::LANES;
use crate::team::for_each_part;

/// Fills groups of 16 rows, of which there are `rows`, on all threads: `read` copies rows from the given one on, `fill`
/// packs those of a group and tells whether they fit. Answers with whether all did.
pub(crate) fn read_groups<G: Send, E: Send>(
    groups: Vec<G>,
    rows: usize,
    row_bytes: usize,
    read: impl Fn(usize, &mut [u8]) -> Result<(), E> + Sync,
    fill: impl Fn(G, &[u8]) -> bool + Sync,
) -> Result<bool, E> {
    let (fits, failure) = (AtomicBool::new(true), Mutex::new(None));
    let parts = groups.into_iter().enumerate().collect();
    for_each_part(parts, |(index, group): (usize, G)| {
        if !fits.load(Ordering::Relaxed) {
            return;
        }
        let first = index * LANES;
        let mut bytes = vec![0; LANES.min(rows - first) * row_bytes];
        let filled = match read(first, &mut bytes) {
            Ok(()) => fill(group, &bytes),
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
