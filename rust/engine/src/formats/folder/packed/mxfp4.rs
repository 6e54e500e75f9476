//! MXFP4 as OpenAI's gpt-oss has it in safetensors files (OCP Microscaling Formats, 2023): a tensor of blocks, 32 numbers of
//! 4 bits in 16 bytes, and one of their scales, powers of two in a byte each.

use std::ops::RangeInclusive;

use super::ReadBytes;
use crate::error::Result;
use crate::formats::codebook::Codebook;

/// Numbers of a block.
const BLOCK: usize = 32;

/// Scales of MXFP4, 127 more than the powers of two, whose halves F16 holds.
const SCALES: RangeInclusive<u8> = 104..=143;

/// Bytes of the numbers of a block.
const BLOCK_BYTES: usize = BLOCK / 2;

/// The matrix of one expert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mxfp4 {
    /// 16 bytes a block: the first of two numbers in the lower half of a byte.
    pub(in crate::formats::folder) blocks: ByteRows,
    /// A byte a block.
    pub(in crate::formats::folder) scales: ByteRows,
}

/// Rows of bytes in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::formats::folder) struct ByteRows {
    pub(in crate::formats::folder) file: usize,
    pub(in crate::formats::folder) offset: u64,
    /// Bytes of a row.
    pub(in crate::formats::folder) len: usize,
    /// Bytes from a row to the next.
    pub(in crate::formats::folder) stride: usize,
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
    /// See [`Packed::blocks`](super::Packed::blocks).
    pub(super) fn blocks(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Option<Vec<u8>>> {
        let blocks = self.ggml(read, first, count)?;
        let is_zero = |block: &[u8]| block[1..].iter().all(|pair| pair & 0x77 == 0);
        let fits = |block: &[u8]| SCALES.contains(&block[0]) || is_zero(block);
        let fits = blocks.chunks_exact(1 + BLOCK_BYTES).all(fits);
        Ok(fits.then_some(blocks))
    }

    pub(super) fn numbers(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>> {
        Ok(Codebook::Mxfp4.numbers(&self.ggml(read, first, count)?))
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
