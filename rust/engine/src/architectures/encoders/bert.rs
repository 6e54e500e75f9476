//! BERT: MiniLM, bge, e5, gte (thenlper), snowflake-arctic-embed and the ms-marco rerankers.
//!
//! Learned positions and token types are added to the embeddings; norms stand behind each block; the feed-forward block has
//! no gate.

use super::{
    BERT_KEYS, ClassifierHead, Defaults, EncoderArchitecture, HeadActivation, Shared, norm_of,
};
use crate::architectures::config_file::ConfigFile;
use crate::description::encoder::{EncoderDescription, EncoderNames, Positions};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: EncoderArchitecture = EncoderArchitecture {
    name: "bert",
    class: "Bert",
    describe,
    head: |_| Ok(HEAD),
};

/// The head of its classifiers.
pub(super) const HEAD: ClassifierHead = ClassifierHead {
    mean: false,
    dense: "pooler.dense",
    dense_bias: true,
    activation: HeadActivation::Tanh,
    norm: None,
    scores: "classifier",
};

/// The names of BERT's tensors, which others share.
pub(super) const NAMES: EncoderNames = EncoderNames {
    prefix: "bert.",
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    token_types: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer.",
    qkv: &[
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: &["intermediate.dense"],
    down: "output.dense",
    feed_forward_norm: "output.LayerNorm",
    final_norm: "",
    distance_bias: "",
};

/// BERT's sizes, which others share.
pub(super) const DEFAULTS: Defaults = Defaults {
    vocab_size: 30_522,
    layers: 12,
    intermediate_size: 3072,
    positions: 512,
    activation: "gelu",
};

fn describe(config: &ConfigFile) -> Result<EncoderDescription> {
    let shared = Shared::read(config, &BERT_KEYS, &DEFAULTS)?;
    let rows = shared.positions;
    let token_types = config.count("type_vocab_size")?.unwrap_or(2);
    let norm = norm_of(config, "layer_norm_eps", 1e-12)?;
    let positions = Positions::Learned {
        rows,
        padding: None,
    };
    Ok(shared.describe(
        ARCHITECTURE.name,
        positions,
        rows,
        token_types,
        norm,
        &[NAMES],
    ))
}
