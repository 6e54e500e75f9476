//! The types that floating point numbers are kept in.

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::LANES;
use crate::lanes::Lanes;

/// A floating point number as it is kept: a weight, or one of a key or value.
pub(crate) trait Element: Into<f32> + Pod + Send + Sync {
    /// Rounds numbers to as many elements.
    fn round(numbers: &[f32], elements: &mut [Self]);

    /// Reads 16.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    unsafe fn load<L: Lanes>(elements: &[Self; LANES]) -> L;
}

impl Element for f32 {
    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.copy_from_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(elements: &[Self; LANES]) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(elements) }
    }
}

impl Element for f16 {
    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.convert_from_f32_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(elements: &[Self; LANES]) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::widen_f16(elements) }
    }
}

impl Element for bf16 {
    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.convert_from_f32_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(elements: &[Self; LANES]) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::widen_bf16(elements) }
    }
}
