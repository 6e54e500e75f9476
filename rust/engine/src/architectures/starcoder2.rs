//! StarCoder 2.
//!
//! What is particular: LayerNorm with a bias; feed-forward blocks without a gate; one key for all biases; a window in every
//! layer where the key is set.

use super::Architecture;
use super::common::{Defaults, Shared, activation_of};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use crate::description::{Activation, ModelDescription, Norm, NormKind};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "starcoder2",
    class: "Starcoder2ForCausalLM",
    describe,
    names: &[
        (".mlp.c_fc.", ".mlp.up_proj."),
        (".mlp.c_proj.", ".mlp.down_proj."),
    ],
    gguf: Some(GgufArchitecture {
        name: "starcoder2",
        ours: "starcoder2",
        activation: Activation::GeluTanh,
        is_gated: false,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 49_152,
    hidden_size: 3072,
    intermediate_size: 12_288,
    num_hidden_layers: 30,
    num_attention_heads: 24,
    num_key_value_heads: Some(2),
    max_position_embeddings: 4096,
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.norm = Norm {
        eps: config.positive("norm_epsilon")?.unwrap_or(1e-5),
        kind: NormKind::Layer { bias: true },
    };
    let bias = config.flag_or("use_bias", true)?;
    shared.mlp.activation = activation_of(config, "hidden_act", "gelu_pytorch_tanh")?;
    shared.mlp.is_gated = false;
    shared.mlp.bias = bias;
    let window = config.count("sliding_window")?;
    Ok(shared.describe(|_, attention, _| {
        attention.qkv_bias = bias;
        attention.output_bias = bias;
        attention.window = window;
    }))
}
