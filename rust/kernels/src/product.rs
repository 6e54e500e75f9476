//! The product of rows and a matrix, spread over threads.

use std::ops::Range;

use crate::parts::share;
use crate::rows::RoundedRows;
use crate::{LANES, PackedMatrix, WeightMatrix};

/// Results of one call that are written by several threads, no two of them to the same place.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    start: *mut f32,
    rows: usize,
    columns: usize,
}

// SAFETY: the pointer is to a slice that `multiply` borrows for as long as threads write, and they
// write to different columns.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// Results of `rows × columns`, which are written while nobody else uses them.
    ///
    /// # Panics
    /// When `out` has another size.
    pub(crate) fn new(out: &mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(out.len(), rows * columns, "the size of the output");
        Self {
            start: out.as_mut_ptr(),
            rows,
            columns,
        }
    }

    /// Calls `work` with the results of one row for the 16 columns from `column` on, and keeps what it
    /// makes of them as far as there are so many columns.
    ///
    /// # Safety
    /// No other thread uses these columns.
    #[inline(always)]
    pub(crate) unsafe fn with(
        &self,
        row: usize,
        column: usize,
        work: impl FnOnce(&mut [f32; LANES]),
    ) {
        assert!(row < self.rows && column < self.columns);
        let count = LANES.min(self.columns - column);
        // SAFETY: both are inside of the slice, and this thread is the only one to use the place.
        let place = unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.columns + column), count)
        };
        match place.first_chunk_mut() {
            Some(all) => work(all),
            None => {
                let mut results = [0f32; LANES];
                results[..count].copy_from_slice(place);
                work(&mut results);
                place.copy_from_slice(&results[..count]);
            }
        }
    }
}

/// Products below which one thread does all.
const WORTH_THREADS: usize = 1 << 16;

/// Groups of a matrix that a thread takes at least, and at most are multiplied together.
const GROUPS: usize = 2;

impl PackedMatrix {
    /// See [`WeightMatrix::multiply`](crate::WeightMatrix::multiply).
    pub(crate) fn product(&self, numbers: &[f32], out: &mut [f32]) {
        let rows = &RoundedRows::round(numbers, self);
        let output = Output::new(out, rows.rows, self.rows());
        let products = rows.rows * self.rows() * self.columns();
        share_product(products, self.groups(), GROUPS, |groups| {
            match self.instructions() {
                // SAFETY: a matrix is only made for instructions that the processor has, and each
                // thread's groups have columns of their own.
                #[cfg(target_arch = "x86_64")]
                instructions => unsafe {
                    crate::x86::multiply(instructions, self, groups, rows, &output);
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
