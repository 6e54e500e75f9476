//! OLMo 2.
//!
//! What is particular: norms stand behind the blocks and not before them; queries and keys are normalised
//! over all heads together; an optional bias on all four attention projections.

use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::{Architecture, olmo3};
use crate::description::{BlockNorms, ModelDescription, Norm, NormSpan, QkNorm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "olmo2",
    class: "Olmo2ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "olmo2",
        ours: "olmo2",
        adapt: |keys, description| {
            place_norms(description, description.final_norm);
            olmo3::adapt(keys, description)
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_304,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    ..Defaults::COMMON
};

pub(super) fn place_norms(description: &mut ModelDescription, norm: Norm) {
    description.place_norms(BlockNorms::after(norm));
    for attention in description.attentions_mut() {
        attention.qk_norm = Some(QkNorm {
            span: NormSpan::Row,
            ..QkNorm::of_heads(norm)
        });
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let norm = shared.norm;
    let mut description = shared.describe(|_, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
    });
    place_norms(&mut description, norm);
    Ok(description)
}
