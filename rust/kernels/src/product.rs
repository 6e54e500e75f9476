//! The product of rows and a matrix, spread over threads.

use std::ops::Range;

use crate::rows::RoundedRows;
use crate::team::share;
use crate::weights::Multiply;
use crate::{LANES, PackedMatrix, WeightMatrix};

/// Results of one call that are written by several threads, no two of them to the same place.
#[derive(Debug)]
pub struct Output {
    rows: Vec<*mut f32>,
    columns: usize,
}

// SAFETY: the pointers are to vectors that `fill` borrows for as long as threads write, and they
// write to different columns.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// Makes each vector the results of so many rows, which `work` writes. What a vector held is lost, its
    /// memory is used again.
    ///
    /// # Safety
    /// `work` writes all results.
    pub(crate) unsafe fn fill(
        columns: usize,
        parts: &mut [(usize, &mut Vec<f32>)],
        work: impl FnOnce(&Output),
    ) {
        let mut rows = Vec::new();
        for (count, out) in parts.iter_mut() {
            out.clear();
            out.reserve_exact(*count * columns);
            let start = out.as_mut_ptr();
            // SAFETY: there is room for all of them.
            rows.extend((0..*count).map(|row| unsafe { start.add(row * columns) }));
        }
        work(&Output { rows, columns });
        for (count, out) in parts {
            // SAFETY: there was room for them, and the caller promised that they are written.
            unsafe { out.set_len(*count * columns) };
        }
    }

    /// The results of a row for the 16 columns from `column` on; 0 where there are no more.
    ///
    /// # Safety
    /// They were written, and no other thread uses them.
    #[inline(always)]
    pub(crate) unsafe fn get(&self, row: usize, column: usize) -> [f32; LANES] {
        assert!(column < self.columns);
        let (place, count) = (self.rows[row], LANES.min(self.columns - column));
        // SAFETY: there are as many columns in a row; the rest is the caller's promise.
        unsafe {
            let place = place.add(column);
            if count == LANES {
                return place.cast::<[f32; LANES]>().read_unaligned();
            }
            let mut results = [0f32; LANES];
            results.as_mut_ptr().copy_from_nonoverlapping(place, count);
            results
        }
    }

    /// Writes the results of a row for the 16 columns from `column` on, as far as there are so many.
    ///
    /// # Safety
    /// No other thread uses these columns.
    #[inline(always)]
    pub(crate) unsafe fn put(&self, row: usize, column: usize, results: &[f32; LANES]) {
        assert!(column < self.columns);
        let (place, count) = (self.rows[row], LANES.min(self.columns - column));
        // SAFETY: there are as many columns in a row; the rest is the caller's promise.
        unsafe {
            let place = place.add(column);
            if count == LANES {
                place.cast::<[f32; LANES]>().write_unaligned(*results);
            } else {
                place.copy_from_nonoverlapping(results.as_ptr(), count);
            }
        }
    }
}

/// Products below which one thread does all.
const WORTH_THREADS: usize = 1 << 16;

/// Groups of a matrix that a thread takes at least, and at most are multiplied together.
const GROUPS: usize = 2;

impl Multiply for PackedMatrix {
    fn multiply(&self, numbers: &[f32], out: &Output) {
        let rows = &RoundedRows::round(numbers, self);
        let products = rows.rows * self.rows() * self.columns();
        share_product(products, self.groups(), GROUPS, |groups| {
            match self.instructions() {
                // SAFETY: a matrix is only made for instructions that the processor has, and each
                // thread's groups have columns of their own.
                #[cfg(target_arch = "x86_64")]
                instructions => unsafe {
                    crate::x86::multiply(instructions, self, groups, rows, out);
                },
            }
        });
    }
}

/// Calls `work` with ranges that make up those below `groups`, whole multiples of `least` but for the last,
/// on several threads if there are enough products.
pub(crate) fn share_product(
    products: usize,
    groups: usize,
    least: usize,
    work: impl Fn(Range<usize>) + Sync,
) {
    if products < WORTH_THREADS {
        work(0..groups);
    } else {
        share(groups.div_ceil(least), |parts| {
            work(parts.start * least..groups.min(parts.end * least));
        });
    }
}
