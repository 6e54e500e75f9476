//! Granite 3, the dense models.
//!
//! What is particular: the embedding, the output of each block, the products of queries and keys, and
//! the logits are multiplied with numbers of the configuration; optional biases as Llama's.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use crate::description::{FeedForward, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "granite",
    class: "GraniteForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "granite",
        rotation: GgufRotation::Permuted,
        ours: "granite",
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

pub(super) const DEFAULTS: Defaults = Defaults {
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

struct Scales {
    embedding: f64,
    residual: f64,
    /// That of the heads' width when `None`.
    attention: Option<f64>,
    logits: f64,
}

impl Scales {
    fn apply(&self, description: &mut ModelDescription) {
        description.embedding_scale = self.embedding;
        description.logits_scale = self.logits;
        for layer in &mut description.layers {
            layer.residual_scale = self.residual;
            if let (Some(attention), Some(scale)) = (layer.attention_mut(), self.attention) {
                attention.scale = scale;
            }
        }
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let mlp_bias = config.flag("mlp_bias")?.unwrap_or(false);
    let mut description = shared.describe(|_, attention, feed_forward| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        if let FeedForward::Dense(mlp) = feed_forward {
            mlp.bias = mlp_bias;
        }
    });
    read_scales(config, &mut description)?;
    Ok(description)
}

/// Reads the multipliers of GGUF files, whether anything is rotated, and the size of the one block of Granite 4's dense models.
pub(super) fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let scale = |key: &str| keys.positive(key);
    let scales = Scales {
        embedding: scale("embedding_scale")?.unwrap_or(1.0),
        residual: scale("residual_scale")?.unwrap_or(1.0),
        attention: scale("attention.scale")?,
        logits: 1.0 / scale("logit_scale")?.unwrap_or(1.0),
    };
    scales.apply(description);
    if keys.flag("rope.scaling.finetuned")? == Some(false) {
        for attention in description.attentions_mut() {
            attention.rope = None;
        }
    }
    if let Some(size) = keys.count("expert_shared_feed_forward_length")? {
        for layer in &mut description.layers {
            if let FeedForward::Dense(mlp) = &mut layer.feed_forward {
                mlp.intermediate_size = size;
            }
        }
    }
    Ok(())
}

/// Reads the multipliers.
pub(super) fn read_scales(config: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let scale = |key: &str| config.positive(key).map(|scale| scale.unwrap_or(1.0));
    let scales = Scales {
        embedding: scale("embedding_multiplier")?,
        residual: scale("residual_multiplier")?,
        attention: Some(scale("attention_multiplier")?),
        logits: 1.0 / scale("logits_scaling")?,
    };
    scales.apply(description);
    Ok(())
}
