//! The head of a classifier: scores of a text from the state of its first token.

use candle_core::Result;
use candle4j_kernels::{Activation as Kernel, activate};

use super::linear::Linear;
use super::rows::{Norm, add_bias, for_each_row};
use crate::architectures::encoders::{ClassifierHead, HeadActivation};
use crate::description::encoder::EncoderDescription;
use crate::error::Result as EngineResult;
use crate::formats::TensorSource;

/// The weights of a head.
#[derive(Debug)]
pub(crate) struct Head {
    mean: bool,
    dense: Linear,
    activation: Kernel,
    norm: Option<Norm>,
    scores: Linear,
}

impl Head {
    /// Reads the weights of a head with so many scores.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`](crate::error::Error::InvalidTensor) for weights that are missing or of other shapes.
    pub(crate) fn load(
        head: &ClassifierHead,
        description: &EncoderDescription,
        scores: usize,
        source: &dyn TensorSource,
    ) -> EngineResult<Self> {
        let hidden = description.hidden_size;
        let linear = |name: &str, rows: usize, bias: bool| {
            Linear::load(source, &[(name.to_owned(), rows)], hidden, bias, false)
        };
        Ok(Self {
            mean: head.mean,
            dense: linear(head.dense, hidden, head.dense_bias)?,
            activation: match head.activation {
                HeadActivation::Tanh => Kernel::Tanh,
                HeadActivation::Of(activation) => activation.kernel(),
            },
            norm: match (head.norm, description.final_norm) {
                (Some(name), Some(norm)) => Some(Norm::load(source, name, hidden, norm)?),
                _ => None,
            },
            scores: linear(head.scores, scores, true)?,
        })
    }

    /// Adds what the head reads of a text's states, `tokens × width`.
    pub(crate) fn pool(&self, states: &[f32], width: usize, pooled: &mut Vec<f32>) {
        let start = pooled.len();
        pooled.extend_from_slice(&states[..width]);
        if self.mean {
            let own = &mut pooled[start..];
            for state in states.chunks_exact(width).skip(1) {
                add_bias(own, state);
            }
            let count = (states.len() / width) as f32;
            own.iter_mut().for_each(|number| *number /= count);
        }
    }

    /// The scores of texts, a row each, from their pooled states, `texts × hidden_size`.
    pub(crate) fn scores(&self, pooled: &[f32]) -> Result<Vec<f32>> {
        let mut x = self.dense.forward(pooled)?;
        let width = self.dense.width();
        for_each_row(&mut x, width, |_, row| {
            activate(self.activation, row);
            if let Some(norm) = &self.norm {
                norm.row(row);
            }
        });
        self.scores.forward(&x)
    }
}
