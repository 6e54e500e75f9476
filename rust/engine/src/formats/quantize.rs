//! Floating point numbers as blocks of a quantized type.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, Tensor};
use half::f16;
use pulp::{Arch, Simd, WithSimd};

/// Numbers that share a scale in Q8_0.
const BLOCK: usize = 32;

/// The largest number of 8 bits.
const LARGEST: f32 = 127.0;

/// Scales that are tried for a block of Q8_0, beside the usual one.
const TRIED: usize = 23;

/// The blocks of rows in 32 bits, one row behind the other.
///
/// # Errors
/// When the rows are no whole number of blocks.
pub(crate) fn quantized_blocks(rows: &Tensor, dtype: GgmlDType) -> Result<Vec<u8>> {
    if dtype != GgmlDType::Q8_0 || !rows.dim(1)?.is_multiple_of(BLOCK) {
        // Copied: Candle quantizes from the beginning of the memory that a tensor is a view of.
        let rows = rows.force_contiguous()?;
        return Ok(QTensor::quantize(&rows, dtype)?.data()?.into_owned());
    }
    let numbers = rows.flatten_all()?.to_vec1::<f32>()?;
    let mut bytes = Vec::with_capacity(numbers.len() / BLOCK * GgmlDType::Q8_0.type_size());
    Arch::new().dispatch(Blocks {
        numbers: numbers.as_chunks().0,
        bytes: &mut bytes,
    });
    Ok(bytes)
}

/// Many blocks, for the vector instructions that the processor has.
struct Blocks<'a> {
    numbers: &'a [[f32; BLOCK]],
    bytes: &'a mut Vec<u8>,
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for block in self.numbers {
            q8_0(simd, block, self.bytes);
        }
    }
}

/// One block of Q8_0.
///
/// The usual scale makes the largest number 127. A slightly greater one wastes some of the 8 bits,
/// but may happen to lie better for all 32 numbers; above all where they were quantized before and so
/// are few different ones. The scale with the least sum of squared errors is taken.
#[inline(always)]
fn q8_0<S: Simd>(simd: S, numbers: &[f32; BLOCK], bytes: &mut Vec<u8>) {
    let largest = numbers.iter().fold(0f32, |a, b| a.max(b.abs()));
    let mut best = (f32::INFINITY, 0.0);
    for less in 0..=TRIED {
        let scale = largest / (LARGEST - less as f32);
        let error = error(simd, numbers, scale);
        if error < best.0 {
            best = (error, scale);
        }
        if error == 0.0 {
            break;
        }
    }
    // What is not finite has no error that is less than another, and is to stay so.
    let scale = match best.0.is_finite() {
        true => f16::from_f32(best.1),
        false => f16::from_f32(largest / LARGEST + numbers.iter().map(|x| x * 0.0).sum::<f32>()),
    };
    bytes.extend_from_slice(&scale.to_le_bytes());
    let factor = factor(scale.to_f32());
    bytes.extend(numbers.iter().map(|x| rounded(*x, factor) as i8 as u8));
}

/// What a number is multiplied with to be rounded.
#[inline(always)]
fn factor(scale: f32) -> f32 {
    match scale > 0.0 {
        true => 1.0 / scale,
        false => 0.0,
    }
}

#[inline(always)]
fn rounded(number: f32, factor: f32) -> f32 {
    (number * factor).round_ties_even().clamp(-LARGEST, LARGEST)
}

/// Added to a number between -2²² and 2²², this leaves no bits for what is less than 1.
const NO_FRACTION: f32 = 1.5 * (1 << 23) as f32;

/// The sum of the squares of what a scale makes wrong.
#[inline(always)]
fn error<S: Simd>(simd: S, numbers: &[f32; BLOCK], scale: f32) -> f32 {
    let factor = simd.splat_f32s(factor(scale));
    let scale = simd.splat_f32s(scale);
    let (least, most) = (simd.splat_f32s(-LARGEST), simd.splat_f32s(LARGEST));
    let no_fraction = simd.splat_f32s(NO_FRACTION);
    let mut sums = simd.splat_f32s(0.0);
    // A block is a whole number of vectors on every processor.
    let (vectors, _) = S::as_simd_f32s(numbers);
    for numbers in vectors {
        let multiple = simd.mul_f32s(*numbers, factor);
        let multiple = simd.max_f32s(least, simd.min_f32s(most, multiple));
        let rounded = simd.sub_f32s(simd.add_f32s(multiple, no_fraction), no_fraction);
        let wrong = simd.sub_f32s(*numbers, simd.mul_f32s(rounded, scale));
        sums = simd.add_f32s(sums, simd.mul_f32s(wrong, wrong));
    }
    simd.reduce_sum_f32s(sums)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(numbers: Vec<f32>) -> Tensor {
        let count = numbers.len();
        Tensor::from_vec(numbers, (count / 64, 64), &Device::Cpu).unwrap()
    }

    fn back(bytes: &[u8]) -> Vec<f32> {
        bytes
            .chunks_exact(34)
            .flat_map(|block| {
                let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                block[2..]
                    .iter()
                    .map(move |byte| f32::from(*byte as i8) * scale)
            })
            .collect()
    }

    fn wrong(numbers: &[f32], bytes: &[u8]) -> f32 {
        let pairs = numbers.iter().zip(back(bytes));
        pairs.map(|(a, b)| (a - b) * (a - b)).sum()
    }

    /// Sixteen levels in each block, as in a file of 4 bits.
    fn levels() -> Vec<f32> {
        (0..4096)
            .map(|i: usize| {
                let block = (i / 32) as f32;
                ((i * 7919) % 16) as f32 * (0.01 + block * 1e-4) - 0.08 - block * 3e-4
            })
            .collect()
    }

    #[test]
    fn q8_0_is_nearer_than_candles() {
        let numbers = levels();
        let ours = quantized_blocks(&tensor(numbers.clone()), GgmlDType::Q8_0).unwrap();
        let candles = QTensor::quantize(&tensor(numbers.clone()), GgmlDType::Q8_0).unwrap();
        let candles = candles.data().unwrap();
        assert_eq!(ours.len(), candles.len());
        assert!(wrong(&numbers, &ours) < 0.6 * wrong(&numbers, &candles));
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_not_finite_stays_so() {
        let zeros = quantized_blocks(&tensor(vec![0.0; 64]), GgmlDType::Q8_0).unwrap();
        assert_eq!(back(&zeros), [0.0; 64]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut numbers = vec![0.5; 64];
            numbers[3] = bad;
            let bytes = quantized_blocks(&tensor(numbers), GgmlDType::Q8_0).unwrap();
            assert!(back(&bytes)[..32].iter().any(|x| !x.is_finite()), "{bad}");
            assert!(back(&bytes)[32..].iter().all(|x| x.is_finite()), "{bad}");
        }
    }
}
