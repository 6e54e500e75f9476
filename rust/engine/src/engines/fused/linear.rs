//! Linear layers: a matrix in whatever format, and maybe a bias.

use candle_core::{DType, Result, Tensor};

use super::packed_weights::PackedWeights;
use super::rows::add;
use crate::formats::Matrix;

/// Multiplies rows by the transpose of a matrix, and adds a bias.
#[derive(Debug)]
pub(crate) struct Linear {
    weights: PackedWeights,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer of weights, and a bias of as many elements as they have rows.
    pub(crate) fn new(weights: PackedWeights, bias: Option<Tensor>) -> Self {
        Self { weights, bias }
    }

    /// `x`, of shape `n × columns` and contiguous, becomes `n × rows`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = self.weights.product(x)?;
        match &self.bias {
            None => Ok(product),
            Some(bias) => add(&product, bias),
        }
    }

    /// The same, but each vector becomes what so many rows give, the first vector what the first rows do.
    pub(crate) fn forward_to(
        &self,
        x: &Tensor,
        parts: &mut [(usize, &mut Vec<f32>)],
    ) -> Result<()> {
        if self.bias.is_none() && self.weights.product_to(x, parts)? {
            return Ok(());
        }
        let product = self.forward(x)?.to_dtype(DType::F32)?;
        let mut start = 0;
        for (count, out) in parts {
            **out = product.narrow(0, start, *count)?.flatten_all()?.to_vec1()?;
            start += *count;
        }
        Ok(())
    }
}

/// Several linear layers over the same rows, as one matrix where their formats allow it.
#[derive(Debug)]
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
                vec![Linear::new(PackedWeights::new(matrix)?, bias)]
            }
            None => matrices
                .into_iter()
                .zip(biases)
                .map(|(matrix, bias)| Ok(Linear::new(PackedWeights::new(matrix)?, bias)))
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
