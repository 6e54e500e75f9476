//! Element types of weights, keys and values.

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::vector::{F32x16, LANES};

/// An element of weights, keys or values: F32, F16 or BF16.
pub(crate) trait Element: Into<f32> + Pod + Send + Sync {
    /// Rounds numbers to as many elements.
    fn round(numbers: &[f32], elements: &mut [Self]);

    /// Reads 16.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn load<V: F32x16>(elements: &[Self; LANES]) -> V;
}

impl Element for f32 {
    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.copy_from_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<V: F32x16>(elements: &[Self; LANES]) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(elements) }
    }
}

impl Element for f16 {
    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.convert_from_f32_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<V: F32x16>(elements: &[Self; LANES]) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::widen_f16(elements) }
    }
}

impl Element for bf16 {
    fn round(numbers: &[f32], elements: &mut [Self]) {
        elements.convert_from_f32_slice(numbers);
    }

    #[inline(always)]
    unsafe fn load<V: F32x16>(elements: &[Self; LANES]) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::widen_bf16(elements) }
    }
}
