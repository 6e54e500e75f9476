//! Falcon-H1.
//!
//! What is particular: attention and a selective state space read the same rows in every layer, and their outputs are added;
//! nearly everything is multiplied with a number (µP), which GGUF files have in their weights.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::mamba;
use super::rope::RopeDefaults;
use crate::description::{
    Attention, FeedForward, LayerDescription, Mixer, ModelDescription, ParallelMixers, StateSpace,
    StateSpaceNorm,
};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "falcon_h1",
    class: "FalconH1ForCausalLM",
    describe,
    names: &[
        (".feed_forward.", ".mlp."),
        ("pre_ff_layernorm.", "post_attention_layernorm."),
        ("final_layernorm.", "norm."),
    ],
    gguf: Some(GgufArchitecture {
        name: "falcon-h1",
        ours: "falcon_h1",
        adapt: |keys, description| {
            let space = mamba::of_gguf(keys, description.final_norm.eps)?;
            mix_in_parallel(description, space, [1.0; 2]);
            Ok(())
        },
        adapt_to_tensors: mamba::adapt_to_tensors,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 128_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults::of(10_000.0)),
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let scale = |key: &str| -> Result<f64> { Ok(config.positive(key)?.unwrap_or(1.0)) };
    let attention_input = scale("attention_in_multiplier")?;
    let keys = scale("key_multiplier")?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    if attention_bias && attention_input != 1.0 {
        return Err(config.unsupported(
            "attention_in_multiplier",
            "expected 1 where projections have biases",
        ));
    }
    let [gate_scale, output_scale] = scales(config, "mlp_multipliers")?;
    let mlp_bias = config.flag("mlp_bias")?.unwrap_or(false);
    let space = state_space(config, shared.norm.eps)?;
    // Of queries and keys, and of values.
    let output_scales = [
        scale("attention_out_multiplier")? * attention_input,
        scale("ssm_out_multiplier")?,
    ];
    let mut description = shared.describe(|_, attention, feed_forward| {
        attention.scale *= attention_input * attention_input * keys;
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        if let FeedForward::Dense(mlp) = feed_forward {
            mlp.gate_scale = gate_scale;
            mlp.output_scale = output_scale;
            mlp.bias = mlp_bias;
        }
    });
    description.embedding_scale = scale("embedding_multiplier")?;
    description.logits_scale = scale("lm_head_multiplier")?;
    mix_in_parallel(&mut description, space, output_scales);
    Ok(description)
}

fn state_space(config: &ConfigFile, eps: f64) -> Result<StateSpace> {
    const INNER: &str = "mamba_d_ssm";
    let hidden = config.count("hidden_size")?.unwrap_or(DEFAULTS.hidden_size);
    let expanded = config.count("mamba_expand")?.unwrap_or(2) * hidden;
    let inner = match config.has(INNER) {
        true => config.count(INNER)?.unwrap_or(expanded),
        false => 1024,
    };
    let space = mamba::read(config, inner)?;
    let input = config.positive("ssm_in_multiplier")?.unwrap_or(1.0);
    if space.bias && input != 1.0 {
        return Err(config.unsupported(
            "ssm_in_multiplier",
            "expected 1 where the projection has a bias",
        ));
    }
    let has_norm = config.flag("mamba_rms_norm")?.unwrap_or(false);
    let is_before_gate = config.flag_or("mamba_norm_before_gate", true)?;
    // It says in how many steps the same is computed.
    let _ = config.value("mamba_chunk_size");
    Ok(StateSpace {
        output_bias: config.flag("projectors_bias")?.unwrap_or(false),
        norm: has_norm.then_some(StateSpaceNorm {
            eps,
            is_before_gate,
        }),
        scales: scales::<5>(config, "ssm_multipliers")?.map(|scale| scale * input),
        ..space
    })
}

/// A list of so many numbers; ones where there is none.
fn scales<const N: usize>(config: &ConfigFile, key: &str) -> Result<[f64; N]> {
    match config.positives(key)? {
        None => Ok([1.0; N]),
        Some(list) => list
            .try_into()
            .map_err(|_| config.invalid(key, format!("expected {N} numbers"))),
    }
}

/// Adds a state space beside the attention of each layer.
fn mix_in_parallel(
    description: &mut ModelDescription,
    space: StateSpace,
    [attention_scale, space_scale]: [f64; 2],
) {
    let both = |attention: &Attention| {
        Mixer::Parallel(Box::new(ParallelMixers {
            attention: attention.clone(),
            attention_scale,
            space,
            space_scale,
        }))
    };
    for LayerDescription { mixer, .. } in &mut description.layers {
        if let Mixer::Attention(attention) = mixer {
            *mixer = both(attention);
        }
    }
}
