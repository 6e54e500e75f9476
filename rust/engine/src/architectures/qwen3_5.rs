//! Qwen3.5, 3.6 and 3.8, the dense models.
//!
//! What is particular: three layers of the gated delta net to one of attention, whose output is gated and which rotates a
//! quarter of each head; queries and keys are normalised per head; the factors of norms are 1 + weight, but for those
//! inside of the delta net.

use super::Architecture;
use super::common::{Defaults, Shared, layers_of_kind};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, truths};
use super::rope::RopeDefaults;
use crate::description::{Activation, DeltaNet, Mixer, ModelDescription, Norm, NormKind};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3_5_text",
    class: "Qwen3_5ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen35",
        ours: "qwen3_5_text",
        qk_norm: Some(true),
        is_hybrid: true,
        has_further_layers: true,
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 248_320,
    hidden_size: 4096,
    intermediate_size: 12_288,
    num_hidden_layers: 32,
    num_attention_heads: 16,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 32_768,
    rope: Some(RopeDefaults {
        share: Some(0.25),
        ..RopeDefaults::of(10_000.0)
    }),
    ..Defaults::COMMON
};

/// One layer of so many has attention.
const PERIOD: usize = 4;

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    describe_as(ARCHITECTURE.name, config, &DEFAULTS)
}

/// A model of this family under another name and with other defaults.
pub(super) fn describe_as(
    name: &'static str,
    config: &ConfigFile,
    defaults: &Defaults,
) -> Result<ModelDescription> {
    let mut shared = Shared::read(name, config, defaults)?;
    let count = |key: &str, default: usize| config.count(key).map(|n| n.unwrap_or(default));
    let net = DeltaNet {
        key_heads: count("linear_num_key_heads", 16)?,
        value_heads: count("linear_num_value_heads", 32)?,
        key_dim: count("linear_key_head_dim", 128)?,
        value_dim: count("linear_value_head_dim", 128)?,
        taps: count("linear_conv_kernel_dim", 4)?,
        eps: shared.norm.eps,
        is_tiled: false,
        has_decays: false,
    };
    if !net.value_heads.is_multiple_of(net.key_heads) {
        return Err(config.invalid(
            "linear_num_value_heads",
            format!(
                "must be a multiple of linear_num_key_heads = {}",
                net.key_heads
            ),
        ));
    }
    if shared.mlp.activation != Activation::Silu {
        return Err(config.unsupported(
            "hidden_act",
            "the convolution of the delta net is computed with silu",
        ));
    }
    shared.norm = Norm {
        kind: NormKind::Rms { plus_one: true },
        ..shared.norm
    };
    let period = config.count("full_attention_interval")?.unwrap_or(PERIOD);
    let is_attention = attention_layers(config, shared.num_layers, period)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let norm = shared.head_norm();
    let mut description = shared.describe(|_, attention, _| {
        attention.qk_norm = norm;
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.output_gate = true;
    });
    for (layer, is_attention) in description.layers.iter_mut().zip(is_attention) {
        if !is_attention {
            layer.mixer = Mixer::DeltaNet(net);
        }
    }
    Ok(description)
}

fn attention_layers(config: &ConfigFile, num_layers: usize, period: usize) -> Result<Vec<bool>> {
    let Some(types) = config.texts("layer_types")? else {
        return Ok((1..=num_layers)
            .map(|number| number.is_multiple_of(period))
            .collect());
    };
    let kinds = ["full_attention", "linear_attention"];
    layers_of_kind(config, "layer_types", &types, kinds, num_layers)
}

/// GGUF files have the 1 in the weights of norms, decays as they are used, and value heads in another order.
pub(super) fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let value_heads = keys.required_count("ssm.time_step_rank")?;
    let inner = keys.required_count("ssm.inner_size")?;
    if !inner.is_multiple_of(value_heads) {
        return Err(keys.invalid(
            "ssm.inner_size",
            format!("expected a multiple of {value_heads}"),
        ));
    }
    let net = DeltaNet {
        key_heads: keys.required_count("ssm.group_count")?,
        value_heads,
        key_dim: keys.required_count("ssm.state_size")?,
        value_dim: inner / value_heads,
        taps: keys.required_count("ssm.conv_kernel")?,
        eps: description.final_norm.eps,
        is_tiled: true,
        has_decays: true,
    };
    if !net.value_heads.is_multiple_of(net.key_heads) {
        return Err(keys.invalid(
            "ssm.time_step_rank",
            format!("must be a multiple of ssm.group_count = {}", net.key_heads),
        ));
    }
    // Texts have three positions that are equal.
    let _ = keys.value("rope.dimension_sections");
    let period = keys.count("full_attention_interval")?.unwrap_or(PERIOD);
    // Also of layers that predict further tokens, which the description leaves out.
    let all = keys.required_count("block_count")?;
    let recurrent = truths(keys, "attention.recurrent_layers", all)?;
    for (index, layer) in description.layers.iter_mut().enumerate() {
        let is_recurrent = match &recurrent {
            Some(recurrent) => recurrent[index],
            None => !(index + 1).is_multiple_of(period),
        };
        match layer.attention_mut() {
            Some(attention) if !is_recurrent => attention.output_gate = true,
            _ => layer.mixer = Mixer::DeltaNet(net),
        }
    }
    Ok(())
}
