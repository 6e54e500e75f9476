//! Products with packed matrices: quantizes the activations and chooses the micro-kernel.

use std::ops::Range;

use super::{Multiply, WeightMatrix, parallel_groups};
#[cfg(target_arch = "aarch64")]
use crate::arm::dotprod;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::instructions::Instructions;
use crate::output::Output;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::packing::BYTE_ROWS;
#[cfg(target_arch = "aarch64")]
use crate::packing::split_blocks;
use crate::packing::{PackedMatrix, QuantizedActivations, quantize_blocks};
use crate::portable;
use crate::team::for_each_part;
#[cfg(target_arch = "x86_64")]
use crate::x86::{amx, avx2, avx512};

/// Row groups that a thread takes at least: the AVX-512 kernel multiplies two at a time.
const GROUPS: usize = 2;

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
        let products = x.len() * self.rows();
        let x = &quantize(x, self);
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
            Some(Instructions::Amx) if amx::is_faster(matrix, x.rows) => {
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
    let rows = x.len() / columns;
    let mut quantized = QuantizedActivations::new(rows, columns, tile_rows(matrix, rows));
    for_each_part(quantized.empty_parts(), |part| {
        let x = &x[part.numbers.clone()];
        match matrix.instructions() {
            // SAFETY: a matrix is only made for instructions that the processor has.
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Amx | Instructions::Avx512Vnni) => unsafe {
                avx512::quantize(matrix, x, part);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Avx2) => unsafe { avx2::quantize(matrix, x, part) },
            #[cfg(target_arch = "aarch64")]
            Some(Instructions::NeonDotprod) => quantize_blocks(matrix, x, part),
            None => quantize_blocks(matrix, x, part),
        }
    });
    match matrix.instructions() {
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Amx) if amx::is_faster(matrix, rows) => {
            // SAFETY: AMX implies AVX-512 here.
            quantized.split(|tile, blocks8| unsafe { avx512::split(tile, blocks8) });
        }
        #[cfg(target_arch = "aarch64")]
        Some(Instructions::NeonDotprod) => quantized.split(split_blocks),
        _ => {}
    }
    quantized
}

/// Rows of activations of a tile at most, where there are so many.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
fn tile_rows(matrix: &PackedMatrix, rows: usize) -> usize {
    match matrix.instructions() {
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Amx) if amx::is_faster(matrix, rows) => BYTE_ROWS,
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Amx | Instructions::Avx512Vnni) => avx512::ROWS,
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Avx2) => avx2::ROWS,
        #[cfg(target_arch = "aarch64")]
        Some(Instructions::NeonDotprod) => BYTE_ROWS,
        None => portable::ROWS,
    }
}
