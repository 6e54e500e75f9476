//! Where the weights of a decoder come from.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::linear::Matrix;
use crate::error::{Error, Result};
use crate::model::weights::Weights;

/// Tensors by the names that they have on the Hub. Each is read when it is asked for, so that no
/// more than the parts of one fused matrix are held twice.
pub(crate) trait TensorSource {
    /// The matrix of a name, `rows × columns`.
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix>;

    /// The vector of a name, in the type in which the decoder computes.
    fn vector(&self, name: &str, len: usize) -> Result<Tensor>;

    /// The type in which the decoder computes between its matrices.
    fn dtype(&self) -> DType;

    /// Where it computes.
    fn device(&self) -> &Device;
}

/// The safetensors files of a folder, converted to one type.
pub(crate) struct FolderSource {
    pub(crate) weights: Arc<Weights>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

impl FolderSource {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let entry = self.weights.expect(name, shape)?;
        self.weights.tensor(entry, self.dtype, &self.device)
    }
}

impl TensorSource for FolderSource {
    fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<Matrix> {
        Ok(Matrix::Dense(self.tensor(name, &[rows, columns])?))
    }

    fn vector(&self, name: &str, len: usize) -> Result<Tensor> {
        self.tensor(name, &[len])
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

/// What a source could not read or convert.
pub(super) fn unreadable(name: &str, error: &candle_core::Error) -> Error {
    Error::InvalidTensor {
        tensor: name.into(),
        expected: "weights that can be converted".into(),
        got: error.to_string(),
    }
}
