//! Qwen2 and Qwen2.5.
//!
//! What is particular: biases on queries, keys and values always, on the output never; a sliding
//! window in some layers when it is switched on.

use candle_nn::VarBuilder;
use candle_transformers::models::qwen2 as candle_qwen2;

use super::architecture::Architecture;
use super::config_file::ConfigFile;
use super::decoder_config::{DecoderConfig, FeedForward, LayerConfig};
use super::shape::{Defaults, Shape, qwen_windows};
use crate::candle::{
    CandleForward, activation, candle_forward, dense_size, refuse, refuse_rope_scaling,
    refuse_window,
};
use crate::error::Result;

/// The table's entry. Candle computes the rotary angles in the weights' own type, which is wrong
/// at large positions in half precision.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    describe,
    check_candle,
    candle_half_precision: false,
    build_candle,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: None,
    max_position_embeddings: 32_768,
};

fn describe(config: &ConfigFile) -> Result<DecoderConfig> {
    let shape = Shape::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let windows = qwen_windows(config, shape.num_layers)?;
    let intermediate_size = shape.intermediate_size;
    Ok(shape.with_layers(|index| LayerConfig {
        window: windows[index],
        qkv_bias: true,
        output_bias: false,
        qk_norm: false,
        feed_forward: FeedForward::Dense {
            intermediate_size,
            bias: false,
        },
    }))
}

fn check_candle(config: &DecoderConfig) -> Result<()> {
    if config.query_size() != config.hidden_size {
        return Err(refuse(
            "head_dim",
            config.head_dim,
            "Candle's Qwen2 takes hidden_size / num_attention_heads instead",
        ));
    }
    refuse_window(config)?;
    refuse_rope_scaling(config)
}

fn build_candle(
    config: &DecoderConfig,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let candle_config = candle_qwen2::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        num_hidden_layers: config.layers.len(),
        num_attention_heads: config.num_heads,
        num_key_value_heads: config.num_kv_heads,
        max_position_embeddings: config.max_position_embeddings,
        // Candle applies this number in prefill whatever the next key says; beyond the context it
        // changes nothing.
        sliding_window: config.max_position_embeddings,
        use_sliding_window: false,
        max_window_layers: config.layers.len(),
        tie_word_embeddings: config.tie_word_embeddings,
        rope_theta: config.rope.theta,
        rms_norm_eps: config.rms_norm_eps,
        hidden_act: activation(config.activation),
    };
    Ok(Box::new(candle_qwen2::ModelForCausalLM::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_qwen2::ModelForCausalLM);
