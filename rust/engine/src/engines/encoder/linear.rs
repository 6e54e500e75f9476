//! Linear layers over rows in 32 bits.

use candle_core::Result;

use super::numbers::vector;
use super::rows::{add_bias, for_each_row};
use crate::engines::fused::packed_weights::PackedWeights;
use crate::error::Result as EngineResult;
use crate::formats::{Matrix, TensorSource, unreadable};

/// One or several matrices over the same rows, whose results stand beside each other, and their biases.
#[derive(Debug)]
pub(super) struct Linear {
    /// One for all where their formats allow it.
    matrices: Vec<(PackedWeights, usize)>,
    /// Empty for none.
    bias: Vec<f32>,
    width: usize,
}

impl Linear {
    /// Reads matrices of `columns` columns by their names (without `.weight`) and rows.
    pub(super) fn load(
        source: &dyn TensorSource,
        parts: &[(String, usize)],
        columns: usize,
        biased: bool,
        rounded: bool,
    ) -> EngineResult<Self> {
        let mut matrices = Vec::with_capacity(parts.len());
        let mut bias = Vec::new();
        for (name, rows) in parts {
            matrices.push(source.matrix(&format!("{name}.weight"), (*rows, columns))?);
            if biased {
                bias.extend(vector(source, &format!("{name}.bias"), *rows)?);
            }
        }
        let width = parts.iter().map(|(_, rows)| rows).sum();
        let pack = |matrix: Matrix| match rounded {
            true => PackedWeights::rounded(matrix),
            false => PackedWeights::new(matrix),
        };
        let packed = || -> Result<Vec<(PackedWeights, usize)>> {
            if let Some(all) = Matrix::stack(&matrices)? {
                return Ok(vec![(pack(all)?, width)]);
            }
            matrices
                .into_iter()
                .zip(parts)
                .map(|(matrix, (_, rows))| Ok((pack(matrix)?, *rows)))
                .collect()
        };
        let matrices = packed().map_err(|e| unreadable(&parts[0].0, &e))?;
        Ok(Self {
            matrices,
            bias,
            width,
        })
    }

    /// Numbers of a row of results.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The biases; empty for none.
    pub(super) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The products of rows, without the biases.
    pub(super) fn product(&self, x: &[f32]) -> Result<Vec<f32>> {
        let [(matrix, _)] = &self.matrices[..] else {
            return self.products(x);
        };
        matrix.product_of(x)
    }

    fn products(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        let mut start = 0;
        for (matrix, rows) in &self.matrices {
            let product = matrix.product_of(x)?;
            all.resize(product.len() / rows * self.width, 0.0);
            for (row, numbers) in all
                .chunks_exact_mut(self.width)
                .zip(product.chunks_exact(*rows))
            {
                row[start..start + rows].copy_from_slice(numbers);
            }
            start += rows;
        }
        Ok(all)
    }

    /// The products of rows, with the biases.
    pub(super) fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut product = self.product(x)?;
        if !self.bias.is_empty() {
            for_each_row(&mut product, self.width, |_, row| add_bias(row, &self.bias));
        }
        Ok(product)
    }
}
