//! Qwen3.5, 3.6 and 3.8 with experts, such as Qwen3.5-35B-A3B.
//!
//! What is particular: Qwen3.5 with experts in every layer, whose weights are always normalised, and one beside them for every
//! token, whose output is gated.

use super::Architecture;
use super::common::Defaults;
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::GgufExperts;
use super::qwen2_moe::with_gated_expert;
use super::qwen3_5::{self, describe_as};
use super::qwen3_moe::{NUM_EXPERTS, read_experts};
use crate::description::{FeedForward, ModelDescription, Router};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3_5_moe_text",
    class: "Qwen3_5MoeForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen35moe",
        ours: "qwen3_5_moe_text",
        qk_norm: Some(true),
        is_hybrid: true,
        has_further_layers: true,
        experts: Some(GgufExperts::SOFTMAX),
        adapt: qwen3_5::adapt,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    hidden_size: 2048,
    num_hidden_layers: 40,
    num_key_value_heads: Some(2),
    ..qwen3_5::DEFAULTS
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut description = describe_as(ARCHITECTURE.name, config, &DEFAULTS)?;
    for layer in &mut description.layers {
        let FeedForward::Dense(mlp) = layer.feed_forward else {
            continue;
        };
        let mut experts = read_experts(config, NUM_EXPERTS, mlp, [256, 8, 512], true)?;
        if let FeedForward::Experts { router, .. } = &mut experts {
            *router = Router::softmax(true);
        }
        layer.feed_forward = with_gated_expert(config, experts, 512)?;
    }
    Ok(description)
}
