//! 512 bits, with the instruction that adds two products of 16 bits to a sum of 32 (VNNI).

use std::arch::x86_64::*;
use std::ops::Range;

use crate::format::Bits;
use crate::matrix::{Group, Halves, Line};
use crate::product::Output;
use crate::rows::{BlockOfRow, Pairs, RoundedRows, round_blocks};
use crate::{BLOCK, LANES, PackedMatrix};

/// [`round_blocks`], compiled for these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn round(numbers: &[f32], rounded: &mut [Pairs], blocks: &mut [BlockOfRow]) {
    round_blocks(numbers, rounded, blocks);
}

/// Lines of a block whose numbers have 4 bits.
const FOUR: usize = Bits::Four.lines();

/// Lines of a block whose numbers have 8 bits.
const EIGHT: usize = Bits::Eight.lines();

/// Rows that are multiplied together: as many as there are registers for their sums.
const ROWS: usize = 6;

/// Multiplies rows with groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &RoundedRows,
    out: &Output,
) {
    for group in groups.clone().step_by(2) {
        // SAFETY: the caller's promise.
        unsafe {
            match (matrix.bits(), matrix.scales_each(), groups.end - group) {
                (Bits::Four, _, 1) => strip::<FOUR, 1, 1>(matrix, group, rows, out),
                (Bits::Four, _, _) => strip::<FOUR, 1, 2>(matrix, group, rows, out),
                (Bits::Eight, 1, 1) => strip::<EIGHT, 1, 1>(matrix, group, rows, out),
                (Bits::Eight, 1, _) => strip::<EIGHT, 1, 2>(matrix, group, rows, out),
                (Bits::Eight, _, 1) => strip::<EIGHT, 2, 1>(matrix, group, rows, out),
                (Bits::Eight, _, _) => strip::<EIGHT, 2, 2>(matrix, group, rows, out),
            }
        }
    }
}

/// All rows with `G` groups of a matrix from `group` on, with so many lines a block, and
/// a scale for each of so many parts of it.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn strip<const LINES: usize, const PARTS: usize, const G: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &RoundedRows,
    out: &Output,
) {
    for row in (0..rows.rows).step_by(ROWS) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows.rows - row {
                1 => tile::<LINES, PARTS, 1, G>(matrix, group, rows, row, out),
                2 => tile::<LINES, PARTS, 2, G>(matrix, group, rows, row, out),
                3 => tile::<LINES, PARTS, 3, G>(matrix, group, rows, row, out),
                4 => tile::<LINES, PARTS, 4, G>(matrix, group, rows, row, out),
                5 => tile::<LINES, PARTS, 5, G>(matrix, group, rows, row, out),
                _ => tile::<LINES, PARTS, ROWS, G>(matrix, group, rows, row, out),
            }
        }
    }
}

/// What a row is at first.
const NOTHING: Pairs = [[0; 2]; BLOCK / 2];

/// `M` rows from `row` on, with `G` groups of a matrix from `group` on. Whatever `M` and `G` are, each
/// result is summed in the same order.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn tile<const LINES: usize, const PARTS: usize, const M: usize, const G: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &RoundedRows,
    row: usize,
    out: &Output,
) {
    // Where vector instructions are meant, `from_fn` would not do: it is not compiled for them.
    let groups: [Group; G] = std::array::from_fn(|g| matrix.group(group + g));
    let lines: [&[[Line; LINES]]; G] = std::array::from_fn(|g| groups[g].lines.as_chunks().0);
    let inputs: [(&[Pairs], &[BlockOfRow]); M] = std::array::from_fn(|m| rows.row(row + m));
    let zero = matrix.zero();
    let mut sums = [[_mm512_setzero_ps(); G]; M];
    for (block, first) in lines[0].iter().enumerate() {
        let mut numbers = [&NOTHING; M];
        for m in 0..M {
            numbers[m] = &inputs[m].0[block];
        }
        let mut of_block = [first; G];
        for g in 1..G {
            of_block[g] = &lines[g][block];
        }
        for part in 0..PARTS {
            let mut products = [[_mm512_setzero_si512(); G]; M];
            for m in 0..M {
                let sum = inputs[m].1[block].sum::<PARTS>(part);
                products[m] = [_mm512_set1_epi32(-zero * sum); G];
            }
            let steps = BLOCK / 4 / PARTS;
            for step in part * steps..(part + 1) * steps {
                let mut weights = [[_mm512_setzero_si512(); 2]; G];
                for g in 0..G {
                    weights[g] = four_columns(of_block[g], step);
                }
                for pair in 0..2 {
                    for m in 0..M {
                        let two = bytemuck::cast(numbers[m][2 * step + pair]);
                        let two = _mm512_set1_epi32(two);
                        for g in 0..G {
                            products[m][g] =
                                _mm512_dpwssd_epi32(products[m][g], weights[g][pair], two);
                        }
                    }
                }
            }
            for g in 0..G {
                let scales = floats(&groups[g].scales[block * PARTS + part]);
                for m in 0..M {
                    let product = _mm512_cvtepi32_ps(products[m][g]);
                    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(inputs[m].1[block].scale));
                    sums[m][g] = _mm512_fmadd_ps(product, scale, sums[m][g]);
                }
            }
        }
        for g in 0..G {
            if let Some(minima) = groups[g].minima.get(block) {
                let minima = floats(minima);
                for m in 0..M {
                    let total = _mm512_set1_ps(inputs[m].1[block].total);
                    sums[m][g] = _mm512_fmadd_ps(minima, total, sums[m][g]);
                }
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

/// The weights of the four columns of a step, two by two, in 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn four_columns<const LINES: usize>(lines: &[Line; LINES], step: usize) -> [__m512i; 2] {
    if LINES == FOUR {
        let both = wide(&lines[step]);
        [
            _mm512_and_si512(both, _mm512_set1_epi16(0x0f)),
            _mm512_srli_epi16::<4>(both),
        ]
    } else {
        [wide(&lines[2 * step]), wide(&lines[2 * step + 1])]
    }
}

/// The bytes of a line in 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn wide(line: &Line) -> __m512i {
    // SAFETY: a line is 32 bytes that are aligned as such.
    _mm512_cvtepu8_epi16(unsafe { _mm256_load_si256(line.0.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn floats(halves: &Halves) -> __m512 {
    // SAFETY: they are 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
}
