//! Where the weights of a decoder come from.

use std::fmt::Display;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::matrix::{Matrix, quantised_matrix};
use crate::error::{Error, Result};
use crate::model::blocks::quantised_blocks;
use crate::model::decoder_config::{EMBEDDING, HEAD};
use crate::model::weights::{TensorEntry, Weights};

/// Tensors by the names that they have on the Hub. Each is read when it is asked for, so that no
/// more than the parts of one fused matrix are held twice.
pub(crate) trait TensorSource {
    /// The matrix of a name, `rows × columns`.
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix>;

    /// The vector of a name, in the type in which the decoder computes.
    fn vector(&self, name: &str, len: usize) -> Result<Tensor>;

    /// The type in which the decoder computes between its matrices.
    fn dtype(&self) -> DType;

    /// Whether the matrices of its layers are quantised.
    fn quantised(&self) -> bool;

    /// Where it computes.
    fn device(&self) -> &Device;
}

/// The safetensors files of a folder, converted to one type.
pub(crate) struct FolderSource {
    pub(crate) weights: Arc<Weights>,
    /// The type of vectors, and of matrices that are not quantised.
    pub(crate) dtype: DType,
    /// The type of blocks that matrices become.
    pub(crate) quantise: Option<GgmlDType>,
    pub(crate) device: Device,
}

/// Elements that are read and quantised at a time: of the largest matrix, no more than these are
/// ever there as floating point numbers.
const ELEMENTS_AT_ONCE: usize = 1 << 22;

/// The type of blocks that the matrix of a name becomes, if any.
///
/// The router of experts stays as it is, for it is small and decides much. Embedding and output
/// projection, whose errors reach every token, get 8 bits at least; and so does a matrix whose rows
/// are no whole number of the wanted blocks.
pub(crate) fn quantised_type(
    name: &str,
    columns: usize,
    wanted: Option<GgmlDType>,
) -> Option<GgmlDType> {
    let wanted = match name {
        EMBEDDING | HEAD => wanted.map(|_| GgmlDType::Q8_0),
        router if router.ends_with(".mlp.gate.weight") => None,
        _ => wanted,
    }?;
    [wanted, GgmlDType::Q8_0]
        .into_iter()
        .find(|dtype| columns.is_multiple_of(dtype.block_size()))
}

/// The type in which the numbers of a matrix are kept that are `stored` in a file and `computed` with.
///
/// Those of 16 bits stay so on the CPU, for which there are kernels that widen them: they take half of the
/// memory, and give what they would in 32 bits.
pub(crate) fn kept_type(stored: DType, computed: DType, device: &Device) -> DType {
    match (stored, computed) {
        (DType::F16 | DType::BF16, DType::F32) if device.is_cpu() => stored,
        _ => computed,
    }
}

impl FolderSource {
    fn quantised_matrix(
        &self,
        name: &str,
        shape: (usize, usize),
        entry: &TensorEntry,
        dtype: GgmlDType,
    ) -> Result<Matrix> {
        let (rows, columns) = shape;
        let at_once = ELEMENTS_AT_ONCE.div_ceil(columns);
        let each = at_once.div_ceil(rayon::current_num_threads());
        let mut bytes = Vec::with_capacity(rows * columns / dtype.block_size() * dtype.type_size());
        for start in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - start);
            let part = self.weights.rows(entry, start, count)?;
            let quantised = quantise(&part, dtype, each).map_err(|e| unreadable(name, &e))?;
            bytes.extend_from_slice(&quantised);
        }
        quantised_matrix(dtype, &bytes, shape, &self.device).map_err(|e| unreadable(name, &e))
    }
}

/// The blocks of rows, `each` of them a thread's work.
fn quantise(rows: &Tensor, dtype: GgmlDType, each: usize) -> candle_core::Result<Vec<u8>> {
    let count = rows.dim(0)?;
    let starts: Vec<usize> = (0..count).step_by(each).collect();
    let parts = starts
        .par_iter()
        .map(|start| {
            let part = rows.narrow(0, *start, each.min(count - start))?;
            quantised_blocks(&part.to_dtype(DType::F32)?, dtype)
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(parts.concat())
}

impl TensorSource for FolderSource {
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix> {
        let entry = self.weights.expect(name, &[shape.0, shape.1])?;
        match quantised_type(name, shape.1, self.quantise) {
            None => {
                let kept = kept_type(entry.dtype, self.dtype, &self.device);
                let tensor = self.weights.tensor(entry, kept, &self.device)?;
                Ok(Matrix::Dense(tensor))
            }
            Some(dtype) => self.quantised_matrix(name, shape, entry, dtype),
        }
    }

    fn vector(&self, name: &str, len: usize) -> Result<Tensor> {
        let entry = self.weights.expect(name, &[len])?;
        self.weights.tensor(entry, self.dtype, &self.device)
    }

    fn quantised(&self) -> bool {
        self.quantise.is_some()
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

/// What a source could not read or convert.
pub(crate) fn unreadable(name: &str, error: &impl Display) -> Error {
    Error::InvalidTensor {
        file: String::new(),
        tensor: name.into(),
        expected: "weights that can be read and converted".into(),
        got: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_the_blocks_of_the_whole() {
        let numbers: Vec<f32> = (0..10 * 64)
            .map(|i| ((i * 37) % 101) as f32 - 50.0)
            .collect();
        let rows = Tensor::from_vec(numbers, (10, 64), &Device::Cpu).unwrap();
        let whole = quantised_blocks(&rows, GgmlDType::Q8_0).unwrap();
        for each in [1, 3, 10] {
            let parts = quantise(&rows, GgmlDType::Q8_0, each).unwrap();
            assert_eq!(parts, whole, "{each} rows a part");
        }
    }
}
