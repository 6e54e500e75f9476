//! Operations on rows of states, each row by itself, on the threads of the kernels.

use candle4j_kernels::layer_norm;

use super::numbers::vector;
use crate::description::LayerNorm;
pub(super) use crate::engines::fused::rows::for_each_row;
use crate::error::Result;
use crate::formats::TensorSource;

/// LayerNorm (Ba et al. 2016).
#[derive(Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    /// Empty for none.
    bias: Vec<f32>,
    eps: f32,
}

impl Norm {
    /// Reads a norm by its name, without `.weight`.
    pub(super) fn load(
        source: &dyn TensorSource,
        name: &str,
        width: usize,
        norm: LayerNorm,
    ) -> Result<Self> {
        Ok(Self {
            weight: vector(source, &format!("{name}.weight"), width)?,
            bias: match norm.bias {
                true => vector(source, &format!("{name}.bias"), width)?,
                false => Vec::new(),
            },
            eps: norm.eps as f32,
        })
    }

    /// Norms one row.
    pub(super) fn row(&self, row: &mut [f32]) {
        layer_norm(row, &self.weight, &self.bias, self.eps);
    }

    /// Norms all rows.
    pub(super) fn forward(&self, x: &mut [f32]) {
        for_each_row(x, self.weight.len(), |_, row| self.row(row));
    }

    /// Normed copies of all rows.
    pub(super) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut normed = x.to_vec();
        self.forward(&mut normed);
        normed
    }
}

/// Adds a bias to a row; an empty one adds nothing.
pub(super) fn add_bias(row: &mut [f32], bias: &[f32]) {
    for (number, bias) in row.iter_mut().zip(bias) {
        *number += bias;
    }
}

/// `x += more + bias`, and the norm of that, where there is one.
pub(super) fn add_and_norm(
    x: &mut [f32],
    more: &[f32],
    width: usize,
    bias: &[f32],
    norm: Option<&Norm>,
) {
    for_each_row(x, width, |index, row| {
        add_bias(row, &more[index * width..][..width]);
        add_bias(row, bias);
        if let Some(norm) = norm {
            norm.row(row);
        }
    });
}
