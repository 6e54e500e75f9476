//! Gemma 2.
//!
//! What is particular: Gemma 3 without norms of queries and keys and with one rotary base; every other layer has a window;
//! scores of attention and logits are capped.

use super::Architecture;
use super::common::{Defaults, Shared, activation_of, sliding_or_every, window_or};
use super::config_file::ConfigFile;
use super::gemma3::{PLUS_ONE, place_norms};
use super::gguf::{GgufArchitecture, sliding_pattern};
use crate::description::{Activation, ModelDescription, Norm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "gemma2",
    class: "Gemma2ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "gemma2",
        ours: "gemma2",
        activation: Activation::GeluTanh,
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

/// The caps of scores and of logits.
const CAPS: [f64; 2] = [50.0, 30.0];

/// One layer of so many sees everything.
const PERIOD: usize = 2;

/// Layers of the model of 27B, whose scale is by `hidden_size / num_attention_heads` and not by the width of its heads.
const LARGEST_LAYERS: usize = 46;

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.mlp.activation = activation_of(config, "hidden_activation", "gelu_pytorch_tanh")?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let scalar = config.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    let size = window_or(config, 4096)?;
    let sliding = sliding_or_every(config, shared.num_layers, PERIOD)?;
    // Null means none.
    let cap = |key: &str, default: f64| match config.has(key) {
        true => config.positive(key),
        false => Ok(Some(default)),
    };
    let score_cap = cap("attn_logit_softcapping", CAPS[0])?;
    let logits_cap = cap("final_logit_softcapping", CAPS[1])?;
    let norm = Norm {
        kind: PLUS_ONE,
        ..shared.norm
    };
    let mut description = shared.describe(|index, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.scale = scalar.powf(-0.5);
        attention.score_cap = score_cap;
        attention.window = size.filter(|_| sliding[index]);
    });
    description.logits_cap = logits_cap;
    place_norms(&mut description, norm);
    Ok(description)
}

/// GGUF files have the 1 in the weights, and say nothing of the scale.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let cap = |key: &str, default: f64| keys.positive(key).map(|cap| cap.or(Some(default)));
    let size = keys.count("attention.sliding_window")?.unwrap_or(4096);
    let score_cap = cap("attn_logit_softcapping", CAPS[0])?;
    description.logits_cap = cap("final_logit_softcapping", CAPS[1])?;
    place_norms(description, description.final_norm);
    let (hidden, count) = (description.hidden_size, description.layers.len());
    let sliding = sliding_pattern(keys, count, PERIOD)?;
    for (attention, sliding) in description.attentions_mut().zip(sliding) {
        if count == LARGEST_LAYERS {
            attention.scale = (hidden as f64 / attention.num_heads as f64).powf(-0.5);
        }
        attention.score_cap = score_cap;
        attention.window = Some(size).filter(|_| sliding);
    }
    Ok(())
}
