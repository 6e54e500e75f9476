//! Qwen3-Next, such as Qwen3-Next-80B-A3B.
//!
//! What is particular: the layers of Qwen3.5, but the projections of the delta net are two tensors, in each of which those
//! of one key head stand together; the experts of Qwen3-MoE, and one beside them for every token, whose output is gated.

use super::Architecture;
use super::common::Defaults;
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::GgufExperts;
use super::qwen2_moe::with_gated_expert;
use super::qwen3_5::{self, describe_as};
use super::qwen3_moe::{NUM_EXPERTS, read_experts, sparse_layers};
use crate::description::{FeedForward, Mixer, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3_next",
    class: "Qwen3NextForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen3next",
        ours: "qwen3_next",
        qk_norm: Some(true),
        is_hybrid: true,
        has_further_layers: true,
        experts: Some(GgufExperts::SOFTMAX),
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 48,
    num_key_value_heads: Some(2),
    ..qwen3_5::DEFAULTS
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut description = describe_as(ARCHITECTURE.name, config, &DEFAULTS)?;
    let sparse = sparse_layers(config, description.layers.len())?;
    for (layer, _) in description
        .layers
        .iter_mut()
        .zip(sparse)
        .filter(|(_, sparse)| *sparse)
    {
        if let FeedForward::Dense(mlp) = layer.feed_forward {
            let experts = read_experts(config, NUM_EXPERTS, mlp, [512, 10, 512], true)?;
            layer.feed_forward = with_gated_expert(config, experts, 512)?;
        }
    }
    Ok(description)
}

/// As of Qwen3.5, but value heads are in the order of folders.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    qwen3_5::adapt(keys, description)?;
    for layer in &mut description.layers {
        if let Mixer::DeltaNet(net) = &mut layer.mixer {
            net.is_tiled = false;
        }
    }
    Ok(())
}
