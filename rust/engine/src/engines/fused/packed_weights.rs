//! Weights in the order of the kernels that multiply them.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{
    CpuStorage, CustomOp1, DType, Device, Layout, Module, Result, Shape, Storage, Tensor, bail,
};
use candle4j_kernels::{FloatMatrix, PackedMatrix, RoundedMatrix, WeightMatrix};

use crate::formats::{LevelBlocks, Matrix, StoredRows};

/// A matrix of `rows × columns`, ready to be multiplied. Copies share the numbers.
#[derive(Debug, Clone)]
pub(crate) enum PackedWeights {
    /// In the order of our own kernels.
    Packed(Arc<dyn WeightMatrix>),
    /// Floating point numbers on a device that is not the CPU.
    Dense(Tensor),
    /// Blocks for Candle's kernels of their format.
    Quantized {
        blocks: Arc<QTensor>,
        product: QMatMul,
    },
}

impl PackedWeights {
    /// Takes a matrix to our own kernels where there are any for its type, else to Candle's.
    pub(crate) fn new(matrix: Matrix) -> Result<Self> {
        Ok(match matrix {
            Matrix::Dense(tensor) => match pack_floats(&tensor)? {
                Some(packed) => PackedWeights::Packed(packed),
                None => PackedWeights::Dense(tensor),
            },
            Matrix::Quantized(blocks) => match pack_blocks(&blocks)? {
                Some(packed) => PackedWeights::Packed(packed),
                None => PackedWeights::Quantized {
                    product: QMatMul::from_arc(blocks.clone())?,
                    blocks,
                },
            },
            Matrix::Levels(blocks) => match pack_levels(&blocks) {
                Some(packed) => PackedWeights::Packed(packed),
                // A scale that the kernels can't hold.
                None => return Self::new(Matrix::Dense(blocks.dense()?)),
            },
            Matrix::Stored(stored) => match pack_stored(&stored)? {
                Some(packed) => PackedWeights::Packed(packed),
                None => return Self::new(stored.load()?),
            },
        })
    }

    /// Rounds a matrix to integers of 16 bits, a scale a row, for kernels on the CPU.
    pub(crate) fn rounded(matrix: Matrix) -> Result<Self> {
        let (rows, columns) = matrix.dims()?;
        let numbers = matrix.dense()?.to_dtype(DType::F32)?.flatten_all()?;
        match RoundedMatrix::pack(&numbers.to_vec1::<f32>()?, rows, columns) {
            Some(matrix) => Ok(PackedWeights::Packed(Arc::new(matrix))),
            None => bail!("a number is not finite"),
        }
    }

    /// The products of `x`, of shape `n × columns` and contiguous, with all rows: `n × rows`.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            PackedWeights::Packed(matrix) => {
                in_32_bits(x, |x| x.apply_op1_no_bwd(&Product(&**matrix)))
            }
            PackedWeights::Dense(tensor) => x.matmul(&tensor.t()?),
            PackedWeights::Quantized { product, .. } => in_32_bits(x, |x| product.forward(x)),
        }
    }

    /// The same for rows in 32 bits on the CPU, behind each other.
    pub(crate) fn product_of(&self, x: &[f32]) -> Result<Vec<f32>> {
        if let PackedWeights::Packed(matrix) = self {
            return Ok(matrix.product(x));
        }
        let columns = match self {
            PackedWeights::Packed(matrix) => matrix.columns(),
            PackedWeights::Dense(tensor) => tensor.dim(1)?,
            PackedWeights::Quantized { blocks, .. } => blocks.shape().dims2()?.1,
        };
        let x = Tensor::from_slice(x, (x.len() / columns, columns), &Device::Cpu)?;
        self.product(&x)?.flatten_all()?.to_vec1()
    }

    /// Makes each vector what so many rows of `x` give, the first vector what the first rows do, in memory
    /// that it has already; or answers that this cannot be done.
    pub(crate) fn product_to(
        &self,
        x: &Tensor,
        parts: &mut [(usize, &mut Vec<f32>)],
    ) -> Result<bool> {
        let PackedWeights::Packed(matrix) = self else {
            return Ok(false);
        };
        let (storage, layout) = x.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            return Ok(false);
        };
        if x.dtype() != DType::F32 {
            return Ok(false);
        }
        matrix.product_to(rows_of(&**matrix, storage, layout)?.0, parts);
        Ok(true)
    }

    /// The rows of the given numbers, in `dtype`.
    pub(crate) fn select(&self, rows: &Tensor, dtype: DType) -> Result<Tensor> {
        match self {
            PackedWeights::Dense(tensor) => tensor.index_select(rows, 0)?.to_dtype(dtype),
            PackedWeights::Quantized { blocks, .. } => blocks.embedding(rows)?.to_dtype(dtype),
            PackedWeights::Packed(matrix) => {
                let rows = rows.to_vec1::<u32>()?;
                let columns = matrix.columns();
                let mut numbers = vec![0f32; rows.len() * columns];
                for (row, out) in rows.iter().zip(numbers.chunks_exact_mut(columns)) {
                    if *row as usize >= matrix.rows() {
                        bail!("there is no row {row} in a matrix of {}", matrix.rows());
                    }
                    matrix.row(*row as usize, out);
                }
                Tensor::from_vec(numbers, (rows.len(), columns), &Device::Cpu)?.to_dtype(dtype)
            }
        }
    }
}

fn pack_floats(tensor: &Tensor) -> Result<Option<Arc<dyn WeightMatrix>>> {
    let (rows, columns) = tensor.dims2()?;
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    Ok(match &*storage {
        Storage::Cpu(numbers) => FloatMatrix::pack(numbers, layout.start_offset(), rows, columns)
            .map(|matrix| Arc::new(matrix) as _),
        _ => None,
    })
}

fn pack_blocks(blocks: &QTensor) -> Result<Option<Arc<dyn WeightMatrix>>> {
    if !blocks.device().is_cpu() {
        return Ok(None);
    }
    let (rows, columns) = blocks.shape().dims2()?;
    Ok(
        PackedMatrix::pack(blocks.dtype(), &blocks.data()?, rows, columns)
            .map(|matrix| Arc::new(matrix) as _),
    )
}

fn pack_levels(blocks: &LevelBlocks) -> Option<Arc<dyn WeightMatrix>> {
    let packed_type = blocks.kind.packed_type()?;
    PackedMatrix::pack(packed_type, &blocks.bytes, blocks.rows, blocks.columns)
        .map(|matrix| Arc::new(matrix) as _)
}

fn pack_stored(stored: &StoredRows) -> Result<Option<Arc<dyn WeightMatrix>>> {
    let (rows, columns) = stored.dims();
    let read = |first: usize, bytes: &mut [u8]| stored.read(first, bytes);
    let block_type = stored.block_type();
    let packed = match (block_type.float_type(), block_type.packed_type()) {
        (Some(dtype), _) => FloatMatrix::read(dtype, rows, columns, read)
            .map(|matrix| matrix.map(|matrix| Arc::new(matrix) as _)),
        (None, Some(packed_type)) => PackedMatrix::read(packed_type, rows, columns, read)
            .map(|matrix| matrix.map(|matrix| Arc::new(matrix) as _)),
        (None, None) => Ok(None),
    };
    packed.map_err(candle_core::Error::wrap)
}

/// What kernels that take and give 32 bits make of rows of another type.
fn in_32_bits(x: &Tensor, product: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    product(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
}

/// The product of contiguous rows and the transpose of a matrix.
struct Product<'a>(&'a dyn WeightMatrix);

impl CustomOp1 for Product<'_> {
    fn name(&self) -> &'static str {
        "product-with-packed-weights"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (numbers, rows) = rows_of(self.0, storage, layout)?;
        let out = self.0.product(numbers);
        Ok((CpuStorage::F32(out), Shape::from((rows, self.0.rows()))))
    }
}

/// The rows that a matrix can be multiplied with, and how many they are.
fn rows_of<'a>(
    matrix: &dyn WeightMatrix,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<(&'a [f32], usize)> {
    let (CpuStorage::F32(numbers), Some((start, end))) = (storage, layout.contiguous_offsets())
    else {
        bail!("expected contiguous rows in 32 bits");
    };
    let (rows, columns) = layout.shape().dims2()?;
    if columns != matrix.columns() {
        bail!("expected rows of {}, got {columns}", matrix.columns());
    }
    Ok((&numbers[start..end], rows))
}
