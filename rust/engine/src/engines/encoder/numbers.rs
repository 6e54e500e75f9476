//! Vectors of weights as numbers in 32 bits.

use candle_core::DType;

use crate::error::Result;
use crate::formats::{TensorSource, unreadable};

/// The numbers of a vector.
pub(super) fn vector(source: &dyn TensorSource, name: &str, len: usize) -> Result<Vec<f32>> {
    let vector = source.vector(name, len)?;
    let numbers = || vector.to_dtype(DType::F32)?.to_vec1::<f32>();
    numbers().map_err(|e| unreadable(name, &e))
}
