//! Strided row views.

use std::ops::Range;

/// A view of `rows × columns` numbers whose rows are `stride` apart.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// From the first row on.
    pub numbers: &'a [f32],
    /// Distance between the starts of two rows.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// Numbers of a row.
    pub columns: usize,
}

impl<'a> Strided<'a> {
    /// Some of the rows.
    ///
    /// # Panics
    /// When there are none that begin there.
    pub fn rows(&self, rows: &Range<usize>) -> Self {
        Self {
            numbers: &self.numbers[rows.start * self.stride..],
            rows: rows.len(),
            ..*self
        }
    }

    /// One row.
    ///
    /// # Panics
    /// When there is none, or it is not whole.
    pub fn row(&self, index: usize) -> &'a [f32] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        &self.numbers[index * self.stride..][..self.columns]
    }
}
