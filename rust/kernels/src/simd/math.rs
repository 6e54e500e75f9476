//! Reductions of slices and the exponential, written so that they are vectorized where they are inlined into a
//! function for which vector instructions are enabled.

use super::{F32x16, LANES};

/// The sum of all numbers.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn sum<V: F32x16>(numbers: &[f32]) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    // SAFETY: the caller's promise.
    unsafe {
        let (mut sums, one) = (V::splat(0.0), V::splat(1.0));
        for chunk in chunks {
            sums = V::load(chunk).mul_add(one, sums);
        }
        sums.store(&mut lanes);
    }
    let rest: f32 = rest.iter().sum();
    rest + reduce(lanes, |a, b| a + b)
}

/// The sum of the squares of all numbers.
///
/// # Safety
/// See [`sum`].
#[inline(always)]
pub(crate) unsafe fn sum_of_squares<V: F32x16>(numbers: &[f32]) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = V::splat(0.0);
        for chunk in chunks {
            let chunk = V::load(chunk);
            sums = chunk.mul_add(chunk, sums);
        }
        sums.store(&mut lanes);
    }
    let rest: f32 = rest.iter().map(|x| x * x).sum();
    rest + reduce(lanes, |a, b| a + b)
}

/// Whether none is NaN or infinite.
#[inline(always)]
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    // Zero times a number is zero, unless the number is not finite.
    reduce_slice(numbers, 0.0, |a, b| a + b * 0.0, |a, b| a + b) == 0.0
}

/// The greatest magnitude; NaN is ignored.
#[inline(always)]
pub(crate) fn max_magnitude(numbers: &[f32]) -> f32 {
    reduce_slice(numbers, 0.0, |a, b| greater(a, b.abs()), greater)
}

/// The maximum; NaN is ignored.
///
/// # Safety
/// See [`sum`].
#[inline(always)]
pub(crate) unsafe fn max<V: F32x16>(numbers: &[f32]) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    // SAFETY: the caller's promise.
    unsafe {
        let mut most = V::splat(f32::NEG_INFINITY);
        for chunk in chunks {
            most = most.max(V::load(chunk));
        }
        most.store(&mut lanes);
    }
    let rest = rest.iter().copied().fold(f32::NEG_INFINITY, greater);
    greater(rest, reduce(lanes, greater))
}

/// `a · b + c`, in one instruction where there is one.
#[inline(always)]
fn mul_add<V: F32x16>(a: f32, b: f32, c: f32) -> f32 {
    match V::FUSED {
        true => a.mul_add(b, c),
        false => a * b + c,
    }
}

/// The greater of two numbers, the first where the second is NaN. One instruction, which `f32::max` is not.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline(always)]
fn reduce_slice(
    numbers: &[f32],
    start: f32,
    step: impl Fn(f32, f32) -> f32 + Copy,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = numbers.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, *number);
        }
    }
    let rest = rest.iter().copied().fold(start, step);
    join(rest, reduce(lanes, &join))
}

/// What is left of numbers when the upper half is joined with the lower, again and again.
#[inline(always)]
pub(crate) fn reduce(mut lanes: [f32; LANES], step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = step(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `e` to the power of `x`, within 2 units in the last place; never less than 1e-38, and not finite
/// where `x` is above 88 or no number.
///
/// The power is split into a whole power of two and a rest of at most half an octave, whose
/// exponential is a polynomial (Cody and Waite 1980, "Software Manual for the Elementary Functions").
/// The standard library's is a call for every number.
#[inline(always)]
pub(crate) fn exp<V: F32x16>(x: f32) -> f32 {
    /// Added to a number between -2²² and 2²², this leaves its whole part in the last bits.
    const WHOLE: f32 = 1.5 * (1 << 23) as f32;
    const LEAST: f32 = -87.0;
    const MOST: f32 = 88.0;
    /// The logarithm of 2 in two parts, the first of which has zeros at its end, so that its product
    /// with a power is exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let bounded = x.clamp(LEAST, MOST);
    let shifted = mul_add::<V>(bounded, std::f32::consts::LOG2_E, WHOLE);
    let power = shifted - WHOLE;
    let rest = mul_add::<V>(-power, LN_2.1, mul_add::<V>(-power, LN_2.0, bounded));
    // The Taylor series: its first term left out is below 2⁻²⁴ of the sum.
    let mut sum = 1.0 / 5040.0;
    for inverse in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = mul_add::<V>(sum, rest, inverse);
    }
    let result = f32::from_bits((shifted.to_bits() << 23).wrapping_add(sum.to_bits()));
    // Clamping keeps what is no number, but its bits would not stay so.
    if x <= MOST { result } else { x * f32::INFINITY }
}

/// `1 / (1 + exp(−x))`.
#[inline(always)]
pub(crate) fn sigmoid<V: F32x16>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<V>(-x))
}

/// The hyperbolic tangent, within 2e-7.
#[inline(always)]
pub(crate) fn tanh<V: F32x16>(x: f32) -> f32 {
    2.0 * sigmoid::<V>(2.0 * x) - 1.0
}

/// The error function, within 4e-7: an odd polynomial over an even one, fitted to where the function is not ±1 in 32
/// bits (the coefficients are those that Eigen and XLA use).
#[inline(always)]
pub(crate) fn erf<V: F32x16>(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let (mut above, mut below) = (0.0, 0.0);
    for number in ABOVE {
        above = mul_add::<V>(above, square, number);
    }
    for number in BELOW {
        below = mul_add::<V>(below, square, number);
    }
    x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    #[test]
    fn sums_and_greatest_numbers() {
        for count in [0u16, 1, 15, 16, 50] {
            let numbers: Vec<f32> = (0..count).map(|i| f32::from(i * 7 % 50) - 25.0).collect();
            // SAFETY: every processor has these.
            let own = unsafe { sum::<Portable>(&numbers) };
            assert_eq!(own, numbers.iter().sum::<f32>());
            let most = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // SAFETY: as above.
            assert_eq!(unsafe { max::<Portable>(&numbers) }, most);
        }
    }

    fn check_exp<V: F32x16>() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let (got, expected) = (exp::<V>(x), f64::from(x).exp());
            let unit = f64::from(f32::EPSILON) * expected;
            assert!(
                (f64::from(got) - expected).abs() <= 2.0 * unit,
                "{x}: {got} instead of {expected}"
            );
            x += 0.003_7;
        }
        assert_eq!(exp::<V>(0.0), 1.0);
    }

    #[test]
    fn it_is_the_standard_librarys_within_two_units() {
        check_exp::<Portable>();
        // The same numbers without vectors, each product and sum rounded once.
        #[cfg(target_arch = "x86_64")]
        check_exp::<std::arch::x86_64::__m512>();
    }

    #[test]
    fn what_is_out_of_reach() {
        assert!(exp::<Portable>(-1e9) < 1e-37);
        assert!(exp::<Portable>(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(exp::<Portable>(f32::INFINITY), f32::INFINITY);
        assert!(exp::<Portable>(f32::NAN).is_nan());
    }
}
