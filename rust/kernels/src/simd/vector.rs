//! Vectors of 16 numbers, in whatever registers a processor has.

use half::{bf16, f16};

/// Numbers of a vector: 32-bit lanes of 512 bits. Matrices are packed in groups of so many rows.
pub(crate) const LANES: usize = 16;

/// A vector of 16 numbers in F32.
///
/// Generic code over it is compiled once for each implementation, inlined into a function for which the
/// instructions are enabled. So all of it is `#[inline(always)]`, and vectors are never used in closures,
/// which are compiled without these instructions.
pub(crate) trait F32x16: Copy {
    /// Query heads per attention tile, at most 4: as many as there are registers for.
    const HEADS: usize;

    /// Vectors of a value per attention tile, at most 4.
    const COLUMNS: usize;

    /// Rows of activations per tile of a product, at most 8: as many as there are registers for.
    const ROWS: usize;

    /// Groups of 16 weight rows per tile of a product, at most 3.
    const GROUPS: usize;

    /// The same where there is one row of activations, whose sums would wait for each other.
    const GROUPS_OF_ONE: usize;

    /// Whether a product and a sum are one instruction.
    const FUSED: bool;

    /// 16 sums of 32-bit integers, or 16 pairs of 16-bit ones.
    type Pairs: Copy;

    /// Sums of nothing.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn no_sums() -> Self::Pairs;

    /// Reads pairs.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn load_pairs(pairs: &[i16; 2 * LANES]) -> Self::Pairs;

    /// The same pair 16 times.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn splat_pair(pair: [i16; 2]) -> Self::Pairs;

    /// Adds both products of each pair to its sum.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn add_products(sums: Self::Pairs, a: Self::Pairs, b: Self::Pairs) -> Self::Pairs;

    /// Sums as numbers in F32.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn of_sums(sums: Self::Pairs) -> Self;

    /// The same number 16 times.
    ///
    /// # Safety
    /// As for all of these: the processor has the instructions.
    unsafe fn splat(number: f32) -> Self;

    /// Reads numbers.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn load(numbers: &[f32; LANES]) -> Self;

    /// Reads F16.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn widen_f16(numbers: &[f16; LANES]) -> Self;

    /// Reads BF16.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn widen_bf16(numbers: &[bf16; LANES]) -> Self;

    /// Prefetches an address, which need not be valid.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn prefetch<T>(place: *const T);

    /// Writes numbers.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn store(self, numbers: &mut [f32; LANES]);

    /// `self · factor + more`.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn mul_add(self, factor: Self, more: Self) -> Self;

    /// `self · factor`.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn mul(self, factor: Self) -> Self;

    /// The greater of each two numbers, the first where the second is NaN.
    ///
    /// # Safety
    /// See [`Self::splat`].
    unsafe fn max(self, other: Self) -> Self;
}

/// What every processor has: the compiler finds the vector instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl F32x16 for Portable {
    const HEADS: usize = 2;
    const COLUMNS: usize = 2;
    const ROWS: usize = 4;
    const GROUPS: usize = 1;
    const GROUPS_OF_ONE: usize = 1;
    // It would be a call where the instruction is not known to be there.
    const FUSED: bool = cfg!(target_arch = "aarch64");

    type Pairs = [i32; LANES];

    #[inline(always)]
    unsafe fn no_sums() -> Self::Pairs {
        [0; LANES]
    }

    #[inline(always)]
    unsafe fn load_pairs(pairs: &[i16; 2 * LANES]) -> Self::Pairs {
        let mut all = [0; LANES];
        for (all, pair) in all.iter_mut().zip(pairs.as_chunks::<2>().0) {
            *all = joined(*pair);
        }
        all
    }

    #[inline(always)]
    unsafe fn splat_pair(pair: [i16; 2]) -> Self::Pairs {
        [joined(pair); LANES]
    }

    #[inline(always)]
    unsafe fn add_products(mut sums: Self::Pairs, a: Self::Pairs, b: Self::Pairs) -> Self::Pairs {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            // The lower half of a pair, and the upper one.
            *sum += (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
        }
        sums
    }

    #[inline(always)]
    unsafe fn of_sums(sums: Self::Pairs) -> Self {
        Self(sums.map(|sum| sum as f32))
    }

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        Self([number; LANES])
    }

    #[inline(always)]
    unsafe fn load(numbers: &[f32; LANES]) -> Self {
        Self(*numbers)
    }

    #[inline(always)]
    unsafe fn widen_f16(numbers: &[f16; LANES]) -> Self {
        let mut wide = [0f32; LANES];
        for (wide, half) in wide.iter_mut().zip(numbers) {
            *wide = widen_f16(half.to_bits());
        }
        Self(wide)
    }

    #[inline(always)]
    unsafe fn widen_bf16(numbers: &[bf16; LANES]) -> Self {
        let mut wide = [0f32; LANES];
        for (wide, half) in wide.iter_mut().zip(numbers) {
            *wide = f32::from_bits(u32::from(half.to_bits()) << 16);
        }
        Self(wide)
    }

    #[inline(always)]
    unsafe fn prefetch<T>(_: *const T) {}

    #[inline(always)]
    unsafe fn store(self, numbers: &mut [f32; LANES]) {
        *numbers = self.0;
    }

    #[inline(always)]
    unsafe fn mul_add(mut self, factor: Self, more: Self) -> Self {
        for ((number, factor), more) in self.0.iter_mut().zip(factor.0).zip(more.0) {
            *number = match Self::FUSED {
                true => number.mul_add(factor, more),
                false => *number * factor + more,
            };
        }
        self
    }

    #[inline(always)]
    unsafe fn mul(mut self, factor: Self) -> Self {
        for (number, factor) in self.0.iter_mut().zip(factor.0) {
            *number *= factor;
        }
        self
    }

    #[inline(always)]
    unsafe fn max(mut self, other: Self) -> Self {
        for (number, other) in self.0.iter_mut().zip(other.0) {
            *number = if other > *number { other } else { *number };
        }
        self
    }
}

/// A pair in one integer, the first number in the lower half.
#[inline(always)]
pub(crate) fn joined([first, second]: [i16; 2]) -> i32 {
    i32::from(second) << 16 | i32::from(first) & 0xffff
}

/// A number of 16 bits, without branches and calls, which a compiler could not turn into vector
/// instructions.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    /// What the exponents of the two formats differ by.
    const EXPONENTS: f32 = f32::from_bits((127 + 112) << 23);
    const NOT_FINITE: u32 = 0x7c00 << 13;
    let bits = u32::from(bits);
    let (sign, rest) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
    let scaled = (f32::from_bits(rest) * EXPONENTS).to_bits();
    let magnitude = match rest >= NOT_FINITE {
        true => rest | 0x7f80_0000,
        false => scaled,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_16_bits_is_widened() {
        for bits in 0..=u16::MAX {
            let (got, expected) = (widen_f16(bits), f16::from_bits(bits).to_f32());
            assert!(
                got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(),
                "{bits:#06x}: {got} instead of {expected}"
            );
        }
    }
}
