//! Granite 4, the dense models without Mamba layers.
//!
//! What is particular: Granite 3 with one tensor for gate and up, under names of its own; some models rotate nothing.

use super::Architecture;
use super::common::Shared;
use super::config_file::ConfigFile;
use super::granite::{DEFAULTS, read_scales};
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry. GGUF files of these models call themselves Granite.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "granitemoehybrid",
    class: "GraniteMoeHybridForCausalLM",
    describe,
    names: &[
        (".shared_mlp.input_linear.", ".mlp.gate_up_proj."),
        (".shared_mlp.output_linear.", ".mlp.down_proj."),
    ],
    gguf: None,
};

/// Keys of layers and blocks that these models do not have.
const OF_OTHERS: [&str; 12] = [
    "mamba_n_heads",
    "mamba_n_groups",
    "mamba_d_state",
    "mamba_d_head",
    "mamba_d_conv",
    "mamba_expand",
    "mamba_chunk_size",
    "mamba_conv_bias",
    "mamba_proj_bias",
    "time_step_limit",
    "num_experts_per_tok",
    "output_router_logits",
];

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.mlp.intermediate_size = config.count("shared_intermediate_size")?.unwrap_or(1024);
    if config.whole("num_local_experts")?.unwrap_or(8) > 0 {
        return Err(config.unsupported("num_local_experts", "Granite's experts are not computed"));
    }
    let types = config.texts("layer_types")?.unwrap_or_default();
    let is_attention = |kind: &&str| matches!(*kind, "attention" | "full_attention");
    if types.len() != shared.num_layers || !types.iter().all(is_attention) {
        return Err(config.unsupported("layer_types", "Mamba layers are not computed"));
    }
    for key in OF_OTHERS {
        let _ = config.value(key);
    }
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let rotates = config.text("position_embedding_type")? == Some("rope");
    let mut description = shared.describe(|_, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.rope = attention.rope.take().filter(|_| rotates);
    });
    read_scales(config, &mut description)?;
    Ok(description)
}
