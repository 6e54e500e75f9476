//! Mistral 7B and its kin.
//!
//! What is particular: every layer sees a sliding window when `sliding_window` is set, and it is
//! set to 4096 when the key is missing (null means none).

use super::Architecture;
use super::common::{Defaults, Shape};
use super::config_file::ConfigFile;
use crate::description::{FeedForward, LayerDescription, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "mistral",
    class: "MistralForCausalLM",
    describe,
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
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shape = Shape::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = match config.has("sliding_window") {
        true => config.count("sliding_window")?,
        false => Some(4096),
    };
    let intermediate_size = shape.intermediate_size;
    Ok(shape.with_layers(|_| LayerDescription {
        window,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        feed_forward: FeedForward::Dense {
            intermediate_size,
            bias: false,
        },
    }))
}
