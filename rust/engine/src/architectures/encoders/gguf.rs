//! The keys of encoders in GGUF files, as llama.cpp's converter writes them.

use super::bert;
use super::{ClassifierHead, norm_of};
use crate::architectures::config_file::ConfigFile;
use crate::architectures::gguf::GgufMetadata;
use crate::architectures::read_keys;
use crate::description::encoder::{
    EncoderDescription, EncoderLayer, EncoderMlp, EncoderNames, NormPlace, Positions,
};
use crate::description::rope::{Rope, RopeScaling};
use crate::description::{Activation, Attention, KvSource, LAYER_LIMIT};
use crate::error::{Error, Result};

/// A family as llama.cpp writes it.
pub struct GgufEncoder {
    /// Its `general.architecture`.
    name: &'static str,
    /// Our name of it.
    ours: &'static str,
    /// Whether positions are rotary, the feed-forward block has a gate, and projections have no biases.
    is_nomic: bool,
    names: &'static [EncoderNames],
}

/// What a file says.
pub struct GgufDescribed {
    /// What the model is.
    pub description: EncoderDescription,
    /// What a classifier would have on top; no file holds one that is read.
    pub head: ClassifierHead,
    /// Keys that nothing reads, because they change nothing.
    pub ignored_keys: Vec<String>,
}

const NAMES: EncoderNames = EncoderNames {
    prefix: "",
    words: "token_embd",
    positions: "position_embd",
    token_types: "token_types",
    embedding_norm: "token_embd_norm",
    layer: "blk.",
    qkv: &["attn_q", "attn_k", "attn_v"],
    output: "attn_output",
    attention_norm: "attn_output_norm",
    up: &["ffn_up"],
    down: "ffn_down",
    feed_forward_norm: "layer_output_norm",
    final_norm: "",
    distance_bias: "",
};

static ENCODERS: &[GgufEncoder] = &[
    GgufEncoder {
        name: "bert",
        ours: "bert",
        is_nomic: false,
        names: &[NAMES],
    },
    GgufEncoder {
        name: "nomic-bert",
        ours: "nomic_bert",
        is_nomic: true,
        names: &[EncoderNames {
            qkv: &["attn_qkv"],
            up: &["ffn_gate", "ffn_up"],
            ..NAMES
        }],
    },
];

impl GgufEncoder {
    /// The family of a file's `general.architecture`.
    pub fn of(name: &str) -> Option<&'static Self> {
        ENCODERS.iter().find(|encoder| encoder.name == name)
    }

    /// Reads the keys of the family.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], and [`Error::UnsupportedModel`] for keys that would change the result.
    pub fn describe(&self, file: &dyn GgufMetadata) -> Result<GgufDescribed> {
        let prefix = format!("{}.", self.name);
        let (name, section) = (file.name(), file.section(&prefix));
        let keys = ConfigFile::inside(&name, &prefix, &section);
        let rows_of = |tensor: &str| match file.shape(&format!("{tensor}.weight")) {
            Some(&[rows, _]) => Some(rows),
            Some(&[_]) => Some(1),
            _ => None,
        };
        let vocab_size = rows_of(NAMES.words).ok_or_else(|| Error::InvalidTensor {
            file: file.name(),
            tensor: format!("{}.weight", NAMES.words),
            expected: "two dimensions".into(),
            got: "no such tensor".into(),
        })?;
        let _ = keys.count("vocab_size")?;
        let hidden_size = keys.required_count("embedding_length")?;
        let num_heads = keys.required_count("attention.head_count")?;
        let num_layers = keys.required_count("block_count")?;
        if num_layers > LAYER_LIMIT || !hidden_size.is_multiple_of(num_heads) {
            return Err(keys.invalid(
                "attention.head_count",
                format!(
                    "must divide embedding_length = {hidden_size}, in at most {LAYER_LIMIT} layers"
                ),
            ));
        }
        if keys.flag("attention.causal")? == Some(true) {
            return Err(keys.unsupported("attention.causal", "expected false"));
        }
        if keys.whole("moe_every_n_layers")?.is_some_and(|n| n > 0) {
            return Err(keys.unsupported(
                "moe_every_n_layers",
                "encoders with experts are not computed",
            ));
        }
        let kv = "attention.head_count_kv";
        if keys.count(kv)?.is_some_and(|count| count != num_heads) {
            return Err(keys.unsupported(kv, "expected as many as attention.head_count"));
        }
        let head_dim = hidden_size / num_heads;
        let context = keys.required_count("context_length")?;
        let positions = match rows_of(NAMES.positions) {
            Some(rows) if !self.is_nomic => Positions::Learned {
                rows,
                padding: None,
            },
            _ => Positions::Rotary,
        };
        let max_tokens = match positions {
            Positions::Learned { rows, .. } => rows.min(context),
            Positions::Rotary => context,
        };
        let rope = match self.is_nomic {
            true => Some(Rope::new(
                keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
                RopeScaling::None,
                head_dim,
            )),
            false => None,
        };
        let norm = norm_of(&keys, "attention.layer_norm_epsilon", 1e-12)?;
        let layer = EncoderLayer {
            attention: Attention {
                num_heads,
                num_kv_heads: num_heads,
                head_dim,
                window: None,
                rope,
                scale: 1.0 / (head_dim as f64).sqrt(),
                score_cap: None,
                query_temperature: None,
                output_gate: false,
                has_sinks: false,
                is_causal: false,
                kv: KvSource::Projected,
                v_norm: false,
                latent: None,
                qkv_bias: !self.is_nomic,
                output_bias: !self.is_nomic,
                qk_norm: None,
            },
            distance_bias: None,
            attention_norm: Some(norm),
            feed_forward: EncoderMlp {
                intermediate_size: keys.required_count("feed_forward_length")?,
                activation: if self.is_nomic {
                    Activation::Silu
                } else {
                    Activation::Gelu
                },
                gated: self.is_nomic,
                bias: !self.is_nomic,
            },
            feed_forward_norm: norm,
        };
        // Pooling reads it from the file.
        let _ = keys.value("pooling_type");
        let description = EncoderDescription {
            architecture: self.ours,
            vocab_size,
            hidden_size,
            max_tokens,
            positions,
            token_types: rows_of(NAMES.token_types).unwrap_or(0),
            embedding_norm: norm,
            norm_place: NormPlace::Behind,
            layers: vec![layer; num_layers],
            final_norm: None,
            names: self.names,
        };
        keys.finish(read_keys::of_gguf(self.name))?;
        Ok(GgufDescribed {
            description,
            head: bert::HEAD,
            ignored_keys: keys.ignored(),
        })
    }
}
