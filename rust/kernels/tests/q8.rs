//! The kernels against plain arithmetic.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle4j_kernels::{Instructions, Q8Matrix};

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

/// A matrix as Q8_0 blocks, and the numbers that they stand for.
fn weights(rows: usize, columns: usize, seed: u32) -> (Vec<u8>, Vec<f32>) {
    let tensor = Tensor::from_vec(numbers(rows * columns, seed), (rows, columns), &Device::Cpu);
    let quantised = QTensor::quantize(&tensor.unwrap(), GgmlDType::Q8_0).unwrap();
    let floats = quantised.dequantize(&Device::Cpu).unwrap();
    (
        quantised.data().unwrap().into_owned(),
        floats.flatten_all().unwrap().to_vec1().unwrap(),
    )
}

/// A row as its blocks stand for it: rounded to multiples of a 32767th of the largest of 32.
fn rounded(row: &[f32]) -> Vec<f32> {
    row.chunks(32)
        .flat_map(|block| {
            let largest = block.iter().fold(0f32, |a, b| a.max(b.abs()));
            block.iter().map(move |x| match largest > 0.0 {
                true => (x * 32767.0 / largest).round() * largest / 32767.0,
                false => 0.0,
            })
        })
        .collect()
}

fn product(matrix: &Q8Matrix, rows: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows.len() / matrix.columns() * matrix.rows()];
    matrix.multiply(rows, &mut out);
    out
}

#[test]
fn every_kernel_computes_what_plain_arithmetic_does() {
    let instructions = Instructions::all();
    assert!(cfg!(not(target_arch = "x86_64")) || !instructions.is_empty());
    for kind in instructions {
        for (rows, columns) in [(1, 32), (16, 64), (33, 96), (50, 576), (100, 1536)] {
            let (bytes, floats) = weights(rows, columns, 7);
            let matrix = Q8Matrix::for_instructions(kind, &bytes, rows, columns).unwrap();
            for count in [1, 2, 3, 4, 5, 6, 7, 13] {
                let input = numbers(count * columns, 11);
                let out = product(&matrix, &input);
                for (index, got) in out.iter().enumerate() {
                    let (row, column) = (index / rows, index % rows);
                    let x = rounded(&input[row * columns..][..columns]);
                    let w = &floats[column * columns..][..columns];
                    let expected: f64 = x.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum();
                    // A number that lies in the middle may be rounded to either side.
                    assert!(
                        (f64::from(*got) - expected).abs() < 1e-3,
                        "{kind:?} {rows}x{columns}, row {row} of {count}, column {column}: \
                         {got} instead of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    for kind in Instructions::all() {
        let (rows, columns) = (300, 576);
        let (bytes, _) = weights(rows, columns, 3);
        let matrix = Q8Matrix::for_instructions(kind, &bytes, rows, columns).unwrap();
        let input = numbers(17 * columns, 5);
        let together = product(&matrix, &input);
        for (row, alone) in input.chunks(columns).enumerate() {
            let alone = product(&matrix, alone);
            assert_eq!(alone, together[row * rows..][..rows], "{kind:?}, row {row}");
        }
    }
}

#[test]
fn rows_come_back_as_they_were() {
    for kind in Instructions::all() {
        let (bytes, floats) = weights(37, 96, 9);
        let matrix = Q8Matrix::for_instructions(kind, &bytes, 37, 96).unwrap();
        let mut row = vec![0f32; 96];
        for (index, expected) in floats.chunks(96).enumerate() {
            matrix.row(index, &mut row);
            assert_eq!(row, expected, "row {index}");
        }
    }
}

#[test]
fn the_smallest_weight_is_one_too() {
    // -128 is in no file that GGML writes, but a byte can hold it.
    for kind in Instructions::all() {
        let mut bytes = Vec::new();
        for _ in 0..16 {
            bytes.extend_from_slice(&0x3c00u16.to_le_bytes());
            bytes.extend_from_slice(&[0x80; 32]);
        }
        let matrix = Q8Matrix::for_instructions(kind, &bytes, 16, 32).unwrap();
        for sign in [1.0, -1.0] {
            let out = product(&matrix, &[sign; 32]);
            for result in out {
                assert!((result + sign * 4096.0).abs() < 1e-2, "{kind:?}: {result}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for kind in Instructions::all() {
        let (bytes, _) = weights(16, 64, 1);
        let matrix = Q8Matrix::for_instructions(kind, &bytes, 16, 64).unwrap();
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut input = numbers(64, 2);
            input[40] = wrong;
            let out = product(&matrix, &input);
            assert!(out.iter().all(|x| !x.is_finite()), "{kind:?}: {out:?}");
        }
        assert_eq!(product(&matrix, &[0.0; 64]), [0.0; 16]);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (bytes, _) = weights(16, 64, 1);
    assert!(Q8Matrix::from_q8_0(&bytes, 16, 63).is_none());
    assert!(Q8Matrix::from_q8_0(&bytes, 15, 64).is_none());
    assert!(Q8Matrix::from_q8_0(&[], 0, 0).is_none());
}
