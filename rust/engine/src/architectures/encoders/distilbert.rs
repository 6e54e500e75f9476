//! DistilBERT.
//!
//! What is particular: names of its own for sizes and tensors, no token types, and a fixed ε.

use super::{ClassifierHead, Defaults, EncoderArchitecture, HeadActivation, Keys, Shared};
use crate::architectures::common::activation_of;
use crate::architectures::config_file::ConfigFile;
use crate::description::encoder::{EncoderDescription, EncoderNames, Positions};
use crate::description::{Activation, LayerNorm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: EncoderArchitecture = EncoderArchitecture {
    name: "distilbert",
    class: "DistilBert",
    describe,
    head: |_| {
        Ok(ClassifierHead {
            mean: false,
            dense_bias: true,
            dense: "pre_classifier",
            activation: HeadActivation::Of(Activation::Relu),
            norm: None,
            scores: "classifier",
        })
    },
};

const KEYS: Keys = Keys {
    hidden_size: "dim",
    heads: "n_heads",
    layers: "n_layers",
    intermediate_size: "hidden_dim",
    positions: "max_position_embeddings",
    activation: "activation",
    read_activation: activation_of,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 30_522,
    layers: 6,
    intermediate_size: 3072,
    positions: 512,
    activation: "gelu",
};

static NAMES: &[EncoderNames] = &[EncoderNames {
    prefix: "distilbert.",
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    token_types: "",
    embedding_norm: "embeddings.LayerNorm",
    layer: "transformer.layer.",
    qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: &["ffn.lin1"],
    down: "ffn.lin2",
    feed_forward_norm: "output_layer_norm",
    final_norm: "",
    distance_bias: "",
}];

fn describe(config: &ConfigFile) -> Result<EncoderDescription> {
    // Whether positions are sine waves matters to training alone: they stand in the file either way.
    config.flag("sinusoidal_pos_embds")?;
    let shared = Shared::read(config, &KEYS, &DEFAULTS)?;
    let rows = shared.positions;
    let norm = LayerNorm {
        eps: 1e-12,
        bias: true,
    };
    let positions = Positions::Learned {
        rows,
        padding: None,
    };
    Ok(shared.describe(ARCHITECTURE.name, positions, rows, 0, norm, NAMES))
}
