//! Attention of several queries a key head (Ainslie et al. 2023, GQA) over a KV cache.

use candle_core::{Result, Tensor};

use super::cache::SequenceCache;
use super::few_queries::{FEW, FewQueries};
use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::rotary::Angles;
use super::rows::{at_once, usable};
use super::softmax::MaskedSoftmax;

/// Weights and shape of one layer's attention.
#[derive(Debug)]
pub(crate) struct Attention {
    /// The number of the layer in the cache.
    pub(crate) layer: usize,
    /// To queries, keys and values.
    pub(crate) qkv: FusedLinear,
    /// Behind the attention.
    pub(crate) output: Linear,
    /// Norms of queries and of keys, a head at a time.
    pub(crate) norms: Option<(Norm, Norm)>,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Positions that a query sees, itself included; all earlier ones when `None`.
    pub(crate) window: Option<usize>,
}

impl Attention {
    /// `x` holds the rows of all sequences, `spans` says how many belong to each, in order. Keys and
    /// values go into the caches; the answer has the shape of `x`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        angles: &Angles,
        caches: &[(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let [q, k, v] = self.qkv.forward::<3>(x)?;
        let (q_norm, k_norm) = match &self.norms {
            Some((q_norm, k_norm)) => (Some(q_norm), Some(k_norm)),
            None => (None, None),
        };
        let (q, k) = (angles.rotate(&q, q_norm)?, angles.rotate(&k, k_norm)?);
        let v = v
            .contiguous()?
            .reshape((rows, self.kv_heads, self.head_dim))?;
        let mut start = 0;
        let places: Vec<(usize, usize)> = caches
            .iter()
            .map(|(_, count)| {
                start += count;
                (start - count, *count)
            })
            .collect();
        let one = |index: usize| {
            let (start, count) = places[index];
            let part = |tensor: &Tensor| tensor.narrow(0, start, count);
            self.attend(&part(&q)?, &part(&k)?, &part(&v)?, &*caches[index].0)
        };
        let attended = match places.as_slice() {
            [_] => one(0)?,
            several => {
                let parts = if usable(&q) && several.iter().all(|(_, rows)| *rows <= FEW) {
                    at_once(several.len(), one)?
                } else {
                    (0..several.len()).map(one).collect::<Result<Vec<_>>>()?
                };
                Tensor::cat(&parts, 0)?
            }
        };
        self.output.forward(&attended)
    }

    /// The rows of one sequence.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, cache: &SequenceCache) -> Result<Tensor> {
        let (rows, group) = (q.dim(0)?, self.heads / self.kv_heads);
        let position = cache.len();
        // What the first query does not see any more, none does.
        let from = match self.window {
            Some(window) => (position + 1).saturating_sub(window),
            None => 0,
        };
        let (keys, values) = cache.append(self.layer, k, v, from)?;
        let softmax = MaskedSoftmax {
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            queries: rows,
            first: position - from,
            window: self.window,
        };
        if rows <= FEW && usable(q) {
            return q.apply_op3_no_bwd(&keys, &values, &FewQueries { softmax });
        }
        let q = q
            .reshape((rows, self.kv_heads, group, self.head_dim))?
            .permute((1, 2, 0, 3))?
            .reshape((self.kv_heads, group * rows, self.head_dim))?;
        let weights = softmax.apply(q.matmul(&keys.transpose(1, 2)?)?)?;
        weights
            .matmul(&values)?
            .reshape((self.kv_heads, group, rows, self.head_dim))?
            .permute((2, 0, 1, 3))?
            .reshape((rows, self.heads * self.head_dim))
    }
}
