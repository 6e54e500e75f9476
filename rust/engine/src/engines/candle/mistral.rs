//! Candle's Mistral: what it computes wrongly, and how it is built.

use candle_nn::VarBuilder;
use candle_transformers::models::mistral as candle_mistral;

use super::{
    CandleArchitecture, CandleForward, attention, candle_forward, dense_size, hidden_act,
    refuse_rope_scaling, refuse_window, rope,
};
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry.
pub(super) const ARCHITECTURE: CandleArchitecture = CandleArchitecture {
    name: "mistral",
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
    let candle_config = candle_mistral::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        num_hidden_layers: config.layers.len(),
        num_attention_heads: attention(config).num_heads,
        head_dim: Some(attention(config).head_dim),
        num_key_value_heads: attention(config).num_kv_heads,
        hidden_act: hidden_act(config),
        max_position_embeddings: config.max_position_embeddings,
        rms_norm_eps: config.final_norm.eps,
        rope_theta: rope(config).theta,
        sliding_window: None,
        use_flash_attn: false,
    };
    Ok(Box::new(candle_mistral::Model::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_mistral::Model);
