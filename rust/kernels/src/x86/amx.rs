//! Tiles of 16 rows (AMX), where there are several: one instruction adds the products of 16 rows with 16
//! others.
//!
//! Tiles multiply bytes, so what is multiplied is split into its upper and its lower byte. Those of eight
//! rows make a tile, since an instruction takes as long for eight as for 16, and the two products of each
//! are put together. The sums are the same integers as without tiles, and what follows is done
//! in the same order, so the results are the same too. (What stands for 0 is taken from the weights here,
//! and from the sums there.)
//!
//! Linux hands out tiles only to who asks for them, since they enlarge what is saved of a thread. They
//! are given back before a kernel returns.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::OnceLock;

use super::avx512::{fetch_ahead, floats};
use super::{EIGHT, FOUR};
use crate::format::Bits;
use crate::matrix::{Group, Line};
use crate::product::Output;
use crate::rows::{BlockOfRow, Bytes, RoundedRows, TOGETHER};
use crate::{BLOCK, LANES, PackedMatrix};

/// Rows from which tiles are worth their while: more than the other kernel takes at a time.
pub(super) const MANY: usize = super::avx512::ROWS + 1;

/// Whether the processor has tiles, and this process may use them.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_tiles() && may_use_tiles())
}

fn has_tiles() -> bool {
    const TILES: u32 = 1 << 24;
    const BYTES: u32 = 1 << 25;
    if __cpuid(0).eax < 7 {
        return false;
    }
    __cpuid_count(7, 0).edx & (TILES | BYTES) == TILES | BYTES
}

#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    /// `ARCH_REQ_XCOMP_PERM`, and the number of the state that tiles are.
    const REQUEST: libc::c_ulong = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers, and refuses what it does not know.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// What a thread says of its tiles before it uses them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Tile 0 is the bytes of eight rows, 1 the weights of a group, and 2 their products; `columns` are
    /// multiplied at a time.
    fn new(columns: usize) -> Self {
        let (row, lines) = (columns as u16, (columns / 4) as u8);
        let mut shapes = Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        shapes.bytes[..3].copy_from_slice(&[row, 64, 64]);
        shapes.rows[..3].copy_from_slice(&[LANES as u8, lines, LANES as u8]);
        shapes
    }
}

/// Multiplies rows, whose bytes were split, with groups of a matrix.
///
/// # Safety
/// No other thread uses the columns of the groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    rows: &RoundedRows,
    out: &Output,
) {
    let shapes = Shapes::new(BLOCK / matrix.scales_each());
    // SAFETY: the processor has tiles, and the shapes are ones that it knows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, preserves_flags)) };
    for group in groups {
        // SAFETY: the caller's promise.
        unsafe {
            match (matrix.bits(), matrix.scales_each()) {
                (Bits::Four, _) => multiply_group::<FOUR, 1>(matrix, group, rows, out),
                (Bits::Eight, 1) => multiply_group::<EIGHT, 1>(matrix, group, rows, out),
                (Bits::Eight, _) => multiply_group::<EIGHT, 2>(matrix, group, rows, out),
            }
        }
    }
    // SAFETY: the tiles were this function's.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

/// Parts of blocks that all rows are multiplied with before the next ones: they and what they give stay in
/// the nearest cache.
const STRETCH: usize = 16;

/// Four columns of 16 rows, the four numbers of a row beside each other. They are less what stands for 0.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Four([u8; 4 * LANES]);

/// Four columns each.
type BlockOfFours = [Four; BLOCK / 4];

/// What a tile makes of the upper bytes of eight rows, and of the lower ones, with a group.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Products([[[i32; LANES]; TOGETHER]; 2]);

/// All rows with a group of a matrix.
///
/// # Safety
/// No other thread uses the columns of the group, and the tiles have their shapes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_group<const LINES: usize, const PARTS: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &RoundedRows,
    out: &Output,
) {
    let column = group * LANES;
    let group = matrix.group(group);
    let lines: &[[Line; LINES]] = group.lines.as_chunks().0;
    let zero = _mm512_set1_epi8(matrix.zero() as i8);
    // Written before it is read.
    let mut fours = MaybeUninit::<[BlockOfFours; STRETCH]>::uninit();
    // SAFETY: any bits make one.
    let fours = unsafe { fours.assume_init_mut() };
    let count = matrix.blocks();
    let stretch = count.div_ceil(count.div_ceil(STRETCH / PARTS));
    for start in (0..count).step_by(stretch) {
        let blocks = start..count.min(start + stretch);
        for (fours, lines) in fours.iter_mut().zip(&lines[blocks.clone()]) {
            by_fours(lines, zero, fours);
        }
        for row in (0..rows.rows).step_by(TOGETHER) {
            if row == 0 {
                // The next ones come while these are multiplied, this group's or another's.
                for index in 0..blocks.len() {
                    fetch_ahead(lines.as_ptr().wrapping_add(blocks.end + index));
                }
            }
            // SAFETY: the caller's promises.
            unsafe {
                multiply_rows::<PARTS>(group, fours, blocks.clone(), rows, row, column, out);
            }
        }
    }
}

/// Adds to the results what eight rows from `row` on make with blocks of a group. The first blocks find
/// nothing to add to.
///
/// # Safety
/// No other thread uses the columns of the group, and the tiles have their shapes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_rows<const PARTS: usize>(
    group: Group,
    fours: &[BlockOfFours; STRETCH],
    blocks: Range<usize>,
    rows: &RoundedRows,
    row: usize,
    column: usize,
    out: &Output,
) {
    let count = TOGETHER.min(rows.rows - row);
    // What is behind the last row is taken for it, and not kept.
    let mut of_rows: [&[BlockOfRow]; TOGETHER] = [&[]; TOGETHER];
    for (m, of_row) in of_rows.iter_mut().enumerate() {
        *of_row = &rows.row((row + m).min(rows.rows - 1)).1[blocks.clone()];
    }
    let mut sums = [_mm512_setzero_ps(); TOGETHER];
    if blocks.start > 0 {
        for (m, sum) in sums.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise, and what was there before.
            let results = unsafe { out.get(row + m, column) };
            // SAFETY: there are as many.
            *sum = unsafe { _mm512_loadu_ps(results.as_ptr()) };
        }
    }
    // Written before it is read.
    let mut products = MaybeUninit::<[Products; STRETCH]>::uninit();
    // SAFETY: any bits make one.
    let products = unsafe { products.assume_init_mut() };
    // Nothing waits for a product here, so that one can begin before the one before has ended.
    for (index, products) in products
        .chunks_exact_mut(PARTS)
        .take(blocks.len())
        .enumerate()
    {
        let bytes = rows.bytes(row, blocks.start + index);
        for (part, products) in products.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { multiply_tiles(bytes, &fours[index], BLOCK / PARTS * part, products) };
        }
    }
    for (index, (products, block)) in products.chunks_exact(PARTS).zip(blocks).enumerate() {
        for (part, Products([upper, lower])) in products.iter().enumerate() {
            let scales = floats(&group.scales[block * PARTS + part]);
            for m in 0..TOGETHER {
                // SAFETY: there are as many numbers.
                let (upper, lower) = unsafe {
                    (
                        _mm512_load_si512(upper[m].as_ptr().cast()),
                        _mm512_load_si512(lower[m].as_ptr().cast()),
                    )
                };
                let product = _mm512_add_epi32(_mm512_slli_epi32::<8>(upper), lower);
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(of_rows[m][index].scale));
                sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, sums[m]);
            }
        }
        if let Some(minima) = group.minima.get(block) {
            let minima = floats(minima);
            for m in 0..TOGETHER {
                let total = _mm512_set1_ps(of_rows[m][index].total);
                sums[m] = _mm512_fmadd_ps(minima, total, sums[m]);
            }
        }
    }
    for (m, sum) in sums.iter().enumerate().take(count) {
        let mut results = [0f32; LANES];
        // SAFETY: there is room for as many; the rest is the caller's promise.
        unsafe {
            _mm512_storeu_ps(results.as_mut_ptr(), *sum);
            out.put(row + m, column, &results);
        }
    }
}

/// The products of eight rows with a part of a block, from a column of it on.
///
/// # Safety
/// The tiles have their shapes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_tiles(
    bytes: &Bytes,
    fours: &BlockOfFours,
    column: usize,
    products: &mut Products,
) {
    // SAFETY: there are 16 rows of bytes, a part of a block of weights, and room for 16 sums of each row.
    unsafe {
        asm!(
            "tileloadd tmm0, [{bytes} + {row}*1]",
            "tileloadd tmm1, [{weights} + {line}*1]",
            "tilezero tmm2",
            "tdpbssd tmm2, tmm0, tmm1",
            "tilestored [{products} + {line}*1], tmm2",
            bytes = in(reg) bytes.0.as_flattened().as_flattened()[column..].as_ptr(),
            weights = in(reg) fours[column / 4..].as_ptr(),
            products = in(reg) products,
            row = in(reg) BLOCK,
            line = in(reg) 4 * LANES,
            options(nostack, preserves_flags),
        );
    }
}

/// Puts the numbers of a block together by fours, less the one that stands for 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn by_fours<const LINES: usize>(lines: &[Line; LINES], zero: __m512i, fours: &mut BlockOfFours) {
    for (step, four) in fours.iter_mut().enumerate() {
        let (first, second) = if LINES == FOUR {
            let both = pairs(&lines[step]);
            let mask = _mm512_set1_epi32(0x0f0f);
            (
                _mm512_and_si512(both, mask),
                _mm512_and_si512(_mm512_srli_epi32::<4>(both), mask),
            )
        } else {
            (pairs(&lines[2 * step]), pairs(&lines[2 * step + 1]))
        };
        let all = _mm512_or_si512(first, _mm512_slli_epi32::<16>(second));
        // SAFETY: there is room for as many.
        unsafe {
            _mm512_store_si512(four.0.as_mut_ptr().cast(), _mm512_sub_epi8(all, zero));
        }
    }
}

/// The two numbers of each row, in 32 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn pairs(line: &Line) -> __m512i {
    // SAFETY: a line is 32 bytes that are aligned as such.
    _mm512_cvtepu16_epi32(unsafe { _mm256_load_si256(line.0.as_ptr().cast()) })
}
