//! Softmax over the positions that a query sees.

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Tensor, bail};
use pulp::{Arch, NullaryFnOnce};

use super::rows::{for_each_row, usable};
use super::vector::{exp, greatest, sum};

/// Turns attention scores into weights, in place: scales them, hides what a query does not see,
/// and takes the softmax of each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskedSoftmax {
    /// What scores are multiplied by.
    pub(crate) scale: f32,
    /// Queries of each head; the rows of a head stand behind each other.
    pub(crate) queries: usize,
    /// The last column that the first query sees.
    pub(crate) first: usize,
    /// How many columns a query sees, if not all before it.
    pub(crate) window: Option<usize>,
}

impl MaskedSoftmax {
    /// Applies it to scores of shape `heads × rows × columns`, contiguous, and answers with them.
    pub(crate) fn apply(&self, scores: Tensor) -> Result<Tensor> {
        if usable(&scores) {
            scores.inplace_op1(self)?;
            return Ok(scores);
        }
        let (heads, rows, columns) = scores.dims3()?;
        let dtype = scores.dtype();
        let mut scores = (scores.to_dtype(DType::F32)? * f64::from(self.scale))?;
        if self.queries > 1 || self.window.is_some() {
            let mask: Vec<f32> = (0..self.queries)
                .flat_map(|query| {
                    let seen = self.seen(query);
                    (0..columns).map(move |column| match seen.contains(&column) {
                        true => 0.0,
                        false => f32::NEG_INFINITY,
                    })
                })
                .collect();
            let mask = Tensor::from_vec(mask, (self.queries, columns), scores.device())?;
            scores = scores
                .reshape((heads, rows / self.queries, self.queries, columns))?
                .broadcast_add(&mask)?
                .reshape((heads, rows, columns))?;
        }
        candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(dtype)
    }

    /// The columns that a query sees.
    pub(super) fn seen(&self, query: usize) -> std::ops::Range<usize> {
        let end = self.first + query + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// Turns the scores of one row into weights.
    fn row(&self, arch: Arch, index: usize, row: &mut [f32]) {
        let seen = self.seen(index % self.queries);
        row[..seen.start].fill(0.0);
        row[seen.end..].fill(0.0);
        arch.dispatch(Weights {
            scores: &mut row[seen],
            scale: self.scale,
        });
    }
}

/// Scores that become weights, compiled for the vector instructions that the processor has.
struct Weights<'a> {
    scores: &'a mut [f32],
    scale: f32,
}

impl NullaryFnOnce for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for score in self.scores.iter_mut() {
            *score *= self.scale;
        }
        let best = greatest(self.scores);
        for score in self.scores.iter_mut() {
            *score = exp(*score - best);
        }
        let factor = 1.0 / sum(self.scores);
        for score in self.scores {
            *score *= factor;
        }
    }
}

impl InplaceOp1 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(scores), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("masked-softmax takes contiguous scores in 32 bits");
        };
        let columns = layout.dims().last().copied().unwrap_or(1);
        let arch = Arch::new();
        for_each_row(&mut scores[start..end], columns, |index, row| {
            self.row(arch, index, row);
        });
        Ok(())
    }
}
