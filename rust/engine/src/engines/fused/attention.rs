//! Attention of several queries a key head (Ainslie et al. 2023, GQA) over KV caches.

use std::ops::Deref;

use candle_core::{DType, Device, Layout, Result, Storage, Tensor, bail};
use candle4j_kernels::{Queries, Strided, attend};

use super::cache::SequenceCache;
use super::linear::{FusedLinear, Linear};
use super::norm::Norm;
use super::rotary::Angles;
use super::rows::{multiply, strided};
use super::softmax::MaskedSoftmax;
use crate::description::{KvSource, NormSpan, QueryTemperature};

/// The weights and the shape of one layer's attention.
#[derive(Debug)]
pub(crate) struct Attention {
    /// The number of the layer in the cache whose keys and values these are.
    pub(crate) layer: usize,
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
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Which of the angles rotate queries and keys.
    pub(crate) rotary: usize,
    /// Positions that a query sees, itself included; all earlier ones when `None`.
    pub(crate) window: Option<usize>,
    /// Of the scores.
    pub(crate) scale: f32,
    /// The bound of the scores.
    pub(crate) cap: Option<f32>,
    /// How queries grow with their positions.
    pub(crate) query_temperature: Option<QueryTemperature>,
    /// Whether a position sees no later ones; else it sees those of its own pass, all of its text.
    pub(crate) is_causal: bool,
    /// A score of each head that has no value.
    pub(crate) sinks: Option<Vec<f32>>,
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
                    .reshape((q.dim(0)?, self.heads, 2 * self.head_dim))?;
                let part = |start| {
                    each.narrow(2, start, self.head_dim)?
                        .contiguous()?
                        .flatten_from(1)
                };
                (part(0)?, Some(part(self.head_dim)?))
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
        let attended = match x.device() {
            Device::Cpu => self.by_kernels(&q, own, sequences)?,
            _ => self.by_tensors(&q, own, sequences)?,
        };
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
            .reshape((rows * self.kv_heads, self.head_dim))?;
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
            let first = cache.layer(self.layer).len();
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

    /// What queries, `rows × heads × head_dim`, give on the CPU, with the keys, of the same form, and values, a row of all
    /// heads each, of a layer that has its own.
    fn by_kernels(
        &self,
        q: &Tensor,
        own: Option<(&Tensor, &Tensor)>,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        let dtype = q.dtype();
        let in_32_bits = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        let q = in_32_bits(&q.flatten_from(1)?)?;
        let own = match own {
            None => None,
            Some((k, v)) => Some((in_32_bits(&k.flatten_from(1)?)?, in_32_bits(v)?)),
        };
        let (rows, width) = q.dims2()?;
        let own = own
            .as_ref()
            .map(|(k, v)| (k.storage_and_layout(), v.storage_and_layout()));
        let own = match &own {
            None => None,
            Some((k, v)) => Some((on_cpu(k)?, on_cpu(v)?)),
        };
        let q = q.storage_and_layout();
        let q = on_cpu(&q)?;
        let mut start = 0;
        let mut queries = Vec::with_capacity(sequences.len());
        for (cache, count) in sequences {
            let rows = start..start + *count;
            start = rows.end;
            let state = cache.layer(self.layer);
            let first = state.len();
            queries.push(Queries {
                cache: match &own {
                    Some((k, v)) => state.write(k.rows(&rows), v.rows(&rows))?,
                    None => state.written()?,
                },
                rows: q.rows(&rows),
                heads: self.heads,
                first,
                causal: self.is_causal,
                bias: None,
                window: self.window,
                scale: self.scale,
                cap: self.cap,
                sinks: self.sinks.as_deref(),
            });
        }
        let mut out = vec![0f32; rows * width];
        attend(&queries, &mut out);
        Tensor::from_vec(out, (rows, width), &Device::Cpu)?.to_dtype(dtype)
    }

    /// The same on any device, by matrix products.
    fn by_tensors(
        &self,
        q: &Tensor,
        own: Option<(&Tensor, &Tensor)>,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        if !self.is_causal {
            bail!("attention to later positions is computed on the CPU alone");
        }
        let heads = (q.dim(0)?, self.kv_heads, self.head_dim);
        let own = match own {
            None => None,
            Some((k, v)) => Some((k, v.contiguous()?.reshape(heads)?)),
        };
        let mut start = 0;
        let mut parts = Vec::with_capacity(sequences.len());
        for (cache, count) in sequences {
            let part = |tensor: &Tensor| tensor.narrow(0, start, *count);
            let own = match &own {
                None => None,
                Some((k, v)) => Some((part(k)?, part(v)?)),
            };
            parts.push(self.sequence_by_tensors(&part(q)?, own, cache)?);
            start += *count;
        }
        Tensor::cat(&parts, 0)
    }

    fn sequence_by_tensors(
        &self,
        q: &Tensor,
        own: Option<(Tensor, Tensor)>,
        cache: &mut SequenceCache,
    ) -> Result<Tensor> {
        let state = cache.layer(self.layer);
        let position = state.len();
        // What the first query does not see any more, none does.
        let from = match self.window {
            Some(window) => (position + 1).saturating_sub(window),
            None => 0,
        };
        if let Some((k, v)) = own {
            state.append(&k, &v)?;
        }
        let (keys, values) = state.appended(from, q.dim(0)?)?;
        let softmax = MaskedSoftmax {
            scale: self.scale,
            cap: self.cap,
            last_visible: position - from,
            window: self.window,
            sinks: self.sinks.as_deref(),
        };
        softmax.attend(q, &keys, &values)
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

/// The rows of a matrix on the CPU.
pub(super) fn on_cpu<'a>(
    (storage, layout): &'a (impl Deref<Target = Storage>, &Layout),
) -> Result<Strided<'a>> {
    match &**storage {
        Storage::Cpu(storage) => strided(storage, layout),
        _ => bail!("expected rows on the CPU"),
    }
}
