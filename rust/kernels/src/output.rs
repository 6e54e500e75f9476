//! Where products write their results.

use crate::simd::LANES;

/// The results of a product, which several threads write, each to columns of its own.
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
    /// Resizes each vector to `count × columns` and lets `work` write the results, whose rows follow each other
    /// across the vectors. Their memory is reused, their contents are lost.
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
