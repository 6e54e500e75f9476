//! 16 numbers in two registers of 256 bits.

use std::arch::x86_64::*;

use half::{bf16, f16};

use crate::simd::{F32x16, LANES, joined};

/// Two registers of 256 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2x2([__m256; 2]);

impl Avx2x2 {
    /// The addresses of the blocks8 of an array.
    #[inline(always)]
    fn halves<T>(numbers: &[T; LANES]) -> [*const T; 2] {
        [numbers.as_ptr(), numbers[LANES / 2..].as_ptr()]
    }
}

impl F32x16 for Avx2x2 {
    const HEADS: usize = 2;
    const COLUMNS: usize = 2;
    const ROWS: usize = 6;
    const GROUPS: usize = 1;
    const GROUPS_OF_ONE: usize = 3;
    const FUSED: bool = true;

    type Pairs = [__m256i; 2];

    #[inline(always)]
    unsafe fn no_sums() -> Self::Pairs {
        // SAFETY: see `splat`.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn load_pairs(pairs: &[i16; 2 * LANES]) -> Self::Pairs {
        // SAFETY: see `splat`.
        unsafe {
            [
                _mm256_loadu_si256(pairs.as_ptr().cast()),
                _mm256_loadu_si256(pairs[LANES..].as_ptr().cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: [i16; 2]) -> Self::Pairs {
        // SAFETY: see `splat`.
        unsafe { [_mm256_set1_epi32(joined(pair)); 2] }
    }

    #[inline(always)]
    unsafe fn add_products(sums: Self::Pairs, a: Self::Pairs, b: Self::Pairs) -> Self::Pairs {
        // SAFETY: see `splat`.
        unsafe {
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(a[0], b[0])),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(a[1], b[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_sums(sums: Self::Pairs) -> Self {
        // SAFETY: see `splat`.
        unsafe { Self([_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])]) }
    }

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        // SAFETY: as for all of these, the caller's promise; addresses are those of half arrays.
        unsafe { Self([_mm256_set1_ps(number); 2]) }
    }

    #[inline(always)]
    unsafe fn load(numbers: &[f32; LANES]) -> Self {
        let [first, second] = Self::halves(numbers);
        // SAFETY: see `splat`.
        unsafe { Self([_mm256_loadu_ps(first), _mm256_loadu_ps(second)]) }
    }

    #[inline(always)]
    unsafe fn widen_f16(numbers: &[f16; LANES]) -> Self {
        let [first, second] = Self::halves(numbers);
        // SAFETY: see `splat`.
        unsafe {
            Self([
                _mm256_cvtph_ps(_mm_loadu_si128(first.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(second.cast())),
            ])
        }
    }

    #[inline(always)]
    unsafe fn widen_bf16(numbers: &[bf16; LANES]) -> Self {
        let [first, second] = Self::halves(numbers);
        // SAFETY: see `splat`.
        unsafe {
            let first = _mm256_cvtepu16_epi32(_mm_loadu_si128(first.cast()));
            let second = _mm256_cvtepu16_epi32(_mm_loadu_si128(second.cast()));
            Self([
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(first)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(second)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(place: *const T) {
        // SAFETY: see `splat`; the address need not be one.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, numbers: &mut [f32; LANES]) {
        let (first, second) = numbers.split_at_mut(LANES / 2);
        // SAFETY: see `splat`.
        unsafe {
            _mm256_storeu_ps(first.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(second.as_mut_ptr(), self.0[1]);
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, more: Self) -> Self {
        let [first, second] = self.0;
        // SAFETY: see `splat`.
        unsafe {
            Self([
                _mm256_fmadd_ps(first, factor.0[0], more.0[0]),
                _mm256_fmadd_ps(second, factor.0[1], more.0[1]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn mul(self, factor: Self) -> Self {
        let [first, second] = self.0;
        // SAFETY: see `splat`.
        unsafe {
            Self([
                _mm256_mul_ps(first, factor.0[0]),
                _mm256_mul_ps(second, factor.0[1]),
            ])
        }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        let [first, second] = self.0;
        // SAFETY: see `splat`. The second operand is the answer where one is NaN.
        unsafe {
            Self([
                _mm256_max_ps(other.0[0], first),
                _mm256_max_ps(other.0[1], second),
            ])
        }
    }
}
