//! 16 numbers in one register of 512 bits.

use std::arch::x86_64::*;

use half::{bf16, f16};

use crate::simd::{F32x16, LANES, joined};

impl F32x16 for __m512 {
    const HEADS: usize = 4;
    const COLUMNS: usize = 4;
    const ROWS: usize = 8;
    const GROUPS: usize = 3;
    const GROUPS_OF_ONE: usize = 3;
    const FUSED: bool = true;

    type Pairs = __m512i;

    #[inline(always)]
    unsafe fn no_sums() -> __m512i {
        // SAFETY: see `splat`.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn load_pairs(pairs: &[i16; 2 * LANES]) -> __m512i {
        // SAFETY: see `splat`.
        unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: [i16; 2]) -> __m512i {
        // SAFETY: see `splat`.
        unsafe { _mm512_set1_epi32(joined(pair)) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see `splat`.
        unsafe { super::add_products(sums, a, b) }
    }

    #[inline(always)]
    unsafe fn of_sums(sums: __m512i) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        // SAFETY: as for all of these, the caller's promise; addresses are those of whole arrays.
        unsafe { _mm512_set1_ps(number) }
    }

    #[inline(always)]
    unsafe fn load(numbers: &[f32; LANES]) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn widen_f16(numbers: &[f16; LANES]) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(numbers.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn widen_bf16(numbers: &[bf16; LANES]) -> Self {
        // SAFETY: see `splat`.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(numbers.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(place: *const T) {
        // SAFETY: see `splat`; the address need not be one.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, numbers: &mut [f32; LANES]) {
        // SAFETY: see `splat`.
        unsafe { _mm512_storeu_ps(numbers.as_mut_ptr(), self) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, more: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_fmadd_ps(self, factor, more) }
    }

    #[inline(always)]
    unsafe fn mul(self, factor: Self) -> Self {
        // SAFETY: see `splat`.
        unsafe { _mm512_mul_ps(self, factor) }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: see `splat`. The second operand is the answer where one is NaN.
        unsafe { _mm512_max_ps(other, self) }
    }
}
