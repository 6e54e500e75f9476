//! Attention whose keys and values come out of one narrow vector a position (DeepSeek-AI 2024, multi-head latent
//! attention).
//!
//! The cache keeps the narrow vectors. Instead of making keys of them, the matrix that would is applied to the queries:
//! `q · (K c) = (Kᵀ q) · c`. Likewise the matrix that makes values of them is applied to what the scores sum up. So there
//! is one head of keys for all queries, a narrow vector and behind it the part that is rotated, and its values are the
//! same numbers.

use candle_core::{Result, Tensor};

use super::cache::SequenceCache;
use super::cached_attention::CachedAttention;
use super::linear::Linear;
use super::norm::Norm;
use super::packed_weights::PackedWeights;
use super::rotary::Angles;
use crate::formats::Matrix;

/// The weights and the shape of one layer's attention.
#[derive(Debug)]
pub(crate) struct LatentAttention {
    pub(crate) cached: CachedAttention,
    pub(crate) query: LatentQuery,
    /// To narrow vectors and the rotated part of keys.
    pub(crate) narrow: Linear,
    /// Of narrow vectors.
    pub(crate) norm: Norm,
    pub(crate) heads: Vec<LatentHead>,
    pub(crate) output: Linear,
    /// Which of the angles rotate queries and keys.
    pub(crate) rotary: usize,
    /// Width of the part of a head of queries that is not rotated.
    pub(crate) plain_dim: usize,
    /// Width of the part that is.
    pub(crate) rotated_dim: usize,
    /// Width of a narrow vector.
    pub(crate) kv_rank: usize,
}

/// Where queries come from.
#[derive(Debug)]
pub(crate) enum LatentQuery {
    /// One projection.
    Direct(Linear),
    /// A projection to a narrow vector, whose norm, and one out of it.
    Narrow {
        down: Linear,
        norm: Norm,
        up: Linear,
    },
}

/// What one head makes of narrow vectors.
#[derive(Debug)]
pub(crate) struct LatentHead {
    /// To what queries are multiplied with narrow vectors by: `kv_rank × plain_dim`.
    pub(crate) keys: PackedWeights,
    /// To values: `value_dim × kv_rank`.
    pub(crate) values: PackedWeights,
}

impl LatentQuery {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            LatentQuery::Direct(linear) => linear.forward(x),
            LatentQuery::Narrow { down, norm, up } => up.forward(&norm.forward(&down.forward(x)?)?),
        }
    }
}

impl LatentAttention {
    /// See [`Attention::forward`](super::attention::Attention::forward).
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        angles: &[Angles],
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let angles = &angles[self.rotary];
        let q = self.queries(&self.query.forward(x)?, angles)?;
        let narrow = self.narrow.forward(x)?;
        let rotated = narrow.narrow(1, self.kv_rank, self.rotated_dim)?;
        let rotated = angles
            .rotate(&rotated.contiguous()?, None)?
            .flatten_from(1)?;
        let narrow = narrow.narrow(1, 0, self.kv_rank)?.contiguous()?;
        let kv = Tensor::cat(&[&self.norm.forward(&narrow)?, &rotated], 1)?;
        let attended = self
            .cached
            .forward(&q, Some((&kv.unsqueeze(1)?, &kv)), sequences)?;
        let rows = x.dim(0)?;
        let attended = attended.reshape((rows, self.heads.len(), self.cached.head_dim))?;
        let values = self.heads.iter().enumerate().map(|(head, weights)| {
            let narrow = attended.narrow(1, head, 1)?.narrow(2, 0, self.kv_rank)?;
            weights
                .values
                .product(&narrow.contiguous()?.reshape((rows, self.kv_rank))?)
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        self.output.forward(&Tensor::cat(&values, 1)?)
    }

    /// Queries of narrow vectors, `rows × heads × (kv_rank + rotated_dim)`, of queries of keys.
    fn queries(&self, q: &Tensor, angles: &Angles) -> Result<Tensor> {
        let (rows, heads) = (q.dim(0)?, self.heads.len());
        let q = q.reshape((rows, heads, self.plain_dim + self.rotated_dim))?;
        let rotated = q
            .narrow(2, self.plain_dim, self.rotated_dim)?
            .contiguous()?
            .flatten_from(1)?;
        let rotated = angles.rotate(&rotated, None)?;
        let narrow = self.heads.iter().enumerate().map(|(head, weights)| {
            let plain = q.narrow(1, head, 1)?.narrow(2, 0, self.plain_dim)?;
            weights
                .keys
                .product(&plain.contiguous()?.reshape((rows, self.plain_dim))?)
        });
        let narrow = narrow.collect::<Result<Vec<_>>>()?;
        Tensor::cat(&[&Tensor::stack(&narrow, 1)?, &rotated], 2)?.contiguous()
    }
}

/// The matrices of [`LatentHead`] of all heads, out of one that makes keys and values of narrow vectors: of each head the
/// rows of its keys, then those of its values.
pub(super) fn keys_and_values(
    matrix: Matrix,
    heads: usize,
    plain_dim: usize,
    value_dim: usize,
) -> Result<(Vec<Matrix>, Vec<Matrix>)> {
    let sizes = [plain_dim, value_dim].repeat(heads);
    let mut keys = Vec::with_capacity(heads);
    let mut values = Vec::with_capacity(heads);
    for (index, part) in matrix.split_rows(&sizes)?.into_iter().enumerate() {
        match index % 2 {
            0 => keys.push(part.transposed()?),
            _ => values.push(part),
        }
    }
    Ok((keys, values))
}
