//! The kernels against plain arithmetic.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle4j_kernels::{PackedMatrix, PackedType, WeightMatrix};
use half::f16;

use crate::support::instructions;

/// The types that there are kernels for.
const TYPES: [PackedType; 11] = [
    PackedType::Candle(GgmlDType::Q4_0),
    PackedType::Candle(GgmlDType::Q4_1),
    PackedType::Candle(GgmlDType::Q4K),
    PackedType::Candle(GgmlDType::Q5_0),
    PackedType::Candle(GgmlDType::Q5_1),
    PackedType::Candle(GgmlDType::Q5K),
    PackedType::Candle(GgmlDType::Q6K),
    PackedType::Candle(GgmlDType::Q8_0),
    PackedType::Iq4Nl,
    PackedType::Iq4Xs,
    PackedType::Mxfp4,
];

/// The levels of IQ4_NL and IQ4_XS.
const NON_LINEAR: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// Weights of a block.
fn block_size(packed_type: PackedType) -> usize {
    match packed_type {
        PackedType::Candle(dtype) => dtype.block_size(),
        PackedType::Iq4Nl | PackedType::Mxfp4 => 32,
        PackedType::Iq4Xs => 256,
    }
}

/// Numbers between -1 and 1, the same at every run.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// A matrix as blocks of a type, and the numbers that they stand for.
fn weights(
    packed_type: impl Into<PackedType>,
    rows: usize,
    columns: usize,
    seed: u32,
) -> (Vec<u8>, Vec<f32>) {
    let packed_type = packed_type.into();
    let PackedType::Candle(dtype) = packed_type else {
        return level_blocks(packed_type, rows * columns / block_size(packed_type), seed);
    };
    let tensor = Tensor::from_vec(numbers(rows * columns, seed), (rows, columns), &Device::Cpu);
    let quantized = QTensor::quantize(&tensor.unwrap(), dtype).unwrap();
    let floats = quantized.dequantize(&Device::Cpu).unwrap();
    (
        quantized.data().unwrap().into_owned(),
        floats.flatten_all().unwrap().to_vec1().unwrap(),
    )
}

/// Blocks of quants that choose levels, and their numbers, between -1 and 1.
fn level_blocks(packed_type: PackedType, count: usize, seed: u32) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut floats) = (Vec::new(), Vec::new());
    let size = block_size(packed_type);
    let random = numbers(count * (size + 8), seed);
    for random in random.chunks_exact(size + 8) {
        let quants: Vec<u8> = random[8..]
            .iter()
            .map(|x| ((x + 1.0) * 7.999) as u8)
            .collect();
        let mut scales = vec![f16::from_f32(random[0] / 127.0).to_f32()];
        let mut number: fn(u8) -> f32 = |quant| NON_LINEAR[usize::from(quant)];
        match packed_type {
            PackedType::Iq4Nl => bytes.extend(f16::from_f32(scales[0]).to_le_bytes()),
            PackedType::Mxfp4 => {
                // From 2^-7 to 2^-3: the largest number is 6.
                let power = (random[0] * 2.0) as i32 - 5;
                scales = vec![2f32.powi(power)];
                bytes.push((127 + power) as u8);
                // A sign, an exponent of 2 bits and a mantissa of 1.
                number = |quant| {
                    let (exponent, half) = (quant >> 1 & 3, f32::from(quant & 1) / 2.0);
                    let size = match exponent {
                        0 => half,
                        _ => (1.0 + half) * 2f32.powi(i32::from(exponent) - 1),
                    };
                    if quant < 8 { size } else { -size }
                };
            }
            _ => {
                let common = f16::from_f32(random[0] / 127.0 / 32.0);
                let multiples: [u8; 8] = std::array::from_fn(|i| ((random[i] + 1.0) * 31.99) as u8);
                let scale = |multiple: u8| common.to_f32() * (f32::from(multiple) - 32.0);
                scales = multiples.map(scale).to_vec();
                bytes.extend(common.to_le_bytes());
                let upper = multiples
                    .iter()
                    .rev()
                    .fold(0, |bits, multiple| bits << 2 | u16::from(multiple >> 4));
                bytes.extend(upper.to_le_bytes());
                bytes.extend(multiples.chunks(2).map(|two| two[0] & 15 | two[1] << 4));
            }
        }
        for (quants, scale) in quants.chunks_exact(32).zip(scales) {
            bytes.extend((0..16).map(|i| quants[i] | quants[i + 16] << 4));
            floats.extend(quants.iter().map(|quant| scale * number(*quant)));
        }
    }
    (bytes, floats)
}

/// A row as its blocks stand for it: rounded to multiples of a 32639th of the largest of 32.
fn rounded(row: &[f32]) -> Vec<f32> {
    row.chunks(32)
        .flat_map(|block| {
            let largest = block.iter().fold(0f32, |a, b| a.max(b.abs()));
            block.iter().map(move |x| match largest > 0.0 {
                true => (x * 32639.0 / largest).round() * largest / 32639.0,
                false => 0.0,
            })
        })
        .collect()
}

#[test]
fn every_kernel_computes_what_plain_arithmetic_does() {
    for (kind, dtype) in instructions().flat_map(|kind| TYPES.map(|dtype| (kind, dtype))) {
        for (rows, blocks) in [(1, 1), (16, 2), (33, 3), (50, 18), (100, 5)] {
            let columns = blocks * block_size(dtype);
            let (bytes, floats) = weights(dtype, rows, columns, 7);
            let matrix =
                PackedMatrix::for_instructions(kind, dtype, &bytes, rows, columns).unwrap();
            // The scales of the K formats are rounded to 11 bits.
            let tolerance = match block_size(dtype) {
                32 => 1e-3,
                _ => 2e-3 * (columns as f64).sqrt(),
            };
            for count in [1, 2, 3, 4, 5, 6, 7, 8, 13, 23] {
                let input = numbers(count * columns, 11);
                let out = matrix.product(&input);
                for (index, got) in out.iter().enumerate() {
                    let (row, column) = (index / rows, index % rows);
                    let x = rounded(&input[row * columns..][..columns]);
                    let w = &floats[column * columns..][..columns];
                    let expected: f64 = x.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum();
                    // A number that lies in the middle may be rounded to either side.
                    assert!(
                        (f64::from(*got) - expected).abs() < tolerance,
                        "{kind:?} {dtype:?} {rows}x{columns}, row {row} of {count}, \
                         column {column}: {got} instead of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    for (kind, dtype) in instructions().flat_map(|kind| TYPES.map(|dtype| (kind, dtype))) {
        // More columns than are multiplied before the next rows, or than a thread quantizes of several rows.
        let (rows, columns) = (100, 4608);
        let (bytes, _) = weights(dtype, rows, columns, 3);
        let matrix = PackedMatrix::for_instructions(kind, dtype, &bytes, rows, columns).unwrap();
        let input = numbers(23 * columns, 5);
        let together = matrix.product(&input);
        for (row, alone) in input.chunks(columns).enumerate() {
            let alone = matrix.product(alone);
            assert_eq!(
                alone,
                together[row * rows..][..rows],
                "{kind:?} {dtype:?}, row {row}"
            );
        }
    }
}

#[test]
fn rows_come_back_as_they_were() {
    for dtype in TYPES {
        let (bytes, floats) = weights(dtype, 37, 256, 9);
        assert!(PackedMatrix::supports(dtype));
        let matrix = PackedMatrix::pack(dtype, &bytes, 37, 256).unwrap();
        // The scales of the K formats are rounded to 11 bits; a weight is at most 1.
        let tolerance = match block_size(dtype) {
            32 => 0.0,
            _ => 2f32.powi(-9),
        };
        let mut row = vec![0f32; 256];
        for (index, expected) in floats.chunks(256).enumerate() {
            matrix.row(index, &mut row);
            for (got, expected) in row.iter().zip(expected) {
                assert!((got - expected).abs() <= tolerance, "{dtype:?} row {index}");
            }
        }
    }
}

#[test]
fn numbers_take_what_their_bits_and_scales_do() {
    for (dtype, bits) in [
        (GgmlDType::Q8_0.into(), 8.5),
        (GgmlDType::Q4_0.into(), 4.5),
        (GgmlDType::Q4K.into(), 5.0),
        (GgmlDType::Q5_1.into(), 9.0),
        (GgmlDType::Q6K.into(), 9.0),
        (PackedType::Iq4Xs, 4.5),
        (PackedType::Mxfp4, 4.5),
    ] {
        let expected = (1024.0 * bits / 8.0) as u64;
        assert_eq!(
            PackedMatrix::byte_len(dtype, 1024),
            Some(expected),
            "{dtype:?}"
        );
    }
    assert_eq!(PackedMatrix::byte_len(GgmlDType::F32, 1024), None);
}

#[test]
fn the_smallest_weight_is_one_too() {
    // -128 is in no file that GGML writes, but a byte can hold it.
    for kind in instructions() {
        let mut bytes = Vec::new();
        for _ in 0..16 {
            bytes.extend_from_slice(&0x3c00u16.to_le_bytes());
            bytes.extend_from_slice(&[0x80; 32]);
        }
        let dtype = GgmlDType::Q8_0;
        let matrix = PackedMatrix::for_instructions(kind, dtype, &bytes, 16, 32).unwrap();
        for sign in [1.0, -1.0] {
            let out = matrix.product(&[sign; 32]);
            for result in out {
                assert!((result + sign * 4096.0).abs() < 1e-2, "{kind:?}: {result}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for (kind, dtype) in instructions()
        .flat_map(|kind| [GgmlDType::Q8_0, GgmlDType::Q4_1].map(|dtype| (kind, dtype)))
    {
        let (bytes, _) = weights(dtype, 16, 64, 1);
        let matrix = PackedMatrix::for_instructions(kind, dtype, &bytes, 16, 64).unwrap();
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for rows in [1, 9] {
                let mut input = numbers(rows * 64, 2);
                input[40] = wrong;
                let out = matrix.product(&input);
                let (first, others) = out.split_at(16);
                assert!(first.iter().all(|x| !x.is_finite()), "{kind:?}: {first:?}");
                assert!(others.iter().all(|x| x.is_finite()), "{kind:?}: {others:?}");
            }
        }
        assert_eq!(matrix.product(&[0.0; 64]), [0.0; 16]);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (bytes, _) = weights(GgmlDType::Q8_0, 16, 64, 1);
    let pack = |dtype, bytes: &[u8], rows, columns| {
        PackedMatrix::pack(dtype, bytes, rows, columns).is_some()
    };
    assert!(!pack(GgmlDType::Q8_0, &bytes, 16, 63));
    assert!(!pack(GgmlDType::Q8_0, &bytes, 15, 64));
    assert!(!pack(GgmlDType::Q4K, &bytes, 16, 64));
    assert!(!pack(GgmlDType::F32, &bytes, 16, 64));
    assert!(!pack(GgmlDType::Q8_0, &[], 0, 0));
    let mut infinite = bytes;
    infinite[..2].copy_from_slice(&0x7c00u16.to_le_bytes());
    assert!(!pack(GgmlDType::Q8_0, &infinite, 16, 64));
}

#[test]
fn powers_of_two_that_f16_has_not_are_refused() {
    let fits = |exponent: u8, quant: u8| {
        let mut bytes = vec![quant; 17];
        bytes[0] = exponent;
        PackedMatrix::pack(PackedType::Mxfp4, &bytes, 1, 32).is_some()
    };
    // From the smallest to the largest power of F16, as halves.
    for (exponent, expected) in [
        (103, false),
        (104, true),
        (143, true),
        (144, false),
        (255, false),
    ] {
        assert_eq!(fits(exponent, 0x12), expected, "{exponent}");
        // Of zeros, any power will do.
        assert!(fits(exponent, 0x80), "{exponent}");
    }
}
