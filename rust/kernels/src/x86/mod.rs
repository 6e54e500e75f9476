//! Micro-kernels for x86-64, a folder an instruction set.

pub(crate) mod amx;
pub(crate) mod avx2;
pub(crate) mod avx512;

use crate::formats::{BLOCK, Bits};
use crate::packing::Pairs;

/// Lines of a block of 4-bit quants.
const FOUR_BIT_LINES: usize = Bits::Four.lines();

/// Lines of a block of 8-bit quants.
const EIGHT_BIT_LINES: usize = Bits::Eight.lines();

/// Initial value of a block of activations.
const ZERO_PAIRS: Pairs = [[0; 2]; BLOCK / 2];
