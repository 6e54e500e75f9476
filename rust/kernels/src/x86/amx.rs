//! Tiles of 16 rows (AMX), for prompts: one instruction adds the products of 16 rows with 16 others.
//!
//! Tiles multiply bytes, so what is multiplied is split into its upper and its lower byte, and the two
//! products are put together. The sums are the same integers as without tiles, and what follows is done
//! in the same order, so the results are the same too.
//!
//! Linux hands out tiles only to who asks for them, since they enlarge what is saved of a thread. They
//! are given back before a kernel returns.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::OnceLock;

use super::avx512::floats;
use super::{EIGHT, FOUR};
use crate::format::Bits;
use crate::matrix::{Group, Line};
use crate::product::Output;
use crate::rows::RoundedRows;
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
    /// their products. `columns` are multiplied at a time.
    fn new(columns: usize) -> Self {
        let (row, lines) = (columns as u16, (columns / 4) as u8);
        let mut shapes = Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        shapes.bytes[..5].copy_from_slice(&[row, row, 64, 64, 64]);
        shapes.rows[..5].copy_from_slice(&[16, 16, lines, 16, 16]);
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
    strips!(strip, matrix, groups, rows, out);
    // SAFETY: the tiles were this function's.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

/// Blocks that all rows are multiplied with before the next ones: 16 KB of two groups.
const STRETCH: usize = 16;

/// Four columns of 16 rows, the four numbers of a row beside each other.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Four([u8; 4 * LANES]);

/// Four columns each.
type BlockOfFours = [Four; BLOCK / 4];

/// Sums of 16 rows with a group.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Sums<T>([[T; LANES]; LANES]);

/// What tiles make of the upper and of the lower bytes of 16 rows.
struct Products<const G: usize> {
    upper: [Sums<i32>; G],
    lower: [Sums<i32>; G],
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
    let mut fours = [[[Four([0; 4 * LANES]); BLOCK / 4]; STRETCH]; G];
    let mut products = Products {
        upper: [Sums([[0; LANES]; LANES]); G],
        lower: [Sums([[0; LANES]; LANES]); G],
    };
    let mut sums = [Sums([[0f32; LANES]; LANES]); G];
    for start in (0..matrix.blocks()).step_by(STRETCH) {
        let blocks = start..matrix.blocks().min(start + STRETCH);
        for g in 0..G {
            for (fours, lines) in fours[g].iter_mut().zip(&lines[g][blocks.clone()]) {
                by_fours(lines, fours);
            }
        }
        for row in (0..rows.rows).step_by(LANES) {
            let count = LANES.min(rows.rows - row);
            for (g, sums) in sums.iter_mut().enumerate() {
                for (m, sums) in sums.0.iter_mut().enumerate().take(count) {
                    let column = (group + g) * LANES;
                    match start {
                        0 => *sums = [0.0; LANES],
                        // SAFETY: the caller's promise.
                        _ => unsafe { out.with(row + m, column, |results| *sums = *results) },
                    }
                }
            }
            for (index, block) in blocks.clone().enumerate() {
                let of_block = std::array::from_fn(|g| &fours[g][index]);
                // SAFETY: the tiles have their shapes.
                unsafe {
                    add::<PARTS, G>(groups, of_block, rows, row, block, &mut products, &mut sums)
                };
            }
            for (g, sums) in sums.iter().enumerate() {
                for (m, sums) in sums.0.iter().enumerate().take(count) {
                    // SAFETY: the caller's promise.
                    unsafe { out.with(row + m, (group + g) * LANES, |results| *results = *sums) };
                }
            }
        }
    }
}

/// Adds the products of a block: 16 rows from `row` on, fewer where there are no more, with `G` groups.
///
/// # Safety
/// The tiles have their shapes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn add<const PARTS: usize, const G: usize>(
    groups: [Group; G],
    fours: [&BlockOfFours; G],
    rows: &RoundedRows,
    row: usize,
    block: usize,
    products: &mut Products<G>,
    sums: &mut [Sums<f32>; G],
) {
    let count = LANES.min(rows.rows - row);
    let [upper_bytes, lower_bytes] = rows.bytes(row, block);
    let Products { upper, lower } = products;
    for part in 0..PARTS {
        let columns = BLOCK / PARTS * part;
        // SAFETY: there are 16 rows of bytes, and room for 16 of results.
        unsafe {
            asm!(
                "tileloadd tmm0, [{upper} + {stride}*1]",
                "tileloadd tmm1, [{lower} + {stride}*1]",
                upper = in(reg) upper_bytes.as_flattened()[columns..].as_ptr(),
                lower = in(reg) lower_bytes.as_flattened()[columns..].as_ptr(),
                stride = in(reg) BLOCK,
                options(nostack, preserves_flags),
            );
            for g in 0..G {
                asm!(
                    "tileloadd tmm2, [{weights} + {stride}*1]",
                    "tilezero tmm3",
                    "tilezero tmm4",
                    "tdpbsud tmm3, tmm0, tmm2",
                    "tdpbsud tmm4, tmm1, tmm2",
                    "tilestored [{upper} + {stride}*1], tmm3",
                    "tilestored [{lower} + {stride}*1], tmm4",
                    weights = in(reg) fours[g][columns / 4..].as_ptr(),
                    upper = in(reg) &raw mut upper[g],
                    lower = in(reg) &raw mut lower[g],
                    stride = in(reg) 4 * LANES,
                    options(nostack, preserves_flags),
                );
            }
        }
        for g in 0..G {
            let scales = floats(&groups[g].scales[block * PARTS + part]);
            for m in 0..count {
                let of_row = rows.block(row + m, block);
                // SAFETY: there are as many numbers, and room for as many.
                unsafe {
                    let upper = _mm512_load_si512(upper[g].0[m].as_ptr().cast());
                    let lower = _mm512_load_si512(lower[g].0[m].as_ptr().cast());
                    let start = _mm512_set1_epi32(of_row.starts[part]);
                    let product = _mm512_add_epi32(_mm512_slli_epi32::<8>(upper), lower);
                    let product = _mm512_cvtepi32_ps(_mm512_add_epi32(product, start));
                    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(of_row.scale));
                    let sum = _mm512_load_ps(sums[g].0[m].as_ptr());
                    let sum = _mm512_fmadd_ps(product, scale, sum);
                    _mm512_store_ps(sums[g].0[m].as_mut_ptr(), sum);
                }
            }
        }
    }
    for g in 0..G {
        if let Some(minima) = groups[g].minima.get(block) {
            let minima = floats(minima);
            for m in 0..count {
                let total = _mm512_set1_ps(rows.block(row + m, block).total);
                // SAFETY: there are as many numbers, and room for as many.
                unsafe {
                    let sum = _mm512_load_ps(sums[g].0[m].as_ptr());
                    let sum = _mm512_fmadd_ps(minima, total, sum);
                    _mm512_store_ps(sums[g].0[m].as_mut_ptr(), sum);
                }
            }
        }
    }
}

/// Puts the numbers of a block together by fours.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn by_fours<const LINES: usize>(lines: &[Line; LINES], fours: &mut BlockOfFours) {
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
        unsafe { _mm512_store_si512(four.0.as_mut_ptr().cast(), all) };
    }
}

/// The two numbers of each row, in 32 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn pairs(line: &Line) -> __m512i {
    // SAFETY: a line is 32 bytes that are aligned as such.
    _mm512_cvtepu16_epi32(unsafe { _mm256_load_si256(line.0.as_ptr().cast()) })
}
