//! NEON with dot products: `sdot` adds four products of bytes to each of four sums.
//!
//! Activations are split into an upper and a signed lower byte, as for AMX: four products of a weight's byte with 16 bits are
//! two instructions for four rows. Rust has no stable intrinsics for them.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use crate::formats::{BLOCK, Bits, EIGHT_BIT_LINES, FOUR_BIT_LINES};
use crate::output::Output;
use crate::packing::{
    ActivationBlock8, ActivationTile, F16x16, PackedLine, PackedMatrix, QuantizedActivations,
    RowGroup,
};
use crate::simd::LANES;

/// Rows of activations per tile: as many as there are registers for.
const ROWS: usize = 2;

/// 16 rows are four registers.
const QUARTERS: usize = LANES / 4;

/// The level or quant that stands for 0 where bytes become signed numbers by its sign bit.
const SIGN: u8 = 0x80;

/// Multiplies activations with row groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &QuantizedActivations,
    out: &Output,
) {
    for group in groups {
        for tile in rows.tiles() {
            for row in (0..tile.rows.len()).step_by(ROWS) {
                // SAFETY: the caller's promise.
                unsafe {
                    match tile.rows.len() - row {
                        1 => of_format::<1>(matrix, group, &tile, row, out),
                        _ => of_format::<ROWS>(matrix, group, &tile, row, out),
                    }
                }
            }
        }
    }
}

/// `M` rows of a tile from `row` on with one row group.
///
/// # Safety
/// No other thread writes the columns of the group.
#[target_feature(enable = "neon,dotprod")]
unsafe fn of_format<const M: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &ActivationTile,
    row: usize,
    out: &Output,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (matrix.bits(), matrix.scales_each()) {
            (Bits::Four, _) if matrix.levels().is_some() => {
                tile::<FOUR_BIT_LINES, 1, true, M>(matrix, group, rows, row, out);
            }
            (Bits::Four, _) => tile::<FOUR_BIT_LINES, 1, false, M>(matrix, group, rows, row, out),
            (Bits::Eight, 1) => tile::<EIGHT_BIT_LINES, 1, false, M>(matrix, group, rows, row, out),
            (Bits::Eight, _) => tile::<EIGHT_BIT_LINES, 2, false, M>(matrix, group, rows, row, out),
        }
    }
}

/// Sums of products with the upper and the lower bytes of activations.
type Products = [[int32x4_t; QUARTERS]; 2];

/// The micro-kernel: `M` rows of a tile from `row` on with one row group, whose blocks have `LINES` lines and
/// `PARTS` scales, and whose quants stand for levels or for themselves. Each result is summed in the same order whatever
/// `M` is.
///
/// # Safety
/// No other thread writes the columns of the group.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const LINES: usize, const PARTS: usize, const LEVELS: bool, const M: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &ActivationTile,
    row: usize,
    out: &Output,
) {
    let weights = matrix.group(group);
    // Then signed bytes are numbers without a zero point.
    let is_signed = matrix.zero_point() == i32::from(SIGN);
    let flip = vdupq_n_u8(if is_signed { SIGN } else { 0 });
    let mut sums = [[vdupq_n_f32(0.0); QUARTERS]; M];
    let lines: &[[PackedLine; LINES]] = weights.lines.as_chunks().0;
    for (block, lines) in lines.iter().enumerate() {
        let input = &rows.blocks8[block];
        for part in 0..PARTS {
            let mut products: [Products; M] = [[[vdupq_n_s32(0); QUARTERS]; 2]; M];
            // Halves of a block; each has a scale where there are two.
            for half in part..part + 2 / PARTS {
                add_half::<LINES, LEVELS, M>(
                    &mut products,
                    lines,
                    &weights,
                    flip,
                    input,
                    row,
                    half,
                );
            }
            let scales = floats(&weights.scales[block * PARTS + part]);
            for m in 0..M {
                let start = match is_signed {
                    true => 0,
                    false => input.acc_init[part][row + m],
                };
                let [upper, lower] = products[m];
                for quarter in 0..QUARTERS {
                    let lower = vaddq_s32(lower[quarter], vdupq_n_s32(start));
                    let all = vaddq_s32(vshlq_n_s32::<8>(upper[quarter]), lower);
                    let scale = vmulq_n_f32(scales[quarter], input.scales[row + m]);
                    sums[m][quarter] = vfmaq_f32(sums[m][quarter], vcvtq_f32_s32(all), scale);
                }
            }
        }
        if let Some(minima) = weights.minima.get(block) {
            let minima = floats(minima);
            for (m, sums) in sums.iter_mut().enumerate() {
                let sum = vdupq_n_f32(input.sums[row + m]);
                for quarter in 0..QUARTERS {
                    sums[quarter] = vfmaq_f32(sums[quarter], minima[quarter], sum);
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        let mut results = [0f32; LANES];
        for (sum, results) in sums.iter().zip(results.as_chunks_mut::<4>().0) {
            // SAFETY: there is room for as many.
            unsafe { vst1q_f32(results.as_mut_ptr(), *sum) };
        }
        // SAFETY: the caller's promise.
        unsafe { out.put(rows.rows.start + row + m, group * LANES, &results) };
    }
}

/// Adds the products of 16 columns of a block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_half<const LINES: usize, const LEVELS: bool, const M: usize>(
    products: &mut [Products; M],
    lines: &[PackedLine; LINES],
    weights: &RowGroup,
    flip: uint8x16_t,
    input: &ActivationBlock8,
    first: usize,
    half: usize,
) {
    let mut activations = [[vdupq_n_s8(0); 2]; M];
    for (m, activations) in activations.iter_mut().enumerate() {
        for (bytes, activations) in input.bytes.iter().zip(activations) {
            let bytes = &bytes[first + m][half * BLOCK / 2..][..BLOCK / 2];
            // SAFETY: there are 16.
            *activations = unsafe { vld1q_s8(bytes.as_ptr()) };
        }
    }
    macro_rules! columns {
        ($($four:literal)*) => {
            $(
                let quants = four_columns::<LINES, LEVELS>(lines, 4 * half + $four, weights, flip);
                for m in 0..M {
                    for byte in 0..2 {
                        for quarter in 0..QUARTERS {
                            products[m][byte][quarter] = dot::<$four>(
                                products[m][byte][quarter],
                                quants[quarter],
                                activations[m][byte],
                            );
                        }
                    }
                }
            )*
        };
    }
    columns!(0 1 2 3);
}

/// Four columns of a block, of all 16 rows, as signed bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn four_columns<const LINES: usize, const LEVELS: bool>(
    lines: &[PackedLine; LINES],
    four: usize,
    weights: &RowGroup,
    flip: uint8x16_t,
) -> [int8x16_t; QUARTERS] {
    let is_bytes = LINES == EIGHT_BIT_LINES;
    let line = match is_bytes {
        true => &lines[four],
        false => &lines[four / 2],
    };
    let mut quants = [vdupq_n_s8(0); QUARTERS];
    for (quants, bytes) in quants.iter_mut().zip(line.0.as_chunks::<16>().0) {
        // SAFETY: there are 16 bytes, and as many levels.
        let (mut quant, levels) =
            unsafe { (vld1q_u8(bytes.as_ptr()), vld1q_u8(weights.levels.as_ptr())) };
        if !is_bytes {
            quant = match four % 2 {
                0 => vandq_u8(quant, vdupq_n_u8(0x0f)),
                _ => vshrq_n_u8::<4>(quant),
            };
        }
        if LEVELS {
            quant = vqtbl1q_u8(levels, quant);
        }
        *quants = vreinterpretq_s8_u8(veorq_u8(quant, flip));
    }
    quants
}

/// Adds the products of each four bytes and the four of number `FOUR`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const FOUR: i32>(mut sums: int32x4_t, bytes: int8x16_t, fours: int8x16_t) -> int32x4_t {
    // SAFETY: this function has the instruction, which reads and writes registers alone.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {bytes:v}.16b, {fours:v}.4b[{four}]",
            sums = inout(vreg) sums,
            bytes = in(vreg) bytes,
            fours = in(vreg) fours,
            four = const FOUR,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The numbers of a line of scales or minima.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn floats(halves: &F16x16) -> [float32x4_t; QUARTERS] {
    let mut numbers = [vdupq_n_f32(0.0); QUARTERS];
    for (number, halves) in numbers.iter_mut().zip(halves.as_chunks::<4>().0) {
        // SAFETY: there are four; NEON has the instruction, which reads and writes registers alone.
        unsafe {
            let halves = vld1_u16(halves.as_ptr());
            asm!(
                "fcvtl {number:v}.4s, {halves:v}.4h",
                number = lateout(vreg) *number,
                halves = in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    numbers
}
