//! One of Candle's models behind the engine's own trait.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::weights::var_builder;
use super::{CandleArchitecture, CandleForward, quantized_llama};
use crate::cancel::Stop;
use crate::description::ModelDescription;
use crate::engines::{CandleModel, ModelLimits, check_finite};
use crate::error::{Error, Result, candle_error};
use crate::formats::Tensors;

/// Tokens of a prompt that go through the model at once. A call is stopped between two such chunks, and the
/// working memory of a prefill is bounded.
const CHUNK: usize = 512;

/// One of Candle's models with a KV cache of its own.
pub(crate) struct CandleDecoder {
    model: Box<dyn CandleForward>,
    limits: Arc<ModelLimits>,
    device: Device,
    position: usize,
}

impl CandleDecoder {
    /// Loads the weights, those of a folder in `dtype`, after having made sure that all tensors are there and that
    /// Candle computes the model rightly.
    pub(crate) fn load(
        description: &ModelDescription,
        tensors: &Tensors,
        limits: Arc<ModelLimits>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let tensors = match tensors {
            Tensors::Folder(tensors) => tensors,
            Tensors::Gguf(tensors) => {
                let model = quantized_llama::load(tensors, description, device)?;
                return Ok(Self::new(model, limits, device));
            }
        };
        let description = ModelDescription {
            max_position_embeddings: limits.context_length,
            ..description.clone()
        };
        for (name, shape) in description.tensors() {
            tensors.expect(&name, &shape)?;
        }
        let architecture = CandleArchitecture::of(&description)?;
        (architecture.check)(&description)?;
        let (builder, failure) = var_builder(tensors.clone(), &description, dtype, device);
        let model = (architecture.build)(&description, builder).map_err(|error| {
            let remembered = failure
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .take();
            remembered.unwrap_or_else(|| candle_error(&error))
        })?;
        Ok(Self::new(model, limits, device))
    }

    /// A sequence with an empty cache over weights that are loaded.
    fn new(model: Box<dyn CandleForward>, limits: Arc<ModelLimits>, device: &Device) -> Self {
        Self {
            model,
            limits,
            device: device.clone(),
            position: 0,
        }
    }
}

impl CandleModel for CandleDecoder {
    fn limits(&self) -> &ModelLimits {
        &self.limits
    }

    fn position(&self) -> usize {
        self.position
    }

    fn truncate(&mut self, position: usize) {
        if position < self.position {
            // Candle's caches cannot be cut, only emptied.
            self.model.clear();
            self.position = 0;
        }
    }

    fn forward(&mut self, tokens: &[u32], stop: &Stop, logits: &mut Vec<f32>) -> Result<()> {
        self.limits.check(self.position, tokens)?;
        for chunk in tokens.chunks(CHUNK) {
            if stop.reason().is_some() {
                return Err(Error::Cancelled);
            }
            self.forward_chunk(chunk, logits)?;
        }
        Ok(())
    }

    fn new_sequence(&self) -> Box<dyn CandleModel> {
        Box::new(Self {
            model: self.model.fork(),
            limits: self.limits.clone(),
            device: self.device.clone(),
            position: 0,
        })
    }
}

impl CandleDecoder {
    fn forward_chunk(&mut self, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        let answer = Tensor::new(tokens, &self.device)
            .and_then(|ids| ids.unsqueeze(0))
            .and_then(|ids| self.model.forward(&ids, self.position))
            .and_then(|logits| logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>());
        let answer = answer.map_err(|e| candle_error(&e)).and_then(|answer| {
            check_finite(&answer)?;
            Ok(answer)
        });
        match answer {
            Ok(answer) => {
                self.position += tokens.len();
                *logits = answer;
                Ok(())
            }
            Err(error) => {
                // Some layers may have taken the tokens into their caches and others not.
                self.model.clear();
                self.position = 0;
                Err(error)
            }
        }
    }
}
