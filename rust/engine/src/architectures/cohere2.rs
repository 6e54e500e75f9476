//! Command R7B and its kin (Cohere 2).
//!
//! What is particular: attention and feed-forward block read the same input; LayerNorm without bias; three layers with a
//! window, which rotate neighbours, to one that sees everything and rotates nothing; logits are multiplied.

use super::Architecture;
use super::common::{Defaults, Shared, sliding_or_every, window_or};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation, sliding_pattern};
use super::rope::RopeDefaults;
use crate::description::{BlockNorms, ModelDescription, Norm, NormKind};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "cohere2",
    class: "Cohere2ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "cohere2",
        ours: "cohere2",
        rotation: GgufRotation::Neighbours,
        adapt: |keys, description| {
            let window = Some(keys.required_count("attention.sliding_window")?);
            let sliding = sliding_pattern(keys, description.layers.len(), PERIOD)?;
            let scale = keys.positive("logit_scale")?;
            description.logits_scale = scale.ok_or_else(|| keys.missing("logit_scale"))?;
            adapt(description, window, &sliding);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 8192,
    intermediate_size: 22_528,
    num_hidden_layers: 40,
    num_attention_heads: 64,
    max_position_embeddings: 8192,
    rope: Some(RopeDefaults {
        is_interleaved: true,
        ..RopeDefaults::of(10_000.0)
    }),
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

/// One layer of so many sees everything.
const PERIOD: usize = 4;

fn adapt(description: &mut ModelDescription, window: Option<usize>, sliding: &[bool]) {
    let none = BlockNorms {
        before: None,
        after: None,
    };
    for (layer, sliding) in description.layers.iter_mut().zip(sliding) {
        layer.is_parallel = true;
        layer.feed_forward_norms = none;
        if let Some(attention) = layer.attention_mut() {
            attention.window = window.filter(|_| *sliding);
            if attention.window.is_none() {
                attention.rope = None;
            }
        }
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.norm = Norm {
        eps: config.positive("layer_norm_eps")?.unwrap_or(1e-5),
        kind: NormKind::Layer { bias: false },
    };
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let window = window_or(config, 4096)?;
    let period = config.count("sliding_window_pattern")?.unwrap_or(PERIOD);
    let sliding = sliding_or_every(config, shared.num_layers, period)?;
    let scale = config.positive("logit_scale")?.unwrap_or(0.0625);
    let mut description = shared.describe(|_, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
    });
    description.logits_scale = scale;
    adapt(&mut description, window, &sliding);
    Ok(description)
}
