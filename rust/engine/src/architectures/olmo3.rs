//! OLMo 3.
//!
//! What is particular: OLMo 2, and three layers with a window, whose rotation is never scaled, to one that sees everything.

use super::Architecture;
use super::common::{Defaults, Shared, sliding_or_every, window_or};
use super::config_file::ConfigFile;
use super::gguf::sliding_pattern;
use super::olmo2::place_norms;
use super::rope::read_layer_rope;
use crate::description::ModelDescription;
use crate::description::rope::{Rope, RopeScaling};
use crate::error::Result;

/// The table's entry. GGUF files of this family call themselves OLMo 2.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "olmo3",
    class: "Olmo3ForCausalLM",
    describe,
    names: &[],
    gguf: None,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_304,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope: None,
    ..Defaults::COMMON
};

const THETA: f64 = 500_000.0;

/// One layer of so many sees everything.
const PERIOD: usize = 4;

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let rope = |layer_type: &str, outer: Option<&str>, scaling| {
        read_layer_rope(config, shared.head_dim(), layer_type, outer, THETA, scaling)
    };
    let full = rope(
        "full_attention",
        Some("rope_theta"),
        config.object("rope_scaling")?,
    )?;
    // As transformers has it, a base outside of the objects is that of the other layers alone.
    let local = rope("sliding_attention", None, None)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let size = window_or(config, 4096)?;
    let sliding = sliding_or_every(config, shared.num_layers, PERIOD)?;
    let norm = shared.norm;
    let mut description = shared.describe(|index, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.window = size.filter(|_| sliding[index]);
        attention.rope = Some(match sliding[index] {
            true => local.clone(),
            false => full.clone(),
        });
    });
    place_norms(&mut description, norm);
    Ok(description)
}

/// Makes an OLMo 2 of a GGUF file the OLMo 3 that it is where it has windows.
pub(super) fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let Some(size) = keys.count("attention.sliding_window")? else {
        return Ok(());
    };
    description.architecture = ARCHITECTURE.name;
    let local = keys.positive("rope.freq_base_swa")?;
    let sliding = sliding_pattern(keys, description.layers.len(), PERIOD)?;
    for (layer, sliding) in description.layers.iter_mut().zip(sliding) {
        let Some(attention) = layer.attention_mut().filter(|_| sliding) else {
            continue;
        };
        attention.window = Some(size);
        if let Some(rope) = &attention.rope {
            let theta = local.unwrap_or(rope.theta);
            attention.rope = Some(Rope::new(theta, RopeScaling::None, attention.head_dim));
        }
    }
    Ok(())
}
