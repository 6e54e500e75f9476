//! AVX2: `pmaddwd` adds two products of 16 bits, a second instruction accumulates.

mod vector;

pub(crate) use vector::Avx2x2;

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use crate::formats::{BLOCK, Bits, EIGHT_BIT_LINES, FOUR_BIT_LINES};
use crate::output::Output;
use crate::packing::{
    ActivationTile, EmptyTilePart, F16x16, PackedLine, PackedMatrix, QuantizedActivations,
    quantize_blocks,
};
use crate::simd::LANES;

/// [`quantize_blocks`], compiled for these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn quantize(matrix: &PackedMatrix, numbers: &[f32], part: EmptyTilePart) {
    quantize_blocks(matrix, numbers, part);
}

/// Rows of activations per tile: as many as there are registers for.
pub(crate) const ROWS: usize = 3;

/// How many lines ahead weights are prefetched.
const PREFETCH_DISTANCE: usize = 32;

/// Multiplies activations with row groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &QuantizedActivations,
    out: &Output,
) {
    for group in groups {
        // SAFETY: the caller's promise.
        unsafe {
            match (matrix.bits(), matrix.scales_each()) {
                (Bits::Four, _) if matrix.levels().is_some() => {
                    row_group::<FOUR_BIT_LINES, 1, true>(matrix, group, rows, out);
                }
                (Bits::Four, _) => row_group::<FOUR_BIT_LINES, 1, false>(matrix, group, rows, out),
                (Bits::Eight, 1) => {
                    row_group::<EIGHT_BIT_LINES, 1, false>(matrix, group, rows, out);
                }
                (Bits::Eight, _) => {
                    row_group::<EIGHT_BIT_LINES, 2, false>(matrix, group, rows, out);
                }
            }
        }
    }
}

/// All activations with one row group, whose blocks have `LINES` lines and `PARTS` scales, and whose
/// quants stand for levels or for themselves.
///
/// # Safety
/// No other thread writes the columns of the group.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row_group<const LINES: usize, const PARTS: usize, const LEVELS: bool>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &QuantizedActivations,
    out: &Output,
) {
    for rows in rows.tiles() {
        // SAFETY: the caller's promise.
        unsafe {
            match rows.rows.len() {
                1 => tile::<LINES, PARTS, LEVELS, 1>(matrix, group, &rows, out),
                2 => tile::<LINES, PARTS, LEVELS, 2>(matrix, group, &rows, out),
                _ => tile::<LINES, PARTS, LEVELS, ROWS>(matrix, group, &rows, out),
            }
        }
    }
}

/// The micro-kernel: a tile of `M` rows with one row group, which takes two registers.
/// Each result is summed in the same order whatever `M` is.
///
/// # Safety
/// No other thread writes the columns of the group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const LINES: usize, const PARTS: usize, const LEVELS: bool, const M: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &ActivationTile,
    out: &Output,
) {
    let weights_of = matrix.group(group);
    // SAFETY: there are 16 bytes.
    let levels = unsafe { _mm_loadu_si128(weights_of.levels.as_ptr().cast()) };
    let levels = _mm256_broadcastsi128_si256(levels);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    let lines: &[[PackedLine; LINES]] = weights_of.lines.as_chunks().0;
    for (block, (lines, (numbers, inputs))) in lines.iter().zip(rows.blocks::<M>()).enumerate() {
        if rows.rows.start == 0 {
            // Hardware prefetchers stop at the border of a memory page.
            for ahead in 0..LINES {
                let place = std::ptr::from_ref(lines).wrapping_add(PREFETCH_DISTANCE / LINES);
                _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>().wrapping_add(64 * ahead));
            }
        }
        for part in 0..PARTS {
            let mut products = [[_mm256_setzero_si256(); 2]; M];
            for m in 0..M {
                products[m] = [_mm256_set1_epi32(inputs[m].acc_init[part]); 2];
            }
            // Pairs of a line, and lines of a part.
            let (pairs_each, lines_each) = (BLOCK / 2 / LINES, LINES / PARTS);
            for line in part * lines_each..(part + 1) * lines_each {
                let weights = [
                    pairs::<LINES, LEVELS>(&lines[line], 0, levels),
                    pairs::<LINES, LEVELS>(&lines[line], 1, levels),
                ];
                for pair in 0..pairs_each {
                    for m in 0..M {
                        let two = bytemuck::cast(numbers[m][pairs_each * line + pair]);
                        let two = _mm256_set1_epi32(two);
                        for half in 0..2 {
                            let sum = &mut products[m][half];
                            *sum = add_products(*sum, weights[half][pair], two);
                        }
                    }
                }
            }
            for half in 0..2 {
                let scales = floats(&weights_of.scales[block * PARTS + part], half);
                for m in 0..M {
                    let scale = _mm256_mul_ps(scales, _mm256_set1_ps(inputs[m].scale));
                    let product = _mm256_cvtepi32_ps(products[m][half]);
                    sums[m][half] = _mm256_fmadd_ps(product, scale, sums[m][half]);
                }
            }
        }
        if let Some(minima) = weights_of.minima.get(block) {
            let minima = [floats(minima, 0), floats(minima, 1)];
            for m in 0..M {
                let sum = _mm256_set1_ps(inputs[m].sum);
                for half in 0..2 {
                    sums[m][half] = _mm256_fmadd_ps(minima[half], sum, sums[m][half]);
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
        unsafe { out.put(rows.rows.start + m, group * LANES, &results) };
    }
}

/// Adds the two products of each lane to its sum.
///
/// The compiler reorders the intrinsics' sums, and keeps in memory what then waits for them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_products(mut sums: __m256i, weights: __m256i, two: __m256i) -> __m256i {
    // SAFETY: the instructions are there, and work on nothing but these registers.
    unsafe {
        asm!(
            "vpmaddwd {both}, {weights}, {two}",
            "vpaddd {sums}, {sums}, {both}",
            both = out(ymm_reg) _,
            sums = inout(ymm_reg) sums,
            weights = in(ymm_reg) weights,
            two = in(ymm_reg) two,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Unpacks half of a line to pairs of 16-bit quants, or of the levels they stand for: two registers for 8-bit quants,
/// four for 4-bit ones.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pairs<const LINES: usize, const LEVELS: bool>(
    line: &PackedLine,
    half: usize,
    levels: __m256i,
) -> [__m256i; 4] {
    let bytes = &line.0[2 * LANES * half..][..2 * LANES];
    // SAFETY: there are 32 bytes.
    let line = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    if LINES == EIGHT_BIT_LINES {
        let none = _mm256_setzero_si256();
        [
            _mm256_and_si256(line, _mm256_set1_epi16(0xff)),
            _mm256_srli_epi16::<8>(line),
            none,
            none,
        ]
    } else if LEVELS {
        let lower = _mm256_set1_epi8(0x0f);
        let byte = _mm256_set1_epi16(0xff);
        let first = _mm256_shuffle_epi8(levels, _mm256_and_si256(line, lower));
        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(line), lower);
        let second = _mm256_shuffle_epi8(levels, upper);
        [
            _mm256_and_si256(first, byte),
            _mm256_srli_epi16::<8>(first),
            _mm256_and_si256(second, byte),
            _mm256_srli_epi16::<8>(second),
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
fn floats(halves: &F16x16, half: usize) -> __m256 {
    let halves = &halves[8 * half..][..8];
    // SAFETY: they are 16 bytes.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(halves.as_ptr().cast()) })
}
