//! What several tests use.

use candle4j_kernels::Instructions;

/// Every set of instructions, and none.
pub fn instructions() -> impl Iterator<Item = Option<Instructions>> {
    Instructions::all().into_iter().map(Some).chain([None])
}

/// Numbers between -1 and 1 that do not repeat soon.
pub fn numbers(count: usize, factor: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * factor) % 1009) as f32 / 504.5 - 1.0)
        .collect()
}
