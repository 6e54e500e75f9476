//! The types that keys and values are kept in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::lanes::Lanes;
use crate::LANES;

/// A floating point number of a cache.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// Nothing.
    const ZERO: Self;

    /// Rounds numbers to as many elements.
    fn round(numbers: &[f32], elements: &mut [Self]);

    /// Reads 16.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    unsafe fn load<L: Lanes>(elements: &[Self; LANES]) -> L;
}

impl Element for f32 {
    const ZERO: Self = 0.0;

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
    const ZERO: Self = f16::ZERO;

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
    const ZERO: Self = bf16::ZERO;

    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.convert_from_f32_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(elements: &[Self; LANES]) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::widen_bf16(elements) }
    }
}
