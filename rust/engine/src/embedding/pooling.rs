//! From the states of a text's tokens to its vector.

use std::path::Path;

use candle_core::{DType, Device, Result as CandleResult, Tensor};

use crate::error::{Error, Result, candle_error};
use crate::files;
use crate::formats::Tensors;
use crate::formats::folder::CheckpointTensors;
use crate::formats::folder::sentence::{DenseActivation, DenseWeights, Module, PoolingMode};

/// A step, with its weights.
#[derive(Debug)]
pub(super) enum Step {
    Dense {
        weight: Tensor,
        bias: Option<Tensor>,
        activation: DenseActivation,
    },
    Normalize,
}

/// How states become a vector.
#[derive(Debug)]
pub(super) struct Pooling {
    pub(super) modes: Vec<PoolingMode>,
    pub(super) include_prompt: bool,
    pub(super) steps: Vec<Step>,
    /// Numbers of a vector.
    pub(super) dimensions: usize,
}

impl Pooling {
    /// Reads the weights of the steps behind states of `width` numbers of a model with these tensors.
    ///
    /// # Errors
    /// Those of the files, and [`Error::InvalidFile`] for steps that do not fit each other.
    pub(super) fn load(modules: &[Module], width: usize, model: &Tensors) -> Result<Self> {
        let mut pooling = Self {
            modes: vec![PoolingMode::Mean],
            include_prompt: true,
            steps: Vec::new(),
            dimensions: width,
        };
        for module in modules {
            match module {
                Module::Pooling {
                    modes,
                    include_prompt,
                } => {
                    pooling.modes.clone_from(modes);
                    pooling.include_prompt = *include_prompt;
                    pooling.dimensions = width * modes.len();
                }
                Module::Normalize => pooling.steps.push(Step::Normalize),
                Module::Dense {
                    weights,
                    columns,
                    rows,
                    bias,
                    activation,
                } => {
                    let shape = (*rows, *columns);
                    let step = match weights {
                        DenseWeights::Folder(folder) => {
                            if *columns != pooling.dimensions {
                                return Err(Error::InvalidFile {
                                    file: format!("{}/config.json", files::name(folder)),
                                    reason: format!(
                                        "in_features is {columns}, but vectors have {} numbers here",
                                        pooling.dimensions
                                    ),
                                });
                            }
                            dense(folder, shape, *bias, *activation)?
                        }
                        DenseWeights::Gguf(name) => {
                            if *columns != pooling.dimensions {
                                return Err(Error::InvalidTensor {
                                    file: String::new(),
                                    tensor: (*name).into(),
                                    expected: format!("{} columns", pooling.dimensions),
                                    got: format!("shape {:?}", [rows, columns]),
                                });
                            }
                            dense_of_model(model, name, shape, *activation)?
                        }
                    };
                    pooling.steps.push(step);
                    pooling.dimensions = *rows;
                }
                Module::LogitScore { .. } => {
                    return Err(Error::NotSupported(
                        "embeddings of a model that gives scores; load it as a reranker".into(),
                    ));
                }
            }
        }
        Ok(pooling)
    }

    /// Whether the last token's state is all that is needed.
    pub(super) fn needs_last_alone(&self) -> bool {
        self.modes == [PoolingMode::LastToken]
    }

    /// The vector of a text, from the states of its tokens. The first `prompt` of them are those of the prompt.
    ///
    /// # Errors
    /// [`Error::Compute`].
    pub(super) fn vector(&self, states: &[f32], width: usize, prompt: usize) -> Result<Vec<f32>> {
        let count = states.len() / width;
        // A text that is all prompt has nothing else to tell.
        let left_out = match self.include_prompt {
            true => 0,
            false => prompt.min(count.saturating_sub(1)),
        };
        let states: Vec<&[f32]> = states.chunks_exact(width).collect();
        let mut vector = Vec::with_capacity(self.modes.len() * width);
        for mode in &self.modes {
            vector.extend(pooled(*mode, &states, left_out, width));
        }
        for step in &self.steps {
            vector = step.forward(vector).map_err(|e| candle_error(&e))?;
        }
        Ok(vector)
    }
}

/// One mode's vector, of the states behind the first `left_out`.
fn pooled(mode: PoolingMode, states: &[&[f32]], left_out: usize, width: usize) -> Vec<f32> {
    let seen = &states[left_out..];
    let sum = |weight: &dyn Fn(usize) -> f32| {
        let mut sum = vec![0f32; width];
        for (index, state) in seen.iter().enumerate() {
            let weight = weight(index);
            for (sum, number) in sum.iter_mut().zip(*state) {
                *sum += weight * number;
            }
        }
        sum
    };
    let divided = |mut sum: Vec<f32>, by: f32| {
        sum.iter_mut().for_each(|number| *number /= by);
        sum
    };
    match mode {
        PoolingMode::Cls => seen[0].to_vec(),
        PoolingMode::LastToken => seen[seen.len() - 1].to_vec(),
        PoolingMode::Mean => divided(sum(&|_| 1.0), seen.len() as f32),
        PoolingMode::MeanSqrtLen => divided(sum(&|_| 1.0), (seen.len() as f32).sqrt()),
        PoolingMode::WeightedMean => {
            let weight = |index: usize| (left_out + index + 1) as f32;
            let all = (0..seen.len()).map(weight).sum();
            divided(sum(&weight), all)
        }
        PoolingMode::Max => {
            let mut most = vec![f32::NEG_INFINITY; width];
            for state in seen {
                for (most, number) in most.iter_mut().zip(*state) {
                    *most = most.max(*number);
                }
            }
            most
        }
    }
}

/// Divides a vector by its length, as torch does: one without a length stays as it is.
pub(super) fn normalize(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let length = (square.sqrt() as f32).max(1e-12);
    vector.iter_mut().for_each(|x| *x /= length);
}

fn dense(
    folder: &Path,
    (rows, columns): (usize, usize),
    bias: bool,
    activation: DenseActivation,
) -> Result<Step> {
    let tensors = CheckpointTensors::open(folder)?;
    let read = |name: &str, shape: &[usize]| {
        let entry = tensors.expect(name, shape)?;
        tensors.tensor(entry, DType::F32, &Device::Cpu)
    };
    Ok(Step::Dense {
        weight: read("linear.weight", &[rows, columns])?,
        bias: match bias {
            true => Some(read("linear.bias", &[rows])?),
            false => None,
        },
        activation,
    })
}

/// A layer without a bias whose weights are among the model's.
fn dense_of_model(
    model: &Tensors,
    name: &str,
    shape: (usize, usize),
    activation: DenseActivation,
) -> Result<Step> {
    let device = Device::Cpu;
    let numbers = model.encoder_source(None, &device).table(name, shape)?;
    Ok(Step::Dense {
        weight: Tensor::from_vec(numbers, shape, &device).map_err(|e| candle_error(&e))?,
        bias: None,
        activation,
    })
}

impl Step {
    fn forward(&self, mut vector: Vec<f32>) -> CandleResult<Vec<f32>> {
        let Step::Dense {
            weight,
            bias,
            activation,
        } = self
        else {
            normalize(&mut vector);
            return Ok(vector);
        };
        let columns = vector.len();
        let x = Tensor::from_vec(vector, (1, columns), &Device::Cpu)?;
        let mut x = x.matmul(&weight.t()?)?.squeeze(0)?;
        if let Some(bias) = bias {
            x = (x + bias)?;
        }
        match activation {
            DenseActivation::Identity => x,
            DenseActivation::Tanh => x.tanh()?,
            DenseActivation::Sigmoid => candle_nn::ops::sigmoid(&x)?,
            DenseActivation::Relu => x.relu()?,
            DenseActivation::Gelu => x.gelu_erf()?,
            DenseActivation::Silu => candle_nn::ops::silu(&x)?,
        }
        .to_vec1()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_is_its_formula() {
        let states = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0];
        let of = |mode, include_prompt, prompt| {
            let pooling = Pooling {
                modes: vec![mode],
                include_prompt,
                steps: Vec::new(),
                dimensions: 2,
            };
            pooling.vector(&states, 2, prompt).unwrap()
        };
        assert_eq!(of(PoolingMode::Cls, true, 1), [1.0, 2.0]);
        assert_eq!(of(PoolingMode::Cls, false, 1), [3.0, 4.0]);
        assert_eq!(of(PoolingMode::Mean, true, 1), [3.0, 2.0]);
        assert_eq!(of(PoolingMode::Mean, false, 1), [4.0, 2.0]);
        assert_eq!(of(PoolingMode::Mean, false, 9), [5.0, 0.0]);
        assert_eq!(of(PoolingMode::Max, true, 0), [5.0, 4.0]);
        assert_eq!(of(PoolingMode::LastToken, true, 0), [5.0, 0.0]);
        assert_eq!(
            of(PoolingMode::WeightedMean, true, 0),
            [22.0 / 6.0, 10.0 / 6.0]
        );
        assert_eq!(of(PoolingMode::WeightedMean, false, 2), [5.0, 0.0]);
        let root = 3f32.sqrt();
        assert_eq!(
            of(PoolingMode::MeanSqrtLen, true, 0),
            [9.0 / root, 6.0 / root]
        );
    }

    #[test]
    fn a_vector_without_length_stays() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut nothing = [0.0, 0.0];
        normalize(&mut nothing);
        assert_eq!(nothing, [0.0, 0.0]);
    }
}
