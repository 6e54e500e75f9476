//! GLM-4.
//!
//! What is particular: norms before and behind the blocks, under names of their own; neighbours of the first half of each
//! head are rotated; one tensor for gate and up; biases of queries, keys and values.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::rope::RopeDefaults;
use crate::description::{BlockNorms, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "glm4",
    class: "Glm4ForCausalLM",
    describe,
    names: &[
        (".post_attention_layernorm.", ".pre_feedforward_layernorm."),
        (".post_self_attn_layernorm.", ".post_attention_layernorm."),
        (".post_mlp_layernorm.", ".post_feedforward_layernorm."),
    ],
    gguf: Some(GgufArchitecture {
        name: "glm4",
        ours: "glm4",
        rotation: GgufRotation::Neighbours,
        adapt: |_, description| {
            place_norms(description);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_552,
    hidden_size: 4096,
    intermediate_size: 13_696,
    num_hidden_layers: 40,
    num_attention_heads: 32,
    num_key_value_heads: Some(2),
    head_dim: Some(128),
    max_position_embeddings: 131_072,
    rms_norm_eps: 1.5625e-7,
    rope: Some(RopeDefaults {
        share: Some(0.5),
        is_interleaved: true,
        ..RopeDefaults::of(10_000.0)
    }),
    ..Defaults::COMMON
};

fn place_norms(description: &mut ModelDescription) {
    description.place_norms(BlockNorms::around(description.final_norm));
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let qkv_bias = config.flag_or("attention_bias", true)?;
    let mut description = shared.describe(|_, attention, _| attention.qkv_bias = qkv_bias);
    place_norms(&mut description);
    Ok(description)
}
