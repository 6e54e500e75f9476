//! AVX-512 with VNNI: `vpdpwssd` adds two products of 16 bits to a 32-bit accumulator.

mod vector;

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use crate::formats::{BLOCK, Bits, EIGHT_BIT_LINES, FOUR_BIT_LINES, Levels};
use crate::output::Output;
use crate::packing::{
    ACTIVATION_MAX, ActivationBlock, ActivationBlock8, ActivationTile, EmptyTilePart, F16x16,
    PackedLine, PackedMatrix, QuantizedActivations, ROUND_MAGIC, RowGroup, inverse_scale,
    split_blocks,
};
use crate::simd::LANES;

/// [`quantize_blocks`](crate::packing::quantize_blocks) with intrinsics, bitwise equal.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(crate) fn quantize(matrix: &PackedMatrix, numbers: &[f32], mut part: EmptyTilePart) {
    /// The classes of infinities and NaN.
    const NOT_FINITE: i32 = 0x99;
    for (numbers, (rounded, block)) in part.places(numbers) {
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
        let factor = _mm512_set1_ps(inverse_scale(largest));
        let mut wholes = [_mm512_setzero_si512(); 2];
        for (whole, numbers) in wholes.iter_mut().zip(halves) {
            let shifted =
                _mm512_add_ps(_mm512_mul_ps(numbers, factor), _mm512_set1_ps(ROUND_MAGIC));
            let bits = _mm512_castps_si512(shifted);
            *whole = _mm512_sub_epi32(bits, _mm512_set1_epi32(ROUND_MAGIC.to_bits() as i32));
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
            0 => largest / ACTIVATION_MAX,
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
        *block = ActivationBlock::new(matrix, scale, sums);
    }
}

/// [`split_blocks`], compiled for these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(crate) fn split(tile: &ActivationTile, blocks8: &mut [ActivationBlock8]) {
    split_blocks(tile, blocks8);
}

/// Rows of activations per tile: as many as there are registers for.
pub(crate) const ROWS: usize = 6;

/// Sums of a result at most.
const CHAINS: usize = 4;

/// Sums of each result of a tile with so many: products that are added to few sums would wait for each other.
const fn chains(results: usize) -> usize {
    match results {
        1 | 2 => CHAINS,
        3 | 4 => 2,
        _ => 1,
    }
}

/// Multiplies activations with row groups of a matrix.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &QuantizedActivations,
    out: &Output,
) {
    if rows.rows == 1 {
        // Memory limits it, which is read fastest from one place on.
        for group in groups {
            // SAFETY: the caller's promise.
            unsafe { with_format::<1>(matrix, group, rows, out) };
        }
        return;
    }
    for group in groups.clone().step_by(2) {
        // SAFETY: the caller's promise.
        unsafe {
            match groups.end - group {
                1 => with_format::<1>(matrix, group, rows, out),
                _ => with_format::<2>(matrix, group, rows, out),
            }
        }
    }
}

/// Chooses the micro-kernel of the matrix' format for `G` row groups from `group` on.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn with_format<const G: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &QuantizedActivations,
    out: &Output,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (matrix.bits(), matrix.scales_each()) {
            (Bits::Four, _) if matrix.levels().is_some() => {
                row_group::<FOUR_BIT_LINES, 1, true, G>(matrix, group, rows, out);
            }
            (Bits::Four, _) => row_group::<FOUR_BIT_LINES, 1, false, G>(matrix, group, rows, out),
            (Bits::Eight, 1) => row_group::<EIGHT_BIT_LINES, 1, false, G>(matrix, group, rows, out),
            (Bits::Eight, _) => row_group::<EIGHT_BIT_LINES, 2, false, G>(matrix, group, rows, out),
        }
    }
}

/// All activations with `G` row groups from `group` on, whose blocks have `LINES` lines and `PARTS` scales, and
/// whose quants stand for levels or for themselves.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn row_group<const LINES: usize, const PARTS: usize, const LEVELS: bool, const G: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &QuantizedActivations,
    out: &Output,
) {
    for rows in rows.tiles() {
        // SAFETY: the caller's promise.
        unsafe {
            match rows.rows.len() {
                1 => tile::<LINES, PARTS, LEVELS, 1, G>(matrix, group, &rows, out),
                2 => tile::<LINES, PARTS, LEVELS, 2, G>(matrix, group, &rows, out),
                3 => tile::<LINES, PARTS, LEVELS, 3, G>(matrix, group, &rows, out),
                4 => tile::<LINES, PARTS, LEVELS, 4, G>(matrix, group, &rows, out),
                5 => tile::<LINES, PARTS, LEVELS, 5, G>(matrix, group, &rows, out),
                _ => tile::<LINES, PARTS, LEVELS, ROWS, G>(matrix, group, &rows, out),
            }
        }
    }
}

/// How many blocks ahead weights are prefetched: 4-bit blocks are read in less time.
const fn prefetch_distance(lines: usize) -> usize {
    if lines == FOUR_BIT_LINES { 32 } else { 16 }
}

/// Prefetches an address, which need not be valid.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn prefetch<T>(place: *const T) {
    const LINE: usize = 64;
    for offset in (0..size_of::<T>()).step_by(LINE) {
        _mm_prefetch::<_MM_HINT_T0>(place.cast::<i8>().wrapping_add(offset));
    }
}

/// The micro-kernel: a tile of `M` rows with `G` row groups from `group` on. Each result is summed in
/// the same order whatever `M` and `G` are.
///
/// # Safety
/// No other thread writes the columns of the groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn tile<
    const LINES: usize,
    const PARTS: usize,
    const LEVELS: bool,
    const M: usize,
    const G: usize,
>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &ActivationTile,
    out: &Output,
) {
    let groups: [RowGroup; G] = std::array::from_fn(|g| matrix.group(group + g));
    let lines: [&[[PackedLine; LINES]]; G] = std::array::from_fn(|g| groups[g].lines.as_chunks().0);
    let levels = broadcast(groups[0].levels);
    let chains = const { chains(M * G) };
    let mut sums = [[_mm512_setzero_ps(); G]; M];
    for (block, (numbers, inputs)) in rows.blocks::<M>().enumerate() {
        let mut of_block = [&lines[0][block]; G];
        for g in 1..G {
            of_block[g] = &lines[g][block];
        }
        if rows.rows.start == 0 {
            // Behind its end, a group is followed by the one that takes its turn in the next tile.
            let mut ahead = block + prefetch_distance(LINES);
            if ahead >= matrix.blocks() {
                ahead += (G - 1) * matrix.blocks();
            }
            for lines in lines {
                prefetch(lines.as_ptr().wrapping_add(ahead));
            }
        }
        // Pairs of a line, and lines of a part.
        let (pairs_each, lines_each) = (BLOCK / 2 / LINES, LINES / PARTS);
        for part in 0..PARTS {
            let mut products = [[[_mm512_setzero_si512(); CHAINS]; G]; M];
            for m in 0..M {
                let start = _mm512_set1_epi32(inputs[m].acc_init[part]);
                for products in &mut products[m] {
                    products[0] = start;
                }
            }
            for line in part * lines_each..(part + 1) * lines_each {
                let mut weights = [[_mm512_setzero_si512(); 4]; G];
                for g in 0..G {
                    weights[g] = pairs::<LINES, LEVELS>(&of_block[g][line], levels);
                }
                for pair in 0..pairs_each {
                    for m in 0..M {
                        let two = bytemuck::cast(numbers[m][pairs_each * line + pair]);
                        let two = _mm512_set1_epi32(two);
                        for g in 0..G {
                            let sum = &mut products[m][g][pair % chains];
                            *sum = add_products(*sum, weights[g][pair], two);
                        }
                    }
                }
            }
            for g in 0..G {
                let scales = floats(&groups[g].scales[block * PARTS + part]);
                for m in 0..M {
                    let [mut product, others @ ..] = products[m][g];
                    for other in &others[..chains.min(pairs_each) - 1] {
                        product = _mm512_add_epi32(product, *other);
                    }
                    let product = _mm512_cvtepi32_ps(product);
                    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(inputs[m].scale));
                    sums[m][g] = _mm512_fmadd_ps(product, scale, sums[m][g]);
                }
            }
        }
        for g in 0..G {
            if let Some(minima) = groups[g].minima.get(block) {
                let minima = floats(minima);
                for m in 0..M {
                    let sum = _mm512_set1_ps(inputs[m].sum);
                    sums[m][g] = _mm512_fmadd_ps(minima, sum, sums[m][g]);
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
                out.put(rows.rows.start + m, (group + g) * LANES, &results);
            }
        }
    }
}

/// `vpdpwssd`: adds the two products of each lane to its accumulator.
///
/// The compiler splits the intrinsic into two instructions where that shortens the chain of additions; here
/// throughput counts, not latency.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn add_products(mut sums: __m512i, weights: __m512i, two: __m512i) -> __m512i {
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

/// The levels of quants, once in every 16 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn broadcast(levels: &Levels) -> __m512i {
    // SAFETY: they are 16 bytes.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(levels.as_ptr().cast()) })
}

/// Unpacks a line to pairs of 16-bit quants, or of the levels they stand for: two registers for 8-bit quants, four for
/// 4-bit ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn pairs<const LINES: usize, const LEVELS: bool>(
    line: &PackedLine,
    levels: __m512i,
) -> [__m512i; 4] {
    // SAFETY: a line is 64 bytes that are aligned as such.
    let line = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    if LINES == EIGHT_BIT_LINES {
        let none = _mm512_setzero_si512();
        [
            _mm512_and_si512(line, _mm512_set1_epi16(0xff)),
            _mm512_srli_epi16::<8>(line),
            none,
            none,
        ]
    } else if LEVELS {
        let lower = _mm512_set1_epi8(0x0f);
        let byte = _mm512_set1_epi16(0xff);
        let first = _mm512_shuffle_epi8(levels, _mm512_and_si512(line, lower));
        let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(line), lower);
        let second = _mm512_shuffle_epi8(levels, upper);
        [
            _mm512_and_si512(first, byte),
            _mm512_srli_epi16::<8>(first),
            _mm512_and_si512(second, byte),
            _mm512_srli_epi16::<8>(second),
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
pub(super) fn floats(halves: &F16x16) -> __m512 {
    // SAFETY: they are 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;
    use crate::instructions::Instructions;
    use crate::packing::quantize_blocks;

    /// The bits of a block.
    fn bits(block: &ActivationBlock) -> (u32, u32, [i32; 2]) {
        (block.scale.to_bits(), block.sum.to_bits(), block.acc_init)
    }

    #[test]
    fn activations_are_quantized_as_by_portable_code() {
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
            let kind = Some(Instructions::Avx512Vnni);
            let matrix = PackedMatrix::for_instructions(kind, dtype, &bytes, 1, COLUMNS).unwrap();
            let mut here = QuantizedActivations::new(2, COLUMNS / 2, 2);
            let mut there = here.clone();
            let [here_part, there_part] =
                [&mut here, &mut there].map(|rows| rows.empty_parts().remove(0));
            // SAFETY: the processor has the instructions.
            unsafe { quantize(&matrix, &numbers, here_part) };
            quantize_blocks(&matrix, &numbers, there_part);
            let [here, there] = [&here, &there].map(|rows| {
                let tile = rows.tiles().next().unwrap();
                let blocks = tile.blocks::<2>();
                blocks
                    .map(|(pairs, blocks)| (*pairs, blocks.map(|block| bits(&block))))
                    .collect::<Vec<_>>()
            });
            assert_eq!(here, there, "{dtype:?}");
        }
    }
}
