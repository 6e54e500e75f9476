//! Qwen3.
//!
//! What is particular: queries and keys are normalised per head; heads have 128 dimensions unless
//! `head_dim` says otherwise; an optional bias on all four attention projections; a sliding window
//! in some layers when it is switched on.

use candle_nn::VarBuilder;
use candle_transformers::models::qwen3 as candle_qwen3;

use super::architecture::Architecture;
use super::config_file::ConfigFile;
use super::decoder_config::{DecoderConfig, FeedForward, LayerConfig};
use super::shape::{Defaults, Shape, qwen_windows};
use crate::candle::{
    CandleForward, activation, candle_forward, dense_size, refuse_rope_scaling, refuse_window,
};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    describe,
    check_candle,
    candle_half_precision: true,
    build_candle,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: Some(128),
    max_position_embeddings: 32_768,
};

fn describe(config: &ConfigFile) -> Result<DecoderConfig> {
    let shape = Shape::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let windows = qwen_windows(config, shape.num_layers)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let intermediate_size = shape.intermediate_size;
    Ok(shape.with_layers(|index| LayerConfig {
        window: windows[index],
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        qk_norm: true,
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
    let candle_config = candle_qwen3::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        num_hidden_layers: config.layers.len(),
        num_attention_heads: config.num_heads,
        head_dim: config.head_dim,
        attention_bias: config.layers.iter().any(|layer| layer.qkv_bias),
        num_key_value_heads: config.num_kv_heads,
        max_position_embeddings: config.max_position_embeddings,
        sliding_window: None,
        max_window_layers: config.layers.len(),
        tie_word_embeddings: config.tie_word_embeddings,
        rope_theta: config.rope.theta,
        rms_norm_eps: config.rms_norm_eps,
        use_sliding_window: false,
        hidden_act: activation(config.activation),
    };
    Ok(Box::new(candle_qwen3::ModelForCausalLM::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_qwen3::ModelForCausalLM);
