//! Candle's Qwen3: what it computes wrongly, and how it is built.

use candle_nn::VarBuilder;
use candle_transformers::models::qwen3 as candle_qwen3;

use super::{
    CandleArchitecture, CandleForward, attention, candle_forward, dense_size, hidden_act,
    refuse_rope_scaling, refuse_window, rope,
};
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry.
pub(super) const ARCHITECTURE: CandleArchitecture = CandleArchitecture {
    name: "qwen3",
    exact_in_half_precision: true,
    check,
    build,
};

fn check(config: &ModelDescription) -> Result<()> {
    refuse_window(config)?;
    refuse_rope_scaling(config)
}

fn build(
    config: &ModelDescription,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let candle_config = candle_qwen3::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        num_hidden_layers: config.layers.len(),
        num_attention_heads: attention(config).num_heads,
        head_dim: attention(config).head_dim,
        attention_bias: attention(config).qkv_bias,
        num_key_value_heads: attention(config).num_kv_heads,
        max_position_embeddings: config.max_position_embeddings,
        sliding_window: None,
        max_window_layers: config.layers.len(),
        tie_word_embeddings: config.tie_word_embeddings,
        rope_theta: rope(config).theta,
        rms_norm_eps: config.final_norm.eps,
        use_sliding_window: false,
        hidden_act: hidden_act(config),
    };
    Ok(Box::new(candle_qwen3::ModelForCausalLM::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_qwen3::ModelForCausalLM);
