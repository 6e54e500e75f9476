//! Rows that a matrix is multiplied with.

use crate::numbers::reduce;
use crate::team::for_each_part;
use crate::{BLOCK, LANES, PackedMatrix, WeightMatrix};

/// The numbers of a block, two by two as an instruction takes them: of every four the first and the third,
/// then the second and the fourth, since these are every other byte of a matrix.
pub(crate) type Pairs = [[i16; 2]; BLOCK / 2];

/// Rows of floating point numbers in 16 bits, every 32 numbers with a scale of their own.
///
/// Eight bits would be enough for an instruction that sums four products of bytes, but not for a
/// model: on one of 135 million weights they cost three times the accuracy that its own eight bits do.
#[derive(Debug, Clone)]
pub(crate) struct RoundedRows {
    pub(crate) numbers: Vec<Pairs>,
    /// One for each block.
    pub(crate) blocks: Vec<BlockOfRow>,
    /// The same of eight rows after the other, each block by block, where the kernel wants them so.
    eights: Vec<BlockOfEight>,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// Rows whose bytes are multiplied together.
pub(crate) const TOGETHER: usize = 8;

/// A block of eight rows. Rows behind the last are 0.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct BlockOfEight {
    /// Their upper bytes, and the lower ones as numbers with a sign.
    pub(crate) bytes: [[[i8; BLOCK]; TOGETHER]; 2],
    /// [`BlockOfRow::scale`] of each.
    pub(crate) scales: [f32; TOGETHER],
    /// [`BlockOfRow::total`] of each.
    pub(crate) totals: [f32; TOGETHER],
    /// [`BlockOfRow::starts`] of each, those of the first part first.
    pub(crate) starts: [[i32; TOGETHER]; 2],
}

/// The largest number, with which the sum of 32 products with bytes stays below 2³¹, and so does what is
/// taken from it for the bytes that stand for 0. Its upper byte, and its lower with a sign, are 127.
pub(crate) const LARGEST: f32 = 32639.0;

/// Added to it, a number less than 2²² becomes a whole one, which its last bits hold: this takes one
/// instruction, where a conversion would be checked for numbers that do not fit.
pub(crate) const ROUND: f32 = 1.5 * (1 << 23) as f32;

/// Numbers that a thread rounds at a time.
const AT_ONCE: usize = 1 << 14;

/// What the numbers of a block have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockOfRow {
    /// What a number is multiplied with.
    pub(crate) scale: f32,
    /// The sum of what all stand for: what each weight's minimum is multiplied with.
    pub(crate) total: f32,
    /// What the products with weights in so many parts begin with: less what the number that stands for
    /// 0 adds to each. The first is for the whole block where its weights have one scale.
    pub(crate) starts: [i32; 2],
}

impl RoundedRows {
    /// Rounds the rows that a matrix is multiplied with. Where a block has numbers that are not finite,
    /// its scale is not either, and so are all products with it.
    ///
    /// # Panics
    /// When the numbers are no whole number of rows as wide as the matrix.
    pub(crate) fn round(numbers: &[f32], matrix: &PackedMatrix) -> Self {
        let columns = matrix.columns();
        assert_eq!(numbers.len() % columns, 0, "numbers of whole rows");
        let mut rows = Self {
            numbers: vec![[[0; 2]; BLOCK / 2]; numbers.len() / BLOCK],
            blocks: vec![BlockOfRow::default(); numbers.len() / BLOCK],
            eights: Vec::new(),
            columns,
            rows: numbers.len() / columns,
        };
        let parts = numbers
            .chunks(AT_ONCE)
            .zip(rows.numbers.chunks_mut(AT_ONCE / BLOCK))
            .zip(rows.blocks.chunks_mut(AT_ONCE / BLOCK))
            .collect();
        for_each_part(parts, |((numbers, rounded), blocks)| {
            match matrix.instructions() {
                // SAFETY: a matrix is only made for instructions that the processor has.
                #[cfg(target_arch = "x86_64")]
                instructions => unsafe {
                    crate::x86::round(instructions, matrix, numbers, rounded, blocks);
                },
            }
        });
        #[cfg(target_arch = "x86_64")]
        if crate::x86::wants_eights(matrix.instructions(), rows.rows) {
            rows.split();
        }
        rows
    }

    /// Splits the numbers into their bytes.
    #[cfg(target_arch = "x86_64")]
    fn split(&mut self) {
        let blocks = self.columns / BLOCK;
        self.eights = vec![BlockOfEight::default(); self.rows.div_ceil(TOGETHER) * blocks];
        let parts = self
            .numbers
            .chunks(TOGETHER * blocks)
            .zip(self.blocks.chunks(TOGETHER * blocks))
            .zip(self.eights.chunks_mut(blocks))
            .collect();
        for_each_part(
            parts,
            |((numbers, blocks), eights): ((&[_], &[_]), &mut [_])| {
                // SAFETY: this is wanted by instructions that the processor has.
                unsafe { crate::x86::split(numbers, blocks, eights) };
            },
        );
    }

    /// The blocks of the eight rows that `row` is the first of.
    pub(crate) fn eight(&self, row: usize) -> &[BlockOfEight] {
        let blocks = self.columns / BLOCK;
        &self.eights[row / TOGETHER * blocks..][..blocks]
    }

    /// The numbers and the blocks of a row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> (&[Pairs], &[BlockOfRow]) {
        let blocks = self.columns / BLOCK;
        (
            &self.numbers[row * blocks..][..blocks],
            &self.blocks[row * blocks..][..blocks],
        )
    }
}

/// Puts up to eight rows together: to be inlined where the vector instructions are known.
#[inline(always)]
pub(crate) fn split_blocks(numbers: &[Pairs], blocks: &[BlockOfRow], eights: &mut [BlockOfEight]) {
    let each = eights.len();
    let rows = numbers.chunks_exact(each).zip(blocks.chunks_exact(each));
    for (lane, (numbers, blocks)) in rows.enumerate() {
        for ((numbers, block), eight) in numbers.iter().zip(blocks).zip(eights.iter_mut()) {
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
            eight.totals[lane] = block.total;
            for (starts, start) in eight.starts.iter_mut().zip(block.starts) {
                starts[lane] = start;
            }
        }
    }
}

/// Rounds blocks of numbers: to be inlined where the vector instructions are known.
#[inline(always)]
pub(crate) fn round_blocks(
    matrix: &PackedMatrix,
    numbers: &[f32],
    rounded: &mut [Pairs],
    blocks: &mut [BlockOfRow],
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
        let factor = factor(largest);
        let mut sums = [0i32; 2];
        let halves = rounded.as_flattened_mut().chunks_exact_mut(BLOCK / 2);
        for ((rounded, numbers), sum) in halves.zip(numbers.chunks_exact(BLOCK / 2)).zip(&mut sums)
        {
            let fours = rounded.as_chunks_mut::<4>().0.iter_mut();
            for (rounded, numbers) in fours.zip(numbers.as_chunks::<4>().0) {
                let wholes = numbers.map(|number| {
                    // One that is not finite becomes anything; its block's scale tells.
                    let bits = (number * factor + ROUND).to_bits() as i32;
                    bits.wrapping_sub(ROUND.to_bits() as i32)
                });
                let [first, second, third, fourth] = wholes.map(|whole| whole as i16);
                *rounded = [first, third, second, fourth];
                *sum = wholes
                    .iter()
                    .fold(*sum, |sum, whole| sum.wrapping_add(*whole));
            }
        }
        let scale = largest / LARGEST + reduce(zeros, |a, b| a + b);
        if matrix.scales_each() == 1 {
            sums = [sums[0].wrapping_add(sums[1]), 0];
        }
        *block = BlockOfRow::new(matrix, scale, sums);
    }
}

/// What the numbers of a block are multiplied with before they are rounded.
#[inline(always)]
pub(crate) fn factor(largest: f32) -> f32 {
    match largest > 0.0 {
        true => LARGEST / largest,
        false => 0.0,
    }
}

impl BlockOfRow {
    /// For a block whose rounded numbers have these sums, one for each part that its weights have scales
    /// for.
    #[inline(always)]
    pub(crate) fn new(matrix: &PackedMatrix, scale: f32, sums: [i32; 2]) -> Self {
        Self {
            scale,
            total: scale * sums[0].wrapping_add(sums[1]) as f32,
            starts: sums.map(|sum| sum.wrapping_mul(-matrix.zero())),
        }
    }
}
