//! Candle's Qwen3-MoE: what it computes wrongly, and how it is built.

use candle_nn::VarBuilder;
use candle_transformers::models::qwen3_moe as candle_qwen3_moe;

use super::{
    CandleArchitecture, CandleForward, attention, candle_forward, hidden_act, refuse,
    refuse_rope_scaling, refuse_window, rope,
};
use crate::description::{FeedForward, ModelDescription};
use crate::error::Result;

/// The table's entry.
/// Candle takes the router's softmax in the weights' own type.
pub(super) const ARCHITECTURE: CandleArchitecture = CandleArchitecture {
    name: "qwen3_moe",
    exact_in_half_precision: false,
    check,
    build,
};

/// The expert block that all sparse layers share, and which layers those are.
struct Experts {
    intermediate_size: usize,
    num_experts: usize,
    experts_per_token: usize,
    normalise_top_k: bool,
    dense_size: usize,
    sparse_step: usize,
}

/// Candle finds the sparse layers by the step alone.
fn experts(config: &ModelDescription) -> Option<Experts> {
    let mut found = Experts {
        intermediate_size: 0,
        num_experts: 0,
        experts_per_token: 0,
        normalise_top_k: false,
        dense_size: config.hidden_size,
        sparse_step: config.layers.len() + 1,
    };
    for (index, layer) in config.layers.iter().enumerate() {
        match layer.feed_forward {
            FeedForward::Dense(mlp) => found.dense_size = mlp.intermediate_size,
            FeedForward::None => {}
            FeedForward::Experts {
                expert,
                num_experts,
                experts_per_token,
                router,
                ..
            } => {
                found.sparse_step = found.sparse_step.min(index + 1);
                found.intermediate_size = expert.intermediate_size;
                found.num_experts = num_experts;
                found.experts_per_token = experts_per_token;
                found.normalise_top_k = router.normalise.is_some();
            }
        }
    }
    let by_step_alone = config.layers.iter().enumerate().all(|(index, layer)| {
        matches!(layer.feed_forward, FeedForward::Experts { .. })
            == (index + 1).is_multiple_of(found.sparse_step)
    });
    by_step_alone.then_some(found)
}

fn check(config: &ModelDescription) -> Result<()> {
    if experts(config).is_none() {
        let dense: Vec<usize> = config
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| matches!(layer.feed_forward, FeedForward::Dense(_)))
            .map(|(index, _)| index)
            .collect();
        return Err(refuse(
            "mlp_only_layers",
            format!("{dense:?}"),
            "Candle's Qwen3-MoE ignores this key",
        ));
    }
    refuse_window(config)?;
    refuse_rope_scaling(config)
}

fn build(
    config: &ModelDescription,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let Some(experts) = experts(config) else {
        candle_core::bail!("check refuses this configuration");
    };
    let candle_config = candle_qwen3_moe::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: experts.dense_size,
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
        decoder_sparse_step: experts.sparse_step,
        moe_intermediate_size: experts.intermediate_size,
        num_experts_per_tok: experts.experts_per_token,
        num_experts: experts.num_experts,
        norm_topk_prob: experts.normalise_top_k,
    };
    Ok(Box::new(candle_qwen3_moe::ModelForCausalLM::new(
        &candle_config,
        weights,
    )?))
}

candle_forward!(candle_qwen3_moe::ModelForCausalLM);
