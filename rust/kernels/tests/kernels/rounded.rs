//! Products of matrices that are rounded to 16 bits.

use candle4j_kernels::{Instructions, RoundedMatrix, WeightMatrix};

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 1999) as f32 / 999.5 - 1.0;
    (0..count).map(number).collect()
}

fn all_instructions() -> Vec<Option<Instructions>> {
    let mut all: Vec<_> = Instructions::all().into_iter().map(Some).collect();
    all.push(None);
    all
}

#[test]
fn products_are_near_and_equal_on_all_instructions() {
    for (n, rows, columns) in [(1, 1, 1), (3, 17, 33), (8, 48, 384), (13, 100, 1537)] {
        let (weights, x) = (numbers(rows * columns, 1), numbers(n * columns, 2));
        let mut first: Option<Vec<f32>> = None;
        for instructions in all_instructions() {
            let matrix =
                RoundedMatrix::for_instructions(instructions, &weights, rows, columns).unwrap();
            let product = matrix.product(&x);
            for (i, got) in product.iter().enumerate() {
                let (a, b) = (
                    &x[i / rows * columns..][..columns],
                    &weights[i % rows * columns..],
                );
                let exact: f64 = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                // Of the product of both lengths: a third of the columns for such numbers.
                let scale = columns as f64 / 3.0 + 1.0;
                assert!(
                    (f64::from(*got) - exact).abs() < 2e-4 * scale,
                    "{got} {exact}"
                );
            }
            // A row gives the same alone.
            assert_eq!(matrix.product(&x[..columns]), product[..rows]);
            match &first {
                // Sums of integers are exact; lengths are summed in an order that is the same everywhere.
                Some(first) => {
                    for (a, b) in first.iter().zip(&product) {
                        assert!((a - b).abs() <= 1e-3 * a.abs().max(1.0), "{a} {b}");
                    }
                }
                None => first = Some(product),
            }
        }
    }
}

#[test]
fn extremes_neither_overflow_nor_pass_for_zero() {
    let columns = 4096;
    for instructions in all_instructions() {
        let pack =
            |numbers: &[f32]| RoundedMatrix::for_instructions(instructions, numbers, 1, columns);
        let ones = vec![1.0; columns];
        let matrix = pack(&ones).unwrap();
        let product = matrix.product(&ones)[0];
        assert!((product - 4096.0).abs() < 8.0, "{product}");
        let mut one = vec![0.0; columns];
        one[7] = 1e30;
        let product = pack(&one).unwrap().product(&one)[0];
        assert!(product.is_infinite(), "{product}");
        one[7] = 1e-30;
        let product = pack(&one).unwrap().product(&ones)[0];
        assert!((product / 1e-30 - 1.0).abs() < 1e-3, "{product}");
        assert_eq!(pack(&vec![0.0; columns]).unwrap().product(&ones), [0.0]);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = vec![0.0; columns];
            x[3] = bad;
            assert!(!matrix.product(&x)[0].is_finite());
            assert!(pack(&x).is_none());
        }
    }
}

#[test]
fn rows_come_back() {
    let weights = numbers(5 * 31, 3);
    let matrix = RoundedMatrix::pack(&weights, 5, 31).unwrap();
    let mut row = [0.0; 31];
    matrix.row(4, &mut row);
    for (got, expected) in row.iter().zip(&weights[4 * 31..]) {
        assert!((got - expected).abs() < 1e-3, "{got} {expected}");
    }
}
