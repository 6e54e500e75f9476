//! Llama 1, 2 and 3.x, and everything published in their form.
//!
//! What is particular: an optional bias on all four attention projections (`attention_bias`) and on
//! all three of the feed-forward block (`mlp_bias`).

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama as candle_llama;

use super::architecture::Architecture;
use super::config_file::ConfigFile;
use super::decoder_config::{Activation, DecoderConfig, FeedForward, LayerConfig};
use super::rope::RopeScaling;
use super::shape::{Defaults, Shape};
use crate::candle::{CandleForward, dense_size, refuse};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "llama",
    class: "LlamaForCausalLM",
    describe,
    check_candle,
    candle_half_precision: true,
    build_candle,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
};

fn describe(config: &ConfigFile) -> Result<DecoderConfig> {
    let shape = Shape::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let mlp_bias = config.flag("mlp_bias")?.unwrap_or(false);
    let intermediate_size = shape.intermediate_size;
    Ok(shape.with_layers(|_| LayerConfig {
        window: None,
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        qk_norm: false,
        feed_forward: FeedForward::Dense {
            intermediate_size,
            bias: mlp_bias,
        },
    }))
}

fn check_candle(config: &DecoderConfig) -> Result<()> {
    if config.layers.iter().any(|layer| layer.qkv_bias) {
        return Err(refuse(
            "attention_bias",
            true,
            "Candle's Llama drops these biases",
        ));
    }
    if let Some(FeedForward::Dense { bias: true, .. }) =
        config.layers.first().map(|layer| &layer.feed_forward)
    {
        return Err(refuse(
            "mlp_bias",
            true,
            "Candle's Llama drops these biases",
        ));
    }
    if config.query_size() != config.hidden_size {
        return Err(refuse(
            "head_dim",
            config.head_dim,
            "Candle's Llama takes hidden_size / num_attention_heads instead",
        ));
    }
    if config.activation != Activation::Silu {
        return Err(refuse(
            "hidden_act",
            format!("{:?}", config.activation),
            "Candle's Llama always applies SiLU",
        ));
    }
    match config.rope.scaling {
        RopeScaling::None | RopeScaling::Llama3 { .. } => Ok(()),
        ref other => Err(refuse(
            "rope_type",
            other.name(),
            "Candle's Llama knows default and llama3 only",
        )),
    }
}

fn build_candle(
    config: &DecoderConfig,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let rope_scaling = match config.rope.scaling {
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => Some(candle_llama::Llama3RopeConfig {
            factor: factor as f32,
            low_freq_factor: low_freq_factor as f32,
            high_freq_factor: high_freq_factor as f32,
            original_max_position_embeddings,
            rope_type: candle_llama::Llama3RopeType::Llama3,
        }),
        _ => None,
    };
    let candle_config = candle_llama::Config {
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        vocab_size: config.vocab_size,
        num_hidden_layers: config.layers.len(),
        num_attention_heads: config.num_heads,
        num_key_value_heads: config.num_kv_heads,
        use_flash_attn: false,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope.theta as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling,
        max_position_embeddings: config.max_position_embeddings,
        tie_word_embeddings: config.tie_word_embeddings,
    };
    let (dtype, device) = (weights.dtype(), weights.device().clone());
    let cache = candle_llama::Cache::new(true, dtype, &candle_config, &device)?;
    Ok(Box::new(Llama {
        model: candle_llama::Llama::load(weights, &candle_config)?,
        empty: cache.clone(),
        cache,
    }))
}

/// Candle keeps a Llama's KV cache beside the model, so emptying it is taking a fresh one.
#[derive(Clone)]
struct Llama {
    model: candle_llama::Llama,
    cache: candle_llama::Cache,
    empty: candle_llama::Cache,
}

impl CandleForward for Llama {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.model
            .forward(tokens, position, &mut self.cache)?
            .to_dtype(DType::F32)
    }

    fn clear(&mut self) {
        self.cache = self.empty.clone();
    }

    fn fork(&self) -> Box<dyn CandleForward> {
        let mut fork = self.clone();
        fork.clear();
        Box::new(fork)
    }
}
