//! Hunyuan, the dense models.
//!
//! What is particular: queries and keys are normalised per head, behind the rotation; the base of the rotation grows by
//! `alpha` once for all (NTK-aware scaling).

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::rope::{RopeDefaults, read_rope_or};
use crate::description::rope::{Rope, RopeScaling};
use crate::description::{ModelDescription, QkNorm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "hunyuan_v1_dense",
    class: "HunYuanDenseV1ForCausalLM",
    describe,
    names: &[
        (".query_layernorm.", ".q_norm."),
        (".key_layernorm.", ".k_norm."),
    ],
    gguf: Some(GgufArchitecture {
        name: "hunyuan-dense",
        ours: "hunyuan_v1_dense",
        // The base is there as it has grown.
        adapt: |_, description| {
            norm_heads(description);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 290_943,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope: None,
    ..Defaults::COMMON
};

fn norm_heads(description: &mut ModelDescription) {
    let norm = QkNorm {
        is_after_rotation: true,
        ..QkNorm::of_heads(description.final_norm)
    };
    for attention in description.attentions_mut() {
        attention.qk_norm = Some(norm);
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let rope = rope(config, shared.head_dim())?;
    let mut description = shared.describe(|_, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.rope = Some(rope.clone());
    });
    norm_heads(&mut description);
    Ok(description)
}

/// The kind that the files call dynamic has nothing to do with the length of a sequence where there is an `alpha`.
fn rope(config: &ConfigFile, head_dim: usize) -> Result<Rope> {
    let rope = read_rope_or(config, head_dim, &RopeDefaults::of(10_000.0))?;
    let filled = |object: &ConfigFile| !object.is_empty();
    let old = config.object("rope_scaling")?.filter(filled);
    let object = old.or(config.object("rope_parameters")?);
    let alpha = match &object {
        Some(object) => object.not_negative("alpha")?.filter(|alpha| *alpha > 0.0),
        None => None,
    };
    match (&rope.scaling, alpha) {
        (RopeScaling::Dynamic { .. }, Some(alpha)) => {
            let dims = head_dim as f64;
            let theta = rope.theta * alpha.powf(dims / (dims - 2.0));
            Ok(Rope::new(theta, RopeScaling::None, head_dim))
        }
        _ => Ok(rope),
    }
}
