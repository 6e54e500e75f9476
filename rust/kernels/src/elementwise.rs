//! Element-wise operations and reductions of rows.

use crate::dispatch::{Vectorized, dispatch};
use crate::instructions::Instructions;
use crate::simd::F32x16;
use crate::simd::math::{all_finite, erf, exp, max, sigmoid, sum, sum_of_squares, tanh};

/// `out = silu(gate) · up`, element-wise (Shazeer 2020, SwiGLU).
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    dispatch(Instructions::detect(), SwiGlu { gate, up, out });
}

/// `out = g · sigmoid(alpha · g) · (u + 1)`, element-wise, where `g` is `gate`, at most `limit`, and `u` is `up`, between
/// `−limit` and `limit` (as in OpenAI's gpt-oss).
pub fn clamped_swiglu(gate: &[f32], up: &[f32], alpha: f32, limit: f32, out: &mut [f32]) {
    let clamped = ClampedSwiGlu {
        gate,
        up,
        alpha,
        limit,
        out,
    };
    dispatch(Instructions::detect(), clamped);
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

/// `row = (row − mean) / √(variance + eps) · weight + bias` (Ba et al. 2016, LayerNorm); an empty `bias` adds nothing.
pub fn layer_norm(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let norm = LayerNorm {
        row,
        weight,
        bias,
        eps,
    };
    dispatch(Instructions::detect(), norm);
}

/// A non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// `x · Φ(x)` (Hendrycks and Gimpel 2016).
    Gelu,
    /// Its approximation by the hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// The square of `max(x, 0)`.
    ReluSquared,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
}

/// Replaces numbers by what a non-linearity makes of them.
pub fn activate(activation: Activation, numbers: &mut [f32]) {
    dispatch(
        Instructions::detect(),
        Activate {
            activation,
            numbers,
        },
    );
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
            *out = gate / (1.0 + exp::<V>(-gate)) * up;
        }
    }
}

struct ClampedSwiGlu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    alpha: f32,
    limit: f32,
    out: &'a mut [f32],
}

impl Vectorized for ClampedSwiGlu<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        let (alpha, limit) = (self.alpha, self.limit);
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            // Comparisons and not `min`, so that NaN stays what it is.
            let gate = if *gate > limit { limit } else { *gate };
            let up = if *up > limit { limit } else { *up };
            let up = if up < -limit { -limit } else { up };
            *out = gate / (1.0 + exp::<V>(-alpha * gate)) * (up + 1.0);
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
        // SAFETY: the caller's promise.
        let mean = unsafe { sum_of_squares::<V>(self.row) } / self.row.len() as f32;
        let factor = 1.0 / (mean + self.eps).sqrt();
        for ((out, x), weight) in self.out.iter_mut().zip(self.row).zip(self.weight) {
            *out = x * factor * weight;
        }
    }
}

struct LayerNorm<'a> {
    row: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
}

impl Vectorized for LayerNorm<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        // SAFETY: the caller's promise.
        let mean = unsafe { sum::<V>(self.row) } / self.row.len() as f32;
        for x in self.row.iter_mut() {
            *x -= mean;
        }
        // SAFETY: the caller's promise.
        let variance = unsafe { sum_of_squares::<V>(self.row) } / self.row.len() as f32;
        let factor = 1.0 / (variance + self.eps).sqrt();
        for (x, weight) in self.row.iter_mut().zip(self.weight) {
            *x = *x * factor * weight;
        }
        for (x, bias) in self.row.iter_mut().zip(self.bias) {
            *x += bias;
        }
    }
}

struct Activate<'a> {
    activation: Activation,
    numbers: &'a mut [f32],
}

impl Vectorized for Activate<'_> {
    #[inline(always)]
    unsafe fn run<V: F32x16>(self) {
        match self.activation {
            Activation::Silu => each(self.numbers, |x| x * sigmoid::<V>(x)),
            Activation::Gelu => each(self.numbers, |x| {
                0.5 * x * (1.0 + erf::<V>(x * std::f32::consts::FRAC_1_SQRT_2))
            }),
            Activation::GeluTanh => each(self.numbers, |x| {
                // 0.5 · (1 + tanh(u)) is the sigmoid of 2u.
                const TWO_OVER_PI_ROOT: f32 = 0.797_884_6;
                x * sigmoid::<V>(2.0 * TWO_OVER_PI_ROOT * (x + 0.044_715 * x * x * x))
            }),
            Activation::Relu => each(self.numbers, |x| x.max(0.0)),
            Activation::ReluSquared => each(self.numbers, |x| x.max(0.0) * x.max(0.0)),
            Activation::Tanh => each(self.numbers, tanh::<V>),
            Activation::Sigmoid => each(self.numbers, sigmoid::<V>),
        }
    }
}

#[inline(always)]
fn each(numbers: &mut [f32], f: impl Fn(f32) -> f32) {
    for number in numbers {
        *number = f(*number);
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
            // SAFETY: the caller's promise.
            let most = unsafe { max::<V>(numbers) };
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
    fn activations_are_their_formulas() {
        let xs: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 400.0).collect();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        // Abramowitz and Stegun 1964, 7.1.5: the series of the error function.
        let erf = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..400 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        let gelu = |x: f64| match x.abs() < 5.5 {
            true => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
            false => x.max(0.0),
        };
        let gelu_tanh = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        };
        let all: [(Activation, &dyn Fn(f64) -> f64); 7] = [
            (Activation::Silu, &|x| x * sigmoid(x)),
            (Activation::Gelu, &gelu),
            (Activation::GeluTanh, &gelu_tanh),
            (Activation::Relu, &|x| x.max(0.0)),
            (Activation::ReluSquared, &|x| x.max(0.0).powi(2)),
            (Activation::Tanh, &f64::tanh),
            (Activation::Sigmoid, &sigmoid),
        ];
        for (activation, expected) in all {
            let mut got = xs.clone();
            activate(activation, &mut got);
            for (x, got) in xs.iter().zip(got) {
                let expected = expected(f64::from(*x));
                assert!(
                    (f64::from(got) - expected).abs() < 1e-6 * expected.abs().max(1.0),
                    "{activation:?}({x}) = {got}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn a_layer_norm_has_mean_and_deviation() {
        let mut row: Vec<f32> = (0..50).map(|i| 100.0 + (i * 7 % 13) as f32).collect();
        layer_norm(&mut row, &[2.0; 50], &[3.0; 50], 1e-12);
        let mean = row.iter().sum::<f32>() / 50.0;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 50.0;
        assert!((mean - 3.0).abs() < 1e-5, "{mean}");
        assert!((variance - 4.0).abs() < 1e-4, "{variance}");
        layer_norm(&mut row, &[1.0; 50], &[], 1e-12);
        assert!(row.iter().sum::<f32>().abs() < 1e-4);
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
