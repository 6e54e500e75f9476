//! Mistral 7B and its kin.
//!
//! What is particular: every layer sees a sliding window when `sliding_window` is set, and it is
//! set to 4096 when the key is missing (null means none).

use candle_nn::VarBuilder;
use candle_transformers::models::mistral as candle_mistral;

use super::architecture::Architecture;
use super::config_file::ConfigFile;
use super::decoder_config::{DecoderConfig, FeedForward, LayerConfig};
use super::shape::{Defaults, Shape};
use crate::candle::{
    CandleForward, activation, candle_forward, dense_size, refuse_rope_scaling, refuse_window,
};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "mistral",
    class: "MistralForCausalLM",
    describe,
    check_candle,
    candle_half_precision: true,
    build_candle,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 131_072,
};

fn describe(config: &ConfigFile) -> Result<DecoderConfig> {
    let shape = Shape::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = match config.has("sliding_window") {
        true => config.count("sliding_window")?,
        false => Some(4096),
    };
    let intermediate_size = shape.intermediate_size;
    Ok(shape.with_layers(|_| LayerConfig {
        window,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        feed_forward: FeedForward::Dense {
            intermediate_size,
            bias: false,
        },
    }))
}

fn check_candle(config: &DecoderConfig) -> Result<()> {
    refuse_window(config)?;
    refuse_rope_scaling(config)
}

fn build_candle(
    config: &DecoderConfig,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let candle_config = candle_mistral::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        num_hidden_layers: config.layers.len(),
        num_attention_heads: config.num_heads,
        head_dim: Some(config.head_dim),
        num_key_value_heads: config.num_kv_heads,
        hidden_act: activation(config.activation),
        max_position_embeddings: config.max_position_embeddings,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope.theta,
        sliding_window: None,
        use_flash_attn: false,
    };
    Ok(Box::new(candle_mistral::Model::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_mistral::Model);
