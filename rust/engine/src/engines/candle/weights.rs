//! Candle's view of a model's tensors.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;

use crate::description::{EMBEDDING, HEAD, ModelDescription};
use crate::error::Error;
use crate::formats::folder::CheckpointTensors;

/// The first failure while Candle asked for tensors. Candle's own error type cannot carry ours.
pub(super) type Failure = Arc<Mutex<Option<Error>>>;

/// A `VarBuilder` that reads from `weights` and converts to `dtype`.
///
/// It makes Candle honour `tie_word_embeddings`: where the embedding is the output projection, a
/// model that asks for `lm_head` gets it, and a model that asks whether there is one hears no.
pub(super) fn var_builder(
    weights: Arc<CheckpointTensors>,
    config: &ModelDescription,
    dtype: DType,
    device: &Device,
) -> (VarBuilder<'static>, Failure) {
    let failure = Failure::default();
    let backend = Backend {
        weights,
        tied: config.tie_word_embeddings,
        failure: failure.clone(),
    };
    let builder = VarBuilder::from_backend(Box::new(backend), dtype, device.clone());
    (builder, failure)
}

struct Backend {
    weights: Arc<CheckpointTensors>,
    tied: bool,
    failure: Failure,
}

impl Backend {
    fn load(
        &self,
        name: &str,
        shape: Option<&[usize]>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        let name = if self.tied && name == HEAD {
            EMBEDDING
        } else {
            name
        };
        let entry = match (shape, self.weights.get(name)) {
            (Some(shape), _) => self.weights.expect(name, shape)?,
            (None, Some(entry)) => entry,
            (None, None) => {
                return Err(Error::InvalidTensor {
                    file: String::new(),
                    tensor: name.into(),
                    expected: "a tensor of that name".into(),
                    got: "none".into(),
                });
            }
        };
        self.weights.tensor(entry, dtype, device)
    }

    fn remember(&self, error: Error) -> candle_core::Error {
        let message = error.to_string();
        self.failure
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get_or_insert(error);
        candle_core::Error::Msg(message)
    }
}

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.load(name, Some(shape.dims()), dtype, device)
            .map_err(|e| self.remember(e))
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.load(name, None, dtype, device)
            .map_err(|e| self.remember(e))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        !(self.tied && name == HEAD) && self.weights.get(name).is_some()
    }
}
