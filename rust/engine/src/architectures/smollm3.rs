//! SmolLM3.
//!
//! What is particular: every fourth layer, or those that `no_rope_layers` marks with 0, rotates
//! nothing; optional biases as Llama's; a window in the layers without rotation when it is switched on.

use super::Architecture;
use super::common::{Defaults, Shared, sliding_layers};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::rope::RopeDefaults;
use crate::description::{FeedForward, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "smollm3",
    class: "SmolLM3ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "smollm3",
        rotation: GgufRotation::Permuted,
        ours: "smollm3",
        adapt: |_, description| {
            // No key says so.
            for index in (0..description.layers.len()).filter(|index| !rotates(*index, INTERVAL)) {
                if let Some(attention) = description.layers[index].attention_mut() {
                    attention.rope = None;
                }
            }
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 128_256,
    hidden_size: 2048,
    intermediate_size: 11_008,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    num_key_value_heads: Some(4),
    head_dim: None,
    max_position_embeddings: 32_768,
    rope: Some(RopeDefaults::of(2_000_000.0)),
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

/// Which layers rotate nothing where no key says so: every fourth.
const INTERVAL: usize = 4;

fn rotates(index: usize, interval: usize) -> bool {
    !(index + 1).is_multiple_of(interval)
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let mlp_bias = config.flag("mlp_bias")?.unwrap_or(false);
    let interval = config.count("no_rope_layer_interval")?.unwrap_or(INTERVAL);
    let rotated = match config.wholes("no_rope_layers")? {
        None => (0..shared.num_layers)
            .map(|index| rotates(index, interval))
            .collect(),
        Some(marks) if marks.len() == shared.num_layers => {
            marks.into_iter().map(|mark| mark != 0).collect::<Vec<_>>()
        }
        Some(_) => {
            return Err(config.invalid(
                "no_rope_layers",
                format!("expected {} entries", shared.num_layers),
            ));
        }
    };
    let used = config.flag("use_sliding_window")?.unwrap_or(false);
    let size = config.count("sliding_window")?.filter(|_| used);
    let sliding = match config.texts("layer_types")? {
        Some(types) => sliding_layers(config, &types, shared.num_layers)?,
        None => rotated.iter().map(|rotated| !rotated).collect(),
    };
    Ok(shared.describe(|index, attention, feed_forward| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.window = size.filter(|_| sliding[index]);
        if !rotated[index] {
            attention.rope = None;
        }
        if let FeedForward::Dense(mlp) = feed_forward {
            mlp.bias = mlp_bias;
        }
    }))
}
