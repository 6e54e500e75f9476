//! MXFP4 as OpenAI's gpt-oss has it in safetensors files (OCP Microscaling Formats, 2023): a tensor of blocks, 32 numbers of
//! 4 bits in 16 bytes, and one of their scales, powers of two in a byte each.

use std::ops::RangeInclusive;

use half::bf16;

use crate::error::{Error, Result};
use crate::formats::codebook::Codebook;

/// Numbers of a block.
const BLOCK: usize = 32;

/// Scales of MXFP4, 127 more than the powers of two, whose halves F16 holds.
const SCALES: RangeInclusive<u8> = 104..=143;

/// Bytes of the numbers of a block.
const BLOCK_BYTES: usize = BLOCK / 2;

/// Reads bytes of a file, by its number, from an offset on.
pub(super) type ReadBytes<'a> = &'a dyn Fn(usize, u64, &mut [u8]) -> Result<()>;

/// The matrix of one expert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mxfp4 {
    /// 16 bytes a block: the first of two numbers in the lower half of a byte.
    pub(super) blocks: ByteRows,
    /// A byte a block.
    pub(super) scales: ByteRows,
}

/// Rows of bytes in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByteRows {
    pub(super) file: usize,
    pub(super) offset: u64,
    /// Bytes of a row.
    pub(super) len: usize,
    /// Bytes from a row to the next.
    pub(super) stride: usize,
}

impl ByteRows {
    fn read(&self, read: ReadBytes<'_>, first: usize, count: usize) -> Result<Vec<u8>> {
        let start = self.offset + (first * self.stride) as u64;
        let mut span = vec![0; count.saturating_sub(1) * self.stride + self.len];
        read(self.file, start, &mut span)?;
        Ok(span
            .chunks(self.stride)
            .flat_map(|row| &row[..self.len])
            .copied()
            .collect())
    }
}

impl Mxfp4 {
    /// Some of the rows as blocks of Q8_0, which hold the same numbers.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for scales that Q8_0 has no place for.
    pub(crate) fn q8_0(&self, read: ReadBytes<'_>, first: usize, count: usize) -> Result<Vec<u8>> {
        let blocks = self.ggml(read, first, count)?;
        let is_zero = |block: &[u8]| block[1..].iter().all(|pair| pair & 0x77 == 0);
        let fits = |block: &[u8]| SCALES.contains(&block[0]) || is_zero(block);
        match blocks.chunks_exact(1 + BLOCK_BYTES).all(fits) {
            true => Ok(Codebook::Mxfp4.to_q8_0(&blocks)),
            false => Err(Error::InvalidTensor {
                file: String::new(),
                tensor: String::new(),
                expected: "scales of MXFP4 between 2^-23 and 2^16".into(),
                got: "a scale that 16 bits do not hold".into(),
            }),
        }
    }

    /// Some of the rows as numbers: BF16 holds all that there can be.
    pub(super) fn numbers(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Vec<bf16>> {
        let blocks = self.ggml(read, first, count)?;
        let numbers = Codebook::Mxfp4.numbers(&blocks).into_iter();
        Ok(numbers.map(bf16::from_f32).collect())
    }

    /// Some of the rows as GGML has them: the scale, then 16 bytes with the first half of the numbers in the lower halves.
    fn ggml(&self, read: ReadBytes<'_>, first: usize, count: usize) -> Result<Vec<u8>> {
        let blocks = self.blocks.read(read, first, count)?;
        let scales = self.scales.read(read, first, count)?;
        let mut out = Vec::with_capacity(blocks.len() + scales.len());
        for (block, scale) in blocks.as_chunks::<BLOCK_BYTES>().0.iter().zip(scales) {
            let number = |index: usize| block[index / 2] >> (index % 2 * 4) & 0x0f;
            out.push(scale);
            out.extend((0..BLOCK_BYTES).map(|i| number(i) | number(i + BLOCK_BYTES) << 4));
        }
        Ok(out)
    }
}
