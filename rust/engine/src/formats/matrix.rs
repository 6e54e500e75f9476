//! Matrices as a source gives them.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::{Device, Result, Tensor};

use super::BlockType;
use super::codebook::Codebook;

/// A matrix of `rows × columns`.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// Floating point numbers.
    Dense(Tensor),
    /// Blocks of small integers with scales.
    Quantized(Arc<QTensor>),
    /// Blocks that Candle does not know, in the memory of the CPU.
    Levels(LevelBlocks),
}

/// Blocks whose numbers choose levels, row by row.
#[derive(Debug)]
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
        let Some((block_type, mut bytes)) = first.blocks()? else {
            return Ok(None);
        };
        let (mut rows, columns) = first.dims()?;
        for other in others {
            match other.blocks()? {
                Some((other_type, blocks)) if other_type == block_type => bytes.extend(blocks),
                _ => return Ok(None),
            }
            rows += other.dims()?.0;
        }
        quantized_matrix(block_type, bytes, (rows, columns), &first.device()).map(Some)
    }

    /// The type of its blocks, and their bytes.
    fn blocks(&self) -> Result<Option<(BlockType, Vec<u8>)>> {
        Ok(match self {
            Matrix::Dense(_) => None,
            Matrix::Quantized(tensor) => {
                let bytes = tensor.data()?.into_owned();
                Some((BlockType::Candle(tensor.dtype()), bytes))
            }
            Matrix::Levels(blocks) => {
                Some((BlockType::Codebook(blocks.kind), blocks.bytes.clone()))
            }
        })
    }

    fn device(&self) -> Device {
        match self {
            Matrix::Dense(tensor) => tensor.device().clone(),
            Matrix::Quantized(tensor) => tensor.device(),
            Matrix::Levels(_) => Device::Cpu,
        }
    }

    pub(crate) fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Matrix::Dense(tensor) => tensor.dims2(),
            Matrix::Quantized(tensor) => tensor.shape().dims2(),
            Matrix::Levels(blocks) => Ok((blocks.rows, blocks.columns)),
        }
    }

    /// Its numbers as floating point numbers.
    pub(crate) fn dense(self) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => Ok(tensor),
            Matrix::Quantized(tensor) => tensor.dequantize(&tensor.device()),
            Matrix::Levels(blocks) => blocks.dense(),
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
