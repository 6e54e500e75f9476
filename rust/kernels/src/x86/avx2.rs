//! 256 bits: two products of 16 bits are added in one instruction, and the sums in another.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::product::Output;
use crate::rows::{BlockOfRow, Q8Rows, quantise_blocks};
use crate::{BLOCK, LANES, Q8Matrix};

/// [`quantise_blocks`], compiled for these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise(numbers: &[f32], rounded: &mut [i16], blocks: &mut [BlockOfRow]) {
    quantise_blocks(numbers, rounded, blocks);
}

/// Rows that are multiplied together: as many as there are registers for their sums.
const ROWS: usize = 3;

/// Multiplies rows with groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    matrix: &Q8Matrix,
    groups: Range<usize>,
    rows: &Q8Rows,
    out: &Output,
) {
    for group in groups {
        for row in (0..rows.rows).step_by(ROWS) {
            // SAFETY: the caller's promise.
            unsafe {
                match rows.rows - row {
                    1 => tile::<1>(matrix, group, rows, row, out),
                    2 => tile::<2>(matrix, group, rows, row, out),
                    _ => tile::<ROWS>(matrix, group, rows, row, out),
                }
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
unsafe fn tile<const M: usize>(
    matrix: &Q8Matrix,
    group: usize,
    rows: &Q8Rows,
    row: usize,
    out: &Output,
) {
    let (blocks, scales) = matrix.group(group);
    let inputs: [(&[i16], &[BlockOfRow]); M] = std::array::from_fn(|m| rows.row(row + m));
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for (block, (pairs, scales)) in blocks.iter().zip(scales).enumerate() {
        let mut products: [[__m256i; 2]; M] =
            std::array::from_fn(|m| [_mm256_set1_epi32(inputs[m].1[block].correction); 2]);
        for (index, pair) in pairs.iter().enumerate() {
            let weights: [__m256i; 2] = std::array::from_fn(|half| {
                let bytes = &pair.0[LANES * half..][..LANES];
                // SAFETY: there are 16 bytes.
                _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
            });
            for m in 0..M {
                let two = &inputs[m].0[block * BLOCK + 2 * index..][..2];
                let two = _mm256_set1_epi32(bytemuck::cast([two[0], two[1]]));
                for half in 0..2 {
                    let both = _mm256_madd_epi16(weights[half], two);
                    products[m][half] = _mm256_add_epi32(products[m][half], both);
                }
            }
        }
        for half in 0..2 {
            let scales = &scales[8 * half..][..8];
            // SAFETY: the scales are 16 bytes.
            let scales = _mm256_cvtph_ps(unsafe { _mm_loadu_si128(scales.as_ptr().cast()) });
            for m in 0..M {
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(inputs[m].1[block].scale));
                let product = _mm256_cvtepi32_ps(products[m][half]);
                sums[m][half] = _mm256_fmadd_ps(product, scale, sums[m][half]);
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        let mut results = [0f32; LANES];
        for (sum, results) in sums.iter().zip(results.chunks_exact_mut(8)) {
            // SAFETY: there is room for as many.
            unsafe { _mm256_storeu_ps(results.as_mut_ptr(), *sum) };
        }
        // SAFETY: the caller's promise.
        unsafe { out.write(row + m, group * LANES, &results) };
    }
}
