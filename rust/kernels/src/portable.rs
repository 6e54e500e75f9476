//! Products with packed matrices for every processor: the compiler finds the vector instructions.

use std::ops::Range;

use half::f16;

use crate::formats::{Bits, EIGHT_BIT_LINES, FOUR_BIT_LINES};
use crate::output::Output;
use crate::packing::{ActivationTile, F16x16, PackedLine, PackedMatrix, QuantizedActivations};
use crate::simd::{F32x16, LANES, Portable};

/// Rows of activations per tile.
pub(crate) const ROWS: usize = 4;

/// Four columns of 16 rows, column by column.
type Columns = [[i16; LANES]; 4];

/// Multiplies activations with row groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &QuantizedActivations,
    out: &Output,
) {
    for group in groups {
        for tile in rows.tiles() {
            // SAFETY: the caller's promise.
            unsafe {
                match tile.rows.len() {
                    1 => of_format::<1>(matrix, group, &tile, out),
                    2 => of_format::<2>(matrix, group, &tile, out),
                    3 => of_format::<3>(matrix, group, &tile, out),
                    _ => of_format::<ROWS>(matrix, group, &tile, out),
                }
            }
        }
    }
}

/// A tile of `M` rows with one row group.
///
/// # Safety
/// No other thread writes the columns of the group.
unsafe fn of_format<const M: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &ActivationTile,
    out: &Output,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (matrix.bits(), matrix.scales_each()) {
            (Bits::Four, _) if matrix.levels().is_some() => {
                tile::<FOUR_BIT_LINES, 1, true, M>(matrix, group, rows, out);
            }
            (Bits::Four, _) => tile::<FOUR_BIT_LINES, 1, false, M>(matrix, group, rows, out),
            (Bits::Eight, 1) => tile::<EIGHT_BIT_LINES, 1, false, M>(matrix, group, rows, out),
            (Bits::Eight, _) => tile::<EIGHT_BIT_LINES, 2, false, M>(matrix, group, rows, out),
        }
    }
}

/// The micro-kernel: a tile of `M` rows with one row group, whose blocks have `LINES` lines and
/// `PARTS` scales, and whose quants stand for levels or for themselves. Each result is summed in the same order whatever
/// `M` is.
///
/// # Safety
/// No other thread writes the columns of the group.
unsafe fn tile<const LINES: usize, const PARTS: usize, const LEVELS: bool, const M: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &ActivationTile,
    out: &Output,
) {
    let weights = matrix.group(group);
    // Columns of four in a line, and lines of a part.
    let (fours, lines_each) = (EIGHT_BIT_LINES / LINES, LINES / PARTS);
    let mut sums = [[0f32; LANES]; M];
    let lines: &[[PackedLine; LINES]] = weights.lines.as_chunks().0;
    for (block, (lines, (pairs, blocks))) in lines.iter().zip(rows.blocks::<M>()).enumerate() {
        for part in 0..PARTS {
            let mut products = [[0i32; LANES]; M];
            for (products, block) in products.iter_mut().zip(blocks) {
                *products = [block.acc_init[part]; LANES];
            }
            let first = part * lines_each;
            for (index, line) in lines[first..][..lines_each].iter().enumerate() {
                for four in 0..fours {
                    let columns = match LINES {
                        EIGHT_BIT_LINES => bytes(line),
                        _ => nibbles::<LEVELS>(line, four, weights.levels),
                    };
                    for (products, pairs) in products.iter_mut().zip(pairs) {
                        let at = 2 * (fours * (first + index) + four);
                        add_products(products, &columns, &pairs[at..at + 2]);
                    }
                }
            }
            let scales = floats(&weights.scales[block * PARTS + part]);
            for ((sums, products), block) in sums.iter_mut().zip(products).zip(blocks) {
                let factors = scales.map(|scale| scale * block.scale);
                add(sums, &products.map(|product| product as f32), &factors);
            }
        }
        if let Some(minima) = weights.minima.get(block) {
            let minima = floats(minima);
            for (sums, block) in sums.iter_mut().zip(blocks) {
                add(sums, &minima, &[block.sum; LANES]);
            }
        }
    }
    for (m, results) in sums.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { out.put(rows.rows.start + m, group * LANES, results) };
    }
}

/// The quants of a line of 8 bits.
#[inline(always)]
fn bytes(line: &PackedLine) -> Columns {
    let mut columns = [[0; LANES]; 4];
    for (column, numbers) in columns.iter_mut().enumerate() {
        for (lane, number) in numbers.iter_mut().enumerate() {
            *number = i16::from(line.0[4 * lane + column]);
        }
    }
    columns
}

/// The lower or the upper quants of a line of 4 bits, or their levels.
#[inline(always)]
fn nibbles<const LEVELS: bool>(line: &PackedLine, half: usize, levels: &[u8; 16]) -> Columns {
    let mut columns = [[0; LANES]; 4];
    for (column, numbers) in columns.iter_mut().enumerate() {
        for (lane, number) in numbers.iter_mut().enumerate() {
            let quant = line.0[4 * lane + column] >> (4 * half) & 0x0f;
            *number = i16::from(match LEVELS {
                true => levels[usize::from(quant)],
                false => quant,
            });
        }
    }
    columns
}

/// Adds the products of four columns, whose activations stand in the order first, third, second, fourth.
#[inline(always)]
fn add_products(sums: &mut [i32; LANES], columns: &Columns, pairs: &[[i16; 2]]) {
    let four = [pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]];
    for (numbers, activation) in columns.iter().zip(four) {
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(i32::from(*number) * i32::from(activation));
        }
    }
}

/// Adds `a · b`.
#[inline(always)]
fn add(sums: &mut [f32; LANES], a: &[f32; LANES], b: &[f32; LANES]) {
    // SAFETY: every processor has these instructions.
    unsafe {
        let all = Portable::load(a).mul_add(Portable::load(b), Portable::load(sums));
        all.store(sums);
    }
}

/// The numbers of a line of scales or minima.
#[inline(always)]
fn floats(halves: &F16x16) -> [f32; LANES] {
    let mut numbers = [0f32; LANES];
    // SAFETY: every processor has these instructions.
    unsafe { Portable::widen_f16(&halves.map(f16::from_bits)).store(&mut numbers) };
    numbers
}
