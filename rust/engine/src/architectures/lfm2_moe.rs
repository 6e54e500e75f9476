//! LFM2 and LFM2.5 with experts, such as LFM2-8B-A1B.
//!
//! What is particular: LFM2 with experts in all layers but the first few, chosen by the sigmoid of their scores and a bias.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::{GgufExperts, GgufWeights};
use super::lfm2::{self, attention_layers};
use super::qwen3_moe::read_experts;
use crate::description::{
    Activation, FeedForward, Mixer, ModelDescription, Norm, Router, Scoring, ShortConv,
};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "lfm2_moe",
    class: "Lfm2MoeForCausalLM",
    describe,
    names: &[
        ("model.embedding_norm.", "model.norm."),
        (".operator_norm.", ".input_layernorm."),
        (".ffn_norm.", ".post_attention_layernorm."),
        (".self_attn.out_proj.", ".self_attn.o_proj."),
        (".q_layernorm.", ".q_norm."),
        (".k_layernorm.", ".k_norm."),
        (".expert_bias", ".gate.e_score_correction_bias"),
        (".feed_forward.", ".mlp."),
        (".w1.", ".gate_proj."),
        (".w3.", ".up_proj."),
        (".w2.", ".down_proj."),
    ],
    gguf: Some(GgufArchitecture {
        name: "lfm2moe",
        ours: "lfm2_moe",
        qk_norm: Some(true),
        is_hybrid: true,
        experts: Some(GgufExperts {
            scoring: Scoring::Sigmoid,
            weights: GgufWeights::Normalised,
        }),
        adapt: lfm2::adapt,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    hidden_size: 2048,
    intermediate_size: 7168,
    ..lfm2::DEFAULTS
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.norm = Norm::rms(config.positive("norm_eps")?.unwrap_or(1e-5));
    // Whatever the key says.
    shared.mlp.activation = Activation::Silu;
    if config.value("layer_types").is_none() {
        return Err(config.missing("layer_types"));
    }
    let is_attention = attention_layers(config, shared.num_layers)?;
    let conv = ShortConv {
        taps: config.count("conv_L_cache")?.unwrap_or(3),
        bias: config.flag("conv_bias")?.unwrap_or(false),
    };
    let dense = config.whole("num_dense_layers")?.unwrap_or(2);
    let mut experts = read_experts(config, &["num_experts"], shared.mlp, [32, 4, 1792], true)?;
    if let FeedForward::Experts { router, .. } = &mut experts {
        *router = Router {
            scoring: Scoring::Sigmoid,
            has_choice_bias: config.flag_or("use_expert_bias", true)?,
            normalise: router.normalise.map(|_| 1e-6),
            scale: config.positive("routed_scaling_factor")?.unwrap_or(1.0),
            ..*router
        };
    }
    let norm = shared.head_norm();
    let tied = config.flag("tie_embedding")?;
    let mut description = shared.describe(|index, attention, feed_forward| {
        attention.qk_norm = norm;
        if index >= dense {
            *feed_forward = experts.clone();
        }
    });
    if let Some(tied) = tied {
        description.tie_word_embeddings = tied;
    }
    for (layer, is_attention) in description.layers.iter_mut().zip(is_attention) {
        if !is_attention {
            layer.mixer = Mixer::ShortConv(conv);
        }
    }
    Ok(description)
}
