//! OLMo 2.
//!
//! What is particular: norms stand behind the blocks and not before them; queries and keys are normalised
//! over all heads together; an optional bias on all four attention projections.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use crate::description::{BlockNorms, ModelDescription, NormSpan, QkNorm, RmsNorm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "olmo2",
    class: "Olmo2ForCausalLM",
    describe,
    gguf: Some(GgufArchitecture {
        name: "olmo2",
        interleaved_rope: false,
        ours: "olmo2",
        qk_norm: false,
        experts: false,
        adapt: |_, description| {
            place_norms(description, description.final_norm);
            Ok(())
        },
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

fn place_norms(description: &mut ModelDescription, norm: RmsNorm) {
    let behind = BlockNorms {
        before: None,
        after: Some(norm),
    };
    for layer in &mut description.layers {
        layer.mixer_norms = behind;
        layer.feed_forward_norms = behind;
        if let Some(attention) = layer.attention_mut() {
            attention.qk_norm = Some(QkNorm {
                norm,
                span: NormSpan::Row,
            });
        }
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
