//! Attention of several queries a key head (Ainslie et al. 2023, GQA), with a projection each to queries, keys and
//! values.

use candle_core::{Result, Tensor};

use super::cache::SequenceCache;
use super::cached_attention::CachedAttention;
use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::rotary::Angles;
use super::rows::multiply;
use crate::description::{KvSource, NormSpan, QueryTemperature};

/// The weights and the shape of one layer's attention.
#[derive(Debug)]
pub(crate) struct Attention {
    /// The attention over the keys and values of the sequences.
    pub(crate) cached: CachedAttention,
    /// To queries, and to keys and values as far as they come from there; with an output gate, each head of queries has its
    /// gate behind it.
    pub(crate) qkv: FusedLinear,
    /// Where keys and values come from.
    pub(crate) kv: KvSource,
    /// Of each head of values.
    pub(crate) value_norm: Option<Norm>,
    /// Whether the output of each head is multiplied with the sigmoid of a gate.
    pub(crate) has_gate: bool,
    /// Behind the attention.
    pub(crate) output: Linear,
    /// Norms of queries and of keys.
    pub(crate) norms: Option<QkNorms>,
    /// Which of the angles rotate queries and keys.
    pub(crate) rotary: usize,
    /// How queries grow with their positions.
    pub(crate) query_temperature: Option<QueryTemperature>,
}

/// The norms of queries and of keys.
#[derive(Debug)]
pub(crate) struct QkNorms {
    pub(crate) query: Norm,
    /// Of a layer with keys of its own.
    pub(crate) key: Option<Norm>,
    /// What is normed at a time.
    pub(crate) span: NormSpan,
    /// Whether they follow the rotation.
    pub(crate) are_after_rotation: bool,
}

impl Attention {
    /// `x` holds the rows of all sequences, which say how many belong to each, in order. Keys and values
    /// go into the caches; the answer has the shape of `x`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        angles: &[Angles],
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let head_dim = self.cached.head_dim;
        let (q, own) = match self.kv {
            KvSource::Projected => {
                let [q, k, v] = self.qkv.forward::<3>(x)?;
                (q, Some((k, v)))
            }
            KvSource::KeysAsValues => {
                let [q, k] = self.qkv.forward::<2>(x)?;
                (q, Some((k.clone(), k)))
            }
            KvSource::Layer(_) => {
                let [q] = self.qkv.forward::<1>(x)?;
                (q, None)
            }
        };
        let (q, gate) = match self.has_gate {
            false => (q, None),
            true => {
                let each = q
                    .contiguous()?
                    .reshape((q.dim(0)?, self.cached.heads, 2 * head_dim))?;
                let part = |start| {
                    each.narrow(2, start, head_dim)?
                        .contiguous()?
                        .flatten_from(1)
                };
                (part(0)?, Some(part(head_dim)?))
            }
        };
        let angles = &angles[self.rotary];
        let norms = self.norms.as_ref();
        let mut q = rotated(&q, angles, norms.map(|norms| (norms, &norms.query)))?;
        let own = match own {
            None => None,
            Some((k, v)) => {
                let norm = norms.and_then(|norms| Some((norms, norms.key.as_ref()?)));
                Some((rotated(&k, angles, norm)?, self.values(v)?))
            }
        };
        let own = own.as_ref().map(|(k, v)| (k, v));
        if let Some(temperature) = self.query_temperature {
            q = self.grown(&q, temperature, sequences)?;
        }
        let attended = self.cached.forward(&q, own, sequences)?;
        match gate {
            None => self.output.forward(&attended),
            Some(gate) => {
                let gate = candle_nn::ops::sigmoid(&gate)?;
                self.output.forward(&multiply(&attended, &gate)?)
            }
        }
    }

    /// Values, normed by head where that is to be.
    fn values(&self, v: Tensor) -> Result<Tensor> {
        let Some(norm) = &self.value_norm else {
            return Ok(v);
        };
        let (rows, width) = v.dims2()?;
        let heads = v
            .contiguous()?
            .reshape((rows * self.cached.kv_heads, self.cached.head_dim))?;
        norm.forward(&heads)?.reshape((rows, width))
    }

    /// Queries times what their positions make of them.
    fn grown(
        &self,
        q: &Tensor,
        temperature: QueryTemperature,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let mut factors = Vec::with_capacity(q.dim(0)?);
        for (cache, count) in sequences {
            let first = cache.layer(self.cached.layer).len();
            factors.extend((first..first + *count).map(|position| {
                let step = (position / temperature.step) as f32;
                1.0 + temperature.beta as f32 * step.ln_1p()
            }));
        }
        if factors.iter().all(|factor| *factor == 1.0) {
            return Ok(q.clone());
        }
        let factors = Tensor::from_vec(factors, (q.dim(0)?, 1, 1), q.device())?;
        q.broadcast_mul(&factors.to_dtype(q.dtype())?)
    }
}

/// Queries or keys, rotated and normed: `rows × heads × head_dim`.
fn rotated(x: &Tensor, angles: &Angles, norm: Option<(&QkNorms, &Norm)>) -> Result<Tensor> {
    let Some((norms, norm)) = norm else {
        return angles.rotate(x, None);
    };
    match (norms.span, norms.are_after_rotation) {
        (NormSpan::Head, false) => angles.rotate(x, Some(norm)),
        (NormSpan::Row, false) => angles.rotate(&norm.forward(x)?, None),
        (span, true) => {
            let rotated = angles.rotate(x, None)?;
            let (rows, heads, head_dim) = rotated.dims3()?;
            let flat = match span {
                NormSpan::Head => (rows * heads, head_dim),
                NormSpan::Row => (rows, heads * head_dim),
            };
            let normed = norm.forward(&rotated.reshape(flat)?)?;
            normed.reshape((rows, heads, head_dim))
        }
    }
}
