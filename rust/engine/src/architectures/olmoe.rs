//! OLMoE.
//!
//! What is particular: experts in every layer, whose weights are taken as they are; queries and keys are normalised over all
//! heads together.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::{GgufExperts, GgufWeights};
use super::qwen3_moe::{NUM_EXPERTS, read_experts};
use crate::description::{FeedForward, ModelDescription, Norm, NormSpan, QkNorm, Scoring};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "olmoe",
    class: "OlmoeForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "olmoe",
        ours: "olmoe",
        experts: Some(GgufExperts {
            scoring: Scoring::Softmax,
            weights: GgufWeights::AsTheyAre,
        }),
        adapt: |_, description| {
            norm_rows(description, description.final_norm);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_304,
    hidden_size: 2048,
    intermediate_size: 2048,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    const CLIP: &str = "clip_qkv";
    if config.value(CLIP).is_some() {
        return Err(config.unsupported(CLIP, "queries, keys and values are not clipped"));
    }
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let norm = shared.norm;
    let mlp = shared.mlp;
    let mut experts = read_experts(
        config,
        NUM_EXPERTS,
        mlp,
        [64, 8, mlp.intermediate_size],
        false,
    )?;
    if let FeedForward::Experts { expert, .. } = &mut experts {
        *expert = mlp;
    }
    let mut description = shared.describe(|_, attention, feed_forward| {
        attention.qkv_bias = bias;
        attention.output_bias = bias;
        *feed_forward = experts.clone();
    });
    norm_rows(&mut description, norm);
    Ok(description)
}

fn norm_rows(description: &mut ModelDescription, norm: Norm) {
    for attention in description.attentions_mut() {
        attention.qk_norm = Some(QkNorm {
            span: NormSpan::Row,
            ..QkNorm::of_heads(norm)
        });
    }
}
