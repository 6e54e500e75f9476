//! ERNIE 4.5, the dense models.
//!
//! What is particular: Llama whose heads rotate neighbours; heads have 128 dimensions unless `head_dim` says otherwise; one
//! key for all biases.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::rope::RopeDefaults;
use crate::description::{FeedForward, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "ernie4_5",
    class: "Ernie4_5ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "ernie4_5",
        ours: "ernie4_5",
        rotation: GgufRotation::Neighbours,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 103_424,
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 18,
    num_attention_heads: 16,
    num_key_value_heads: Some(2),
    head_dim: Some(128),
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults {
        is_interleaved: true,
        ..RopeDefaults::of(500_000.0)
    }),
    tie_word_embeddings: true,
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(
        ARCHITECTURE.name,
        config,
        &DEFAULTS.with_null_head_dim(config),
    )?;
    let bias = config.flag("use_bias")?.unwrap_or(false);
    Ok(shared.describe(|_, attention, feed_forward| {
        attention.qkv_bias = bias;
        attention.output_bias = bias;
        if let FeedForward::Dense(mlp) = feed_forward {
            mlp.bias = bias;
        }
    }))
}
