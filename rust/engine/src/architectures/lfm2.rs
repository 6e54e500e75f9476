//! LFM2 and LFM2.5, the dense models.
//!
//! What is particular: some layers mix positions by a gated short convolution and not by attention, which normalises queries
//! and keys per head; a feed-forward block whose size is derived from the key.

use super::Architecture;
use super::common::{Defaults, Shared, layers_of_kind};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, mix_without_heads};
use super::rope::RopeDefaults;
use crate::description::{Activation, Mixer, ModelDescription, Norm, ShortConv};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "lfm2",
    class: "Lfm2ForCausalLM",
    describe,
    names: &[
        ("model.embedding_norm.", "model.norm."),
        (".operator_norm.", ".input_layernorm."),
        (".ffn_norm.", ".post_attention_layernorm."),
        (".self_attn.out_proj.", ".self_attn.o_proj."),
        (".q_layernorm.", ".q_norm."),
        (".k_layernorm.", ".k_norm."),
        (".feed_forward.w1.", ".mlp.gate_proj."),
        (".feed_forward.w3.", ".mlp.up_proj."),
        (".feed_forward.w2.", ".mlp.down_proj."),
    ],
    gguf: Some(GgufArchitecture {
        name: "lfm2",
        ours: "lfm2",
        qk_norm: Some(true),
        is_hybrid: true,
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 65_536,
    hidden_size: 2560,
    intermediate_size: 12_288,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    max_position_embeddings: 128_000,
    rope: Some(RopeDefaults::of(1_000_000.0)),
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.norm = Norm::rms(config.positive("norm_eps")?.unwrap_or(1e-5));
    // Whatever the key says.
    shared.mlp.activation = Activation::Silu;
    shared.mlp.intermediate_size = feed_forward_size(config, shared.mlp.intermediate_size)?;
    let is_attention = attention_layers(config, shared.num_layers)?;
    let conv = ShortConv {
        taps: config.count("conv_L_cache")?.unwrap_or(3),
        bias: config.flag("conv_bias")?.unwrap_or(false),
    };
    let norm = shared.head_norm();
    // An old name, which counts before the other.
    let tied = config.flag("tie_embedding")?;
    let mut description = shared.describe(|_, attention, _| attention.qk_norm = norm);
    if let Some(tied) = tied {
        description.tie_word_embeddings = tied;
    }
    for (layer, is_attention) in description.layers.iter_mut().zip(is_attention) {
        if !is_attention {
            layer.mixer = Mixer::ShortConv(conv);
        }
    }
    Ok(description)
}

/// Layers without attention have no heads.
pub(super) fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let conv = ShortConv {
        taps: keys.required_count("shortconv.l_cache")?,
        bias: false,
    };
    mix_without_heads(keys, description, &Mixer::ShortConv(conv))
}

/// Two thirds of the key, times a factor, rounded up, unless the key is taken as it is.
fn feed_forward_size(config: &ConfigFile, size: usize) -> Result<usize> {
    let size = config.count("block_ff_dim")?.unwrap_or(size);
    let adjusts = config.flag_or("block_auto_adjust_ff_dim", true)?;
    let factor = match config.has("block_ffn_dim_multiplier") {
        true => config.positive("block_ffn_dim_multiplier")?,
        false => Some(1.0),
    };
    let multiple = config.count("block_multiple_of")?.unwrap_or(256);
    let thirds = 2 * size / 3;
    match (adjusts, factor) {
        (false, _) => Ok(size),
        (true, None) => Ok(thirds),
        (true, Some(factor)) if factor * (thirds as f64) < f64::from(u32::MAX) => {
            Ok(((factor * thirds as f64) as usize).next_multiple_of(multiple))
        }
        (true, Some(_)) => Err(config.invalid(
            "block_ffn_dim_multiplier",
            "blocks of such a size are not believed",
        )),
    }
}

pub(super) fn attention_layers(config: &ConfigFile, num_layers: usize) -> Result<Vec<bool>> {
    let listed = config.wholes("full_attn_idxs")?;
    let Some(types) = config.texts("layer_types")? else {
        let is_listed = |index| listed.as_ref().is_none_or(|list| list.contains(&index));
        return Ok((0..num_layers).map(is_listed).collect());
    };
    let kinds = ["full_attention", "conv"];
    layers_of_kind(config, "layer_types", &types, kinds, num_layers)
}
