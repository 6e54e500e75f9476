//! Activations, quantized to 16 bits a block.

use std::ops::Range;

use super::matrix::PackedMatrix;
use super::tiles::tiles;
use crate::formats::BLOCK;
use crate::simd::LANES;
use crate::simd::math::reduce;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::team::for_each_part;

/// The quants of a block in pairs, as `vpdpwssd` and `pmaddwd` take them: of every four the first and the third,
/// then the second and the fourth, which are every other byte of a [`PackedLine`](super::PackedLine).
pub(crate) type Pairs = [[i16; 2]; BLOCK / 2];

/// Activations `[rows, columns]` in 16 bits, with a scale for every block of 32, in the order in which kernels read them:
/// tile by tile of some rows, of these block by block, of these row by row.
///
/// 8 bits (as in llama.cpp's Q8_1) would be faster with VNNI's byte products, but less accurate: on a model of
/// 135 million weights they cost three times the error of Q8_0 weights.
#[derive(Debug, Clone)]
pub(crate) struct QuantizedActivations {
    pairs: Vec<Pairs>,
    /// Scale and sum of each block.
    blocks: Vec<ActivationBlock>,
    /// Tiles in bytes for AMX and NEON; empty for other kernels.
    blocks8: Vec<ActivationBlock8>,
    columns: usize,
    pub(crate) rows: usize,
    tile_rows: usize,
}

/// Rows of activations that go through a kernel together.
#[derive(Debug, Clone)]
pub(crate) struct ActivationTile<'a> {
    pub(crate) rows: Range<usize>,
    pairs: &'a [Pairs],
    blocks: &'a [ActivationBlock],
    /// The tile in bytes, where the kernel takes them.
    pub(crate) blocks8: &'a [ActivationBlock8],
}

/// Some blocks of all rows of a tile, which are to be quantized.
#[derive(Debug)]
pub(crate) struct EmptyTilePart<'a> {
    /// The places of the tile's activations.
    pub(crate) numbers: Range<usize>,
    /// The first block.
    first: usize,
    pairs: &'a mut [Pairs],
    blocks: &'a mut [ActivationBlock],
    rows: usize,
}

/// Activations that a thread quantizes at a time, about.
const PART: usize = 1 << 14;

/// Rows of activations at most in a tile of bytes.
pub(crate) const BYTE_ROWS: usize = 8;

/// A block of up to eight rows, split into bytes. Rows behind the last are zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct ActivationBlock8 {
    /// The upper bytes, and the lower bytes as signed numbers.
    pub(crate) bytes: [[[i8; BLOCK]; BYTE_ROWS]; 2],
    /// [`ActivationBlock::scale`] of each.
    pub(crate) scales: [f32; BYTE_ROWS],
    /// [`ActivationBlock::sum`] of each.
    pub(crate) sums: [f32; BYTE_ROWS],
    /// [`ActivationBlock::acc_init`] of each, those of the first part first.
    pub(crate) acc_init: [[i32; BYTE_ROWS]; 2],
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
    /// Zeros, in [`tiles`] of at most `tile_rows` rows.
    pub(crate) fn new(rows: usize, columns: usize, tile_rows: usize) -> Self {
        let blocks = rows * columns / BLOCK;
        Self {
            pairs: vec![[[0; 2]; BLOCK / 2]; blocks],
            blocks: vec![ActivationBlock::default(); blocks],
            blocks8: Vec::new(),
            columns,
            rows,
            tile_rows,
        }
    }

    pub(crate) fn tiles(&self) -> impl Iterator<Item = ActivationTile<'_>> {
        let blocks = self.columns / BLOCK;
        let tiles = tiles(self.rows, self.tile_rows).enumerate();
        tiles.map(move |(tile, rows)| {
            let place = rows.start * blocks..rows.end * blocks;
            ActivationTile {
                rows,
                pairs: &self.pairs[place.clone()],
                blocks: &self.blocks[place],
                blocks8: self
                    .blocks8
                    .get(tile * blocks..(tile + 1) * blocks)
                    .unwrap_or_default(),
            }
        })
    }

    /// All tiles, to be quantized.
    pub(crate) fn empty_parts(&mut self) -> Vec<EmptyTilePart<'_>> {
        let (mut pairs, mut blocks) = (&mut self.pairs[..], &mut self.blocks[..]);
        let (columns, count) = (self.columns, self.columns / BLOCK);
        let mut parts = Vec::new();
        for rows in tiles(self.rows, self.tile_rows) {
            let each = (PART / BLOCK / rows.len()).max(1);
            for first in (0..count).step_by(each) {
                let size = each.min(count - first) * rows.len();
                let (part_pairs, other_pairs) = pairs.split_at_mut(size);
                let (part_blocks, other_blocks) = blocks.split_at_mut(size);
                (pairs, blocks) = (other_pairs, other_blocks);
                parts.push(EmptyTilePart {
                    numbers: rows.start * columns..rows.end * columns,
                    first,
                    pairs: part_pairs,
                    blocks: part_blocks,
                    rows: rows.len(),
                });
            }
        }
        parts
    }

    /// Lets `work` write all tiles in bytes.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(crate) fn split(&mut self, work: impl Fn(&ActivationTile, &mut [ActivationBlock8]) + Sync) {
        let blocks = self.columns / BLOCK;
        let count = self.tiles().count();
        let mut blocks8 = vec![ActivationBlock8::default(); count * blocks];
        let parts = self.tiles().zip(blocks8.chunks_mut(blocks)).collect();
        for_each_part(parts, |(tile, blocks8): (ActivationTile, &mut [_])| {
            work(&tile, blocks8);
        });
        self.blocks8 = blocks8;
    }
}

impl ActivationTile<'_> {
    /// Each block of the tile, which has `M` rows.
    #[inline(always)]
    pub(crate) fn blocks<const M: usize>(
        &self,
    ) -> impl Iterator<Item = (&[Pairs; M], &[ActivationBlock; M])> {
        debug_assert_eq!(self.rows.len(), M);
        let blocks = self.blocks.as_chunks().0.iter();
        self.pairs.as_chunks().0.iter().zip(blocks)
    }
}

impl EmptyTilePart<'_> {
    /// Each block of the activations of the tile, `numbers`, and its place.
    #[inline(always)]
    pub(crate) fn places<'a>(
        &'a mut self,
        numbers: &'a [f32],
    ) -> impl Iterator<Item = (&'a [f32; BLOCK], (&'a mut Pairs, &'a mut ActivationBlock))> {
        let numbers = numbers.as_chunks::<BLOCK>().0;
        let (rows, first, each) = (self.rows, self.first, numbers.len() / self.rows);
        let places = self
            .pairs
            .chunks_exact_mut(rows)
            .zip(self.blocks.chunks_exact_mut(rows));
        places
            .enumerate()
            .flat_map(move |(block, (pairs, blocks))| {
                numbers[first + block..]
                    .iter()
                    .step_by(each)
                    .zip(pairs.iter_mut().zip(blocks))
            })
    }
}

/// Splits the quants of a tile into bytes. To be inlined where vector instructions are enabled.
#[inline(always)]
pub(crate) fn split_blocks(tile: &ActivationTile, blocks8: &mut [ActivationBlock8]) {
    let rows = tile.rows.len();
    let blocks = tile
        .pairs
        .chunks_exact(rows)
        .zip(tile.blocks.chunks_exact(rows));
    for ((numbers, blocks), eight) in blocks.zip(blocks8) {
        for (lane, (numbers, block)) in numbers.iter().zip(blocks).enumerate() {
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

/// Quantizes a part of a tile of activations. To be inlined where vector instructions are enabled.
#[inline(always)]
pub(crate) fn quantize_blocks(matrix: &PackedMatrix, numbers: &[f32], mut part: EmptyTilePart) {
    for (numbers, (rounded, block)) in part.places(numbers) {
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
