//! What is done with rows number by number.

use crate::Instructions;
use crate::dispatch::{Vectorised, dispatch};
use crate::lanes::Lanes;
use crate::numbers::{exp, finite, greatest, squares};

/// Writes `silu(gate) · up` (Shazeer 2020, SwiGLU) to `out`, number by number.
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch(Instructions::detect(), SwiGlu { gate, up, out });
}

/// Writes `row`, divided by its root mean square and times `weight` (Zhang and Sennrich 2019, RMSNorm), to
/// `out`. What is added to the mean of the squares is `eps`.
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

/// Where the greatest number is, the first of several; `None` where there is none but NaN.
pub fn place_of_greatest(numbers: &[f32]) -> Option<usize> {
    let mut answer = None;
    let answer_to = &mut answer;
    dispatch(Instructions::detect(), Greatest { numbers, answer_to });
    answer
}

struct SwiGlu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Vectorised for SwiGlu<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
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

impl Vectorised for RmsNorm<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let mean = squares(self.row) / self.row.len() as f32;
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

impl Vectorised for Finite<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        *self.answer_to = finite(self.numbers);
    }
}

struct Greatest<'a> {
    numbers: &'a [f32],
    answer_to: &'a mut Option<usize>,
}

impl Vectorised for Greatest<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        /// Numbers of which the greatest is looked for before its place is.
        const PART: usize = 1024;
        let (mut best, mut part) = (f32::NEG_INFINITY, 0);
        for (index, numbers) in self.numbers.chunks(PART).enumerate() {
            let most = greatest(numbers);
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
        assert_eq!(place_of_greatest(&numbers), Some(0));
        numbers[3000] = 2.0;
        numbers[3001] = 2.0;
        numbers[4999] = 2.0;
        assert_eq!(place_of_greatest(&numbers), Some(3000));
        numbers[4999] = 3.0;
        assert_eq!(place_of_greatest(&numbers), Some(4999));
        assert_eq!(place_of_greatest(&[f32::NAN, 0.0]), Some(1));
        assert_eq!(place_of_greatest(&[f32::NAN]), None);
        assert_eq!(place_of_greatest(&[]), None);
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
