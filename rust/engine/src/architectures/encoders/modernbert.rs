//! ModernBERT (gte-modernbert, nomic's modernbert-embed).
//!
//! What is particular: norms stand before the blocks, without biases, and behind the last layer; the first layer's
//! attention has none, since the embedding's stands there; rotary positions of two bases, for layers that see all
//! positions and for those that see a window; the feed-forward block is gated.

use super::{ClassifierHead, Defaults, EncoderArchitecture, HeadActivation, Keys, Shared};
use crate::architectures::common::{activation_of, sliding_layers};
use crate::architectures::config_file::ConfigFile;
use crate::architectures::rope::read_layer_rope;
use crate::description::LayerNorm;
use crate::description::encoder::{EncoderDescription, EncoderNames, NormPlace, Positions};
use crate::description::rope::{Rope, RopeScaling};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: EncoderArchitecture = EncoderArchitecture {
    name: "modernbert",
    class: "ModernBert",
    describe,
    head,
};

const KEYS: Keys = Keys {
    hidden_size: "hidden_size",
    heads: "num_attention_heads",
    layers: "num_hidden_layers",
    intermediate_size: "intermediate_size",
    positions: "max_position_embeddings",
    activation: "hidden_activation",
    read_activation: activation_of,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_368,
    layers: 22,
    intermediate_size: 1152,
    positions: 8192,
    activation: "gelu",
};

static NAMES: &[EncoderNames] = &[EncoderNames {
    prefix: "model.",
    words: "embeddings.tok_embeddings",
    positions: "",
    token_types: "",
    embedding_norm: "embeddings.norm",
    layer: "layers.",
    qkv: &["attn.Wqkv"],
    output: "attn.Wo",
    attention_norm: "attn_norm",
    up: &["mlp.Wi"],
    down: "mlp.Wo",
    feed_forward_norm: "mlp_norm",
    final_norm: "final_norm",
    distance_bias: "",
}];

fn describe(config: &ConfigFile) -> Result<EncoderDescription> {
    let mut shared = Shared::read(config, &KEYS, &DEFAULTS)?;
    if !shared.attention.head_dim.is_multiple_of(2) {
        return Err(config.invalid(KEYS.heads, "rotary embedding needs heads of an even width"));
    }
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    shared.attention.qkv_bias = bias;
    shared.attention.output_bias = bias;
    shared.mlp.gated = true;
    shared.mlp.bias = config.flag("mlp_bias")?.unwrap_or(false);
    let norm = LayerNorm {
        eps: config.positive("norm_eps")?.unwrap_or(1e-5),
        bias: config.flag("norm_bias")?.unwrap_or(false),
    };
    let window = config.count("local_attention")?.unwrap_or(128) / 2 + 1;
    let local = local_layers(config, shared.num_layers)?;
    let head_dim = shared.attention.head_dim;
    let rope =
        |kind: &str, outer: &str, theta: f64| read_rope(config, head_dim, kind, outer, theta);
    let ropes = [
        rope("full_attention", "global_rope_theta", 160_000.0)?,
        rope("sliding_attention", "local_rope_theta", 10_000.0)?,
    ];
    let max_tokens = shared.positions;
    let mut description = shared.describe(
        ARCHITECTURE.name,
        Positions::Rotary,
        max_tokens,
        0,
        norm,
        NAMES,
    );
    description.norm_place = NormPlace::Before;
    description.final_norm = Some(norm);
    for (index, (layer, local)) in description.layers.iter_mut().zip(local).enumerate() {
        layer.attention.rope = Some(ropes[usize::from(local)].clone());
        layer.attention.window = local.then_some(window);
        if index == 0 {
            layer.attention_norm = None;
        }
    }
    Ok(description)
}

fn head(config: &ConfigFile) -> Result<ClassifierHead> {
    Ok(ClassifierHead {
        mean: match config.text("classifier_pooling")?.unwrap_or("cls") {
            "cls" => false,
            "mean" => true,
            _ => return Err(config.unsupported("classifier_pooling", "expected cls or mean")),
        },
        dense: "head.dense",
        dense_bias: config.flag("classifier_bias")?.unwrap_or(false),
        activation: HeadActivation::Of(activation_of(config, "classifier_activation", "gelu")?),
        norm: Some("head.norm"),
        scores: "classifier",
    })
}

/// Which layers see a window alone: by `layer_types`, else all but every `global_attn_every_n_layers`th.
fn local_layers(config: &ConfigFile, layers: usize) -> Result<Vec<bool>> {
    let every = config.count("global_attn_every_n_layers")?.unwrap_or(3);
    let Some(types) = config.texts("layer_types")? else {
        return Ok((0..layers).map(|index| index % every != 0).collect());
    };
    sliding_layers(config, &types, layers)
}

/// The rotation of layers of a type, which no file scales.
fn read_rope(
    config: &ConfigFile,
    head_dim: usize,
    kind: &str,
    outer: &str,
    theta: f64,
) -> Result<Rope> {
    let scaling = config.object("rope_scaling")?;
    if scaling.is_some_and(|scaling| !scaling.is_empty()) {
        return Err(config.unsupported("rope_scaling", "scaled rotation is not computed here"));
    }
    let rope = read_layer_rope(config, head_dim, kind, Some(outer), theta, None)?;
    match rope.scaling {
        RopeScaling::None => Ok(rope),
        _ => Err(config.unsupported("rope_parameters", "scaled rotation is not computed here")),
    }
}
