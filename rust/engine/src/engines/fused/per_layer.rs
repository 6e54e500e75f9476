//! What each layer is told of the tokens besides (as in Gemma 4).

use candle_core::{Result, Tensor};

use super::feed_forward::activated;
use super::linear::Linear;
use super::norm::Norm;
use super::rows::{add, multiply};
use crate::description::Activation;
use crate::formats::LazyRows;

/// Gives the inputs of all layers.
pub(crate) struct PerLayerEmbedding {
    /// A row a token, with the vectors of all layers behind each other. It is far larger than all that is multiplied, and
    /// stays where it is.
    pub(super) rows: Box<dyn LazyRows>,
    /// From the model's embedding.
    pub(super) projection: Linear,
    /// Of each vector from there.
    pub(super) norm: Norm,
    /// Width of the model's embedding.
    pub(super) hidden: usize,
    /// Width of a vector.
    pub(super) size: usize,
}

impl PerLayerEmbedding {
    /// `tokens × (layers · size)`, for tokens and their rows of the model's embedding.
    pub(super) fn inputs(&self, tokens: &[u32], x: &Tensor) -> Result<Tensor> {
        let projected = (self.projection.forward(x)? * (self.hidden as f64).powf(-0.5))?;
        let (rows, all) = projected.dims2()?;
        let each = projected.reshape((rows * all / self.size, self.size))?;
        let normed = self.norm.forward(&each)?.reshape((rows, all))?;
        let own = Tensor::from_vec(self.rows.read(tokens)?, (rows, all), x.device())?;
        let own = (own * (self.size as f64).sqrt())?.to_dtype(x.dtype())?;
        add(&normed, &own)? * 0.5f64.sqrt()
    }
}

/// What a layer makes of its inputs.
pub(crate) struct PerLayerBlock {
    pub(super) gate: Linear,
    pub(super) projection: Linear,
    pub(super) norm: Norm,
    pub(super) activation: Activation,
    pub(super) size: usize,
}

impl PerLayerBlock {
    /// The residual stream, with what layer `layer` makes of its part of the `inputs`.
    pub(super) fn forward(&self, x: &Tensor, inputs: &Tensor, layer: usize) -> Result<Tensor> {
        let gate = activated(&self.gate.forward(x)?, self.activation)?;
        let input = inputs.narrow(1, layer * self.size, self.size)?;
        let output = self
            .projection
            .forward(&multiply(&gate, &input.contiguous()?)?)?;
        add(x, &self.norm.forward(&output)?)
    }
}
