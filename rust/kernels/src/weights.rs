//! What all matrices have in common.

use std::fmt::Debug;

use crate::product::Output;

/// The weights of a linear layer, in whatever order a kernel reads them.
pub trait WeightMatrix: Multiply + Debug + Send + Sync {
    /// How many rows it has.
    fn rows(&self) -> usize;

    /// How many columns it has.
    fn columns(&self) -> usize;

    /// Writes a row, as floating point numbers, to `out`, which has as many as there are columns.
    ///
    /// # Panics
    /// When there is no such row, or when `out` is shorter or longer.
    fn row(&self, row: usize, out: &mut [f32]);

    /// Multiplies rows, one behind the other, by the transpose of the matrix: `rows × self.rows()`.
    ///
    /// # Panics
    /// When the numbers are no whole number of rows as wide as the matrix.
    fn product(&self, numbers: &[f32]) -> Vec<f32> {
        let mut product = Vec::new();
        self.product_to(
            numbers,
            &mut [(numbers.len() / self.columns(), &mut product)],
        );
        product
    }

    /// The same, but each vector becomes what so many rows give, the first vector what the first rows do.
    /// What it held is lost, its memory is used again.
    ///
    /// # Panics
    /// As [`Self::product`], or when the vectors are for fewer or more rows.
    fn product_to(&self, numbers: &[f32], parts: &mut [(usize, &mut Vec<f32>)]) {
        let rows: usize = parts.iter().map(|(count, _)| count).sum();
        assert_eq!(
            numbers.len(),
            rows * self.columns(),
            "numbers of whole rows"
        );
        // SAFETY: that is what `multiply` does.
        unsafe { Output::fill(self.rows(), parts, |out| self.multiply(numbers, out)) };
    }
}

/// How a matrix is multiplied: for the kernels of this crate alone, who must write all results.
pub trait Multiply {
    /// Writes the products of as many rows as `out` has.
    fn multiply(&self, numbers: &[f32], out: &Output);
}
