//! Matrices that a folder holds in fewer than 16 bits a number: how they are quantized, and their numbers.

pub(super) mod float8;
pub(super) mod integers;
pub(super) mod method;
pub(super) mod mxfp4;

use candle_core::quantized::GgmlDType;
use half::f16;

use crate::error::Result;
use crate::formats::BlockType;
use crate::formats::codebook::Codebook;
use float8::Float8;
use integers::Integers;
use mxfp4::Mxfp4;

/// Reads bytes of a file, by its number, from an offset on.
pub(super) type ReadBytes<'a> = &'a dyn Fn(usize, u64, &mut [u8]) -> Result<()>;

/// Numbers of a block of Q8_0.
const BLOCK: usize = 32;

/// A matrix in fewer bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packed {
    /// Blocks with powers of two as scales.
    Mxfp4(Mxfp4),
    /// Whole numbers with scales.
    Integers(Integers),
    /// Floating point numbers of 8 bits with scales.
    Float8(Float8),
}

/// Bytes of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) len: usize,
}

impl Bytes {
    fn read(self, read: ReadBytes<'_>) -> Result<Vec<u8>> {
        self.part(read, 0, self.len)
    }

    fn part(self, read: ReadBytes<'_>, from: usize, len: usize) -> Result<Vec<u8>> {
        assert!(from + len <= self.len, "read past the tensor");
        let mut bytes = vec![0; len];
        read(self.file, self.offset + from as u64, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn words(self, read: ReadBytes<'_>) -> Result<Vec<u32>> {
        let bytes = self.read(read)?;
        let words = bytes.as_chunks::<4>().0.iter();
        Ok(words.map(|word| u32::from_le_bytes(*word)).collect())
    }
}

impl Packed {
    /// Some of the rows as numbers in 32 bits.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) when they can't be read.
    pub(super) fn numbers(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>> {
        match self {
            Self::Mxfp4(mxfp4) => mxfp4.numbers(read, first, count),
            Self::Integers(integers) => integers.numbers(read, first, count),
            Self::Float8(float8) => float8.numbers(read, first, count),
        }
    }

    /// Some of the rows as blocks of [`Self::block_type`], where those hold the same numbers.
    pub(super) fn blocks(
        &self,
        read: ReadBytes<'_>,
        first: usize,
        count: usize,
    ) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Mxfp4(mxfp4) => mxfp4.blocks(read, first, count),
            Self::Integers(integers) => integers.q8_0(read, first, count),
            Self::Float8(_) => Ok(None),
        }
    }

    /// The blocks that hold the same numbers, as far as can be told without reading them.
    pub(super) fn block_type(&self) -> Option<BlockType> {
        match self {
            Self::Mxfp4(_) => Some(BlockType::Codebook(Codebook::Mxfp4)),
            Self::Integers(integers) => integers
                .fits_q8_0()
                .then_some(BlockType::Candle(GgmlDType::Q8_0)),
            Self::Float8(_) => None,
        }
    }
}

/// A scale as Q8_0 has it, if it is the same number there.
fn exact_scale(scale: f32) -> Option<f16> {
    let half = f16::from_f32(scale);
    (half.to_f32() == scale).then_some(half)
}
