//! Activations, quantized to 16 bits a block.

use super::matrix::PackedMatrix;
use crate::formats::BLOCK;
use crate::simd::LANES;
use crate::simd::math::reduce;

/// The quants of a block in pairs, as `vpdpwssd` and `pmaddwd` take them: of every four the first and the third,
/// then the second and the fourth, which are every other byte of a [`PackedLine`](super::PackedLine).
pub(crate) type Pairs = [[i16; 2]; BLOCK / 2];

/// Activations `[rows, columns]` in 16 bits, with a scale for every block of 32.
///
/// 8 bits (as in llama.cpp's Q8_1) would be faster with VNNI's byte products, but less accurate: on a model of
/// 135 million weights they cost three times the error of Q8_0 weights.
#[derive(Debug, Clone)]
pub(crate) struct QuantizedActivations {
    pub(crate) pairs: Vec<Pairs>,
    /// Scale and sum of each block.
    pub(crate) blocks: Vec<ActivationBlock>,
    /// The same in bytes for AMX and NEON, eight rows at a time; empty for other kernels.
    pub(crate) blocks8: Vec<ActivationBlock8>,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// Rows of activations in an AMX tile, and those whose bytes stand together.
pub(crate) const TILE_ROWS: usize = 8;

/// A block of eight rows, split into bytes. Rows behind the last are zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct ActivationBlock8 {
    /// The upper bytes, and the lower bytes as signed numbers.
    pub(crate) bytes: [[[i8; BLOCK]; TILE_ROWS]; 2],
    /// [`ActivationBlock::scale`] of each.
    pub(crate) scales: [f32; TILE_ROWS],
    /// [`ActivationBlock::sum`] of each.
    pub(crate) sums: [f32; TILE_ROWS],
    /// [`ActivationBlock::acc_init`] of each, those of the first part first.
    pub(crate) acc_init: [[i32; TILE_ROWS]; 2],
}

/// The largest quant: the sum of 32 products with bytes, and [`ActivationBlock::acc_init`], stay below 2³¹.
/// Its upper byte and its signed lower byte are both 127.
pub(crate) const ACTIVATION_MAX: f32 = 32639.0;

/// Adding it rounds a number below 2²² to a whole one, which the last bits of the sum hold. That is one
/// instruction, where Rust's `as` also saturates.
pub(crate) const ROUND_MAGIC: f32 = 1.5 * (1 << 23) as f32;

/// Scale and sum of a block of activations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ActivationBlock {
    /// `activation = scale · quant`.
    pub(crate) scale: f32,
    /// The sum of the activations, which a weight block's minimum is multiplied with.
    pub(crate) sum: f32,
    /// Initial value of the integer accumulator: `−zero_point · Σ quants`, for each part of the block whose
    /// weights have a scale; only the first is used where there is one scale a block.
    pub(crate) acc_init: [i32; 2],
}

impl QuantizedActivations {
    /// Zeros.
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let blocks = rows * columns / BLOCK;
        Self {
            pairs: vec![[[0; 2]; BLOCK / 2]; blocks],
            blocks: vec![ActivationBlock::default(); blocks],
            blocks8: Vec::new(),
            columns,
            rows,
        }
    }

    /// The blocks of the eight rows from `row` on.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(crate) fn rows_of_8(&self, row: usize) -> &[ActivationBlock8] {
        let blocks = self.columns / BLOCK;
        &self.blocks8[row / TILE_ROWS * blocks..][..blocks]
    }

    /// Quants and blocks of a row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> (&[Pairs], &[ActivationBlock]) {
        let blocks = self.columns / BLOCK;
        (
            &self.pairs[row * blocks..][..blocks],
            &self.blocks[row * blocks..][..blocks],
        )
    }
}

/// Splits the quants of up to eight rows into bytes. To be inlined where vector instructions are enabled.
#[inline(always)]
pub(crate) fn split_blocks(
    numbers: &[Pairs],
    blocks: &[ActivationBlock],
    blocks8: &mut [ActivationBlock8],
) {
    let each = blocks8.len();
    let rows = numbers.chunks_exact(each).zip(blocks.chunks_exact(each));
    for (lane, (numbers, blocks)) in rows.enumerate() {
        for ((numbers, block), eight) in numbers.iter().zip(blocks).zip(blocks8.iter_mut()) {
            let [upper, lower] = &mut eight.bytes;
            let fours = numbers.as_chunks::<2>().0.iter();
            let bytes = upper[lane].as_chunks_mut::<4>().0.iter_mut();
            let bytes = bytes.zip(lower[lane].as_chunks_mut::<4>().0);
            for ([[first, third], [second, fourth]], (upper, lower)) in fours.zip(bytes) {
                let numbers = [*first, *second, *third, *fourth];
                *lower = numbers.map(|number| number as i8);
                // None is so large that this would be too much.
                *upper = numbers.map(|number| (number.wrapping_add(128) >> 8) as i8);
            }
            eight.scales[lane] = block.scale;
            eight.sums[lane] = block.sum;
            for (acc_init, start) in eight.acc_init.iter_mut().zip(block.acc_init) {
                acc_init[lane] = start;
            }
        }
    }
}

/// Quantizes whole blocks. To be inlined where vector instructions are enabled.
#[inline(always)]
pub(crate) fn quantize_blocks(
    matrix: &PackedMatrix,
    numbers: &[f32],
    rounded: &mut [Pairs],
    blocks: &mut [ActivationBlock],
) {
    let chunks = numbers.chunks_exact(BLOCK).zip(rounded).zip(blocks);
    for ((numbers, rounded), block) in chunks {
        let mut largest = [0f32; LANES];
        let mut zeros = [0f32; LANES];
        for lanes in numbers.as_chunks::<LANES>().0 {
            for ((largest, zero), number) in largest.iter_mut().zip(&mut zeros).zip(lanes) {
                *largest = largest.max(number.abs());
                // Zero times a number is zero, unless the number is not finite.
                *zero += number * 0.0;
            }
        }
        let largest = reduce(largest, f32::max);
        let factor = inverse_scale(largest);
        let mut sums = [0i32; 2];
        let halves = rounded.as_flattened_mut().chunks_exact_mut(BLOCK / 2);
        for ((rounded, numbers), sum) in halves.zip(numbers.chunks_exact(BLOCK / 2)).zip(&mut sums)
        {
            let fours = rounded.as_chunks_mut::<4>().0.iter_mut();
            for (rounded, numbers) in fours.zip(numbers.as_chunks::<4>().0) {
                let wholes = numbers.map(|number| {
                    // One that is not finite becomes anything; its block's scale tells.
                    let bits = (number * factor + ROUND_MAGIC).to_bits() as i32;
                    bits.wrapping_sub(ROUND_MAGIC.to_bits() as i32)
                });
                let [first, second, third, fourth] = wholes.map(|whole| whole as i16);
                *rounded = [first, third, second, fourth];
                *sum = wholes
                    .iter()
                    .fold(*sum, |sum, whole| sum.wrapping_add(*whole));
            }
        }
        let scale = largest / ACTIVATION_MAX + reduce(zeros, |a, b| a + b);
        if matrix.scales_each() == 1 {
            sums = [sums[0].wrapping_add(sums[1]), 0];
        }
        *block = ActivationBlock::new(matrix, scale, sums);
    }
}

/// `quant = round(activation · inverse_scale)` for the largest magnitude of a block.
#[inline(always)]
pub(crate) fn inverse_scale(largest: f32) -> f32 {
    match largest > 0.0 {
        true => ACTIVATION_MAX / largest,
        false => 0.0,
    }
}

impl ActivationBlock {
    /// For quants with these sums, one for each scale of a weight block.
    #[inline(always)]
    pub(crate) fn new(matrix: &PackedMatrix, scale: f32, sums: [i32; 2]) -> Self {
        Self {
            scale,
            sum: scale * sums[0].wrapping_add(sums[1]) as f32,
            acc_init: sums.map(|sum| sum.wrapping_mul(-matrix.zero_point())),
        }
    }
}
