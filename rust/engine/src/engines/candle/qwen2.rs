//! Candle's Qwen2: what it computes wrongly, and how it is built.

use candle_nn::VarBuilder;
use candle_transformers::models::qwen2 as candle_qwen2;

use super::{
    CandleArchitecture, CandleForward, attention, candle_forward, dense_size, hidden_act, refuse,
    refuse_rope_scaling, refuse_window, rope,
};
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry.
/// Candle computes the rotary angles in the weights' own type, which is wrong at large positions in half precision.
pub(super) const ARCHITECTURE: CandleArchitecture = CandleArchitecture {
    name: "qwen2",
    exact_in_half_precision: false,
    check,
    build,
};

fn check(config: &ModelDescription) -> Result<()> {
    if attention(config).query_size() != config.hidden_size {
        return Err(refuse(
            "head_dim",
            attention(config).head_dim,
            "Candle's Qwen2 takes hidden_size / num_attention_heads instead",
        ));
    }
    refuse_window(config)?;
    refuse_rope_scaling(config)
}

fn build(
    config: &ModelDescription,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let candle_config = candle_qwen2::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        num_hidden_layers: config.layers.len(),
        num_attention_heads: attention(config).num_heads,
        num_key_value_heads: attention(config).num_kv_heads,
        max_position_embeddings: config.max_position_embeddings,
        // Candle applies this number in prefill whatever the next key says; beyond the context it
        // changes nothing.
        sliding_window: config.max_position_embeddings,
        use_sliding_window: false,
        max_window_layers: config.layers.len(),
        tie_word_embeddings: config.tie_word_embeddings,
        rope_theta: rope(config).theta,
        rms_norm_eps: config.final_norm.eps,
        hidden_act: hidden_act(config),
    };
    Ok(Box::new(candle_qwen2::ModelForCausalLM::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_qwen2::ModelForCausalLM);
