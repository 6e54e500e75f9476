//! 512 bits, with the instruction that adds two products of 16 bits to a sum of 32 (VNNI).

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::{EIGHT, FOUR, NOTHING};
use crate::format::Bits;
use crate::matrix::{Group, Halves, Line};
use crate::product::Output;
use crate::rows::{
    BlockOfEight, BlockOfRow, LARGEST, Pairs, ROUND, RoundedRows, factor, split_blocks,
};
use crate::{BLOCK, LANES, PackedMatrix};

/// What [`round_blocks`](crate::rows::round_blocks) does, to the last bit.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn round(
    matrix: &PackedMatrix,
    numbers: &[f32],
    rounded: &mut [Pairs],
    blocks: &mut [BlockOfRow],
) {
    /// Infinities and what is no number.
    const NOT_FINITE: i32 = 0x99;
    let numbers = numbers.as_chunks::<BLOCK>().0.iter();
    for ((numbers, rounded), block) in numbers.zip(rounded).zip(blocks) {
        // SAFETY: there are as many numbers.
        let halves = unsafe {
            [
                _mm512_loadu_ps(numbers.as_ptr()),
                _mm512_loadu_ps(numbers[LANES..].as_ptr()),
            ]
        };
        let [first, second] = halves;
        let largest = _mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second));
        let largest = _mm512_reduce_max_ps(largest);
        let not_finite = _mm512_fpclass_ps_mask::<NOT_FINITE>(first)
            | _mm512_fpclass_ps_mask::<NOT_FINITE>(second);
        let factor = _mm512_set1_ps(factor(largest));
        let mut wholes = [_mm512_setzero_si512(); 2];
        for (whole, numbers) in wholes.iter_mut().zip(halves) {
            let shifted = _mm512_add_ps(_mm512_mul_ps(numbers, factor), _mm512_set1_ps(ROUND));
            let bits = _mm512_castps_si512(shifted);
            *whole = _mm512_sub_epi32(bits, _mm512_set1_epi32(ROUND.to_bits() as i32));
        }
        for (whole, rounded) in wholes
            .iter()
            .zip(rounded.as_chunks_mut::<{ LANES / 2 }>().0)
        {
            // The first, the third, the second and the fourth of every four.
            const ORDER: i32 = 0b11_01_10_00;
            let numbers = _mm512_cvtepi32_epi16(*whole);
            let numbers = _mm256_shufflelo_epi16::<ORDER>(numbers);
            let numbers = _mm256_shufflehi_epi16::<ORDER>(numbers);
            // SAFETY: there is room for as many.
            unsafe { _mm256_storeu_si256(rounded.as_mut_ptr().cast(), numbers) };
        }
        let scale = match not_finite {
            0 => largest / LARGEST,
            _ => f32::NAN,
        };
        let sums = match matrix.scales_each() {
            1 => [
                _mm512_reduce_add_epi32(_mm512_add_epi32(wholes[0], wholes[1])),
                0,
            ],
            _ => [
                _mm512_reduce_add_epi32(wholes[0]),
                _mm512_reduce_add_epi32(wholes[1]),
            ],
        };
        *block = BlockOfRow::new(matrix, scale, sums);
    }
}

/// [`split_blocks`], compiled for these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn split(numbers: &[Pairs], blocks: &[BlockOfRow], eights: &mut [BlockOfEight]) {
    split_blocks(numbers, blocks, eights);
}

/// Lines of a block whose numbers have 16 bits.
const WIDE: usize = BLOCK / 2;

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
    let groups: [Group; G] = std::array::from_fn(|g| matrix.group(group + g));
    let lines: [&[[Line; LINES]]; G] = std::array::from_fn(|g| groups[g].lines.as_chunks().0);
    let place = |row, blocks| Place {
        groups,
        group,
        row,
        blocks,
    };
    if rows.rows <= ROWS {
        // SAFETY: the caller's promise.
        unsafe { few::<LINES, PARTS, G>(lines, rows, place(0, 0..matrix.blocks()), out) };
        return;
    }
    // What is multiplied with row after row is widened once, and stays in the nearest cache meanwhile.
    let mut wide = [Widened([[Line([0; 4 * LANES]); WIDE]; STRETCH]); G];
    for start in (0..matrix.blocks()).step_by(STRETCH) {
        let blocks = start..matrix.blocks().min(start + STRETCH);
        for g in 0..G {
            for (wide, lines) in wide[g].0.iter_mut().zip(&lines[g][blocks.clone()]) {
                widen(lines, wide);
            }
        }
        let lines = std::array::from_fn(|g| &wide[g].0[..blocks.len()]);
        for row in (0..rows.rows).step_by(ROWS) {
            for next in (row + ROWS..rows.rows).take(ROWS) {
                fetch(&rows.row(next).0[blocks.clone()]);
            }
            // SAFETY: the caller's promise.
            unsafe { few::<WIDE, PARTS, G>(lines, rows, place(row, blocks.clone()), out) };
        }
    }
}

/// Blocks that memory is asked for before they are read: those of 4 bits are read in less time.
const fn ahead(lines: usize) -> usize {
    if lines == FOUR { 32 } else { 8 }
}

/// Blocks that are widened at a time: 16 KB of two groups.
const STRETCH: usize = 8;

/// Blocks of a group whose numbers have 16 bits.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Widened([[Line; WIDE]; STRETCH]);

/// Gives the numbers of a block 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn widen<const LINES: usize>(lines: &[Line; LINES], wide: &mut [Line; WIDE]) {
    let each = WIDE / LINES;
    for (line, wide) in lines.iter().zip(wide.chunks_exact_mut(each)) {
        for (pairs, wide) in pairs::<LINES>(line).iter().zip(wide) {
            // SAFETY: a line is 64 bytes that are aligned as such.
            unsafe { _mm512_store_si512(wide.0.as_mut_ptr().cast(), *pairs) };
        }
    }
}

/// Asks for blocks of a row to be brought near. Each is as long as what is fetched at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn fetch(blocks: &[Pairs]) {
    for block in blocks {
        _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().cast());
    }
}

/// Asks for what lies at an address, if it is one, to be brought near.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn fetch_ahead<T>(place: *const T) {
    const LINE: usize = 64;
    for offset in (0..size_of::<T>()).step_by(LINE) {
        _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>().wrapping_add(offset));
    }
}

/// Where a tile is: which rows and groups it begins with, and its part of the columns.
struct Place<'a, const G: usize> {
    groups: [Group<'a>; G],
    /// The number of the first of them.
    group: usize,
    row: usize,
    blocks: Range<usize>,
}

/// As many rows as can be multiplied together, or those that are left.
///
/// # Safety
/// No other thread uses the columns of the groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn few<const LINES: usize, const PARTS: usize, const G: usize>(
    lines: [&[[Line; LINES]]; G],
    rows: &RoundedRows,
    place: Place<G>,
    out: &Output,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows.rows - place.row {
            1 => tile::<LINES, PARTS, 1, G>(lines, rows, place, out),
            2 => tile::<LINES, PARTS, 2, G>(lines, rows, place, out),
            3 => tile::<LINES, PARTS, 3, G>(lines, rows, place, out),
            4 => tile::<LINES, PARTS, 4, G>(lines, rows, place, out),
            5 => tile::<LINES, PARTS, 5, G>(lines, rows, place, out),
            _ => tile::<LINES, PARTS, ROWS, G>(lines, rows, place, out),
        }
    }
}

/// Adds to the results what some of the columns make: `M` rows with `G` groups of a matrix. The first
/// columns find nothing to add to. Whatever `M` and `G` are, each result is summed in the same order.
///
/// # Safety
/// No other thread uses the columns of the groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn tile<const LINES: usize, const PARTS: usize, const M: usize, const G: usize>(
    lines: [&[[Line; LINES]]; G],
    rows: &RoundedRows,
    place: Place<G>,
    out: &Output,
) {
    let Place {
        groups,
        group,
        row,
        blocks,
    } = place;
    // Where vector instructions are meant, `from_fn` would not do: it is not compiled for them.
    let inputs: [(&[Pairs], &[BlockOfRow]); M] = std::array::from_fn(|m| rows.row(row + m));
    let mut sums = [[_mm512_setzero_ps(); G]; M];
    if blocks.start > 0 {
        for (m, sums) in sums.iter_mut().enumerate() {
            for (g, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's promise, and what was there before.
                let results = unsafe { out.get(row + m, (group + g) * LANES) };
                // SAFETY: there are as many.
                *sum = unsafe { _mm512_loadu_ps(results.as_ptr()) };
            }
        }
    }
    for (index, block) in blocks.enumerate() {
        let mut numbers = [&NOTHING; M];
        for m in 0..M {
            numbers[m] = &inputs[m].0[block];
        }
        let mut of_block = [&lines[0][index]; G];
        for g in 1..G {
            of_block[g] = &lines[g][index];
        }
        if LINES != WIDE {
            for lines in of_block {
                fetch_ahead(std::ptr::from_ref(lines).wrapping_add(ahead(LINES)));
            }
        }
        for part in 0..PARTS {
            let mut products = [[_mm512_setzero_si512(); G]; M];
            for m in 0..M {
                products[m] = [_mm512_set1_epi32(inputs[m].1[block].starts[part]); G];
            }
            // Pairs of a line, and lines of a part.
            let (pairs_each, lines_each) = (WIDE / LINES, LINES / PARTS);
            for line in part * lines_each..(part + 1) * lines_each {
                let mut weights = [[_mm512_setzero_si512(); 4]; G];
                for g in 0..G {
                    weights[g] = pairs::<LINES>(&of_block[g][line]);
                }
                for pair in 0..pairs_each {
                    for m in 0..M {
                        let two = bytemuck::cast(numbers[m][pairs_each * line + pair]);
                        let two = _mm512_set1_epi32(two);
                        for g in 0..G {
                            products[m][g] = add_products(products[m][g], weights[g][pair], two);
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
            // SAFETY: there is room for as many; the rest is the caller's promise.
            unsafe {
                _mm512_storeu_ps(results.as_mut_ptr(), *sum);
                out.put(row + m, (group + g) * LANES, &results);
            }
        }
    }
}

/// Adds to each sum the two products of its lane.
///
/// As the compiler's own function this would become two instructions, a product and a sum, wherever that
/// shortens a chain of sums; but here it is not the chain that is waited for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn add_products(mut sums: __m512i, weights: __m512i, two: __m512i) -> __m512i {
    // SAFETY: the instruction is there, and works on nothing but these registers.
    unsafe {
        asm!(
            "vpdpwssd {sums}, {weights}, {two}",
            sums = inout(zmm_reg) sums,
            weights = in(zmm_reg) weights,
            two = in(zmm_reg) two,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The pairs of weights of a line, in 16 bits: one, two or four for as many lines as a block has.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn pairs<const LINES: usize>(line: &Line) -> [__m512i; 4] {
    // SAFETY: a line is 64 bytes that are aligned as such.
    let line = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    let none = _mm512_setzero_si512();
    if LINES == WIDE {
        [line, none, none, none]
    } else if LINES == EIGHT {
        [
            _mm512_and_si512(line, _mm512_set1_epi16(0xff)),
            _mm512_srli_epi16::<8>(line),
            none,
            none,
        ]
    } else {
        let lower = _mm512_set1_epi16(0x0f);
        [
            _mm512_and_si512(line, lower),
            _mm512_and_si512(_mm512_srli_epi16::<8>(line), lower),
            _mm512_and_si512(_mm512_srli_epi16::<4>(line), lower),
            _mm512_srli_epi16::<12>(line),
        ]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn floats(halves: &Halves) -> __m512 {
    // SAFETY: they are 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;
    use crate::Instructions;
    use crate::rows::round_blocks;

    /// What a block of a row is, to the last bit.
    fn bits(block: &BlockOfRow) -> (u32, u32, [i32; 2]) {
        (block.scale.to_bits(), block.total.to_bits(), block.starts)
    }

    #[test]
    fn rows_are_rounded_as_without_these_instructions() {
        const COLUMNS: usize = 256;
        if !Instructions::usable(Some(Instructions::Avx512Vnni)) {
            return;
        }
        let mut numbers: Vec<f32> = (0..COLUMNS)
            .map(|i| ((i * 7919 % 1009) as f32 - 504.5) * 1.37e-3)
            .collect();
        numbers[..BLOCK].fill(0.0);
        numbers[BLOCK..2 * BLOCK]
            .iter_mut()
            .for_each(|x| *x *= 1e-30);
        numbers[2 * BLOCK] = -1e30;
        for dtype in [GgmlDType::Q8_0, GgmlDType::Q4_1, GgmlDType::Q6K] {
            let bytes = vec![0; COLUMNS / dtype.block_size() * dtype.type_size()];
            let kind = Instructions::Avx512Vnni;
            let matrix = PackedMatrix::for_instructions(kind, dtype, &bytes, 1, COLUMNS).unwrap();
            let mut got = [(NOTHING, BlockOfRow::default()); 2].map(|(numbers, block)| {
                let count = COLUMNS / BLOCK;
                (vec![numbers; count], vec![block; count])
            });
            let [(numbers_here, blocks_here), (numbers_there, blocks_there)] = &mut got;
            // SAFETY: the processor has the instructions.
            unsafe { round(&matrix, &numbers, numbers_here, blocks_here) };
            round_blocks(&matrix, &numbers, numbers_there, blocks_there);
            assert_eq!(numbers_here, numbers_there, "{dtype:?}");
            let [here, there] = [blocks_here, blocks_there]
                .map(|blocks| blocks.iter().map(bits).collect::<Vec<_>>());
            assert_eq!(here, there, "{dtype:?}");
        }
    }
}
