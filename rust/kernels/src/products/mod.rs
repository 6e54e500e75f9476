//! Products of activations and weight matrices, spread over the thread team.

mod float;
mod packed;
mod rounded;

use std::fmt::Debug;
use std::ops::Range;

pub use float::FloatMatrix;
pub use rounded::RoundedMatrix;

use crate::output::Output;
use crate::team::parallel_ranges;

/// The weight matrix of a linear layer, `rows × columns`, packed for a kernel.
pub trait WeightMatrix: Multiply + Debug + Send + Sync {
    /// Output features.
    fn rows(&self) -> usize;

    /// Input features.
    fn columns(&self) -> usize;

    /// Dequantizes a row to `out`, which has `columns` elements.
    ///
    /// # Panics
    /// When there is no such row, or `out` has another length.
    fn row(&self, row: usize, out: &mut [f32]);

    /// `x · Wᵀ`: `x` is `[n, columns]`, the result `[n, rows]`.
    ///
    /// # Panics
    /// When the length of `x` is no multiple of `columns`.
    fn product(&self, x: &[f32]) -> Vec<f32> {
        let mut product = Vec::new();
        self.product_to(x, &mut [(x.len() / self.columns(), &mut product)]);
        product
    }

    /// Like [`Self::product`], but splits the result by rows: the vector of `parts[i]` becomes the results of
    /// the next `parts[i].0` rows. The vectors' memory is reused.
    ///
    /// # Panics
    /// When the length of `x` is not `columns` times the rows of all parts.
    fn product_to(&self, x: &[f32], parts: &mut [(usize, &mut Vec<f32>)]) {
        let rows: usize = parts.iter().map(|(count, _)| count).sum();
        assert_eq!(x.len(), rows * self.columns(), "activations of whole rows");
        // SAFETY: that is what `multiply` does.
        unsafe { Output::fill(self.rows(), parts, |out| self.multiply(x, out)) };
    }
}

/// How a matrix is multiplied; implementations write all results. It seals [`WeightMatrix`].
pub trait Multiply {
    /// Writes the products of `x`, which has as many rows as `out`.
    fn multiply(&self, x: &[f32], out: &Output);
}

/// Multiplications below which one thread does all.
const WORTH_THREADS: usize = 1 << 16;

/// Calls `work` with ranges that make up `0..groups`, multiples of `least` but for the last: on all threads if
/// there are enough products.
fn parallel_groups(
    products: usize,
    groups: usize,
    least: usize,
    work: impl Fn(Range<usize>) + Sync,
) {
    if products < WORTH_THREADS {
        work(0..groups);
    } else {
        parallel_ranges(groups.div_ceil(least), |parts| {
            work(parts.start * least..groups.min(parts.end * least));
        });
    }
}
