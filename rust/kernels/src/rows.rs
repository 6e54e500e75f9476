//! Rows that a matrix is multiplied with.

use crate::{BLOCK, Q8Matrix};

/// Rows of floating point numbers in 16 bits, every 32 numbers with a scale of their own.
///
/// Eight bits would be enough for an instruction that sums four products of bytes, but not for a
/// model: on one of 135 million weights they cost three times the accuracy that its own eight bits do.
#[derive(Debug, Clone)]
pub(crate) struct Q8Rows {
    pub(crate) numbers: Vec<i16>,
    /// One for each block.
    pub(crate) blocks: Vec<BlockOfRow>,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The largest number, with which the sum of 32 products with bytes stays below 2³¹, and so does the
/// correction.
const LARGEST: f32 = 32767.0;

/// What the numbers of a block have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockOfRow {
    /// What a number is multiplied with.
    pub(crate) scale: f32,
    /// 128 times the sum of the numbers, with the sign changed: what a product with weights that have
    /// 128 added to them has too much.
    pub(crate) correction: i32,
}

impl Q8Rows {
    /// Rounds the rows that a matrix is multiplied with. Where a block has numbers that are not finite,
    /// its scale is not either, and so are all products with it.
    ///
    /// # Panics
    /// When the numbers are no whole number of rows as wide as the matrix.
    pub(crate) fn quantise(numbers: &[f32], matrix: &Q8Matrix) -> Self {
        let columns = matrix.columns();
        assert_eq!(numbers.len() % columns, 0, "numbers of whole rows");
        let mut rows = Self {
            numbers: vec![0; numbers.len()],
            blocks: vec![BlockOfRow::default(); numbers.len() / BLOCK],
            columns,
            rows: numbers.len() / columns,
        };
        match matrix.instructions() {
            // SAFETY: a matrix is only made for instructions that the processor has.
            #[cfg(target_arch = "x86_64")]
            instructions => unsafe {
                crate::x86::quantise(instructions, numbers, &mut rows.numbers, &mut rows.blocks);
            },
        }
        rows
    }

    /// The numbers and the blocks of a row.
    pub(crate) fn row(&self, row: usize) -> (&[i16], &[BlockOfRow]) {
        let blocks = self.columns / BLOCK;
        (
            &self.numbers[row * self.columns..][..self.columns],
            &self.blocks[row * blocks..][..blocks],
        )
    }
}

/// Rounds blocks of numbers: to be inlined where the vector instructions are known.
#[inline(always)]
pub(crate) fn quantise_blocks(numbers: &[f32], rounded: &mut [i16], blocks: &mut [BlockOfRow]) {
    let chunks = numbers
        .chunks_exact(BLOCK)
        .zip(rounded.chunks_exact_mut(BLOCK))
        .zip(blocks);
    for ((numbers, rounded), block) in chunks {
        let mut largest = [0f32; 8];
        let mut zeros = [0f32; 8];
        for eight in numbers.chunks_exact(8) {
            for ((largest, zero), number) in largest.iter_mut().zip(&mut zeros).zip(eight) {
                *largest = largest.max(number.abs());
                // Zero times a number is zero, unless the number is not finite.
                *zero += number * 0.0;
            }
        }
        let largest = largest.iter().fold(0f32, |a, b| a.max(*b));
        let factor = if largest > 0.0 {
            LARGEST / largest
        } else {
            0.0
        };
        let mut sum = 0i32;
        for (rounded, number) in rounded.iter_mut().zip(numbers) {
            let number = (number * factor).round_ties_even() as i32;
            sum += number;
            *rounded = number as i16;
        }
        *block = BlockOfRow {
            scale: largest / LARGEST + zeros.iter().sum::<f32>(),
            correction: -128 * sum,
        };
    }
}
