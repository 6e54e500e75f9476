//! The kernels for x86-64.

mod amx;
mod avx2;
mod avx512;
mod lanes;

use std::ops::Range;

pub(crate) use lanes::Two;

use crate::format::Bits;
use crate::product::Output;
use crate::rows::{BlockOfEight, BlockOfRow, Pairs, RoundedRows};
use crate::{BLOCK, Instructions, PackedMatrix};

/// Lines of a block whose numbers have 4 bits.
const FOUR: usize = Bits::Four.lines();

/// Lines of a block whose numbers have 8 bits.
const EIGHT: usize = Bits::Eight.lines();

/// What a row is at first.
const NOTHING: Pairs = [[0; 2]; BLOCK / 2];

/// Whether this process can use what the kernels with tiles use.
pub(crate) fn amx_available() -> bool {
    avx512_available() && amx::available()
}

/// Whether so many rows are to be put together by eight.
pub(crate) fn wants_eights(instructions: Instructions, rows: usize) -> bool {
    instructions == Instructions::Amx && rows >= amx::MANY
}

/// Whether this processor has what the 512-bit kernels use.
pub(crate) fn avx512_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
        && avx2_available()
}

/// Whether this processor has what the 256-bit kernels use.
pub(crate) fn avx2_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Rounds blocks of numbers.
///
/// # Safety
/// The processor has the instructions.
pub(crate) unsafe fn round(
    instructions: Instructions,
    matrix: &PackedMatrix,
    numbers: &[f32],
    rounded: &mut [Pairs],
    blocks: &mut [BlockOfRow],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match instructions {
            Instructions::Amx | Instructions::Avx512Vnni => {
                avx512::round(matrix, numbers, rounded, blocks)
            }
            Instructions::Avx2 => avx2::round(matrix, numbers, rounded, blocks),
        }
    }
}

/// Puts up to eight rows together.
///
/// # Safety
/// The processor has the 512-bit instructions.
pub(crate) unsafe fn split(numbers: &[Pairs], blocks: &[BlockOfRow], eights: &mut [BlockOfEight]) {
    // SAFETY: the caller's promise.
    unsafe { avx512::split(numbers, blocks, eights) }
}

/// Multiplies rows with groups of a matrix.
///
/// # Safety
/// The processor has the instructions, and no other thread writes the columns of the groups.
pub(crate) unsafe fn multiply(
    instructions: Instructions,
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &RoundedRows,
    out: &Output,
) {
    // SAFETY: what this asks for is what the kernels ask for.
    unsafe {
        match instructions {
            Instructions::Amx if wants_eights(instructions, rows.rows) => {
                amx::multiply(matrix, groups, rows, out);
            }
            Instructions::Amx | Instructions::Avx512Vnni => {
                avx512::multiply(matrix, groups, rows, out)
            }
            Instructions::Avx2 => avx2::multiply(matrix, groups, rows, out),
        }
    }
}
