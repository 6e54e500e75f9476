//! What all matrices have in common.

use std::fmt::Debug;

/// The weights of a linear layer, in whatever order a kernel reads them.
pub trait WeightMatrix: Debug + Send + Sync {
    /// How many rows it has.
    fn rows(&self) -> usize;

    /// How many columns it has.
    fn columns(&self) -> usize;

    /// Writes a row, as floating point numbers, to `out`, which has as many as there are columns.
    ///
    /// # Panics
    /// When there is no such row, or when `out` is shorter or longer.
    fn row(&self, row: usize, out: &mut [f32]);

    /// Multiplies rows, one behind the other, by the transpose of the matrix: `out` is
    /// `rows × self.rows()`.
    ///
    /// # Panics
    /// When the numbers are no whole number of rows as wide as the matrix, or `out` has another size.
    fn multiply(&self, numbers: &[f32], out: &mut [f32]);
}
