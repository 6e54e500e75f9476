//! Qwen3.
//!
//! What is particular: queries and keys are normalised per head; heads have 128 dimensions unless
//! `head_dim` says otherwise; an optional bias on all four attention projections; a sliding window
//! in some layers when it is switched on.

use super::Architecture;
use super::common::{Defaults, Shared, qwen_windows};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen3",
        ours: "qwen3",
        qk_norm: Some(true),
        ..GgufArchitecture::COMMON
    }),
};

pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: Some(128),
    max_position_embeddings: 32_768,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    describe_as(ARCHITECTURE.name, config, &DEFAULTS)
}

/// A model of this family under another name and with other defaults.
pub(super) fn describe_as(
    name: &'static str,
    config: &ConfigFile,
    defaults: &Defaults,
) -> Result<ModelDescription> {
    let shared = Shared::read(name, config, defaults)?;
    let windows = qwen_windows(config, shared.num_layers)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let norm = shared.head_norm();
    Ok(shared.describe(|index, attention, _| {
        attention.qk_norm = norm;
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.window = windows[index];
    }))
}
