//! The keys of selective state spaces (Mamba 2).

use serde_json::Value;

use super::common::activation_of;
use super::config_file::ConfigFile;
use super::gguf::GgufMetadata;
use crate::description::{Activation, Mixer, ModelDescription, StateSpace, StateSpaceNorm};
use crate::error::Result;

/// Makes sure that time steps are not bounded.
pub(super) fn check_time_steps(config: &ConfigFile) -> Result<()> {
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
    Ok(())
}

/// Reads the keys `mamba_…` of a state space whose heads are `inner` wide together, without a norm.
pub(super) fn read(config: &ConfigFile, inner: usize) -> Result<StateSpace> {
    check_time_steps(config)?;
    let count = |key: &str, default: usize| config.count(key).map(|n| n.unwrap_or(default));
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
    let bias = config.flag("mamba_proj_bias")?.unwrap_or(false);
    Ok(StateSpace {
        heads,
        head_dim,
        groups,
        state_dim: count("mamba_d_state", 256)?,
        taps: count("mamba_d_conv", 4)?,
        conv_bias: config.flag_or("mamba_conv_bias", true)?,
        bias,
        output_bias: bias,
        activation: activation_of(config, "hidden_act", "silu")?,
        norm: None,
        scales: [1.0; 5],
        has_decays: false,
    })
}

/// Reads the keys of GGUF files; [`adapt_to_tensors`] reads the rest. Answers are gated and then normed.
pub(super) fn of_gguf(keys: &ConfigFile, eps: f64) -> Result<StateSpace> {
    let heads = keys.required_count("ssm.time_step_rank")?;
    let inner = keys.required_count("ssm.inner_size")?;
    let groups = keys.required_count("ssm.group_count")?;
    if !inner.is_multiple_of(heads) || !heads.is_multiple_of(groups) {
        return Err(keys.invalid(
            "ssm.time_step_rank",
            format!("{heads} heads do not divide {inner} and fall into {groups} groups"),
        ));
    }
    Ok(StateSpace {
        heads,
        head_dim: inner / heads,
        groups,
        state_dim: keys.required_count("ssm.state_size")?,
        taps: keys.required_count("ssm.conv_kernel")?,
        conv_bias: false,
        bias: false,
        output_bias: false,
        activation: Activation::Silu,
        norm: Some(StateSpaceNorm {
            eps,
            is_before_gate: false,
        }),
        scales: [1.0; 5],
        has_decays: true,
    })
}

/// Convolutions have a bias or not, and answers a norm.
pub(super) fn adapt_to_tensors(
    file: &dyn GgufMetadata,
    description: &mut ModelDescription,
) -> Result<()> {
    for (index, layer) in description.layers.iter_mut().enumerate() {
        let space = match &mut layer.mixer {
            Mixer::StateSpace(space) => space,
            Mixer::Parallel(both) => &mut both.space,
            _ => continue,
        };
        let has = |name: &str| file.shape(&format!("blk.{index}.{name}")).is_some();
        space.conv_bias = has("ssm_conv1d.bias");
        space.norm = space.norm.filter(|_| has("ssm_norm.weight"));
    }
    Ok(())
}
