//! Element-wise operations and reductions of rows.

use crate::dispatch::{Vectorized, dispatch};
use crate::instructions::Instructions;
use crate::simd::F32x16;
use crate::simd::math::{all_finite, exp, max, sum_of_squares};

/// `out = silu(gate) · up`, element-wise (Shazeer 2020, SwiGLU).
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch(Instructions::detect(), SwiGlu { gate, up, out });
}

/// `out = row / √(mean(row²) + eps) · weight` (Zhang and Sennrich 2019, RMSNorm).
pub fn rms_norm(row: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let norm = RmsNorm {
        row,
        weight,
        eps,
        out,
    };
    dispatch(Instructions::detect(), norm);
}

/// Whether none of the numbers is NaN or infinite.
pub fn are_finite(numbers: &[f32]) -> bool {
    let mut answer = false;
    let answer_to = &mut answer;
    dispatch(Instructions::detect(), Finite { numbers, answer_to });
    answer
}

/// Index of the maximum, the first of several. NaN is ignored; `None` if there is nothing else.
pub fn argmax(numbers: &[f32]) -> Option<usize> {
    let mut answer = None;
    let answer_to = &mut answer;
    dispatch(Instructions::detect(), Argmax { numbers, answer_to });
    answer
}

struct SwiGlu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Vectorized for SwiGlu<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

struct RmsNorm<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Vectorized for RmsNorm<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let mean = sum_of_squares(self.row) / self.row.len() as f32;
        let factor = 1.0 / (mean + self.eps).sqrt();
        for ((out, x), weight) in self.out.iter_mut().zip(self.row).zip(self.weight) {
            *out = x * factor * weight;
        }
    }
}

struct Finite<'a> {
    numbers: &'a [f32],
    answer_to: &'a mut bool,
}

impl Vectorized for Finite<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        *self.answer_to = all_finite(self.numbers);
    }
}

struct Argmax<'a> {
    numbers: &'a [f32],
    answer_to: &'a mut Option<usize>,
}

impl Vectorized for Argmax<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        /// Numbers of which the greatest is looked for before its place is.
        const PART: usize = 1024;
        let (mut best, mut part) = (f32::NEG_INFINITY, 0);
        for (index, numbers) in self.numbers.chunks(PART).enumerate() {
            let most = max(numbers);
            if most > best {
                (best, part) = (most, index);
            }
        }
        let rest = self.numbers.get(part * PART..).unwrap_or_default();
        let place = rest.iter().position(|number| *number == best);
        *self.answer_to = place.map(|place| part * PART + place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_greatest() {
        let mut numbers = vec![-1.0; 5000];
        assert_eq!(argmax(&numbers), Some(0));
        numbers[3000] = 2.0;
        numbers[3001] = 2.0;
        numbers[4999] = 2.0;
        assert_eq!(argmax(&numbers), Some(3000));
        numbers[4999] = 3.0;
        assert_eq!(argmax(&numbers), Some(4999));
        assert_eq!(argmax(&[f32::NAN, 0.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }

    #[test]
    fn whatever_is_not_finite_is_found() {
        for count in [1, 16, 50] {
            let mut numbers = vec![f32::MAX; count];
            assert!(are_finite(&numbers));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                numbers[count - 1] = bad;
                assert!(!are_finite(&numbers));
            }
        }
    }
}
