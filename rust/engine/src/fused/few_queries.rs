//! Attention of a few queries over many positions on the CPU, as a token's decoding needs it.
//!
//! A matrix product would first copy the keys and values into the order of its kernel, which costs as
//! much as all the rest; here each is read once, where it lies.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, bail};
use pulp::{Arch, NullaryFnOnce};

use super::rows::for_each_row_if;
use super::softmax::MaskedSoftmax;

/// Queries of a sequence up to which this is faster than matrix products.
pub(super) const FEW: usize = 8;

/// Numbers of keys below which one thread does all.
const WORTH_THREADS: usize = 1 << 15;

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
        let mut out = vec![0f32; rows * heads_count * width];
        let worth = kv_heads * positions * width >= WORTH_THREADS;
        for_each_row_if(worth, &mut out, group * width, |index, out| {
            let (row, kv_head) = (index / kv_heads, index % kv_heads);
            let queries = &queries[row * query_stride + kv_head * group * width..][..group * width];
            let keys = &keys[kv_head * key_stride..][..positions * width];
            let values = &values[kv_head * value_stride..][..positions * width];
            let mut weights = vec![0f32; group * positions];
            arch.dispatch(Scores {
                queries,
                keys,
                width,
                positions,
                scores: &mut weights,
            });
            for weights in weights.chunks_exact_mut(positions) {
                self.softmax.row(row, weights);
            }
            arch.dispatch(Mix {
                weights: &weights,
                values,
                width,
                positions,
                out,
            });
        });
        Ok((
            CpuStorage::F32(out),
            Shape::from((rows, heads_count * width)),
        ))
    }
}

// What follows is compiled for the vector instructions that the processor has. A closure would not
// be: it would be compiled by itself.

/// The product of each query with each key.
struct Scores<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    width: usize,
    positions: usize,
    scores: &'a mut [f32],
}

impl NullaryFnOnce for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (position, key) in self.keys.chunks_exact(self.width).enumerate() {
            for (head, query) in self.queries.chunks_exact(self.width).enumerate() {
                self.scores[head * self.positions + position] = dot(query, key);
            }
        }
    }
}

/// The values of all positions, as the weights of each head mix them.
struct Mix<'a> {
    weights: &'a [f32],
    values: &'a [f32],
    width: usize,
    positions: usize,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (position, value) in self.values.chunks_exact(self.width).enumerate() {
            for (head, out) in self.out.chunks_exact_mut(self.width).enumerate() {
                let weight = self.weights[head * self.positions + position];
                for (out, value) in out.iter_mut().zip(value) {
                    *out += weight * value;
                }
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut sums = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}
