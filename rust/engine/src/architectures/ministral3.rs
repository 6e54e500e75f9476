//! Ministral 3.
//!
//! What is particular: Mistral whose queries grow with their positions; heads have 128 dimensions unless `head_dim` says
//! otherwise; long contexts by YaRN.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::rope::RopeDefaults;
use crate::description::{ModelDescription, QueryTemperature};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "ministral3",
    class: "Ministral3ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "mistral3",
        ours: "ministral3",
        rotation: GgufRotation::Permuted,
        adapt: |keys, description| {
            let beta = keys.not_negative("attention.temperature_scale")?;
            let step = keys.count("rope.scaling.original_context_length")?;
            let temperature = match beta.filter(|beta| *beta > 0.0) {
                None => None,
                Some(beta) => Some(QueryTemperature {
                    beta,
                    step: step.ok_or_else(|| {
                        keys.invalid(
                            "rope.scaling.original_context_length",
                            "attention.temperature_scale needs this key",
                        )
                    })?,
                }),
            };
            set_temperature(description, temperature);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 131_072,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 34,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: Some(128),
    max_position_embeddings: 262_144,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults::of(1_000_000.0)),
    ..Defaults::COMMON
};

fn set_temperature(description: &mut ModelDescription, temperature: Option<QueryTemperature>) {
    for attention in description.attentions_mut() {
        attention.query_temperature = temperature;
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(
        ARCHITECTURE.name,
        config,
        &DEFAULTS.with_null_head_dim(config),
    )?;
    let window = config.count("sliding_window")?;
    let rope = match config.object("rope_parameters")? {
        Some(rope) => rope,
        None => return Err(config.invalid("rope_parameters", "this key is needed")),
    };
    let needed = |key: &str| rope.invalid(key, "this key is needed");
    let temperature = QueryTemperature {
        beta: rope
            .not_negative("llama_4_scaling_beta")?
            .ok_or_else(|| needed("llama_4_scaling_beta"))?,
        step: rope.required_count("original_max_position_embeddings")?,
    };
    let mut description = shared.describe(|_, attention, _| attention.window = window);
    set_temperature(&mut description, Some(temperature));
    Ok(description)
}
