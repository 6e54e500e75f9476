//! AMX: `tdpbsud` multiplies tiles of bytes, for products with several rows of activations.
//!
//! The 16-bit activations are split into upper and lower bytes, those of eight rows in one tile: the instruction
//! takes as long for 8 rows as for 16. Both products are combined to the integers that the AVX-512 kernel
//! computes, and scaled in the same order, so results are bitwise equal to its own.
//!
//! Tiles are released before a kernel returns.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::avx512::{broadcast, floats, prefetch};
use crate::formats::{BLOCK, Bits, EIGHT_BIT_LINES, FOUR_BIT_LINES, Levels};
use crate::output::Output;
use crate::packing::{
    ActivationBlock8, BYTE_ROWS, PackedLine, PackedMatrix, QuantizedActivations, RowGroup,
};
use crate::simd::LANES;

/// Whether AMX is faster than AVX-512 for so many rows of activations: a tile takes as long for few rows as for
/// [`BYTE_ROWS`], 4-bit quants have to be widened, and halves of blocks, where each has a scale of its own, leave a tile half
/// empty.
pub(crate) fn is_faster(matrix: &PackedMatrix, rows: usize) -> bool {
    let are_full = 8 * rows >= 7 * rows.next_multiple_of(BYTE_ROWS);
    match matrix.bits() {
        _ if matrix.scales_each() > 1 => false,
        Bits::Eight => are_full,
        Bits::Four => are_full && rows > 2 * BYTE_ROWS,
    }
}

/// The tile configuration that `ldtilecfg` loads.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Tile 0 is the bytes of eight rows, 1 the weights of a group, and 2 their products; a block is multiplied at a time.
    fn new() -> Self {
        let (row, lines) = (BLOCK as u16, EIGHT_BIT_LINES as u8);
        let mut config = Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        config.bytes[..3].copy_from_slice(&[row, 64, 64]);
        config.rows[..3].copy_from_slice(&[LANES as u8, lines, LANES as u8]);
        config
    }
}

/// Multiplies activations, split into bytes, with row groups of a matrix.
///
/// # Safety
/// No other thread uses the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &QuantizedActivations,
    out: &Output,
) {
    let config = TileConfig::new();
    // SAFETY: the processor has tiles, and the config are ones that it knows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags)) };
    for group in groups {
        // SAFETY: the caller's promise.
        unsafe {
            match matrix.bits() {
                Bits::Four if matrix.levels().is_some() => {
                    multiply_group::<FOUR_BIT_LINES, true>(matrix, group, rows, out);
                }
                Bits::Four => multiply_group::<FOUR_BIT_LINES, false>(matrix, group, rows, out),
                Bits::Eight => multiply_group::<EIGHT_BIT_LINES, false>(matrix, group, rows, out),
            }
        }
    }
    // SAFETY: the tiles were this function's.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

/// Blocks of the K dimension that all rows are multiplied with before the next: they stay in the L1 cache.
const K_BLOCK: usize = 32;

/// How many blocks ahead weights are prefetched.
const PREFETCH_DISTANCE: usize = 16;

/// Tile products in flight before the first is used.
const IN_FLIGHT: usize = 4;

/// Buffers for them, so that none is written while it is read.
const SLOTS: usize = 2 * IN_FLIGHT;

/// A block of weights in 8 bits, as a tile takes it.
type Bytewise = [PackedLine; EIGHT_BIT_LINES];

/// The tile products of the upper and of the lower bytes of eight rows with a row group.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Products([[[i32; LANES]; BYTE_ROWS]; 2]);

/// All activations with one row group.
///
/// # Safety
/// No other thread uses the columns of the group, and the tiles have their config.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_group<const LINES: usize, const LEVELS: bool>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &QuantizedActivations,
    out: &Output,
) {
    let column = group * LANES;
    let group = matrix.group(group);
    let lines: &[[PackedLine; LINES]] = group.lines.as_chunks().0;
    let mut widened = [const { MaybeUninit::<Bytewise>::uninit() }; K_BLOCK];
    let count = matrix.blocks();
    let k_block = count.div_ceil(count.div_ceil(K_BLOCK));
    for start in (0..count).step_by(k_block) {
        let blocks = start..count.min(start + k_block);
        let weights = match lines.as_flattened().as_chunks::<EIGHT_BIT_LINES>().0 {
            bytewise if LINES == EIGHT_BIT_LINES => &bytewise[blocks.clone()],
            _ => {
                for (widened, lines) in widened.iter_mut().zip(&lines[blocks.clone()]) {
                    widen::<LINES, LEVELS>(lines, widened, group.levels);
                }
                // SAFETY: so many are written.
                unsafe { std::slice::from_raw_parts(widened.as_ptr().cast(), blocks.len()) }
            }
        };
        for tile in rows.tiles() {
            // The next ones come while these are multiplied, this group's or another's.
            let next = match tile.rows.start {
                0 => Some(lines.as_ptr().wrapping_add(start + PREFETCH_DISTANCE)),
                _ => None,
            };
            let eight = &tile.blocks8[blocks.clone()];
            let results = Results {
                out,
                rows: tile.rows,
                column,
            };
            // SAFETY: the caller's promises.
            unsafe {
                multiply_eight::<LINES>(group, weights, start, eight, next, &results);
            }
        }
    }
}

/// Where the results of up to eight rows with a group are.
struct Results<'a> {
    out: &'a Output,
    rows: Range<usize>,
    column: usize,
}

/// Eight rows of activations with blocks of a row group from `start` on, accumulated into the results.
///
/// # Safety
/// No other thread uses the columns of the group, and the tiles have their config.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_eight<const LINES: usize>(
    group: RowGroup,
    weights: &[Bytewise],
    start: usize,
    eight: &[ActivationBlock8],
    next: Option<*const [PackedLine; LINES]>,
    results: &Results,
) {
    let mut sums = [_mm512_setzero_ps(); BYTE_ROWS];
    if start > 0 {
        for (row, sum) in results.rows.clone().zip(&mut sums) {
            // SAFETY: the caller's promise, and what was there before.
            let before = unsafe { results.out.get(row, results.column) };
            // SAFETY: there are as many.
            *sum = unsafe { _mm512_loadu_ps(before.as_ptr()) };
        }
    }
    let mut products = [const { MaybeUninit::<Products>::uninit() }; SLOTS];
    for index in 0..eight.len() + IN_FLIGHT {
        if index < eight.len() {
            if let Some(next) = next {
                prefetch(next.wrapping_add(index));
            }
            let products = &mut products[index % SLOTS];
            // SAFETY: the caller's promise.
            unsafe { multiply_tiles(&eight[index], &weights[index], products) };
        }
        // The result of a tile is used only when the next ones are in flight.
        let Some(index) = index.checked_sub(IN_FLIGHT) else {
            continue;
        };
        let (rows, block) = (&eight[index], start + index);
        // SAFETY: it was written.
        let Products([upper, lower]) = unsafe { products[index % SLOTS].assume_init_ref() };
        let scales = floats(&group.scales[block]);
        for m in 0..BYTE_ROWS {
            // SAFETY: there are as many numbers.
            let (upper, lower) = unsafe {
                (
                    _mm512_load_si512(upper[m].as_ptr().cast()),
                    _mm512_load_si512(lower[m].as_ptr().cast()),
                )
            };
            let mut product = _mm512_add_epi32(_mm512_slli_epi32::<8>(upper), lower);
            if group.minima.is_empty() {
                // Where there are minima, it is 0 that stands for 0.
                let start = _mm512_set1_epi32(rows.acc_init[0][m]);
                product = _mm512_add_epi32(product, start);
            }
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(rows.scales[m]));
            sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, sums[m]);
        }
        if let Some(minima) = group.minima.get(block) {
            let minima = floats(minima);
            for (result, sum) in sums.iter_mut().zip(&rows.sums) {
                *result = _mm512_fmadd_ps(minima, _mm512_set1_ps(*sum), *result);
            }
        }
    }
    for (row, sum) in results.rows.clone().zip(sums) {
        let mut numbers = [0f32; LANES];
        // SAFETY: there is room for as many; the rest is the caller's promise.
        unsafe {
            _mm512_storeu_ps(numbers.as_mut_ptr(), sum);
            results.out.put(row, results.column, &numbers);
        }
    }
}

/// The products of eight rows with a block.
///
/// # Safety
/// The tiles have their config.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_tiles(
    rows: &ActivationBlock8,
    weights: &Bytewise,
    products: &mut MaybeUninit<Products>,
) {
    // SAFETY: there are 16 rows of bytes, a block of weights, and room for 16 sums of each row.
    unsafe {
        asm!(
            "tileloadd tmm0, [{bytes} + {row}*1]",
            "tileloadd tmm1, [{weights} + {line}*1]",
            "tilezero tmm2",
            "tdpbsud tmm2, tmm0, tmm1",
            "tilestored [{products} + {line}*1], tmm2",
            bytes = in(reg) rows.bytes.as_ptr(),
            weights = in(reg) weights.as_ptr(),
            products = in(reg) products.as_mut_ptr(),
            row = in(reg) BLOCK,
            line = in(reg) 4 * LANES,
            options(nostack, preserves_flags),
        );
    }
}

/// Widens the 4-bit quants of a block to bytes, or to the levels that they stand for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn widen<const LINES: usize, const LEVELS: bool>(
    lines: &[PackedLine; LINES],
    widened: &mut MaybeUninit<Bytewise>,
    levels: &Levels,
) {
    let levels = broadcast(levels);
    let lower = _mm512_set1_epi8(0x0f);
    for (index, line) in lines.iter().enumerate() {
        // SAFETY: a line is 64 bytes that are aligned as such, and there is room for two.
        unsafe {
            let place = widened.as_mut_ptr().cast::<PackedLine>().add(2 * index);
            let line = _mm512_load_si512(line.0.as_ptr().cast());
            let mut upper = _mm512_and_si512(_mm512_srli_epi16::<4>(line), lower);
            let mut lower = _mm512_and_si512(line, lower);
            if LEVELS {
                upper = _mm512_shuffle_epi8(levels, upper);
                lower = _mm512_shuffle_epi8(levels, lower);
            }
            _mm512_store_si512(place.cast(), lower);
            _mm512_store_si512(place.add(1).cast(), upper);
        }
    }
}
