//! Products with matrices of floating point numbers beside plain arithmetic, for every set of
//! instructions that this processor has.

use candle_core::{CpuStorage, DType};
use candle4j_kernels::{FloatMatrix, WeightMatrix};
use half::{bf16, f16};

use crate::support::{instructions, numbers};

/// Rows that are multiplied, rows of the matrix, columns.
const SHAPES: [(usize, usize, usize); 7] = [
    (1, 1, 1),
    (1, 100, 1030),
    (3, 48, 64),
    (8, 17, 2050),
    (13, 65, 7),
    (30, 33, 1024),
    (2, 128, 300),
];

/// Numbers in a type, and what they are there.
fn stored(dtype: DType, numbers: &[f32]) -> (CpuStorage, Vec<f32>) {
    match dtype {
        DType::F16 => {
            let halves: Vec<f16> = numbers.iter().copied().map(f16::from_f32).collect();
            let wide = halves.iter().map(|x| x.to_f32()).collect();
            (CpuStorage::F16(halves), wide)
        }
        DType::BF16 => {
            let halves: Vec<bf16> = numbers.iter().copied().map(bf16::from_f32).collect();
            let wide = halves.iter().map(|x| x.to_f32()).collect();
            (CpuStorage::BF16(halves), wide)
        }
        _ => (CpuStorage::F32(numbers.to_vec()), numbers.to_vec()),
    }
}

fn matrix_of(numbers: Vec<f32>, rows: usize, columns: usize) -> FloatMatrix {
    FloatMatrix::pack(&CpuStorage::F32(numbers), 0, rows, columns).unwrap()
}

#[test]
fn products_go_to_several_vectors() {
    let matrix = matrix_of(numbers(37 * 20, 4), 37, 20);
    let input = numbers(3 * 20, 6);
    let (mut first, mut rest) = (vec![f32::NAN; 500], Vec::new());
    matrix.product_to(&input, &mut [(1, &mut first), (2, &mut rest)]);
    assert_eq!([first, rest].concat(), matrix.product(&input));
}

#[test]
#[should_panic(expected = "activations of whole rows")]
fn vectors_are_for_all_rows() {
    let matrix = matrix_of(vec![0.0; 20], 1, 20);
    matrix.product_to(&[0.0; 40], &mut [(1, &mut Vec::new())]);
}

#[test]
fn rows_without_numbers_are_no_matrix() {
    assert!(FloatMatrix::pack(&CpuStorage::F32(Vec::new()), 0, 3, 0).is_none());
}

#[test]
fn it_is_what_plain_arithmetic_gives() {
    for (count, rows, columns) in SHAPES {
        let numbers_of_rows = numbers(count * columns, 37);
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let (weights, wide) = stored(dtype, &numbers(rows * columns, 71));
            for instructions in instructions() {
                let matrix =
                    FloatMatrix::for_instructions(instructions, &weights, 0, rows, columns)
                        .unwrap();
                let got = matrix.product(&numbers_of_rows);
                for (index, got) in got.iter().enumerate() {
                    let row = &numbers_of_rows[index / rows * columns..][..columns];
                    let weights = &wide[index % rows * columns..][..columns];
                    let terms = || row.iter().zip(weights);
                    let expected: f64 = terms().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let size: f32 = terms().map(|(a, b)| (a * b).abs()).sum();
                    assert!(
                        (f64::from(*got) - expected).abs() <= f64::from(size) * 2e-6,
                        "{count} x {rows} x {columns}, {dtype:?}, {instructions:?}: \
                         {got} instead of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    let (rows, columns) = (50, 1500);
    let (weights, _) = stored(DType::BF16, &numbers(rows * columns, 71));
    let many = numbers(21 * columns, 37);
    for instructions in instructions() {
        let matrix =
            FloatMatrix::for_instructions(instructions, &weights, 0, rows, columns).unwrap();
        let together = matrix.product(&many);
        let alone: Vec<f32> = many
            .chunks(columns)
            .flat_map(|row| matrix.product(row))
            .collect();
        assert_eq!(together, alone, "{instructions:?}");
    }
}

#[test]
fn sixteen_bits_are_multiplied_as_if_they_were_widened() {
    let (rows, columns) = (37, 1100);
    let many = numbers(9 * columns, 37);
    for dtype in [DType::F16, DType::BF16] {
        let (halves, wide) = stored(dtype, &numbers(rows * columns, 71));
        for instructions in instructions() {
            let pack = |numbers: &CpuStorage| {
                FloatMatrix::for_instructions(instructions, numbers, 0, rows, columns).unwrap()
            };
            let wide = pack(&CpuStorage::F32(wide.clone()));
            assert_eq!(pack(&halves).product(&many), wide.product(&many));
        }
    }
}

#[test]
fn rows_come_back_as_they_were() {
    let (rows, columns) = (18, 40);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let (weights, wide) = stored(dtype, &numbers((rows + 1) * columns, 71));
        let matrix = FloatMatrix::pack(&weights, columns, rows, columns).unwrap();
        for row in 0..rows {
            let mut got = vec![0f32; columns];
            matrix.row(row, &mut got);
            assert_eq!(got, wide[(row + 1) * columns..][..columns]);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let floats = CpuStorage::F32(vec![0.0; 100]);
    assert!(FloatMatrix::pack(&floats, 0, 10, 10).is_some());
    assert!(FloatMatrix::pack(&floats, 1, 10, 10).is_none());
    assert!(FloatMatrix::pack(&floats, 0, usize::MAX, 10).is_none());
    assert!(FloatMatrix::pack(&CpuStorage::F64(vec![0.0; 100]), 0, 10, 10).is_none());
}
