//! Gemma 3's text models.
//!
//! What is particular: the embedding is multiplied with the root of its width; norms stand before and
//! behind the blocks, and on the heads of queries and keys, with factors of 1 + weight; five layers with
//! a window and a rotary base of their own to one that sees everything; GELU by tanh; the products of
//! queries and keys are divided by the root of `query_pre_attn_scalar`.

use super::Architecture;
use super::common::{Defaults, Shared, activation_of, sliding_or_every, window_or};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, sliding_pattern};
use super::rope::read_layer_rope;
use crate::description::rope::{Rope, RopeScaling};
use crate::description::{Activation, BlockNorms, ModelDescription, Norm, NormKind, QkNorm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "gemma3_text",
    class: "Gemma3ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "gemma3",
        ours: "gemma3_text",
        activation: Activation::GeluTanh,
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

/// EmbeddingGemma as llama.cpp writes it, under a name of its own.
pub const EMBEDDING: GgufArchitecture = GgufArchitecture {
    name: "gemma-embedding",
    ours: "gemma3_text",
    activation: Activation::GeluTanh,
    has_dense: true,
    adapt: adapt_embedding,
    ..GgufArchitecture::COMMON
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 262_208,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 131_072,
    rope: None,
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

/// The rotary bases of layers that see everything, and of those with a window.
const THETA: [f64; 2] = [1_000_000.0, 10_000.0];

/// One layer of so many sees everything.
const PATTERN: usize = 6;

/// Layers of the model of 27B, whose scale is by `hidden_size / num_attention_heads` and not by the width of its heads.
const LARGEST_LAYERS: usize = 62;

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.mlp.activation = activation_of(config, "hidden_activation", "gelu_pytorch_tanh")?;
    let rope = |layer_type: &str, outer: &str, theta: f64, scaling| {
        read_layer_rope(
            config,
            shared.head_dim(),
            layer_type,
            Some(outer),
            theta,
            scaling,
        )
    };
    let full = rope(
        "full_attention",
        "rope_theta",
        THETA[0],
        config.object("rope_scaling")?,
    )?;
    let local = rope("sliding_attention", "rope_local_base_freq", THETA[1], None)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let scalar = config.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    let sees_all = config.flag("use_bidirectional_attention")?.unwrap_or(false);
    let size = window_or(config, 4096)?.map(|size| match sees_all {
        true => window_to_each_side(size),
        false => size,
    });
    let pattern = config.count("sliding_window_pattern")?.unwrap_or(PATTERN);
    let sliding = sliding_or_every(config, shared.num_layers, pattern)?;
    let norm = Norm {
        kind: PLUS_ONE,
        ..shared.norm
    };
    let mut description = shared.describe(|index, attention, _| {
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.scale = scalar.powf(-0.5);
        attention.is_causal = !sees_all;
        attention.window = size.filter(|_| sliding[index]);
        attention.rope = Some(match sliding[index] {
            true => local.clone(),
            false => full.clone(),
        });
    });
    place_norms(&mut description, norm);
    norm_heads(&mut description);
    Ok(description)
}

/// EmbeddingGemma's window stands on both sides of a position, half as wide to each.
fn window_to_each_side(size: usize) -> usize {
    size / 2 + 1
}

/// The kind of the norms of Gemma's folders.
pub(super) const PLUS_ONE: NormKind = NormKind::Rms { plus_one: true };

/// What both forms of file have: norms around all blocks, and the scale of the embedding.
pub(super) fn place_norms(description: &mut ModelDescription, norm: Norm) {
    description.embedding_scale = (description.hidden_size as f64).sqrt();
    description.final_norm = norm;
    description.place_norms(BlockNorms::around(norm));
}

/// Norms of queries and keys.
fn norm_heads(description: &mut ModelDescription) {
    let norm = QkNorm::of_heads(description.final_norm);
    for attention in description.attentions_mut() {
        attention.qk_norm = Some(norm);
    }
}

/// GGUF files have the 1 in the weights, and older ones say nothing of the pattern, the other base and the scale.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let size = keys.count("attention.sliding_window")?;
    let local = keys.positive("rope.freq_base_swa")?.unwrap_or(THETA[1]);
    let norm = description.final_norm;
    place_norms(description, norm);
    norm_heads(description);
    let (hidden, count) = (description.hidden_size, description.layers.len());
    let sliding = sliding_pattern(keys, count, PATTERN)?;
    for (index, attention) in description.attentions_mut().enumerate() {
        if count == LARGEST_LAYERS {
            attention.scale = (hidden as f64 / attention.num_heads as f64).powf(-0.5);
        }
        if sliding[index] {
            attention.window = size;
            attention.rope = Some(Rope::new(local, RopeScaling::None, attention.head_dim));
        }
    }
    Ok(())
}

/// EmbeddingGemma's files. The sizes of the layers over the vector are those of their tensors.
fn adapt_embedding(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    for layer in ["dense_2", "dense_3"] {
        for side in ["feat_in", "feat_out"] {
            let _ = keys.count(&format!("{layer}_{side}"))?;
        }
    }
    // Without it, texts longer than the window would get other vectors.
    let _ = keys.required_count("attention.sliding_window")?;
    adapt(keys, description)?;
    for attention in description.attentions_mut() {
        attention.is_causal = false;
        attention.window = attention.window.map(window_to_each_side);
    }
    Ok(())
}
