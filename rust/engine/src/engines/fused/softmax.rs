//! Attention by matrix products, with the softmax of whole rows: for devices without kernels of our own.

use candle_core::{DType, Result, Tensor};

/// The softmax over the positions that a query sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskedSoftmax<'a> {
    /// What scores are multiplied by.
    pub(crate) scale: f32,
    /// The bound that they approach then, if there is one.
    pub(crate) cap: Option<f32>,
    /// The last position that the first query sees.
    pub(crate) last_visible: usize,
    /// How many columns a query sees, if not all before it.
    pub(crate) window: Option<usize>,
    /// A score of each head that takes part beside those of the positions.
    pub(crate) sinks: Option<&'a [f32]>,
}

impl MaskedSoftmax<'_> {
    /// What queries of `rows × heads × head_dim` make of keys and values of
    /// `kv_heads × positions × head_dim`: `rows × (heads · head_dim)`.
    pub(crate) fn attend(&self, q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let (rows, heads, head_dim) = q.dims3()?;
        let kv_heads = keys.dim(0)?;
        let group = heads / kv_heads;
        let q = q
            .reshape((rows, kv_heads, group, head_dim))?
            .permute((1, 2, 0, 3))?
            .reshape((kv_heads, group * rows, head_dim))?;
        let weights = self.apply(rows, &q.matmul(&keys.transpose(1, 2)?)?)?;
        weights
            .matmul(values)?
            .reshape((kv_heads, group, rows, head_dim))?
            .permute((2, 0, 1, 3))?
            .reshape((rows, heads * head_dim))
    }

    /// Turns scores of shape `heads × rows × columns` into weights: scales them, hides what a query does
    /// not see, and takes the softmax of each row. Every so many `queries` rows are those of a head.
    fn apply(&self, queries: usize, scores: &Tensor) -> Result<Tensor> {
        let (heads, rows, columns) = scores.dims3()?;
        let dtype = scores.dtype();
        let mut scores = (scores.to_dtype(DType::F32)? * f64::from(self.scale))?;
        if let Some(cap) = self.cap {
            let cap = f64::from(cap);
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if queries > 1 || self.window.is_some() {
            let mask: Vec<f32> = (0..queries)
                .flat_map(|query| {
                    let seen = self.seen(query);
                    (0..columns).map(move |column| match seen.contains(&column) {
                        true => 0.0,
                        false => f32::NEG_INFINITY,
                    })
                })
                .collect();
            let mask = Tensor::from_vec(mask, (queries, columns), scores.device())?;
            scores = scores
                .reshape((heads, rows / queries, queries, columns))?
                .broadcast_add(&mask)?
                .reshape((heads, rows, columns))?;
        }
        let Some(sinks) = self.sinks else {
            return candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(dtype);
        };
        let sinks = Tensor::from_slice(sinks, (heads, rows / queries, 1, 1), scores.device())?;
        let sinks = sinks
            .broadcast_as((heads, rows / queries, queries, 1))?
            .reshape((heads, rows, 1))?;
        candle_nn::ops::softmax_last_dim(&Tensor::cat(&[&scores, &sinks], 2)?)?
            .narrow(2, 0, columns)?
            .contiguous()?
            .to_dtype(dtype)
    }

    /// The columns that a query sees.
    fn seen(&self, query: usize) -> std::ops::Range<usize> {
        let end = self.last_visible + query + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use candle4j_kernels::{KvCache, Queries, Strided, attend};

    use super::*;

    /// Numbers between -1 and 1 that do not repeat soon.
    fn numbers(count: usize, factor: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * factor) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    fn strided(numbers: &[f32], stride: usize) -> Strided<'_> {
        Strided {
            numbers,
            stride,
            rows: numbers.len() / stride,
            columns: stride,
        }
    }

    #[test]
    fn it_equals_the_kernels_of_the_cpu() {
        for (rows, heads, kv_heads, width, positions, window, cap, has_sinks) in [
            (1, 9, 3, 64, 700, None, None, false),
            (8, 2, 1, 128, 600, None, Some(0.5), false),
            (3, 4, 2, 16, 1030, Some(300), None, true),
            (50, 4, 1, 36, 513, Some(2), Some(2.0), false),
            (1, 6, 2, 32, 40, None, None, true),
        ] {
            let sinks = numbers(heads, 7);
            let softmax = MaskedSoftmax {
                scale: 1.0 / (width as f32).sqrt(),
                cap,
                last_visible: positions - rows,
                window,
                sinks: has_sinks.then_some(&sinks),
            };
            let (q, k, v) = (
                numbers(rows * heads * width, 37),
                numbers(positions * kv_heads * width, 71),
                numbers(positions * kv_heads * width, 113),
            );
            let mut cache = KvCache::new(DType::F32, kv_heads, width, &Default::default()).unwrap();
            cache.reserve(positions);
            let row = kv_heads * width;
            cache.write(0, strided(&k, row), strided(&v, row));
            let mut got = vec![0f32; q.len()];
            let queries = Queries {
                cache: &cache,
                rows: strided(&q, heads * width),
                heads,
                first: softmax.last_visible,
                causal: true,
                bias: None,
                window,
                scale: softmax.scale,
                cap,
                sinks: softmax.sinks,
            };
            attend(&[queries], &mut got);
            let by_head = |numbers: &[f32]| {
                Tensor::from_slice(numbers, (positions, kv_heads, width), &Device::Cpu)
                    .and_then(|tensor| tensor.transpose(0, 1)?.contiguous())
                    .unwrap()
            };
            let expected = Tensor::from_slice(&q, (rows, heads, width), &Device::Cpu)
                .and_then(|q| softmax.attend(&q, &by_head(&k), &by_head(&v)))
                .and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>())
                .unwrap();
            for (got, expected) in got.iter().zip(&expected) {
                assert!(
                    (got - expected).abs() < 1e-5,
                    "{rows} of {heads}, {width} wide, {positions}: {got} instead of {expected}"
                );
            }
        }
    }
}
