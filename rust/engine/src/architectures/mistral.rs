//! Mistral 7B and its kin.
//!
//! What is particular: every layer sees a sliding window when `sliding_window` is set, and it is
//! set to 4096 when the key is missing (null means none).

use super::Architecture;
use super::common::{Defaults, Shared, window_or};
use super::config_file::ConfigFile;
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "mistral",
    class: "MistralForCausalLM",
    describe,
    names: &[],
    gguf: None,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 131_072,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = window_or(config, 4096)?;
    Ok(shared.describe(|_, attention, _| attention.window = window))
}
