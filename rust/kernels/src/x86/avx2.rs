//! 256 bits: two products of 16 bits are added in one instruction, and the sums in another.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{EIGHT, FOUR, NOTHING};
use crate::format::Bits;
use crate::matrix::{Halves, Line};
use crate::product::Output;
use crate::rows::{BlockOfRow, Pairs, RoundedRows, round_blocks};
use crate::{BLOCK, LANES, PackedMatrix};

/// [`round_blocks`], compiled for these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn round(
    matrix: &PackedMatrix,
    numbers: &[f32],
    rounded: &mut [Pairs],
    blocks: &mut [BlockOfRow],
) {
    round_blocks(matrix, numbers, rounded, blocks);
}

/// Rows that are multiplied together: as many as there are registers for their sums.
const ROWS: usize = 3;

/// Multiplies rows with groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &RoundedRows,
    out: &Output,
) {
    for group in groups {
        // SAFETY: the caller's promise.
        unsafe {
            match (matrix.bits(), matrix.scales_each()) {
                (Bits::Four, _) => strip::<FOUR, 1>(matrix, group, rows, out),
                (Bits::Eight, 1) => strip::<EIGHT, 1>(matrix, group, rows, out),
                (Bits::Eight, _) => strip::<EIGHT, 2>(matrix, group, rows, out),
            }
        }
    }
}

/// All rows with a group of a matrix, with so many lines a block, and a
/// scale for each of so many parts of it.
///
/// # Safety
/// No other thread writes the columns of the group.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn strip<const LINES: usize, const PARTS: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &RoundedRows,
    out: &Output,
) {
    for row in (0..rows.rows).step_by(ROWS) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows.rows - row {
                1 => tile::<LINES, PARTS, 1>(matrix, group, rows, row, out),
                2 => tile::<LINES, PARTS, 2>(matrix, group, rows, row, out),
                _ => tile::<LINES, PARTS, ROWS>(matrix, group, rows, row, out),
            }
        }
    }
}

/// `M` rows from `row` on with a group of a matrix, which takes two registers. Whatever `M` is, each
/// result is summed in the same order.
///
/// # Safety
/// No other thread writes the columns of the group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const LINES: usize, const PARTS: usize, const M: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &RoundedRows,
    row: usize,
    out: &Output,
) {
    let weights_of = matrix.group(group);
    // Where vector instructions are meant, `from_fn` would not do: it is not compiled for them.
    let inputs: [(&[Pairs], &[BlockOfRow]); M] = std::array::from_fn(|m| rows.row(row + m));
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    let lines: &[[Line; LINES]] = weights_of.lines.as_chunks().0;
    for (block, lines) in lines.iter().enumerate() {
        let mut numbers = [&NOTHING; M];
        for m in 0..M {
            numbers[m] = &inputs[m].0[block];
        }
        for part in 0..PARTS {
            let mut products = [[_mm256_setzero_si256(); 2]; M];
            for m in 0..M {
                products[m] = [_mm256_set1_epi32(inputs[m].1[block].starts[part]); 2];
            }
            // Pairs of a line, and lines of a part.
            let (pairs_each, lines_each) = (BLOCK / 2 / LINES, LINES / PARTS);
            for line in part * lines_each..(part + 1) * lines_each {
                let weights = [
                    pairs::<LINES>(&lines[line], 0),
                    pairs::<LINES>(&lines[line], 1),
                ];
                for pair in 0..pairs_each {
                    for m in 0..M {
                        let two = bytemuck::cast(numbers[m][pairs_each * line + pair]);
                        let two = _mm256_set1_epi32(two);
                        for half in 0..2 {
                            let both = _mm256_madd_epi16(weights[half][pair], two);
                            products[m][half] = _mm256_add_epi32(products[m][half], both);
                        }
                    }
                }
            }
            for half in 0..2 {
                let scales = floats(&weights_of.scales[block * PARTS + part], half);
                for m in 0..M {
                    let scale = _mm256_mul_ps(scales, _mm256_set1_ps(inputs[m].1[block].scale));
                    let product = _mm256_cvtepi32_ps(products[m][half]);
                    sums[m][half] = _mm256_fmadd_ps(product, scale, sums[m][half]);
                }
            }
        }
        if let Some(minima) = weights_of.minima.get(block) {
            let minima = [floats(minima, 0), floats(minima, 1)];
            for m in 0..M {
                let total = _mm256_set1_ps(inputs[m].1[block].total);
                for half in 0..2 {
                    sums[m][half] = _mm256_fmadd_ps(minima[half], total, sums[m][half]);
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        let mut results = [0f32; LANES];
        for (sum, results) in sums.iter().zip(results.as_chunks_mut::<8>().0) {
            // SAFETY: there is room for as many.
            unsafe { _mm256_storeu_ps(results.as_mut_ptr(), *sum) };
        }
        // SAFETY: the caller's promise.
        unsafe { out.put(row + m, group * LANES, &results) };
    }
}

/// The pairs of weights in half of a line, in 16 bits: two or four for as many lines as a block has.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pairs<const LINES: usize>(line: &Line, half: usize) -> [__m256i; 4] {
    let bytes = &line.0[2 * LANES * half..][..2 * LANES];
    // SAFETY: there are 32 bytes.
    let line = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    if LINES == EIGHT {
        let none = _mm256_setzero_si256();
        [
            _mm256_and_si256(line, _mm256_set1_epi16(0xff)),
            _mm256_srli_epi16::<8>(line),
            none,
            none,
        ]
    } else {
        let lower = _mm256_set1_epi16(0x0f);
        [
            _mm256_and_si256(line, lower),
            _mm256_and_si256(_mm256_srli_epi16::<8>(line), lower),
            _mm256_and_si256(_mm256_srli_epi16::<4>(line), lower),
            _mm256_srli_epi16::<12>(line),
        ]
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn floats(halves: &Halves, half: usize) -> __m256 {
    let halves = &halves[8 * half..][..8];
    // SAFETY: they are 16 bytes.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.as_ptr().cast()) })
}
