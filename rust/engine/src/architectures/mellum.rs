//! Mellum 2.
//!
//! What is particular: Qwen3-MoE whose layers differ by `layer_types`, some with a window and a rotary base of their own, and
//! by `mlp_layer_types`, some of them dense.

use super::Architecture;
use super::common::{Defaults, Shared, layers_of_kind, sliding_layers, window_or};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, sliding_pattern};
use super::gguf_experts::GgufExperts;
use super::qwen3_moe::{NUM_EXPERTS, read_experts};
use super::rope::read_layer_rope;
use crate::description::ModelDescription;
use crate::description::rope::Rope;
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "mellum",
    class: "MellumForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "mellum",
        ours: "mellum",
        qk_norm: Some(true),
        experts: Some(GgufExperts::SOFTMAX),
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 98_304,
    hidden_size: 2304,
    intermediate_size: 7168,
    num_hidden_layers: 28,
    num_attention_heads: 32,
    num_key_value_heads: Some(4),
    head_dim: Some(128),
    max_position_embeddings: 131_072,
    rope: None,
    ..Defaults::COMMON
};

/// The rotary bases of layers that see everything, and of those with a window.
const THETA: [f64; 2] = [500_000.0, 10_000.0];

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let rope = |layer_type: &str, theta| {
        read_layer_rope(config, shared.head_dim(), layer_type, None, theta, None)
    };
    let (full, local) = (
        rope("full_attention", THETA[0])?,
        rope("sliding_attention", THETA[1])?,
    );
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let size = window_or(config, 1024)?;
    let sliding = match config.texts("layer_types")? {
        Some(types) => sliding_layers(config, &types, shared.num_layers)?,
        None => vec![false; shared.num_layers],
    };
    let dense = dense_layers(config, shared.num_layers)?;
    let experts = read_experts(config, NUM_EXPERTS, shared.mlp, [64, 8, 896], true)?;
    // Heads that predict further tokens, which the answer does without.
    for key in ["num_mtp_layers", "num_nextn_predict_layers"] {
        let _ = config.whole(key)?;
    }
    for key in ["mtp_layer_types", "mtp_mlp_layer_types"] {
        let _ = config.value(key);
    }
    let norm = shared.head_norm();
    Ok(shared.describe(|index, attention, feed_forward| {
        attention.qk_norm = norm;
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.window = size.filter(|_| sliding[index]);
        attention.rope = Some(match sliding[index] {
            true => local.clone(),
            false => full.clone(),
        });
        if !dense[index] {
            *feed_forward = experts.clone();
        }
    }))
}

/// Which layers have one feed-forward block and no experts.
fn dense_layers(config: &ConfigFile, num_layers: usize) -> Result<Vec<bool>> {
    const KEY: &str = "mlp_layer_types";
    let Some(types) = config.texts(KEY)? else {
        return Ok(vec![false; num_layers]);
    };
    layers_of_kind(config, KEY, &types, ["dense", "sparse"], num_layers)
}

fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let Some(size) = keys.whole("attention.sliding_window")?.filter(|n| *n > 0) else {
        return Ok(());
    };
    let local = keys.positive("rope.freq_base_swa")?;
    let sliding = sliding_pattern(keys, description.layers.len(), 4)?;
    for (layer, sliding) in description.layers.iter_mut().zip(sliding) {
        let Some(attention) = layer.attention_mut().filter(|_| sliding) else {
            continue;
        };
        attention.window = Some(size);
        if let (Some(rope), Some(theta)) = (&attention.rope, local) {
            attention.rope = Some(Rope {
                theta,
                ..rope.clone()
            });
        }
    }
    Ok(())
}
