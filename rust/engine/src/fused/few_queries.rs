//! Attention of a few queries over many positions on the CPU, as a token's decoding needs it.
//!
//! A matrix product would first copy the keys and values into the order of its kernel, which costs as
//! much as all the rest; here each is read once, where it lies. Positions are taken a stretch at a time,
//! each with a softmax of its own, and the stretches are put together at the end (Dao et al. 2023,
//! "Flash-Decoding for long-context inference"): so there is work for all threads however few heads
//! there are, and what a stretch needs stays in a core's cache.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, bail};
use pulp::{Arch, Simd, WithSimd};

use super::rows::for_each_row_if;
use super::softmax::MaskedSoftmax;
use super::vector::{exp, greatest, sum};

/// Queries of a sequence up to which this is faster than matrix products.
pub(super) const FEW: usize = 8;

/// Numbers of keys below which one thread does all.
const WORTH_THREADS: usize = 1 << 14;

/// Positions of a stretch.
const STRETCH: usize = 256;

/// Attention of `queries × heads × head_dim` over keys and values of `kv_heads × positions × head_dim`;
/// the answer is `queries × (heads · head_dim)`.
pub(super) struct FewQueries {
    /// Which positions each query sees.
    pub(super) softmax: MaskedSoftmax,
}

/// The numbers of a tensor from its first one on, and the stride of its first dimension. The other
/// dimensions must be without gaps.
fn heads<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<(&'a [f32], usize)> {
    let (CpuStorage::F32(numbers), &[_, rows, columns], &[stride, row, step]) =
        (storage, layout.dims(), layout.stride())
    else {
        bail!("expected heads in 32 bits");
    };
    if (row != columns && rows > 1) || (step != 1 && columns > 1) {
        bail!("expected heads without gaps inside");
    }
    Ok((&numbers[layout.start_offset()..], stride))
}

impl CustomOp3 for FewQueries {
    fn name(&self) -> &'static str {
        "attention-of-few-queries"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, heads_count, width) = queries_layout.shape().dims3()?;
        let (kv_heads, positions, _) = keys_layout.shape().dims3()?;
        let group = heads_count / kv_heads;
        let (queries, query_stride) = heads(queries, queries_layout)?;
        let (keys, key_stride) = heads(keys, keys_layout)?;
        let (values, value_stride) = heads(values, values_layout)?;
        let arch = Arch::new();
        let stretches = positions.div_ceil(STRETCH);
        let one = group * (width + SUMMARY);
        let mut parts = vec![0f32; rows * kv_heads * stretches * one];
        let worth = kv_heads * positions * width >= WORTH_THREADS;
        for_each_row_if(worth, &mut parts, one, |index, parts| {
            let (stretch, index) = (index % stretches, index / stretches);
            let (row, kv_head) = (index / kv_heads, index % kv_heads);
            let seen = self.softmax.seen(row);
            let from = seen.start.max(stretch * STRETCH);
            let count = seen.end.min((stretch + 1) * STRETCH).saturating_sub(from);
            arch.dispatch(Stretch {
                queries: &queries[row * query_stride + kv_head * group * width..][..group * width],
                keys: &keys[kv_head * key_stride + from * width..][..count * width],
                values: &values[kv_head * value_stride + from * width..][..count * width],
                width,
                scale: self.softmax.scale,
                parts,
            });
        });
        let mut out = vec![0f32; rows * heads_count * width];
        for (index, out) in out.chunks_exact_mut(width).enumerate() {
            let parts = &parts[index / group * stretches * one..][..stretches * one];
            let head = index % group * (width + SUMMARY);
            join(parts.chunks_exact(one).map(|part| &part[head..]), out);
        }
        Ok((
            CpuStorage::F32(out),
            Shape::from((rows, heads_count * width)),
        ))
    }
}

/// What stands before the mixed values of a head in a stretch: the greatest score and the sum of the
/// weights, which are powers of what the scores lie below it.
const SUMMARY: usize = 2;

/// Puts the stretches of a head together.
fn join<'a>(parts: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
    let best = parts.clone().fold(f32::NEG_INFINITY, |a, b| a.max(b[0]));
    let mut sum = 0.0;
    for part in parts {
        let factor = exp(part[0] - best);
        sum += factor * part[1];
        for (out, value) in out.iter_mut().zip(&part[SUMMARY..]) {
            *out += factor * value;
        }
    }
    for out in out {
        *out /= sum;
    }
}

/// Attention over the positions of a stretch, compiled for the vector instructions that the processor
/// has.
struct Stretch<'a> {
    /// Those of all heads that share keys and values.
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    width: usize,
    /// What products of queries and keys are multiplied by.
    scale: f32,
    /// For each head the summary, then the mixed values.
    parts: &'a mut [f32],
}

impl WithSimd for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut weights = [0f32; STRETCH];
        let weights = &mut weights[..self.keys.len() / self.width];
        let heads = self.queries.chunks_exact(self.width);
        for (query, part) in heads.zip(self.parts.chunks_exact_mut(self.width + SUMMARY)) {
            for (weight, key) in weights.iter_mut().zip(self.keys.chunks_exact(self.width)) {
                *weight = dot(simd, query, key) * self.scale;
            }
            let best = greatest(weights);
            for weight in weights.iter_mut() {
                *weight = exp(*weight - best);
            }
            let (summary, mixed) = part.split_at_mut(SUMMARY);
            summary[0] = best;
            summary[1] = sum(weights);
            mix(simd, weights, self.values, mixed);
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a_vectors, a_rest) = S::as_simd_f32s(a);
    let (b_vectors, b_rest) = S::as_simd_f32s(b);
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a_vectors.iter().zip(b_vectors) {
        sum = simd.mul_add_f32s(*a, *b, sum);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    simd.reduce_sum_f32s(sum) + rest
}

/// The sum of all values, each times its weight.
#[inline(always)]
fn mix<S: Simd>(simd: S, weights: &[f32], values: &[f32], out: &mut [f32]) {
    let width = out.len();
    let (vectors, rest) = S::as_mut_simd_f32s(out);
    let first_of_rest = width - rest.len();
    let (fours, single) = vectors.as_chunks_mut::<4>();
    let first_single = 4 * fours.len();
    for (index, four) in fours.iter_mut().enumerate() {
        mix_vectors(simd, weights, values, width, 4 * index, four);
    }
    for (index, one) in single.as_chunks_mut::<1>().0.iter_mut().enumerate() {
        mix_vectors(simd, weights, values, width, first_single + index, one);
    }
    for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
        for (rest, value) in rest.iter_mut().zip(&value[first_of_rest..]) {
            *rest += weight * value;
        }
    }
}

/// `N` vectors of the sum from the one numbered `first` on, which stay in registers meanwhile.
#[inline(always)]
fn mix_vectors<S: Simd, const N: usize>(
    simd: S,
    weights: &[f32],
    values: &[f32],
    width: usize,
    first: usize,
    out: &mut [S::f32s; N],
) {
    let mut sums = [simd.splat_f32s(0.0); N];
    for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
        let weight = simd.splat_f32s(*weight);
        let value = &S::as_simd_f32s(value).0[first..][..N];
        for n in 0..N {
            sums[n] = simd.mul_add_f32s(weight, value[n], sums[n]);
        }
    }
    *out = sums;
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    /// Numbers between -1 and 1 that do not repeat soon.
    fn tensor(shape: (usize, usize, usize), factor: usize) -> Tensor {
        let count = shape.0 * shape.1 * shape.2;
        let numbers: Vec<f32> = (0..count)
            .map(|i| ((i * factor) % 1009) as f32 / 504.5 - 1.0)
            .collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    /// The same by matrix products and the softmax of whole rows.
    fn plainly(q: &Tensor, keys: &Tensor, values: &Tensor, softmax: MaskedSoftmax) -> Vec<f32> {
        let (rows, heads, width) = q.dims3().unwrap();
        let kv_heads = keys.dim(0).unwrap();
        let q = q
            .reshape((rows, kv_heads, heads / kv_heads, width))
            .and_then(|q| q.permute((1, 2, 0, 3)))
            .and_then(|q| q.reshape((kv_heads, heads / kv_heads * rows, width)))
            .unwrap();
        let scores = q.matmul(&keys.transpose(1, 2).unwrap()).unwrap();
        let mixed = softmax.apply(scores).unwrap().matmul(values).unwrap();
        mixed
            .reshape((kv_heads, heads / kv_heads, rows, width))
            .and_then(|mixed| mixed.permute((2, 0, 1, 3)))
            .and_then(|mixed| mixed.flatten_all())
            .and_then(|mixed| mixed.to_vec1())
            .unwrap()
    }

    #[test]
    fn it_equals_matrix_products() {
        for (rows, heads, kv_heads, width, positions, window) in [
            (1, 9, 3, 64, 700, None),
            (1, 4, 4, 8, 1, None),
            (1, 6, 2, 100, 257, None),
            (8, 2, 1, 128, 600, None),
            (3, 4, 2, 16, 1030, Some(300)),
            (2, 4, 1, 36, 513, Some(2)),
        ] {
            let q = tensor((rows, heads, width), 37);
            let keys = tensor((kv_heads, positions, width), 71);
            let values = tensor((kv_heads, positions, width), 113);
            let softmax = MaskedSoftmax {
                scale: 1.0 / (width as f32).sqrt(),
                queries: rows,
                first: positions - rows,
                window,
            };
            let expected = plainly(&q, &keys, &values, softmax);
            let got = q
                .apply_op3_no_bwd(&keys, &values, &FewQueries { softmax })
                .and_then(|got| got.flatten_all()?.to_vec1::<f32>())
                .unwrap();
            for (got, expected) in got.iter().zip(&expected) {
                assert!(
                    (got - expected).abs() < 1e-5,
                    "{rows} of {heads}, {width} wide, {positions}: {got} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn scores_that_are_no_numbers_show() {
        let q = tensor((1, 1, 8), 3);
        let keys = Tensor::full(f32::NAN, (1, 4, 8), &Device::Cpu).unwrap();
        let softmax = MaskedSoftmax {
            scale: 1.0,
            queries: 1,
            first: 3,
            window: None,
        };
        let values = tensor((1, 4, 8), 5);
        let got = q
            .apply_op3_no_bwd(&keys, &values, &FewQueries { softmax })
            .and_then(|got| got.flatten_all()?.to_vec1::<f32>())
            .unwrap();
        assert!(got.iter().all(|x| x.is_nan()), "{got:?}");
    }
}
