//! Granite 4, dense and with experts, with attention alone or with Mamba 2 in most layers.
//!
//! What is particular: the multipliers of Granite 3; one tensor for gate and up, under names of its own, of the expert that runs
//! for every token; most models rotate nothing.

use serde_json::Value;

use super::Architecture;
use super::common::Shared;
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufMetadata, GgufRotation, mix_without_heads};
use super::gguf_experts::GgufExperts;
use super::granite::{self, DEFAULTS, read_scales};
use super::granite_moe::{NAMES, read_granite_experts};
use crate::description::{Mixer, Mlp, ModelDescription, StateSpace};
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
        adapt_to_tensors,
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
        true => Some(state_space(config, shared.norm.eps)?),
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

fn state_space(config: &ConfigFile, eps: f64) -> Result<StateSpace> {
    const LIMIT: &str = "time_step_limit";
    let bounds = config.value(LIMIT).map(|limit| {
        // JSON has no infinity: Python writes a word for it, which is read as null.
        limit.as_array().is_some_and(|bounds| {
            bounds.len() == 2
                && bounds[0].as_f64() == Some(0.0)
                && bounds[1].as_f64().is_none_or(f64::is_infinite)
        })
    });
    if bounds == Some(false) {
        return Err(config.unsupported(LIMIT, "time steps are not bounded"));
    }
    let count = |key: &str, default: usize| config.count(key).map(|n| n.unwrap_or(default));
    let hidden = count("hidden_size", DEFAULTS.hidden_size)?;
    let inner = count("mamba_expand", 2)? * hidden;
    let heads = count("mamba_n_heads", 128)?;
    const WIDTH: &str = "mamba_d_head";
    let head_dim = match config.value(WIDTH) {
        None => inner / heads,
        Some(Value::String(auto)) if auto == "auto" => inner / heads,
        Some(_) => config.required_count(WIDTH)?,
    };
    let groups = count("mamba_n_groups", 1)?;
    if heads * head_dim != inner || !heads.is_multiple_of(groups) {
        return Err(config.invalid(
            "mamba_n_heads",
            format!("{heads} heads in {groups} groups, {head_dim} wide, are not {inner}"),
        ));
    }
    Ok(StateSpace {
        heads,
        head_dim,
        groups,
        state_dim: count("mamba_d_state", 256)?,
        taps: count("mamba_d_conv", 4)?,
        conv_bias: config.flag("mamba_conv_bias")?.unwrap_or(true),
        bias: config.flag("mamba_proj_bias")?.unwrap_or(false),
        eps,
        has_decays: false,
    })
}

/// Layers without attention have no heads.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    granite::adapt(keys, description)?;
    let heads = keys.required_count("ssm.time_step_rank")?;
    let inner = keys.required_count("ssm.inner_size")?;
    let groups = keys.required_count("ssm.group_count")?;
    if !inner.is_multiple_of(heads) || !heads.is_multiple_of(groups) {
        return Err(keys.invalid(
            "ssm.time_step_rank",
            format!("{heads} heads do not divide {inner} and fall into {groups} groups"),
        ));
    }
    let space = StateSpace {
        heads,
        head_dim: inner / heads,
        groups,
        state_dim: keys.required_count("ssm.state_size")?,
        taps: keys.required_count("ssm.conv_kernel")?,
        conv_bias: false,
        bias: false,
        eps: description.final_norm.eps,
        has_decays: true,
    };
    mix_without_heads(keys, description, &Mixer::StateSpace(space))
}

/// Convolutions have a bias or not.
fn adapt_to_tensors(file: &dyn GgufMetadata, description: &mut ModelDescription) -> Result<()> {
    for (index, layer) in description.layers.iter_mut().enumerate() {
        if let Mixer::StateSpace(space) = &mut layer.mixer {
            space.conv_bias = file
                .shape(&format!("blk.{index}.ssm_conv1d.bias"))
                .is_some();
        }
    }
    Ok(())
}
