//! Matrices that rows are multiplied by.

use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{
    CpuStorage, CustomOp1, DType, Device, Layout, Module, Result, Shape, Storage, Tensor, bail,
};
use candle4j_kernels::{FloatMatrix, PackedMatrix, WeightMatrix};

/// A matrix of `rows × columns`, in the format that it is kept in.
#[derive(Debug, Clone)]
pub(crate) enum Matrix {
    /// Floating point numbers, multiplied as such.
    Dense(Tensor),
    /// Blocks of small integers with scales, multiplied as they are.
    Quantised(Arc<QTensor>),
    /// Either in the order of our own kernels.
    Packed(Arc<dyn WeightMatrix>),
}

impl Matrix {
    /// The same in the order of our own kernels, where there are any for its type.
    pub(crate) fn packed(self) -> Result<Matrix> {
        let packed = match &self {
            Matrix::Dense(tensor) if tensor.device().is_cpu() => pack_floats(tensor)?,
            Matrix::Quantised(tensor) if tensor.device().is_cpu() => {
                let (rows, columns) = tensor.shape().dims2()?;
                PackedMatrix::pack(tensor.dtype(), &tensor.data()?, rows, columns)
                    .map(|matrix| Arc::new(matrix) as _)
            }
            _ => None,
        };
        Ok(packed.map_or(self, Matrix::Packed))
    }

    /// Its rows below those of `others`, all with as many columns, when that is possible: a
    /// quantised matrix can only continue in its own type.
    fn stack(parts: &[Matrix]) -> Result<Option<Matrix>> {
        let mut dense = Vec::new();
        let mut quantised = Vec::new();
        for part in parts {
            match part {
                Matrix::Dense(tensor) => dense.push(tensor),
                Matrix::Quantised(tensor) => quantised.push(tensor),
                Matrix::Packed(_) => return Ok(None),
            }
        }
        if quantised.is_empty() && dense.iter().any(|t| t.dtype() != dense[0].dtype()) {
            return Ok(None);
        }
        if quantised.is_empty() {
            return Tensor::cat(&dense, 0).map(|t| Some(Matrix::Dense(t)));
        }
        let dtype = quantised[0].dtype();
        if !dense.is_empty() || quantised.iter().any(|t| t.dtype() != dtype) {
            return Ok(None);
        }
        let (_, columns) = quantised[0].shape().dims2()?;
        let mut rows = 0;
        let mut bytes = Vec::new();
        for tensor in &quantised {
            rows += tensor.shape().dims2()?.0;
            bytes.extend_from_slice(&tensor.data()?);
        }
        quantised_matrix(dtype, &bytes, (rows, columns), &quantised[0].device()).map(Some)
    }

    fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Matrix::Dense(tensor) => tensor.dims2(),
            Matrix::Quantised(tensor) => tensor.shape().dims2(),
            Matrix::Packed(matrix) => Ok((matrix.rows(), matrix.columns())),
        }
    }

    /// Its numbers as floating point numbers.
    pub(crate) fn dense(self) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => Ok(tensor),
            Matrix::Quantised(tensor) => tensor.dequantize(&tensor.device()),
            Matrix::Packed(ref matrix) => {
                let rows = Tensor::arange(0, matrix.rows() as u32, &Device::Cpu)?;
                self.select(&rows, DType::F32)
            }
        }
    }

    /// The rows of the given numbers, in `dtype`.
    pub(crate) fn select(&self, rows: &Tensor, dtype: DType) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => tensor.index_select(rows, 0)?.to_dtype(dtype),
            Matrix::Quantised(tensor) => tensor.embedding(rows)?.to_dtype(dtype),
            Matrix::Packed(matrix) => {
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

/// Bytes that so many numbers of a quantised matrix take in memory.
pub(crate) fn quantised_bytes(dtype: GgmlDType, numbers: u64, device: &Device) -> u64 {
    PackedMatrix::byte_len(dtype, numbers)
        .filter(|_| device.is_cpu())
        .unwrap_or_else(|| numbers / dtype.block_size() as u64 * dtype.type_size() as u64)
}

/// A quantised matrix from its bytes.
pub(crate) fn quantised_matrix(
    dtype: GgmlDType,
    bytes: &[u8],
    (rows, columns): (usize, usize),
    device: &Device,
) -> Result<Matrix> {
    use candle_core::quantized::ggml_file::qtensor_from_ggml;
    let tensor = qtensor_from_ggml(dtype, bytes, vec![rows, columns], device)?;
    Ok(Matrix::Quantised(Arc::new(tensor)))
}

/// Multiplies rows by the transpose of a matrix, and adds a bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    kernel: Kernel,
    bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
enum Kernel {
    /// `columns × rows`, a view of the matrix, on a device that is not the CPU.
    Dense(Tensor),
    /// Candle's kernels of the format.
    Quantised(QMatMul),
    /// Our own.
    Packed(Arc<dyn WeightMatrix>),
}

impl Linear {
    /// A layer of a matrix, and a bias of as many elements as the matrix has rows.
    pub(crate) fn new(matrix: Matrix, bias: Option<Tensor>) -> Result<Self> {
        let kernel = match matrix.packed()? {
            Matrix::Packed(matrix) => Kernel::Packed(matrix),
            Matrix::Quantised(tensor) => Kernel::Quantised(QMatMul::from_arc(tensor)?),
            Matrix::Dense(tensor) => Kernel::Dense(tensor.t()?),
        };
        Ok(Self { kernel, bias })
    }

    /// `x`, of shape `n × columns` and contiguous, becomes `n × rows`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = match &self.kernel {
            Kernel::Dense(matrix) => x.matmul(matrix),
            Kernel::Quantised(matrix) => in_32_bits(x, |x| matrix.forward(x)),
            Kernel::Packed(matrix) => in_32_bits(x, |x| x.apply_op1_no_bwd(&Product(&**matrix))),
        }?;
        match &self.bias {
            None => Ok(product),
            Some(bias) => product.broadcast_add(bias),
        }
    }
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
        let (CpuStorage::F32(numbers), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("expected contiguous rows in 32 bits");
        };
        let (rows, columns) = layout.shape().dims2()?;
        if columns != self.0.columns() {
            bail!("expected rows of {}, got {columns}", self.0.columns());
        }
        let mut out = vec![0f32; rows * self.0.rows()];
        self.0.multiply(&numbers[start..end], &mut out);
        Ok((CpuStorage::F32(out), Shape::from((rows, self.0.rows()))))
    }
}

/// Several linear layers over the same rows, as one matrix where their formats allow it.
#[derive(Debug, Clone)]
pub(crate) struct FusedLinear {
    /// One layer for all, or one for each.
    layers: Vec<Linear>,
    /// Rows of each matrix.
    sizes: Vec<usize>,
}

impl FusedLinear {
    /// Fuses matrices of as many columns, each with its bias.
    pub(crate) fn new(parts: Vec<(Matrix, Option<Tensor>)>) -> Result<Self> {
        let sizes = parts
            .iter()
            .map(|(matrix, _)| Ok(matrix.dims()?.0))
            .collect::<Result<Vec<_>>>()?;
        let (matrices, biases): (Vec<Matrix>, Vec<Option<Tensor>>) = parts.into_iter().unzip();
        let biased = biases.iter().filter(|bias| bias.is_some()).count();
        let stacked = match biased == 0 || biased == biases.len() {
            true => Matrix::stack(&matrices)?,
            false => None,
        };
        let layers = match stacked {
            Some(matrix) => {
                let biases: Vec<Tensor> = biases.into_iter().flatten().collect();
                let bias = match biases.is_empty() {
                    true => None,
                    false => Some(Tensor::cat(&biases, 0)?),
                };
                vec![Linear::new(matrix, bias)?]
            }
            None => matrices
                .into_iter()
                .zip(biases)
                .map(|(matrix, bias)| Linear::new(matrix, bias))
                .collect::<Result<_>>()?,
        };
        Ok(Self { layers, sizes })
    }

    /// The product of each matrix, maybe as a view whose rows have gaps between them.
    pub(crate) fn forward<const N: usize>(&self, x: &Tensor) -> Result<[Tensor; N]> {
        let products: Vec<Tensor> = match self.layers.as_slice() {
            [fused] if self.sizes.len() > 1 => {
                let product = fused.forward(x)?;
                let mut start = 0;
                self.sizes
                    .iter()
                    .map(|size| {
                        let part = product.narrow(1, start, *size)?;
                        start += size;
                        Ok(part)
                    })
                    .collect::<Result<_>>()?
            }
            layers => layers
                .iter()
                .map(|layer| layer.forward(x))
                .collect::<Result<_>>()?,
        };
        products
            .try_into()
            .map_err(|_| candle_core::Error::Msg(format!("expected {N} fused matrices")))
    }
}
