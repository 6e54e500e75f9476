//! Tiles of 16 rows (AMX), for prompts: one instruction adds the products of 16 rows with 16 others.
//!
//! Tiles multiply bytes, so what is multiplied is split into its upper and its lower byte, and the two
//! products are put together. The sums are the same integers as without tiles, and what follows is done
//! in the same order, so the results are the same too. (What stands for 0 is taken from the weights here,
//! and from the sums there.)
//!
//! Linux hands out tiles only to who asks for them, since they enlarge what is saved of a thread. They
//! are given back before a kernel returns.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::OnceLock;

use super::avx512::{fetch_ahead, floats};
use super::{EIGHT, FOUR};
use crate::format::Bits;
use crate::matrix::{Group, Line};
use crate::product::Output;
use crate::rows::{BlockOfRow, RoundedRows};
use crate::{BLOCK, LANES, PackedMatrix};

/// Rows from which tiles are worth their while.
pub(super) const MANY: usize = 8;

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
    /// Tiles 0 and 1 are the upper and lower bytes of 16 rows, 2 is the weights of a group, 3 and 4 are
    /// their products; fewer than 16 if there are no more. `columns` are multiplied at a time.
    fn new(rows: usize, columns: usize) -> Self {
        let (row, lines) = (columns as u16, (columns / 4) as u8);
        let rows = rows.min(LANES) as u8;
        let mut shapes = Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        shapes.bytes[..5].copy_from_slice(&[row, row, 64, 64, 64]);
        shapes.rows[..5].copy_from_slice(&[rows, rows, lines, rows, rows]);
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
    let shapes = Shapes::new(rows.rows, BLOCK / matrix.scales_each());
    // SAFETY: the processor has tiles, and the shapes are ones that it knows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, preserves_flags)) };
    strips!(strip, matrix, groups, rows, out);
    // SAFETY: the tiles were this function's.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

/// Parts of blocks that all rows are multiplied with before the next ones: what they give stays in the
/// nearest cache.
const STRETCH: usize = 8;

/// Four columns of 16 rows, the four numbers of a row beside each other. They are less what stands for 0.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Four([u8; 4 * LANES]);

/// Four columns each.
type BlockOfFours = [Four; BLOCK / 4];

/// What a tile holds: the sums of 16 rows with a group.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Sums([[i32; LANES]; LANES]);

/// What tiles make of the upper and of the lower bytes of 16 rows.
type Products = [Sums; 2];

/// Where a tile is.
#[derive(Clone, Copy)]
struct Place<'a> {
    group: Group<'a>,
    /// The column of the results that the group begins at.
    column: usize,
    /// The first of the rows.
    row: usize,
}

/// All rows with `G` groups of a matrix from `group` on.
///
/// # Safety
/// No other thread uses the columns of the groups, and the tiles have their shapes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn strip<const LINES: usize, const PARTS: usize, const G: usize>(
    matrix: &PackedMatrix,
    group: usize,
    rows: &RoundedRows,
    out: &Output,
) {
    let groups: [Group; G] = std::array::from_fn(|g| matrix.group(group + g));
    let lines: [&[[Line; LINES]]; G] = std::array::from_fn(|g| groups[g].lines.as_chunks().0);
    let zero = _mm512_set1_epi8(matrix.zero() as i8);
    let mut fours = [[[Four([0; 4 * LANES]); BLOCK / 4]; STRETCH]; G];
    let mut products = [[Sums([[0; LANES]; LANES]); 2]; STRETCH];
    let stretch = STRETCH / PARTS;
    for start in (0..matrix.blocks()).step_by(stretch) {
        let blocks = start..matrix.blocks().min(start + stretch);
        for g in 0..G {
            for (fours, lines) in fours[g].iter_mut().zip(&lines[g][blocks.clone()]) {
                by_fours(lines, zero, fours);
            }
        }
        for row in (0..rows.rows).step_by(LANES) {
            for g in 0..G {
                // The next ones come while these are multiplied.
                let next = match row {
                    0 => &lines[g][blocks.end..],
                    _ => &[],
                };
                let place = Place {
                    group: groups[g],
                    column: (group + g) * LANES,
                    row,
                };
                // SAFETY: the caller's promises.
                unsafe {
                    multiply_tiles::<LINES, PARTS>(
                        &fours[g],
                        rows,
                        row,
                        blocks.clone(),
                        next,
                        &mut products,
                    );
                    for first in (0..LANES.min(rows.rows - row)).step_by(TOGETHER) {
                        add::<PARTS>(place, first, &products, rows, blocks.clone(), out);
                    }
                }
            }
        }
    }
}

/// The products of 16 rows from `row` on with a group, for each part of the blocks. Nothing waits for
/// them here, so that one can begin before the one before has ended.
///
/// # Safety
/// The tiles have their shapes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_tiles<const LINES: usize, const PARTS: usize>(
    fours: &[BlockOfFours; STRETCH],
    rows: &RoundedRows,
    row: usize,
    blocks: Range<usize>,
    next: &[[Line; LINES]],
    products: &mut [Products; STRETCH],
) {
    let of_blocks = products.chunks_exact_mut(PARTS).zip(fours).zip(blocks);
    for (index, ((products, fours), block)) in of_blocks.enumerate() {
        if let Some(next) = next.get(index) {
            fetch_ahead(next);
        }
        let [upper_bytes, lower_bytes] = rows.bytes(row, block);
        for (part, [upper, lower]) in products.iter_mut().enumerate() {
            let columns = BLOCK / PARTS * part;
            // SAFETY: there are 16 rows of bytes, a part of a block of weights, and room for the sums of
            // 16 rows.
            unsafe {
                asm!(
                    "tileloadd tmm0, [{upper_bytes} + {row}*1]",
                    "tileloadd tmm1, [{lower_bytes} + {row}*1]",
                    "tileloadd tmm2, [{weights} + {line}*1]",
                    "tilezero tmm3",
                    "tilezero tmm4",
                    "tdpbssd tmm3, tmm0, tmm2",
                    "tdpbssd tmm4, tmm1, tmm2",
                    "tilestored [{upper} + {line}*1], tmm3",
                    "tilestored [{lower} + {line}*1], tmm4",
                    upper_bytes = in(reg) upper_bytes.as_flattened()[columns..].as_ptr(),
                    lower_bytes = in(reg) lower_bytes.as_flattened()[columns..].as_ptr(),
                    weights = in(reg) fours[columns / 4..].as_ptr(),
                    upper = in(reg) upper,
                    lower = in(reg) lower,
                    row = in(reg) BLOCK,
                    line = in(reg) 4 * LANES,
                    options(nostack, preserves_flags),
                );
            }
        }
    }
}

/// Rows whose sums stay in registers.
const TOGETHER: usize = 8;

/// Adds to the results what tiles made of some of their rows, from `first` on, in some blocks. The first
/// blocks find nothing to add to.
///
/// # Safety
/// No other thread uses the columns of the group.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn add<const PARTS: usize>(
    place: Place,
    first: usize,
    products: &[Products; STRETCH],
    rows: &RoundedRows,
    blocks: Range<usize>,
    out: &Output,
) {
    let Place { group, column, row } = place;
    let row = row + first;
    let count = TOGETHER.min(rows.rows - row);
    // What is behind the last row is taken for it, and not kept.
    let of_rows: [&[BlockOfRow]; TOGETHER] =
        std::array::from_fn(|m| &rows.row((row + m).min(rows.rows - 1)).1[blocks.clone()]);
    let mut sums = [_mm512_setzero_ps(); TOGETHER];
    if blocks.start > 0 {
        for (m, sum) in sums.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise; and there are as many.
            unsafe {
                out.with(row + m, column, |results| {
                    *sum = _mm512_loadu_ps(results.as_ptr());
                });
            }
        }
    }
    for (index, (products, block)) in products.chunks_exact(PARTS).zip(blocks).enumerate() {
        for (part, [upper, lower]) in products.iter().enumerate() {
            let scales = floats(&group.scales[block * PARTS + part]);
            for m in 0..TOGETHER {
                // SAFETY: there are as many numbers.
                let (upper, lower) = unsafe {
                    (
                        _mm512_load_si512(upper.0[first + m].as_ptr().cast()),
                        _mm512_load_si512(lower.0[first + m].as_ptr().cast()),
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
        // SAFETY: the caller's promise; and there is room for as many.
        unsafe {
            out.with(row + m, column, |results| {
                _mm512_storeu_ps(results.as_mut_ptr(), *sum);
            });
        }
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
