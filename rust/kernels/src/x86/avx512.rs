//! 512 bits, with the instruction that adds two products of 16 bits to a sum of 32 (VNNI).

use std::arch::x86_64::*;
use std::ops::Range;

use crate::matrix::{PAIRS, Pair};
use crate::product::Output;
use crate::rows::{BlockOfRow, Q8Rows, quantise_blocks};
use crate::{BLOCK, LANES, Q8Matrix};

/// [`quantise_blocks`], compiled for these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn quantise(numbers: &[f32], rounded: &mut [i16], blocks: &mut [BlockOfRow]) {
    quantise_blocks(numbers, rounded, blocks);
}

/// Rows that are multiplied together: as many as there are registers for their sums.
const ROWS: usize = 6;

/// Multiplies rows with groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    matrix: &Q8Matrix,
    groups: Range<usize>,
    rows: &Q8Rows,
    out: &Output,
) {
    for group in groups.clone().step_by(2) {
        // SAFETY: the caller's promise.
        unsafe {
            match groups.end - group {
                1 => strip::<1>(matrix, group, rows, out),
                _ => strip::<2>(matrix, group, rows, out),
            }
        }
    }
}

/// All rows with `G` groups of a matrix from `group` on.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn strip<const G: usize>(matrix: &Q8Matrix, group: usize, rows: &Q8Rows, out: &Output) {
    for row in (0..rows.rows).step_by(ROWS) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows.rows - row {
                1 => tile::<1, G>(matrix, group, rows, row, out),
                2 => tile::<2, G>(matrix, group, rows, row, out),
                3 => tile::<3, G>(matrix, group, rows, row, out),
                4 => tile::<4, G>(matrix, group, rows, row, out),
                5 => tile::<5, G>(matrix, group, rows, row, out),
                _ => tile::<ROWS, G>(matrix, group, rows, row, out),
            }
        }
    }
}

/// `M` rows from `row` on, with `G` groups of a matrix from `group` on. Whatever `M` and `G` are, each
/// result is summed in the same order.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn tile<const M: usize, const G: usize>(
    matrix: &Q8Matrix,
    group: usize,
    rows: &Q8Rows,
    row: usize,
    out: &Output,
) {
    let groups: [_; G] = std::array::from_fn(|g| matrix.group(group + g));
    let inputs: [(&[i16], &[BlockOfRow]); M] = std::array::from_fn(|m| rows.row(row + m));
    let mut sums = [[_mm512_setzero_ps(); G]; M];
    for block in 0..matrix.blocks() {
        let pairs: [&[Pair; PAIRS]; G] = std::array::from_fn(|g| &groups[g].0[block]);
        let numbers: [&[i16]; M] = std::array::from_fn(|m| &inputs[m].0[block * BLOCK..][..BLOCK]);
        let mut products: [[__m512i; G]; M] =
            std::array::from_fn(|m| [_mm512_set1_epi32(inputs[m].1[block].correction); G]);
        for pair in 0..PAIRS {
            let weights: [__m512i; G] = std::array::from_fn(|g| {
                // SAFETY: a pair of columns is 32 bytes that are aligned as such.
                _mm512_cvtepu8_epi16(unsafe { _mm256_load_si256(pairs[g][pair].0.as_ptr().cast()) })
            });
            for m in 0..M {
                let two = [numbers[m][2 * pair], numbers[m][2 * pair + 1]];
                let two = _mm512_set1_epi32(bytemuck::cast(two));
                for g in 0..G {
                    products[m][g] = _mm512_dpwssd_epi32(products[m][g], weights[g], two);
                }
            }
        }
        let scales: [__m512; G] = std::array::from_fn(|g| {
            // SAFETY: the scales are 32 bytes.
            _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(groups[g].1[block].as_ptr().cast()) })
        });
        for m in 0..M {
            let scale = _mm512_set1_ps(inputs[m].1[block].scale);
            for g in 0..G {
                let product = _mm512_cvtepi32_ps(products[m][g]);
                let scale = _mm512_mul_ps(scales[g], scale);
                sums[m][g] = _mm512_fmadd_ps(product, scale, sums[m][g]);
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        for (g, sum) in sums.iter().enumerate() {
            let mut results = [0f32; LANES];
            // SAFETY: there is room for as many; and the caller's promise.
            unsafe {
                _mm512_storeu_ps(results.as_mut_ptr(), *sum);
                out.write(row + m, (group + g) * LANES, &results);
            }
        }
    }
}
