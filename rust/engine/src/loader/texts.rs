//! Loading of models that read texts: encoders, and decoders for embeddings and rerankers.

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};

use super::watched::WatchedSource;
use super::{LoadListener, Plan, numbers};
use crate::description::ModelDescription;
use crate::engines::encoder::{Encoder, Head};
use crate::engines::fused::DecoderTexts;
use crate::engines::{Engine, TextModel};
use crate::error::{Error, Result};
use crate::formats::folder::encoder::EncoderCheckpoint;
use crate::formats::{BlockType, Quantization, TensorSource, Tensors};
use crate::memory;

/// What the matrices of a model for texts become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextQuantization {
    /// Integers of 16 bits, a scale a row, which activations become, too.
    I16,
    /// Blocks of few bits.
    Blocks(Quantization),
}

/// By its name; an error names those of the blocks.
impl<'de> Deserialize<'de> for TextQuantization {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match name.as_str() {
            "i16" => Ok(TextQuantization::I16),
            _ => Quantization::deserialize(name.into_deserializer()).map(TextQuantization::Blocks),
        }
    }
}

impl TextQuantization {
    fn dtype(self) -> Option<GgmlDType> {
        match self {
            TextQuantization::I16 => None,
            TextQuantization::Blocks(quantization) => Some(quantization.dtype()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            TextQuantization::I16 => "i16",
            TextQuantization::Blocks(quantization) => quantization.name(),
        }
    }
}

/// What is loaded.
#[derive(Clone, Copy)]
pub(crate) enum TextWeights<'a> {
    /// An encoder, and the head of a classifier with so many scores if that is wanted.
    Encoder(&'a EncoderCheckpoint, Option<usize>),
    /// A decoder, with its head if that is wanted.
    Decoder(&'a ModelDescription, &'a Tensors, bool),
}

/// Weights in memory.
pub(crate) enum LoadedTexts {
    /// An encoder, and the head of a classifier.
    Encoder(Box<Encoder>, Option<Head>),
    /// A decoder.
    Decoder(DecoderTexts),
}

impl LoadedTexts {
    /// What turns tokens into states.
    pub(crate) fn model(&self) -> &dyn TextModel {
        match self {
            LoadedTexts::Encoder(encoder, _) => &**encoder,
            LoadedTexts::Decoder(decoder) => decoder,
        }
    }
}

/// Loads weights, in the types of their files unless they are to be quantized; answers with the name of the type, too.
///
/// # Errors
/// [`Error::InvalidTensor`](crate::error::Error::InvalidTensor) for weights that are missing or of other shapes,
/// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory), and what the listener says.
pub(crate) fn load_texts(
    weights: TextWeights,
    quantize: Option<TextQuantization>,
    listener: &mut LoadListener,
) -> Result<(LoadedTexts, &'static str)> {
    let device = Device::Cpu;
    let rounded = quantize == Some(TextQuantization::I16);
    let wanted = quantize.and_then(TextQuantization::dtype);
    if rounded && matches!(weights, TextWeights::Decoder(..)) {
        return Err(Error::argument(
            "quantize",
            "i16 is for encoders; a decoder takes another format",
        ));
    }
    let (tensors, count) = match weights {
        TextWeights::Encoder(checkpoint, _) => {
            let description = &checkpoint.description;
            let count = numbers(description.tensors(checkpoint.names));
            (&checkpoint.tensors, count)
        }
        TextWeights::Decoder(description, tensors, _) => (tensors, numbers(description.tensors())),
    };
    let stored = tensors.stored_type();
    let needed = match wanted {
        Some(dtype) => BlockType::Candle(dtype).bytes_in_memory(count, &device),
        None => count * stored.map_or(4, |dtype| dtype.size_in_bytes()) as u64,
    };
    memory::ensure("the model", needed)?;
    let precision = match quantize {
        Some(quantization) => quantization.name(),
        None => tensors.precision(&device),
    };
    let mut watched =
        |source: &dyn TensorSource, load: &dyn Fn(&dyn TensorSource) -> Result<LoadedTexts>| {
            load(&WatchedSource::new(source, count, needed, listener))
        };
    let loaded = match weights {
        TextWeights::Encoder(checkpoint, scores) => {
            let source = tensors.encoder_source(wanted, &device);
            watched(&*source, &|source| {
                let (description, names) = (&checkpoint.description, checkpoint.names);
                let encoder = Encoder::load(description, names, source, rounded)?;
                let head = match scores {
                    Some(scores) => {
                        Some(Head::load(&checkpoint.head, description, scores, source)?)
                    }
                    None => None,
                };
                Ok(LoadedTexts::Encoder(Box::new(encoder), head))
            })?
        }
        TextWeights::Decoder(description, tensors, with_head) => {
            let mut storage = Plan::in_type(Engine::Fused, DType::F32).storage;
            storage.quantize = wanted;
            let source = tensors.source(description, storage, &device);
            watched(&*source, &|source| {
                DecoderTexts::load(description, source, with_head).map(LoadedTexts::Decoder)
            })?
        }
    };
    Ok((loaded, precision))
}
