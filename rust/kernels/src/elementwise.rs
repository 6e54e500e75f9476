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
    let mut answer = f32::NEG_INFINITY;
    let answer_to = &mut answer;
    dispatch(Instructions::detect(), Greatest { numbers, answer_to });
    numbers.iter().position(|number| *number == answer)
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
    answer_to: &'a mut f32,
}

impl Vectorised for Greatest<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        *self.answer_to = greatest(self.numbers);
    }
}
