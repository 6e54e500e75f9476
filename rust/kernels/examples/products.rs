//! How fast matrices are multiplied: `products [ROWS,ROWS…] [INSTRUCTIONS] [COLUMNS]`.
//!
//! For each format a matrix of 2²⁶ weights, more than caches hold, in rows of 4096 columns or as many as are said, and so many
//! rows of activations. One row is told in bytes of weights a second, since memory limits it, and several in multiplications
//! and additions a second.

use std::hint::black_box;
use std::time::Instant;

use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use candle4j_kernels::{FloatMatrix, Instructions, PackedMatrix, PackedType, WeightMatrix};
use half::{bf16, f16};

const SIZE: usize = 1 << 26;

fn floats(name: &str) -> CpuStorage {
    let numbers = (0..SIZE).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0);
    match name {
        "f16" => CpuStorage::F16(numbers.map(f16::from_f32).collect()),
        "bf16" => CpuStorage::BF16(numbers.map(bf16::from_f32).collect()),
        _ => CpuStorage::F32(numbers.collect()),
    }
}

/// A block of quants without zeros among its scales.
fn blocks(dtype: GgmlDType) -> Vec<u8> {
    vec![0x2f; SIZE / dtype.block_size() * dtype.type_size()]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let counts = arguments.next().unwrap_or("1,8,64,256".into());
    let counts: Vec<usize> = counts.split(',').map(|n| n.parse().unwrap()).collect();
    if let Some(limit) = arguments.next().filter(|limit| !limit.is_empty()) {
        Instructions::limit(&limit).unwrap();
    }
    let columns: usize = arguments.next().map_or(4096, |n| n.parse().unwrap());
    let rows = SIZE / columns;
    println!("{}", Instructions::in_use());
    let mut all: Vec<(&str, f64, Box<dyn WeightMatrix>)> = Vec::new();
    for (name, bits) in [("f32", 32.0), ("f16", 16.0), ("bf16", 16.0)] {
        let matrix = FloatMatrix::pack(&floats(name), 0, rows, columns).unwrap();
        all.push((name, bits, Box::new(matrix)));
    }
    for (name, dtype, bits) in [
        ("q8_0", GgmlDType::Q8_0, 8.5),
        ("q6_k", GgmlDType::Q6K, 9.0),
        ("q4_k", GgmlDType::Q4K, 5.0),
        ("q4_0", GgmlDType::Q4_0, 4.5),
    ] {
        let packed = PackedType::Candle(dtype);
        let matrix = PackedMatrix::pack(packed, &blocks(dtype), rows, columns).unwrap();
        all.push((name, bits, Box::new(matrix)));
    }
    for (name, bits, matrix) in &all {
        let mut line = format!("{name:5}");
        for count in &counts {
            let x: Vec<f32> = (0..count * columns)
                .map(|i| (i % 97) as f32 - 48.0)
                .collect();
            let work = 2.0 * (SIZE * count) as f64;
            let repeats = ((2e9 / work) as usize).clamp(1, 20);
            let mut best = f64::MAX;
            // Others may be at work: the best of many tells most.
            for _ in 0..12 {
                let start = Instant::now();
                for _ in 0..repeats {
                    black_box(matrix.product(black_box(&x)));
                }
                best = best.min(start.elapsed().as_secs_f64() / repeats as f64);
            }
            let bytes = SIZE as f64 * bits / 8.0;
            line += &match count {
                1 => format!("  1 row {:6.1} GB/s", bytes / best / 1e9),
                _ => format!("  {count} rows {:6.1} GFLOP/s", work / best / 1e9),
            };
        }
        println!("{line}");
    }
}
