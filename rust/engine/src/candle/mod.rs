//! The `candle` engine: Candle's ready-made models, given what they compute rightly.
//!
//! `candle-transformers` has one file an architecture, each with limits of its own. Everything here
//! makes sure that a configuration beyond those limits is refused by name, that a missing or
//! misshapen tensor is found before Candle would panic on it, and that all of them look alike to
//! the rest of the engine.

mod decoder;
mod refusals;
mod weights;

use candle_core::Tensor;

pub(crate) use decoder::{CandleDecoder, candle_error};
pub(crate) use refusals::{refuse, refuse_rope_scaling, refuse_window};
pub(crate) use weights::var_builder;

use crate::model::decoder_config::{Activation, DecoderConfig, FeedForward};

/// One of Candle's models together with its KV cache.
pub trait CandleForward: Send {
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
        impl $crate::candle::CandleForward for $model {
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

            fn fork(&self) -> Box<dyn $crate::candle::CandleForward> {
                let mut fork = self.clone();
                fork.clear_kv_cache();
                Box::new(fork)
            }
        }
    };
}
pub(crate) use candle_forward;

/// Candle's name of an activation.
pub(crate) fn activation(activation: Activation) -> candle_nn::Activation {
    match activation {
        Activation::Silu => candle_nn::Activation::Silu,
        Activation::Gelu => candle_nn::Activation::Gelu,
        Activation::GeluTanh => candle_nn::Activation::GeluPytorchTanh,
        Activation::Relu => candle_nn::Activation::Relu,
    }
}

/// Width of the dense feed-forward blocks of a model whose layers are all alike.
pub(crate) fn dense_size(config: &DecoderConfig) -> usize {
    match config.layers.first().map(|layer| &layer.feed_forward) {
        Some(FeedForward::Dense {
            intermediate_size, ..
        }) => *intermediate_size,
        _ => 0,
    }
}
