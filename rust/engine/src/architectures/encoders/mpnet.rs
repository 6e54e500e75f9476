//! MPNet (all-mpnet-base-v2, multi-qa-mpnet).
//!
//! What is particular: besides learned positions, counted as in RoBERTa, a number a head and distance is added to the
//! scores of the attention, the same in all layers; there are no token types.

use super::{
    BERT_KEYS, ClassifierHead, Defaults, EncoderArchitecture, HeadActivation, Shared, norm_of,
    without_room,
};
use crate::architectures::config_file::ConfigFile;
use crate::description::encoder::{DistanceBuckets, EncoderDescription, EncoderNames, Positions};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: EncoderArchitecture = EncoderArchitecture {
    name: "mpnet",
    class: "MPNet",
    describe,
    head: |_| {
        Ok(ClassifierHead {
            mean: false,
            dense_bias: true,
            dense: "classifier.dense",
            activation: HeadActivation::Tanh,
            norm: None,
            scores: "classifier.out_proj",
        })
    },
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 30_527,
    layers: 12,
    intermediate_size: 3072,
    positions: 512,
    activation: "gelu",
};

/// The id of the padding token, which transformers' code has as a constant.
const PADDING: usize = 1;

/// Groups of distances: a constant too. The key of this name sizes the table alone.
const BUCKETS: usize = 32;

/// From here on, distances share a number: one more constant.
const MAX_DISTANCE: usize = 128;

static NAMES: &[EncoderNames] = &[EncoderNames {
    prefix: "mpnet.",
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    token_types: "",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer.",
    qkv: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: &["intermediate.dense"],
    down: "output.dense",
    feed_forward_norm: "output.LayerNorm",
    final_norm: "",
    distance_bias: "encoder.relative_attention_bias",
}];

fn describe(config: &ConfigFile) -> Result<EncoderDescription> {
    let shared = Shared::read(config, &BERT_KEYS, &DEFAULTS)?;
    let rows = shared.positions;
    let bias_rows = config
        .count("relative_attention_num_buckets")?
        .unwrap_or(BUCKETS);
    if bias_rows < BUCKETS {
        return Err(config.invalid(
            "relative_attention_num_buckets",
            format!("expected at least {BUCKETS}: so many are computed, whatever this key says"),
        ));
    }
    let max_tokens = rows.saturating_sub(PADDING + 1);
    if max_tokens == 0 {
        return Err(without_room(config, "max_position_embeddings", PADDING));
    }
    let norm = norm_of(config, "layer_norm_eps", 1e-12)?;
    let positions = Positions::Learned {
        rows,
        padding: Some(PADDING as u32),
    };
    let mut description = shared.describe(ARCHITECTURE.name, positions, max_tokens, 0, norm, NAMES);
    for layer in &mut description.layers {
        layer.distance_bias = Some(DistanceBuckets {
            buckets: BUCKETS,
            max_distance: MAX_DISTANCE,
            rows: bias_rows,
        });
    }
    Ok(description)
}
