//! Matrices as a source gives them.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Result, Tensor};

use super::codebook::Codebook;
use super::quantize::quantized_blocks;
use super::{BlockType, StoredRows};

/// A matrix of `rows × columns`.
#[derive(Debug, Clone)]
pub(crate) enum Matrix {
    /// Floating point numbers.
    Dense(Tensor),
    /// Blocks of small integers with scales.
    Quantized(Arc<QTensor>),
    /// Blocks that Candle does not know, in the memory of the CPU.
    Levels(LevelBlocks),
    /// Still in its file, for the kernels of the CPU.
    Stored(StoredRows),
}

/// Blocks whose numbers choose levels, row by row.
#[derive(Debug, Clone)]
pub(crate) struct LevelBlocks {
    pub(crate) kind: Codebook,
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Matrix {
    /// Its rows below those of `others`, all with as many columns, when that is possible: a
    /// quantized matrix can only continue in its own type.
    pub(crate) fn stack(parts: &[Matrix]) -> Result<Option<Matrix>> {
        let stored = parts.iter().map(|part| match part {
            Matrix::Stored(rows) => Some(rows),
            _ => None,
        });
        let count = stored.clone().flatten().count();
        if count == parts.len() {
            let stored: Vec<&StoredRows> = stored.flatten().collect();
            return Ok(StoredRows::stack(&stored).map(Matrix::Stored));
        }
        if count > 0 {
            let loaded = parts.iter().cloned().map(Matrix::loaded);
            return Self::stack(&loaded.collect::<Result<Vec<_>>>()?);
        }
        let (first, others) = match parts.split_first() {
            Some((Matrix::Dense(first), _)) => {
                let dense = |part: &Matrix| match part {
                    Matrix::Dense(tensor) if tensor.dtype() == first.dtype() => {
                        Some(tensor.clone())
                    }
                    _ => None,
                };
                let dense: Option<Vec<Tensor>> = parts.iter().map(dense).collect();
                let stacked = dense.map(|dense| Tensor::cat(&dense, 0)).transpose()?;
                return Ok(stacked.map(Matrix::Dense));
            }
            Some(split) => split,
            None => return Ok(None),
        };
        let Some((block_type, bytes)) = first.blocks()? else {
            return Ok(None);
        };
        let mut bytes = bytes.into_owned();
        let (mut rows, columns) = first.dims()?;
        for other in others {
            match other.blocks()? {
                Some((other_type, blocks)) if other_type == block_type => {
                    bytes.extend_from_slice(&blocks);
                }
                _ => return Ok(None),
            }
            rows += other.dims()?.0;
        }
        quantized_matrix(block_type, bytes, (rows, columns), &first.device()).map(Some)
    }

    /// The type of its blocks, and their bytes.
    fn blocks(&self) -> Result<Option<(BlockType, Cow<'_, [u8]>)>> {
        Ok(match self {
            Matrix::Dense(_) | Matrix::Stored(_) => None,
            Matrix::Quantized(tensor) => Some((BlockType::Candle(tensor.dtype()), tensor.data()?)),
            Matrix::Levels(blocks) => {
                let bytes = Cow::Borrowed(&blocks.bytes[..]);
                Some((BlockType::Codebook(blocks.kind), bytes))
            }
        })
    }

    fn device(&self) -> Device {
        match self {
            Matrix::Dense(tensor) => tensor.device().clone(),
            Matrix::Quantized(tensor) => tensor.device(),
            Matrix::Levels(_) | Matrix::Stored(_) => Device::Cpu,
        }
    }

    /// Matrices of so many of its rows each, which are all of them.
    pub(crate) fn split_rows(self, sizes: &[usize]) -> Result<Vec<Matrix>> {
        let (rows, columns) = self.dims()?;
        let blocks = self.blocks()?;
        let mut start = 0;
        let parts = sizes.iter().map(|size| {
            let from = start;
            start += size;
            match (&blocks, &self) {
                (_, Matrix::Stored(stored)) => Ok(Matrix::Stored(stored.slice(from..start))),
                (Some((block_type, bytes)), _) => {
                    let each = bytes.len() / rows;
                    let bytes = bytes[from * each..start * each].to_vec();
                    quantized_matrix(*block_type, bytes, (*size, columns), &self.device())
                }
                (None, Matrix::Dense(tensor)) => tensor
                    .narrow(0, from, *size)
                    .and_then(|part| part.copy())
                    .map(Matrix::Dense),
                (None, _) => candle_core::bail!("blocks without bytes"),
            }
        });
        parts.collect()
    }

    /// With rows for columns. Blocks become such of Q8_0, which lose next to nothing, where the rows are whole blocks of
    /// it, else numbers of 16 bits.
    pub(crate) fn transposed(self) -> Result<Matrix> {
        let device = self.device();
        let loaded = self.loaded()?;
        let is_dense = matches!(loaded, Matrix::Dense(_));
        let transposed = loaded.dense()?.t()?.contiguous()?;
        let (rows, columns) = transposed.dims2()?;
        if is_dense {
            return Ok(Matrix::Dense(transposed));
        }
        if !columns.is_multiple_of(GgmlDType::Q8_0.block_size()) {
            return transposed.to_dtype(DType::F16).map(Matrix::Dense);
        }
        let blocks = quantized_blocks(&transposed, GgmlDType::Q8_0)?;
        quantized_matrix(
            BlockType::Candle(GgmlDType::Q8_0),
            blocks,
            (rows, columns),
            &device,
        )
    }

    pub(crate) fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Matrix::Dense(tensor) => tensor.dims2(),
            Matrix::Quantized(tensor) => tensor.shape().dims2(),
            Matrix::Levels(blocks) => Ok((blocks.rows, blocks.columns)),
            Matrix::Stored(stored) => Ok(stored.dims()),
        }
    }

    /// Its numbers as floating point numbers.
    pub(crate) fn dense(self) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => Ok(tensor),
            Matrix::Quantized(tensor) => tensor.dequantize(&tensor.device()),
            Matrix::Levels(blocks) => blocks.dense(),
            Matrix::Stored(stored) => stored.load()?.dense(),
        }
    }

    /// In memory.
    pub(crate) fn loaded(self) -> Result<Matrix> {
        match self {
            Matrix::Stored(stored) => stored.load(),
            loaded => Ok(loaded),
        }
    }
}

impl LevelBlocks {
    /// Its numbers in 32 bits.
    pub(crate) fn dense(&self) -> Result<Tensor> {
        let numbers = self.kind.numbers(&self.bytes);
        Tensor::from_vec(numbers, (self.rows, self.columns), &Device::Cpu)
    }
}

/// A quantized matrix from its bytes.
pub(crate) fn quantized_matrix(
    block_type: BlockType,
    bytes: Vec<u8>,
    (rows, columns): (usize, usize),
    device: &Device,
) -> Result<Matrix> {
    Ok(match block_type {
        BlockType::Candle(dtype) => {
            let tensor = qtensor_from_ggml(dtype, &bytes, vec![rows, columns], device)?;
            Matrix::Quantized(Arc::new(tensor))
        }
        BlockType::Codebook(kind) => Matrix::Levels(LevelBlocks {
            kind,
            bytes,
            rows,
            columns,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix of blocks of Q8_0, and its numbers.
    fn quantized(rows: usize, columns: usize) -> (Matrix, Vec<Vec<f32>>) {
        let numbers: Vec<f32> = (0..rows * columns)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        let tensor = Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap();
        let bytes = quantized_blocks(&tensor, GgmlDType::Q8_0).unwrap();
        let block_type = BlockType::Candle(GgmlDType::Q8_0);
        let matrix = || quantized_matrix(block_type, bytes.clone(), (rows, columns), &Device::Cpu);
        (matrix().unwrap(), rows_of(matrix().unwrap()))
    }

    fn rows_of(matrix: Matrix) -> Vec<Vec<f32>> {
        let dense = matrix.dense().unwrap().to_dtype(DType::F32).unwrap();
        dense.to_vec2().unwrap()
    }

    #[test]
    fn rows_are_split_where_blocks_begin() {
        let (matrix, rows) = quantized(6, 64);
        let parts = matrix.split_rows(&[1, 3, 2]).unwrap();
        let parts: Vec<_> = parts.into_iter().map(rows_of).collect();
        assert_eq!(parts, [&rows[..1], &rows[1..4], &rows[4..]]);
        let dense = Tensor::new(vec![vec![1f32, 2.0], vec![3.0, 4.0]], &Device::Cpu);
        let parts = Matrix::Dense(dense.unwrap()).split_rows(&[1, 1]).unwrap();
        let parts: Vec<_> = parts.into_iter().map(rows_of).collect();
        assert_eq!(parts, [[[1.0, 2.0]], [[3.0, 4.0]]]);
    }

    #[test]
    fn transposed_blocks_stay_near() {
        for (rows, is_quantized) in [(64, true), (12, false)] {
            let (matrix, numbers) = quantized(rows, 32);
            let transposed = matrix.transposed().unwrap();
            assert_eq!(matches!(transposed, Matrix::Quantized(_)), is_quantized);
            let transposed = rows_of(transposed);
            for (row, numbers) in numbers.iter().enumerate() {
                for (column, number) in numbers.iter().enumerate() {
                    assert!((transposed[column][row] - number).abs() < 5e-3);
                }
            }
        }
    }
}
