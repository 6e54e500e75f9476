//! Products with packed matrices: quantizes the activations and chooses the micro-kernel.

use std::ops::Range;

use super::{Multiply, WeightMatrix, parallel_groups};
#[cfg(target_arch = "aarch64")]
use crate::arm::dotprod;
use crate::formats::BLOCK;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::instructions::Instructions;
use crate::output::Output;
#[cfg(target_arch = "aarch64")]
use crate::packing::split_blocks;
use crate::packing::{ActivationBlock, PackedMatrix, Pairs, QuantizedActivations, quantize_blocks};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::packing::{ActivationBlock8, TILE_ROWS};
use crate::portable;
use crate::team::for_each_part;
#[cfg(target_arch = "x86_64")]
use crate::x86::{amx, avx2, avx512};

/// Row groups that a thread takes at least: the AVX-512 kernel multiplies two at a time.
const GROUPS: usize = 2;

/// Activations that a thread quantizes at a time.
const QUANTIZE_PART: usize = 1 << 14;

impl WeightMatrix for PackedMatrix {
    fn rows(&self) -> usize {
        self.rows()
    }

    fn columns(&self) -> usize {
        self.columns()
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        self.row(row, out);
    }
}

impl Multiply for PackedMatrix {
    fn multiply(&self, x: &[f32], out: &Output) {
        let x = &quantize(x, self);
        let products = x.rows * self.rows() * self.columns();
        parallel_groups(products, self.groups(), GROUPS, |groups| {
            // SAFETY: a matrix is only made for instructions that the processor has, and each thread's
            // groups have columns of their own.
            unsafe { multiply_groups(self, groups, x, out) };
        });
    }
}

/// Multiplies activations with row groups of a matrix.
///
/// # Safety
/// The processor has the matrix' instructions, and no other thread uses the columns of the groups.
unsafe fn multiply_groups(
    matrix: &PackedMatrix,
    groups: Range<usize>,
    x: &QuantizedActivations,
    out: &Output,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match matrix.instructions() {
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Amx) if uses_tiles(matrix, x.rows) => {
                amx::multiply(matrix, groups, x, out);
            }
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Amx | Instructions::Avx512Vnni) => {
                avx512::multiply(matrix, groups, x, out);
            }
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Avx2) => avx2::multiply(matrix, groups, x, out),
            #[cfg(target_arch = "aarch64")]
            Some(Instructions::NeonDotprod) => dotprod::multiply(matrix, groups, x, out),
            None => portable::multiply(matrix, groups, x, out),
        }
    }
}

/// Quantizes activations `[n, columns]` for a matrix. A block with NaN or infinities gets a scale that is not
/// finite, so that its products are not finite either.
///
/// # Panics
/// When the length of `x` is no multiple of the matrix' columns.
fn quantize(x: &[f32], matrix: &PackedMatrix) -> QuantizedActivations {
    let columns = matrix.columns();
    assert_eq!(x.len() % columns, 0, "activations of whole rows");
    let mut quantized = QuantizedActivations::new(x.len() / columns, columns);
    let parts = x
        .chunks(QUANTIZE_PART)
        .zip(quantized.pairs.chunks_mut(QUANTIZE_PART / BLOCK))
        .zip(quantized.blocks.chunks_mut(QUANTIZE_PART / BLOCK))
        .collect();
    for_each_part(parts, |((x, pairs), blocks)| {
        // SAFETY: a matrix is only made for instructions that the processor has.
        unsafe { quantize_part(matrix, x, pairs, blocks) };
    });
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if uses_bytes(matrix, quantized.rows) {
        split(&mut quantized);
    }
    quantized
}

/// Quantizes whole blocks.
///
/// # Safety
/// The processor has the matrix' instructions.
unsafe fn quantize_part(
    matrix: &PackedMatrix,
    x: &[f32],
    pairs: &mut [Pairs],
    blocks: &mut [ActivationBlock],
) {
    match matrix.instructions() {
        // SAFETY: the caller's promise.
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Amx | Instructions::Avx512Vnni) => unsafe {
            avx512::quantize(matrix, x, pairs, blocks);
        },
        // SAFETY: the caller's promise.
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Avx2) => unsafe { avx2::quantize(matrix, x, pairs, blocks) },
        #[cfg(target_arch = "aarch64")]
        Some(Instructions::NeonDotprod) => quantize_blocks(matrix, x, pairs, blocks),
        None => quantize_blocks(matrix, x, pairs, blocks),
    }
}

/// Whether a product with so many rows of activations uses AMX tiles.
#[cfg(target_arch = "x86_64")]
fn uses_tiles(matrix: &PackedMatrix, rows: usize) -> bool {
    matrix.instructions() == Some(Instructions::Amx) && rows >= amx::MIN_ROWS
}

/// Whether a product with so many rows of activations uses them in bytes.
#[cfg(target_arch = "x86_64")]
fn uses_bytes(matrix: &PackedMatrix, rows: usize) -> bool {
    uses_tiles(matrix, rows)
}

/// See above.
#[cfg(target_arch = "aarch64")]
fn uses_bytes(matrix: &PackedMatrix, _: usize) -> bool {
    matrix.instructions() == Some(Instructions::NeonDotprod)
}

/// Splits 16-bit activations into bytes, eight rows a tile.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn split(x: &mut QuantizedActivations) {
    let blocks = x.columns / BLOCK;
    x.blocks8 = vec![ActivationBlock8::default(); x.rows.div_ceil(TILE_ROWS) * blocks];
    let parts = x
        .pairs
        .chunks(TILE_ROWS * blocks)
        .zip(x.blocks.chunks(TILE_ROWS * blocks))
        .zip(x.blocks8.chunks_mut(blocks))
        .collect();
    for_each_part(
        parts,
        |((pairs, blocks), blocks8): ((&[_], &[_]), &mut [_])| {
            // SAFETY: AMX implies AVX-512 here.
            #[cfg(target_arch = "x86_64")]
            unsafe {
                avx512::split(pairs, blocks, blocks8);
            }
            #[cfg(target_arch = "aarch64")]
            split_blocks(pairs, blocks, blocks8);
        },
    );
}
