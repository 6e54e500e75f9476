//! Granite 4, dense and with experts, with attention alone or with Mamba 2 in most layers.
//!
//! What is particular: the multipliers of Granite 3; one tensor for gate and up, under names of its own, of the expert that runs
//! for every token; most models rotate nothing.

use super::Architecture;
use super::common::Shared;
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation, mix_without_heads};
use super::gguf_experts::GgufExperts;
use super::granite::{self, DEFAULTS, read_scales};
use super::granite_moe::{NAMES, read_granite_experts};
use super::mamba;
use crate::description::{Mixer, Mlp, ModelDescription, StateSpace, StateSpaceNorm};
use crate::error::Result;

/// The table's entry. GGUF files of models without Mamba layers call themselves Granite 3.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "granitemoehybrid",
    class: "GraniteMoeHybridForCausalLM",
    describe,
    names: NAMES,
    gguf: Some(GgufArchitecture {
        name: "granitehybrid",
        ours: "granitemoehybrid",
        rotation: GgufRotation::Permuted,
        is_hybrid: true,
        experts: Some(GgufExperts::SOFTMAX),
        adapt,
        adapt_to_tensors: mamba::adapt_to_tensors,
        ..GgufArchitecture::COMMON
    }),
};

const UNREAD: [&str; 11] = [
    "mamba_chunk_size",
    "mamba_n_heads",
    "mamba_n_groups",
    "mamba_d_state",
    "mamba_d_head",
    "mamba_d_conv",
    "mamba_expand",
    "mamba_conv_bias",
    "mamba_proj_bias",
    "time_step_limit",
    "output_router_logits",
];

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let mlp = shared.mlp;
    let size = config.count("shared_intermediate_size")?.unwrap_or(1024);
    let experts = match config.whole("num_local_experts")?.unwrap_or(8) {
        0 => {
            let _ = config.value("num_experts_per_tok");
            None
        }
        _ => Some(read_granite_experts(config, mlp, size)?),
    };
    shared.mlp = Mlp {
        intermediate_size: size,
        ..mlp
    };
    let is_attention = attention_layers(config, shared.num_layers)?;
    let space = match is_attention.contains(&false) {
        true => {
            let hidden = config.count("hidden_size")?.unwrap_or(DEFAULTS.hidden_size);
            let inner = config.count("mamba_expand")?.unwrap_or(2) * hidden;
            let space = mamba::read(config, inner)?;
            Some(StateSpace {
                norm: Some(StateSpaceNorm {
                    eps: shared.norm.eps,
                    is_before_gate: false,
                }),
                ..space
            })
        }
        false => None,
    };
    // Keys of the layers that a model may not have, and of what changes no answer.
    for key in UNREAD {
        let _ = config.value(key);
    }
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let rotates = config.text("position_embedding_type")? == Some("rope");
    let mut description = shared.describe(|_, attention, feed_forward| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.rope = attention.rope.take().filter(|_| rotates);
        if let Some(experts) = &experts {
            *feed_forward = experts.clone();
        }
    });
    read_scales(config, &mut description)?;
    for (layer, is_attention) in description.layers.iter_mut().zip(is_attention) {
        if let (Some(space), false) = (space, is_attention) {
            layer.mixer = Mixer::StateSpace(space);
        }
    }
    Ok(description)
}

/// Which layers have attention; where no key says it, none has.
fn attention_layers(config: &ConfigFile, num_layers: usize) -> Result<Vec<bool>> {
    const KEY: &str = "layer_types";
    let Some(types) = config.texts(KEY)? else {
        return Ok(vec![false; num_layers]);
    };
    if types.len() != num_layers {
        return Err(config.invalid(KEY, format!("expected {num_layers} entries")));
    }
    types
        .iter()
        .map(|kind| match *kind {
            "attention" | "full_attention" => Ok(true),
            "mamba" | "linear_attention" => Ok(false),
            _ => Err(config.unsupported(KEY, "only attention and mamba are known")),
        })
        .collect()
}

/// Layers without attention have no heads.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    granite::adapt(keys, description)?;
    let space = mamba::of_gguf(keys, description.final_norm.eps)?;
    mix_without_heads(keys, description, &Mixer::StateSpace(space))
}
