//! RoBERTa, XLM-RoBERTa (multilingual-e5, bge-m3, bge-reranker-v2-m3) and CamemBERT.
//!
//! What is particular: positions are counted from behind the id of the padding token, and the first token's state goes
//! through a layer of its own before the scores of a classifier.

use super::bert::{DEFAULTS, NAMES};
use super::{
    BERT_KEYS, ClassifierHead, EncoderArchitecture, HeadActivation, Shared, norm_of, without_room,
};
use crate::architectures::config_file::ConfigFile;
use crate::description::encoder::{EncoderDescription, EncoderNames, Positions};
use crate::error::Result;

const HEAD: ClassifierHead = ClassifierHead {
    mean: false,
    dense_bias: true,
    dense: "classifier.dense",
    activation: HeadActivation::Tanh,
    norm: None,
    scores: "classifier.out_proj",
};

/// The table's entry.
pub const XLM_ROBERTA: EncoderArchitecture = EncoderArchitecture {
    name: "xlm-roberta",
    class: "XLMRoberta",
    describe: |config| describe(config, "xlm-roberta"),
    head: |_| Ok(HEAD),
};

/// The table's entry.
pub const ROBERTA: EncoderArchitecture = EncoderArchitecture {
    name: "roberta",
    class: "Roberta",
    describe: |config| describe(config, "roberta"),
    head: |_| Ok(HEAD),
};

/// The table's entry.
pub const CAMEMBERT: EncoderArchitecture = EncoderArchitecture {
    name: "camembert",
    class: "Camembert",
    describe: |config| describe(config, "camembert"),
    head: |_| Ok(HEAD),
};

static ROBERTA_NAMES: &[EncoderNames] = &[EncoderNames {
    prefix: "roberta.",
    ..NAMES
}];

fn describe(config: &ConfigFile, name: &'static str) -> Result<EncoderDescription> {
    let shared = Shared::read(config, &BERT_KEYS, &DEFAULTS)?;
    let rows = shared.positions;
    let padding = config.whole("pad_token_id")?.unwrap_or(1);
    let max_tokens = rows.saturating_sub(padding + 1);
    if max_tokens == 0 {
        return Err(without_room(config, "max_position_embeddings", padding));
    }
    let token_types = config.count("type_vocab_size")?.unwrap_or(2);
    let norm = norm_of(config, "layer_norm_eps", 1e-12)?;
    let positions = Positions::Learned {
        rows,
        padding: Some(padding as u32),
    };
    Ok(shared.describe(
        name,
        positions,
        max_tokens,
        token_types,
        norm,
        ROBERTA_NAMES,
    ))
}
