//! Rows that stay in a GGUF file.

use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::ggml_file::qtensor_from_ggml;

use super::file::{GgufFile, GgufTensor};
use crate::formats::{BlockType, LazyRows};

/// The rows of a matrix.
pub(super) struct GgufRows {
    pub(super) file: Arc<GgufFile>,
    pub(super) tensor: GgufTensor,
}

impl LazyRows for GgufRows {
    fn read(&self, rows: &[u32]) -> candle_core::Result<Vec<f32>> {
        let dtype = self.tensor.dtype;
        let &[count, columns] = self.tensor.shape.as_slice() else {
            candle_core::bail!("{} is no matrix", self.tensor.name);
        };
        let row_bytes = columns / dtype.block_size() * dtype.type_size();
        let mut bytes = vec![0; rows.len() * row_bytes];
        for (row, bytes) in rows.iter().zip(bytes.chunks_exact_mut(row_bytes)) {
            let row = *row as usize;
            if row >= count {
                candle_core::bail!("there is no row {row} in {}", self.tensor.name);
            }
            self.file
                .read(&self.tensor, (row * row_bytes) as u64, bytes)
                .map_err(candle_core::Error::wrap)?;
        }
        match dtype {
            BlockType::Codebook(kind) => Ok(kind.numbers(&bytes)),
            BlockType::Candle(dtype) => {
                let shape = vec![rows.len(), columns];
                let blocks = qtensor_from_ggml(dtype, &bytes, shape, &Device::Cpu)?;
                blocks.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
            }
        }
    }
}
