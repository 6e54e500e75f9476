//! Llama 1, 2 and 3.x, and everything published in their form.
//!
//! What is particular: an optional bias on all four attention projections (`attention_bias`) and on
//! all three of the feed-forward block (`mlp_bias`).

use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::gguf_experts::GgufExperts;
use super::{Architecture, mixtral};
use crate::description::{FeedForward, LayerDescription, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "llama",
    class: "LlamaForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "llama",
        rotation: GgufRotation::Permuted,
        ours: "llama",
        experts: Some(GgufExperts::SOFTMAX),
        // With experts it is Mixtral.
        adapt: |_, description| {
            let is_experts = |layer: &LayerDescription| {
                matches!(layer.feed_forward, FeedForward::Experts { .. })
            };
            if description.layers.iter().any(is_experts) {
                description.architecture = mixtral::ARCHITECTURE.name;
            }
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let mlp_bias = config.flag("mlp_bias")?.unwrap_or(false);
    Ok(shared.describe(|_, attention, feed_forward| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        if let FeedForward::Dense(mlp) = feed_forward {
            mlp.bias = mlp_bias;
        }
    }))
}
