//! Qwen3-MoE, such as Qwen3-30B-A3B.
//!
//! What is particular: the attention of Qwen3; a mixture of experts in every `decoder_sparse_step`th
//! layer except those in `mlp_only_layers`, which are dense; the window, if switched on, in every
//! layer.

use candle_nn::VarBuilder;
use candle_transformers::models::qwen3_moe as candle_qwen3_moe;

use super::architecture::Architecture;
use super::config_file::ConfigFile;
use super::decoder_config::{DecoderConfig, EXPERT_LIMIT, FeedForward, LayerConfig};
use super::shape::{Defaults, Shape};
use crate::candle::{
    CandleForward, activation, candle_forward, refuse, refuse_rope_scaling, refuse_window,
};
use crate::error::Result;

/// The table's entry. Candle takes the router's softmax in the weights' own type.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3_moe",
    class: "Qwen3MoeForCausalLM",
    describe,
    check_candle,
    candle_half_precision: false,
    build_candle,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    num_key_value_heads: Some(4),
    head_dim: None,
    max_position_embeddings: 32_768,
};

fn describe(config: &ConfigFile) -> Result<DecoderConfig> {
    let shape = Shape::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let window = match (
        config.flag("use_sliding_window")?.unwrap_or(false),
        config.has("sliding_window"),
    ) {
        (true, true) => config.count("sliding_window")?,
        (true, false) => Some(4096),
        (false, _) => {
            config.value("sliding_window");
            None
        }
    };
    // Qwen3-MoE files carry this key of their dense siblings, where it would pick the layers of
    // the window; here all layers have it.
    config.whole("max_window_layers")?;

    // Transformers 5 writes the second name for the first.
    let old_name = config.count("num_experts")?;
    let num_experts = config
        .count("num_local_experts")?
        .or(old_name)
        .unwrap_or(128);
    if num_experts > EXPERT_LIMIT {
        return Err(config.invalid(
            "num_experts",
            format!("more than {EXPERT_LIMIT} experts are not believed"),
        ));
    }
    let experts_per_token = config.count("num_experts_per_tok")?.unwrap_or(8);
    if experts_per_token > num_experts {
        return Err(config.invalid(
            "num_experts_per_tok",
            format!("must not exceed num_experts = {num_experts}"),
        ));
    }
    let expert_size = config.count("moe_intermediate_size")?.unwrap_or(768);
    let normalise_top_k = config.flag("norm_topk_prob")?.unwrap_or(false);
    let sparse_step = config.count("decoder_sparse_step")?.unwrap_or(1);
    let dense_layers = config.wholes("mlp_only_layers")?.unwrap_or_default();
    let intermediate_size = shape.intermediate_size;
    Ok(shape.with_layers(|index| LayerConfig {
        window,
        qkv_bias: attention_bias,
        output_bias: attention_bias,
        qk_norm: true,
        feed_forward: if !dense_layers.contains(&index) && (index + 1).is_multiple_of(sparse_step) {
            FeedForward::Experts {
                intermediate_size: expert_size,
                num_experts,
                experts_per_token,
                normalise_top_k,
            }
        } else {
            FeedForward::Dense {
                intermediate_size,
                bias: false,
            }
        },
    }))
}

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
fn experts(config: &DecoderConfig) -> Option<Experts> {
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
            FeedForward::Dense {
                intermediate_size, ..
            } => found.dense_size = intermediate_size,
            FeedForward::Experts {
                intermediate_size,
                num_experts,
                experts_per_token,
                normalise_top_k,
            } => {
                found.sparse_step = found.sparse_step.min(index + 1);
                found.intermediate_size = intermediate_size;
                found.num_experts = num_experts;
                found.experts_per_token = experts_per_token;
                found.normalise_top_k = normalise_top_k;
            }
        }
    }
    let by_step_alone = config.layers.iter().enumerate().all(|(index, layer)| {
        matches!(layer.feed_forward, FeedForward::Experts { .. })
            == (index + 1).is_multiple_of(found.sparse_step)
    });
    by_step_alone.then_some(found)
}

fn check_candle(config: &DecoderConfig) -> Result<()> {
    if experts(config).is_none() {
        let dense: Vec<usize> = config
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| matches!(layer.feed_forward, FeedForward::Dense { .. }))
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

fn build_candle(
    config: &DecoderConfig,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let Some(experts) = experts(config) else {
        candle_core::bail!("check_candle refuses this configuration");
    };
    let candle_config = candle_qwen3_moe::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: experts.dense_size,
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
