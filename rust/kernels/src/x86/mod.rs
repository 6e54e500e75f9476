//! Micro-kernels for x86-64, a folder an instruction set.

pub(crate) mod amx;
pub(crate) mod avx2;
pub(crate) mod avx512;

use crate::formats::BLOCK;
use crate::packing::Pairs;

/// Initial value of a block of activations.
const ZERO_PAIRS: Pairs = [[0; 2]; BLOCK / 2];
