//! Tiles of 16 rows (AMX), where there are several: one instruction adds the products of 16 rows with 16
//! others.
//!
//! Tiles multiply bytes, so what is multiplied is split into its upper and its lower byte. Those of eight
//! rows make a tile, since an instruction takes as long for eight as for 16, and the two products of each
//! are put together. The sums are the same integers as without tiles, and what follows is done in the same
//! order, so the results are the same too.
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
use crate::rows::{BlockOfEight, RoundedRows, TOGETHER};
use crate::{BLOCK, LANES, PackedMatrix};

/// Rows from which tiles are worth their while.
pub(super) const MANY: usize = 5;

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

/// Blocks that all rows are multiplied with before the next ones: they stay in the nearest cache.
const STRETCH: usize = 32;

/// Blocks that memory is asked for before they are read.
const AHEAD: usize = 16;

/// Tiles that are under way before what the first made is used.
const UNDER_WAY: usize = 4;

/// Places for what they make, so that none is written while it is read.
const PLACES: usize = 2 * UNDER_WAY;

/// A block of weights as a tile takes them.
type Bytewise = [Line; EIGHT];

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
    let mut widened = [const { MaybeUninit::<Bytewise>::uninit() }; STRETCH];
    let count = matrix.blocks();
    let stretch = count.div_ceil(count.div_ceil(STRETCH));
    for start in (0..count).step_by(stretch) {
        let blocks = start..count.min(start + stretch);
        let weights = match lines.as_flattened().as_chunks::<EIGHT>().0 {
            bytewise if LINES == EIGHT => &bytewise[blocks.clone()],
            _ => {
                for (widened, lines) in widened.iter_mut().zip(&lines[blocks.clone()]) {
                    widen(lines, widened);
                }
                // SAFETY: so many are written.
                unsafe { std::slice::from_raw_parts(widened.as_ptr().cast(), blocks.len()) }
            }
        };
        for row in (0..rows.rows).step_by(TOGETHER) {
            // The next ones come while these are multiplied, this group's or another's.
            let next = match row {
                0 => Some(lines.as_ptr().wrapping_add(start + AHEAD)),
                _ => None,
            };
            let eight = &rows.eight(row)[blocks.clone()];
            let results = Results {
                out,
                rows: row..rows.rows.min(row + TOGETHER),
                column,
            };
            // SAFETY: the caller's promises.
            unsafe {
                multiply_eight::<LINES, PARTS>(group, weights, start, eight, next, &results);
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

/// Adds to the results what eight rows make with blocks of a group from `start` on. The first blocks find
/// nothing to add to.
///
/// # Safety
/// No other thread uses the columns of the group, and the tiles have their shapes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_eight<const LINES: usize, const PARTS: usize>(
    group: Group,
    weights: &[Bytewise],
    start: usize,
    eight: &[BlockOfEight],
    next: Option<*const [Line; LINES]>,
    results: &Results,
) {
    let mut sums = [_mm512_setzero_ps(); TOGETHER];
    if start > 0 {
        for (row, sum) in results.rows.clone().zip(&mut sums) {
            // SAFETY: the caller's promise, and what was there before.
            let before = unsafe { results.out.get(row, results.column) };
            // SAFETY: there are as many.
            *sum = unsafe { _mm512_loadu_ps(before.as_ptr()) };
        }
    }
    let mut products = [const { MaybeUninit::<Products>::uninit() }; PLACES];
    let tiles = eight.len() * PARTS;
    for tile in 0..tiles + UNDER_WAY {
        if tile < tiles {
            let (index, part) = (tile / PARTS, tile % PARTS);
            if let Some(next) = next
                && part == 0
            {
                fetch_ahead(next.wrapping_add(index));
            }
            let products = &mut products[tile % PLACES];
            let column = BLOCK / PARTS * part;
            // SAFETY: the caller's promise.
            unsafe { multiply_tiles(&eight[index], &weights[index], column, products) };
        }
        // Nothing waits for what a tile makes while the next ones are under way.
        let Some(tile) = tile.checked_sub(UNDER_WAY) else {
            continue;
        };
        let (index, part) = (tile / PARTS, tile % PARTS);
        let (rows, block) = (&eight[index], start + index);
        // SAFETY: it was written.
        let Products([upper, lower]) = unsafe { products[tile % PLACES].assume_init_ref() };
        let scales = floats(&group.scales[block * PARTS + part]);
        for m in 0..TOGETHER {
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
                let start = _mm512_set1_epi32(rows.starts[part][m]);
                product = _mm512_add_epi32(product, start);
            }
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(rows.scales[m]));
            sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, sums[m]);
        }
        if let Some(minima) = group.minima.get(block)
            && part + 1 == PARTS
        {
            let minima = floats(minima);
            for (sum, total) in sums.iter_mut().zip(&rows.totals) {
                *sum = _mm512_fmadd_ps(minima, _mm512_set1_ps(*total), *sum);
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

/// The products of eight rows with a part of a block, from a column of it on.
///
/// # Safety
/// The tiles have their shapes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply_tiles(
    rows: &BlockOfEight,
    weights: &Bytewise,
    column: usize,
    products: &mut MaybeUninit<Products>,
) {
    // SAFETY: there are 16 rows of bytes, a part of a block of weights, and room for 16 sums of each row.
    unsafe {
        asm!(
            "tileloadd tmm0, [{bytes} + {row}*1]",
            "tileloadd tmm1, [{weights} + {line}*1]",
            "tilezero tmm2",
            "tdpbsud tmm2, tmm0, tmm1",
            "tilestored [{products} + {line}*1], tmm2",
            bytes = in(reg) rows.bytes.as_flattened().as_flattened()[column..].as_ptr(),
            weights = in(reg) weights[column / 4..].as_ptr(),
            products = in(reg) products.as_mut_ptr(),
            row = in(reg) BLOCK,
            line = in(reg) 4 * LANES,
            options(nostack, preserves_flags),
        );
    }
}

/// Gives each of the numbers of a block, which have 4 bits, a byte of its own.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn widen<const LINES: usize>(lines: &[Line; LINES], widened: &mut MaybeUninit<Bytewise>) {
    let lower = _mm512_set1_epi8(0x0f);
    for (index, line) in lines.iter().enumerate() {
        // SAFETY: a line is 64 bytes that are aligned as such, and there is room for two.
        unsafe {
            let place = widened.as_mut_ptr().cast::<Line>().add(2 * index);
            let line = _mm512_load_si512(line.0.as_ptr().cast());
            let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(line), lower);
            _mm512_store_si512(place.cast(), _mm512_and_si512(line, lower));
            _mm512_store_si512(place.add(1).cast(), upper);
        }
    }
}
