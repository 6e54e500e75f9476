//! Matrices as a source gives them.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use candle4j_kernels::PackedMatrix;

/// A matrix of `rows × columns`.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// Floating point numbers.
    Dense(Tensor),
    /// Blocks of small integers with scales.
    Quantized(Arc<QTensor>),
}

impl Matrix {
    /// Its rows below those of `others`, all with as many columns, when that is possible: a
    /// quantized matrix can only continue in its own type.
    pub(crate) fn stack(parts: &[Matrix]) -> Result<Option<Matrix>> {
        let mut dense = Vec::new();
        let mut quantized = Vec::new();
        for part in parts {
            match part {
                Matrix::Dense(tensor) => dense.push(tensor),
                Matrix::Quantized(tensor) => quantized.push(tensor),
            }
        }
        if quantized.is_empty() && dense.iter().any(|t| t.dtype() != dense[0].dtype()) {
            return Ok(None);
        }
        if quantized.is_empty() {
            return Tensor::cat(&dense, 0).map(|t| Some(Matrix::Dense(t)));
        }
        let dtype = quantized[0].dtype();
        if !dense.is_empty() || quantized.iter().any(|t| t.dtype() != dtype) {
            return Ok(None);
        }
        let (_, columns) = quantized[0].shape().dims2()?;
        let mut rows = 0;
        let mut bytes = Vec::new();
        for tensor in &quantized {
            rows += tensor.shape().dims2()?.0;
            bytes.extend_from_slice(&tensor.data()?);
        }
        quantized_matrix(dtype, &bytes, (rows, columns), &quantized[0].device()).map(Some)
    }

    pub(crate) fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Matrix::Dense(tensor) => tensor.dims2(),
            Matrix::Quantized(tensor) => tensor.shape().dims2(),
        }
    }

    /// Its numbers as floating point numbers.
    pub(crate) fn dense(self) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => Ok(tensor),
            Matrix::Quantized(tensor) => tensor.dequantize(&tensor.device()),
        }
    }
}

/// Bytes that so many numbers of a quantized matrix take in memory.
pub(crate) fn quantized_bytes(dtype: GgmlDType, numbers: u64, device: &Device) -> u64 {
    PackedMatrix::byte_len(dtype, numbers)
        .filter(|_| device.is_cpu())
        .unwrap_or_else(|| numbers / dtype.block_size() as u64 * dtype.type_size() as u64)
}

/// A quantized matrix from its bytes.
pub(crate) fn quantized_matrix(
    dtype: GgmlDType,
    bytes: &[u8],
    (rows, columns): (usize, usize),
    device: &Device,
) -> Result<Matrix> {
    use candle_core::quantized::ggml_file::qtensor_from_ggml;
    let tensor = qtensor_from_ggml(dtype, bytes, vec![rows, columns], device)?;
    Ok(Matrix::Quantized(Arc::new(tensor)))
}
