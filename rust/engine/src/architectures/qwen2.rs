//! Qwen2 and Qwen2.5.
//!
//! What is particular: biases on queries, keys and values always, on the output never; a sliding
//! window in some layers when it is switched on.

use super::Architecture;
use super::common::{Defaults, Shared, qwen_windows};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen2",
        ours: "qwen2",
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: None,
    max_position_embeddings: 32_768,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let windows = qwen_windows(config, shared.num_layers)?;
    Ok(shared.describe(|index, attention, _| {
        attention.qkv_bias = true;
        attention.window = windows[index];
    }))
}
