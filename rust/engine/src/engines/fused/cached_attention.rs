//! Attention over the keys and values that sequences have kept.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle4j_kernels::{Queries, attend};

use super::cache::SequenceCache;
use super::rows::on_cpu;
use super::softmax::MaskedSoftmax;

/// The attention of one layer between its queries and what it makes of their answers.
#[derive(Debug)]
pub(crate) struct CachedAttention {
    /// The number of the layer in the cache whose keys and values these are.
    pub(crate) layer: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Positions that a query sees, itself included; all earlier ones when `None`.
    pub(crate) window: Option<usize>,
    /// Of the scores.
    pub(crate) scale: f32,
    /// The bound of the scores.
    pub(crate) cap: Option<f32>,
    /// Whether a position sees no later ones; else it sees those of its own pass, all of its text.
    pub(crate) is_causal: bool,
    /// A score of each head that has no value.
    pub(crate) sinks: Option<Vec<f32>>,
}

impl CachedAttention {
    /// What queries of all sequences, `rows × heads × head_dim`, give: `rows × (heads · head_dim)`. The keys, of the same
    /// form, and values, a row of all heads each, of a layer that has its own go into the caches first.
    pub(crate) fn forward(
        &self,
        q: &Tensor,
        own: Option<(&Tensor, &Tensor)>,
        sequences: &mut [(&mut SequenceCache, usize)],
    ) -> Result<Tensor> {
        match q.device() {
            Device::Cpu => self.by_kernels(q, own, sequences),
            _ => self.by_tensors(q, own, sequences),
        }
    }

    /// The same on the CPU.
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
