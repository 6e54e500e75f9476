//! The encoder families: one file each, which reads the keys of `config.json` into an [`EncoderDescription`], and says in
//! its first lines how the family differs from BERT.

mod bert;
mod distilbert;
pub mod gguf;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod roberta;

use serde_json::{Map, Value};

use super::common::activation_of;
use super::config_file::ConfigFile;
use super::read_keys;
use crate::description::encoder::{
    EncoderDescription, EncoderLayer, EncoderMlp, EncoderNames, NormPlace, Positions,
};
use crate::description::{Activation, Attention, KvSource, LAYER_LIMIT, LayerNorm};
use crate::error::{Error, Result};

/// A family of encoders.
pub struct EncoderArchitecture {
    /// Its name, which is also its `model_type`.
    pub name: &'static str,
    /// How its classes begin in transformers, as `architectures` has them.
    pub class: &'static str,
    /// Reads `config.json`.
    pub describe: fn(&ConfigFile) -> Result<EncoderDescription>,
    /// Reads what the head of its classifiers is.
    pub head: fn(&ConfigFile) -> Result<ClassifierHead>,
}

/// What turns the state of a text into scores, in a model for classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifierHead {
    /// Whether it reads the mean of all states, and not the first token's.
    pub mean: bool,
    /// The layer over that state, without `.weight`.
    pub dense: &'static str,
    /// Whether it has a bias.
    pub dense_bias: bool,
    /// Its non-linearity.
    pub activation: HeadActivation,
    /// The norm behind it, if there is one.
    pub norm: Option<&'static str>,
    /// The layer that gives the scores.
    pub scores: &'static str,
}

/// The non-linearity of a classifier's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadActivation {
    /// The hyperbolic tangent.
    Tanh,
    /// One that blocks have, too.
    Of(Activation),
}

/// Adding a family is one file and one line here.
static ARCHITECTURES: &[EncoderArchitecture] = &[
    bert::ARCHITECTURE,
    roberta::XLM_ROBERTA,
    roberta::ROBERTA,
    roberta::CAMEMBERT,
    distilbert::ARCHITECTURE,
    mpnet::ARCHITECTURE,
    nomic_bert::ARCHITECTURE,
    modernbert::ARCHITECTURE,
];

impl EncoderArchitecture {
    /// The family of a `config.json`, by `model_type`, else by `architectures`; `None` for what is no encoder of these.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for keys of other types.
    pub fn of(file: &str, config: &Map<String, Value>) -> Result<Option<&'static Self>> {
        let keys = ConfigFile::new(file, config);
        if let Some(name) = keys.text("model_type")? {
            return Ok(ARCHITECTURES.iter().find(|a| a.name == name));
        }
        let classes = keys.texts("architectures")?.unwrap_or_default();
        let is_of = |class: &str, begin: &str| {
            let rest = class.strip_prefix(begin);
            rest.is_some_and(|rest| rest == "Model" || rest.starts_with("For"))
        };
        Ok(ARCHITECTURES
            .iter()
            .find(|a| classes.iter().any(|class| is_of(class, a.class))))
    }

    /// The names of all families.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ARCHITECTURES.iter().map(|a| a.name)
    }

    /// Reads a `config.json` of this family; answers with the keys that nothing reads, too.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], and [`Error::UnsupportedModel`] for keys that would change the result.
    pub fn describe_config(
        &self,
        keys: &Map<String, Value>,
    ) -> Result<(EncoderDescription, ClassifierHead, Vec<String>)> {
        let file = ConfigFile::new("config.json", keys);
        let description = (self.describe)(&file)?;
        let head = (self.head)(&file)?;
        file.finish(read_keys::of_config(self.name))?;
        Ok((description, head, file.ignored()))
    }
}

/// The keys of one size in a family's files.
struct Keys {
    hidden_size: &'static str,
    heads: &'static str,
    layers: &'static str,
    intermediate_size: &'static str,
    positions: &'static str,
    activation: &'static str,
    read_activation: fn(&ConfigFile, &str, &'static str) -> Result<Activation>,
}

/// As BERT calls them.
const BERT_KEYS: Keys = Keys {
    hidden_size: "hidden_size",
    heads: "num_attention_heads",
    layers: "num_hidden_layers",
    intermediate_size: "intermediate_size",
    positions: "max_position_embeddings",
    activation: "hidden_act",
    read_activation: activation_of,
};

/// What transformers assumes for keys that are left out.
struct Defaults {
    vocab_size: usize,
    layers: usize,
    intermediate_size: usize,
    positions: usize,
    activation: &'static str,
}

/// Sizes of an encoder whose layers are all alike, with the biases and norms of BERT.
struct Shared {
    vocab_size: usize,
    hidden_size: usize,
    positions: usize,
    num_layers: usize,
    attention: Attention,
    mlp: EncoderMlp,
}

impl Shared {
    fn read(config: &ConfigFile, keys: &Keys, defaults: &Defaults) -> Result<Self> {
        for key in ["is_decoder", "add_cross_attention"] {
            if config.flag(key)? == Some(true) {
                return Err(config.unsupported(key, "only encoders are computed"));
            }
        }
        if let Some(kind) = config.text("position_embedding_type")?
            && kind != "absolute"
            && kind != "rotary"
        {
            return Err(config.unsupported(
                "position_embedding_type",
                "only absolute positions are computed",
            ));
        }
        let hidden_size = config.count(keys.hidden_size)?.unwrap_or(768);
        let num_heads = config.count(keys.heads)?.unwrap_or(12);
        if !hidden_size.is_multiple_of(num_heads) {
            return Err(config.invalid(
                keys.heads,
                format!("must divide {} = {hidden_size}", keys.hidden_size),
            ));
        }
        let head_dim = hidden_size / num_heads;
        let num_layers = config.count(keys.layers)?.unwrap_or(defaults.layers);
        if num_layers > LAYER_LIMIT {
            return Err(config.invalid(
                keys.layers,
                format!("more than {LAYER_LIMIT} layers are not believed"),
            ));
        }
        Ok(Self {
            vocab_size: config.count("vocab_size")?.unwrap_or(defaults.vocab_size),
            hidden_size,
            positions: config.count(keys.positions)?.unwrap_or(defaults.positions),
            num_layers,
            attention: Attention {
                num_heads,
                num_kv_heads: num_heads,
                head_dim,
                window: None,
                rope: None,
                scale: 1.0 / (head_dim as f64).sqrt(),
                score_cap: None,
                query_temperature: None,
                output_gate: false,
                has_sinks: false,
                is_causal: false,
                kv: KvSource::Projected,
                v_norm: false,
                latent: None,
                qkv_bias: true,
                output_bias: true,
                qk_norm: None,
            },
            mlp: EncoderMlp {
                intermediate_size: config
                    .count(keys.intermediate_size)?
                    .unwrap_or(defaults.intermediate_size),
                activation: (keys.read_activation)(config, keys.activation, defaults.activation)?,
                gated: false,
                bias: true,
            },
        })
    }

    /// An encoder with the norms of BERT: behind the embeddings and behind each block.
    fn describe(
        self,
        architecture: &'static str,
        positions: Positions,
        max_tokens: usize,
        token_types: usize,
        norm: LayerNorm,
        names: &'static [EncoderNames],
    ) -> EncoderDescription {
        let layer = EncoderLayer {
            attention: self.attention,
            distance_bias: None,
            attention_norm: Some(norm),
            feed_forward: self.mlp,
            feed_forward_norm: norm,
        };
        EncoderDescription {
            architecture,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            max_tokens,
            positions,
            token_types,
            embedding_norm: norm,
            norm_place: NormPlace::Behind,
            layers: vec![layer; self.num_layers],
            final_norm: None,
            names,
        }
    }
}

/// The norm of a key, or of its default.
fn norm_of(config: &ConfigFile, key: &str, default: f64) -> Result<LayerNorm> {
    Ok(LayerNorm {
        eps: config.positive(key)?.unwrap_or(default),
        bias: true,
    })
}

/// An error of a padding token that no position could follow.
fn without_room(config: &ConfigFile, key: &str, padding: usize) -> Error {
    config.invalid(
        key,
        format!("positions are counted from behind pad_token_id = {padding}, so none is left"),
    )
}
