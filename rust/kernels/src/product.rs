//! The product of rows and a matrix, spread over threads.

use candle_core::utils::barrier_pool;

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

/// Groups of a matrix that a thread takes at a time, and at most are multiplied together.
const GROUPS: usize = 2;

impl PackedMatrix {
    /// See [`WeightMatrix::multiply`](crate::WeightMatrix::multiply).
    pub(crate) fn product(&self, numbers: &[f32], out: &mut [f32]) {
        let rows = &RoundedRows::round(numbers, self);
        let output = Output::new(out, rows.rows, self.rows());
        let groups = self.groups();
        let parts = groups.div_ceil(GROUPS);
        let part = |part: usize| {
            let first = part * GROUPS;
            let groups = first..(first + GROUPS).min(groups);
            match self.instructions() {
                // SAFETY: a matrix is only made for instructions that the processor has, and each part,
                // which is given to one thread, has columns of its own.
                #[cfg(target_arch = "x86_64")]
                instructions => unsafe {
                    crate::x86::multiply(instructions, self, groups, rows, &output);
                },
            }
        };
        for_each_part_of_product(rows.rows * self.rows() * self.columns(), parts, part);
    }
}

/// Calls `part` with each number below `parts`, on several threads if there are enough products.
pub(crate) fn for_each_part_of_product(products: usize, parts: usize, part: impl Fn(usize) + Sync) {
    if products < WORTH_THREADS {
        (0..parts).for_each(part);
    } else {
        barrier_pool().execute_chunked(parts, |range| range.for_each(&part));
    }
}
