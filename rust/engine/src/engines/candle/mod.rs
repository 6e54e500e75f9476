//! The `candle` engine: Candle's ready-made models, given what they compute rightly.
//!
//! `candle-transformers` has one file an architecture, each with limits of its own. Everything here
//! makes sure that a configuration beyond those limits is refused by name, that a missing or
//! misshapen tensor is found before Candle would panic on it, and that all of them look alike to
//! the rest of the engine.

mod decoder;
mod refusals;
mod weights;

mod llama;
mod mistral;
mod quantized_llama;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use candle_core::Tensor;
use candle_nn::VarBuilder;

pub(crate) use decoder::CandleDecoder;
pub(crate) use quantized_llama::MAX_POSITIONS as GGUF_MAX_POSITIONS;
use refusals::{refuse, refuse_mixed_layers, refuse_rope_scaling, refuse_window};

use crate::description::rope::Rope;
use crate::description::{Activation, Attention, FeedForward, Mlp, ModelDescription};
use crate::error::Result;

/// One of Candle's own models.
pub(crate) struct CandleArchitecture {
    /// The name of the architecture.
    name: &'static str,
    /// Whether it is exact in half precision too.
    pub(crate) exact_in_half_precision: bool,
    /// Says why it would compute a description wrongly, if it would.
    check: fn(&ModelDescription) -> Result<()>,
    /// Builds it for a description that `check` accepts.
    build: fn(&ModelDescription, VarBuilder) -> candle_core::Result<Box<dyn CandleForward>>,
}

static ARCHITECTURES: &[CandleArchitecture] = &[
    llama::ARCHITECTURE,
    mistral::ARCHITECTURE,
    qwen2::ARCHITECTURE,
    qwen3::ARCHITECTURE,
    qwen3_moe::ARCHITECTURE,
];

impl CandleArchitecture {
    /// Candle's model of a description.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] where Candle has none.
    pub(crate) fn of(description: &ModelDescription) -> Result<&'static Self> {
        let name = description.architecture;
        let Some(found) = ARCHITECTURES.iter().find(|a| a.name == name) else {
            return Err(refuse(
                "model_type",
                name,
                "Candle has no model of it; use engine fused",
            ));
        };
        refuse_mixed_layers(description)?;
        Ok(found)
    }
}

/// One of Candle's models together with its KV cache.
pub(crate) trait CandleForward: Send {
    /// Logits of the token that follows `tokens` (shape `1 × n`), which come behind the `position`
    /// tokens already in the cache, as any tensor of `vocab_size` elements.
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor>;

    /// Empties the cache.
    fn clear(&mut self);

    /// The same weights with an empty cache of its own.
    fn fork(&self) -> Box<dyn CandleForward>;
}

/// Implements [`CandleForward`] for those of Candle's models that hold their cache inside.
macro_rules! candle_forward {
    ($model:ty) => {
        impl $crate::engines::candle::CandleForward for $model {
            fn forward(
                &mut self,
                tokens: &candle_core::Tensor,
                position: usize,
            ) -> candle_core::Result<candle_core::Tensor> {
                <$model>::forward(self, tokens, position)
            }

            fn clear(&mut self) {
                self.clear_kv_cache();
            }

            fn fork(&self) -> Box<dyn $crate::engines::candle::CandleForward> {
                let mut fork = self.clone();
                fork.clear_kv_cache();
                Box::new(fork)
            }
        }
    };
}
use candle_forward;

/// Candle's name of an activation.
fn activation(activation: Activation) -> candle_nn::Activation {
    match activation {
        Activation::Silu => candle_nn::Activation::Silu,
        Activation::Gelu => candle_nn::Activation::Gelu,
        Activation::GeluTanh => candle_nn::Activation::GeluPytorchTanh,
        Activation::Relu => candle_nn::Activation::Relu,
        Activation::ReluSquared => candle_nn::Activation::Relu2,
    }
}

/// The attention of a model whose layers are all alike but for their windows, as Candle's are.
fn attention(description: &ModelDescription) -> &Attention {
    match description.attentions().next() {
        Some(attention) => attention,
        None => unreachable!("`CandleArchitecture::of` refuses models without attention"),
    }
}

/// The rotary embedding of all layers.
fn rope(description: &ModelDescription) -> &Rope {
    match &attention(description).rope {
        Some(rope) => rope,
        None => unreachable!("`CandleArchitecture::of` refuses models without rotary embedding"),
    }
}

/// The dense feed-forward block of all layers, or of one of those that have one.
fn dense(description: &ModelDescription) -> Option<Mlp> {
    description
        .layers
        .iter()
        .find_map(|layer| match &layer.feed_forward {
            FeedForward::Dense(mlp) => Some(*mlp),
            FeedForward::Experts { .. } | FeedForward::None => None,
        })
}

/// The width of [`dense`]; 0 where there is none.
fn dense_size(description: &ModelDescription) -> usize {
    dense(description).map_or(0, |mlp| mlp.intermediate_size)
}

/// The non-linearity of all feed-forward blocks.
fn hidden_act(description: &ModelDescription) -> candle_nn::Activation {
    match description.layers.first().map(|layer| &layer.feed_forward) {
        Some(FeedForward::Dense(mlp) | FeedForward::Experts { expert: mlp, .. }) => {
            activation(mlp.activation)
        }
        Some(FeedForward::None) | None => candle_nn::Activation::Silu,
    }
}
