//! Bidirectional encoders, on the CPU: texts of different lengths go through the layers as rows behind each other, so that no
//! padding is computed, and each text's attention sees its own rows alone.

mod attention;
mod embedding;
mod head;
mod layer;
mod linear;
mod numbers;
mod rows;

use std::sync::Arc;

use candle_core::Device;
use candle4j_kernels::KvMemory;

use attention::Passage;
use embedding::Embedding;
pub(crate) use head::Head;
use layer::Layer;
use rows::Norm;

use super::fused::rotary::Rotary;
use super::{TextModel, TextTokens, Wanted};
use crate::cancel::Stop;
use crate::description::encoder::{EncoderDescription, EncoderNames, NormPlace};
use crate::error::{Error, Result, candle_error};
use crate::formats::TensorSource;

/// The weights of an encoder.
pub(crate) struct Encoder {
    hidden_size: usize,
    embedding: Embedding,
    layers: Vec<Layer>,
    final_norm: Option<Norm>,
    norm_place: NormPlace,
    /// The rotations of the layers, each once.
    rotaries: Vec<Rotary>,
    memory: Arc<KvMemory>,
}

impl Encoder {
    /// Reads the weights of a description; with `rounded`, the matrices of its layers become integers of 16 bits.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for weights that are missing or of other shapes.
    pub(crate) fn load(
        description: &EncoderDescription,
        names: &EncoderNames,
        source: &dyn TensorSource,
        rounded: bool,
    ) -> Result<Self> {
        let mut rotaries = Vec::new();
        let embedding = Embedding::load(description, names, source)?;
        let mut layers = Vec::with_capacity(description.layers.len());
        let reader = layer::Reader {
            description,
            names,
            source,
            rounded,
        };
        let bias = reader.distance_bias()?;
        for index in 0..description.layers.len() {
            layers.push(reader.layer(index, &mut rotaries, bias.clone())?);
        }
        let final_norm = match description.final_norm {
            None => None,
            Some(norm) => Some(Norm::load(
                source,
                names.final_norm,
                description.hidden_size,
                norm,
            )?),
        };
        Ok(Self {
            hidden_size: description.hidden_size,
            embedding,
            layers,
            final_norm,
            norm_place: description.norm_place,
            rotaries,
            memory: Arc::default(),
        })
    }

    /// The states of all tokens. It looks at `stop` between layers.
    fn every(&self, texts: &[TextTokens], stop: &Stop) -> Result<Vec<f32>> {
        let mut x = self
            .embedding
            .forward(texts)
            .map_err(|e| candle_error(&e))?;
        let mut start = 0;
        let mut passages = Vec::with_capacity(texts.len());
        let mut places = Vec::with_capacity(x.len() / self.hidden_size);
        for text in texts {
            let count = text.tokens.len();
            places.extend((0..count).map(|position| (position, count)));
            passages.push(Passage::new(start..start + count));
            start += count;
        }
        let angles: Vec<_> = self
            .rotaries
            .iter()
            .map(|rotary| rotary.angles(&places, &Device::Cpu))
            .collect();
        for layer in &self.layers {
            if stop.reason().is_some() {
                return Err(Error::Cancelled);
            }
            layer
                .forward(
                    &mut x,
                    self.norm_place,
                    &angles,
                    &mut passages,
                    &self.memory,
                )
                .map_err(|e| candle_error(&e))?;
        }
        if let Some(norm) = &self.final_norm {
            norm.forward(&mut x);
        }
        match candle4j_kernels::are_finite(&x) {
            true => Ok(x),
            false => Err(Error::Numeric {
                place: "states".into(),
                what: "a number is not finite".into(),
            }),
        }
    }
}

impl TextModel for Encoder {
    fn width(&self) -> usize {
        self.hidden_size
    }

    fn states(&self, texts: &[TextTokens], wanted: Wanted, stop: &Stop) -> Result<Vec<f32>> {
        let states = self.every(texts, stop)?;
        if wanted == Wanted::Every {
            return Ok(states);
        }
        let mut end = 0;
        let last = texts.iter().flat_map(|text| {
            end += text.tokens.len();
            states[(end - 1) * self.hidden_size..end * self.hidden_size].iter()
        });
        Ok(last.copied().collect())
    }
}
