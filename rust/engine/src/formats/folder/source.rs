//! The safetensors files of a folder as a source of tensors.

use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{CheckpointTensors, TensorEntry};
use crate::error::Result;
use crate::formats::quantize::quantized_blocks;
use crate::formats::{
    BlockType, LazyRows, Matrix, ReadRows, StoredRows, TensorSource, kept_type, quantized_matrix,
    quantized_type, unreadable,
};

/// The safetensors files of a folder, converted to one type.
pub(crate) struct FolderSource {
    pub(crate) tensors: Arc<CheckpointTensors>,
    /// The type of vectors, and of matrices that are not quantized.
    pub(crate) dtype: DType,
    /// The type of blocks that matrices become.
    pub(crate) quantize: Option<GgmlDType>,
    /// Whether packed matrices become blocks where those hold the same numbers, and else numbers of 16 bits; all of `dtype`
    /// otherwise.
    pub(crate) blocks: bool,
    pub(crate) device: Device,
}

/// Elements that are read and quantized at a time: of the largest matrix, no more than these are
/// ever there as floating point numbers.
const ELEMENTS_AT_ONCE: usize = 1 << 22;

impl FolderSource {
    fn quantized_matrix(
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
            let part = self.tensors.rows(entry, start, count)?;
            let quantized = quantize(&part, dtype, each).map_err(|e| unreadable(name, &e))?;
            bytes.extend_from_slice(&quantized);
        }
        quantized_matrix(BlockType::Candle(dtype), bytes, shape, &self.device)
            .map_err(|e| unreadable(name, &e))
    }
}

/// The blocks of rows, `each` of them a thread's work.
fn quantize(rows: &Tensor, dtype: GgmlDType, each: usize) -> candle_core::Result<Vec<u8>> {
    let count = rows.dim(0)?;
    let starts: Vec<usize> = (0..count).step_by(each).collect();
    let parts = starts
        .par_iter()
        .map(|start| {
            let part = rows.narrow(0, *start, each.min(count - start))?;
            quantized_blocks(&part.to_dtype(DType::F32)?, dtype)
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    Ok(parts.concat())
}

impl TensorSource for FolderSource {
    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<Matrix> {
        let entry = self.tensors.expect(name, &[shape.0, shape.1])?;
        match quantized_type(name, shape.1, self.quantize) {
            None => {
                if self.blocks
                    && let Some(own) = entry.block_type()
                    && let Some(blocks) = self.tensors.rows_as_blocks(entry, 0, shape.0)?
                {
                    let kept = own.kept(&self.device);
                    let bytes = match own {
                        BlockType::Codebook(kind) if kept != own => kind.to_q8_0(&blocks),
                        _ => blocks,
                    };
                    return quantized_matrix(kept, bytes, shape, &self.device)
                        .map_err(|e| unreadable(name, &e));
                }
                let stored = match self.blocks || !entry.is_packed() {
                    true => entry.dtype,
                    // Of numbers of 16 bits and fewer together with their scales, 32 bits lose nothing.
                    false => DType::F32,
                };
                let kept = kept_type(stored, self.dtype, &self.device);
                if kept == entry.dtype
                    && entry.is_dense()
                    && self.device.is_cpu()
                    && let Some(block_type) = BlockType::of_floats(kept)
                {
                    let reader = Arc::new(StoredEntry {
                        tensors: self.tensors.clone(),
                        entry: entry.clone(),
                    });
                    return Ok(Matrix::Stored(StoredRows::new(reader, block_type, shape)));
                }
                let tensor = self.tensors.tensor(entry, kept, &self.device)?;
                Ok(Matrix::Dense(tensor))
            }
            Some(dtype) => self.quantized_matrix(name, shape, entry, dtype),
        }
    }

    fn table(&self, name: &str, shape: (usize, usize)) -> Result<Vec<f32>> {
        let entry = self.tensors.expect(name, &[shape.0, shape.1])?;
        let tensor = self.tensors.tensor(entry, DType::F32, &Device::Cpu)?;
        let numbers = tensor.flatten_all().and_then(|flat| flat.to_vec1());
        numbers.map_err(|e| unreadable(name, &e))
    }

    fn lazy_rows(&self, name: &str, shape: (usize, usize)) -> Result<Box<dyn LazyRows>> {
        let entry = self.tensors.expect(name, &[shape.0, shape.1])?;
        Ok(Box::new(FolderRows {
            tensors: self.tensors.clone(),
            entry: entry.clone(),
        }))
    }

    fn vector(&self, name: &str, len: usize) -> Result<Tensor> {
        let entry = self.tensors.expect(name, &[len])?;
        self.tensors.tensor(entry, self.dtype, &self.device)
    }

    fn quantized(&self) -> bool {
        self.quantize.is_some()
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

/// A matrix whose bytes lie behind each other.
struct StoredEntry {
    tensors: Arc<CheckpointTensors>,
    entry: TensorEntry,
}

impl ReadRows for StoredEntry {
    fn read(&self, first: usize, bytes: &mut [u8]) -> Result<()> {
        let row = self.entry.shape[1] * self.entry.dtype.size_in_bytes();
        self.tensors.read_into(&self.entry, first * row, bytes)
    }
}

/// Rows that stay in the file.
struct FolderRows {
    tensors: Arc<CheckpointTensors>,
    entry: TensorEntry,
}

impl LazyRows for FolderRows {
    fn read(&self, rows: &[u32]) -> candle_core::Result<Vec<f32>> {
        let mut numbers = Vec::new();
        for row in rows {
            let row = *row as usize;
            if row >= self.entry.shape[0] {
                candle_core::bail!("there is no row {row}");
            }
            let read = self.tensors.rows(&self.entry, row, 1);
            let row = read.map_err(candle_core::Error::wrap)?;
            numbers.extend(row.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(numbers)
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
        let whole = quantized_blocks(&rows, GgmlDType::Q8_0).unwrap();
        for each in [1, 3, 10] {
            let parts = quantize(&rows, GgmlDType::Q8_0, each).unwrap();
            assert_eq!(parts, whole, "{each} rows a part");
        }
    }
}
