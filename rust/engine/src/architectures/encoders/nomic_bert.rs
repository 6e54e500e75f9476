//! NomicBERT (nomic-embed-text v1 and v1.5).
//!
//! What is particular: rotary positions, a gated feed-forward block, and no biases but in the norms. Its own files name
//! sizes and tensors in another way than transformers writes them.

use super::{
    BERT_KEYS, ClassifierHead, Defaults, EncoderArchitecture, HeadActivation, Keys, Shared, norm_of,
};
use crate::architectures::config_file::ConfigFile;
use crate::architectures::rope::{RopeDefaults, read_rope_or};
use crate::description::Activation;
use crate::description::encoder::{EncoderDescription, EncoderNames, Positions};
use crate::description::rope::{Rope, RopeScaling};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: EncoderArchitecture = EncoderArchitecture {
    name: "nomic_bert",
    class: "NomicBert",
    describe,
    head: |_| {
        Ok(ClassifierHead {
            mean: false,
            dense_bias: true,
            dense: "pooler.dense",
            activation: HeadActivation::Tanh,
            norm: None,
            scores: "classifier",
        })
    },
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 30_528,
    layers: 12,
    intermediate_size: 3072,
    positions: 2048,
    activation: "silu",
};

const OWN_KEYS: Keys = Keys {
    hidden_size: "n_embd",
    heads: "n_head",
    layers: "n_layer",
    intermediate_size: "n_inner",
    positions: "n_positions",
    activation: "activation_function",
    read_activation: own_activation,
};

static NAMES: &[EncoderNames] = &[
    EncoderNames {
        prefix: "nomic_bert.",
        words: "embeddings.word_embeddings",
        positions: "",
        token_types: "embeddings.token_type_embeddings",
        embedding_norm: "embeddings.LayerNorm",
        layer: "layers.",
        qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        output: "self_attn.o_proj",
        attention_norm: "post_attention_layernorm",
        up: &["mlp.gate_proj", "mlp.up_proj"],
        down: "mlp.down_proj",
        feed_forward_norm: "post_mlp_layernorm",
        final_norm: "",
        distance_bias: "",
    },
    EncoderNames {
        prefix: "bert.",
        words: "embeddings.word_embeddings",
        positions: "",
        token_types: "embeddings.token_type_embeddings",
        embedding_norm: "emb_ln",
        layer: "encoder.layers.",
        qkv: &["attn.Wqkv"],
        output: "attn.out_proj",
        attention_norm: "norm1",
        up: &["mlp.fc12", "mlp.fc11"],
        down: "mlp.fc2",
        feed_forward_norm: "norm2",
        final_norm: "",
        distance_bias: "",
    },
];

fn describe(config: &ConfigFile) -> Result<EncoderDescription> {
    let own = config.has("n_embd");
    let keys = if own { &OWN_KEYS } else { &BERT_KEYS };
    let mut shared = Shared::read(config, keys, &DEFAULTS)?;
    if let Some(width) = config.count("head_dim")?
        && width != shared.attention.head_dim
    {
        shared.attention.head_dim = width;
        shared.attention.scale = 1.0 / (width as f64).sqrt();
    }
    let rope = match own {
        true => own_rope(config, shared.attention.head_dim)?,
        false => read_rope_or(config, shared.attention.head_dim, &RopeDefaults::of(1000.0))?,
    };
    if !shared.attention.head_dim.is_multiple_of(2) {
        return Err(config.invalid(keys.heads, "rotary embedding needs heads of an even width"));
    }
    shared.attention.rope = Some(rope);
    shared.attention.qkv_bias = false;
    shared.attention.output_bias = false;
    shared.mlp.gated = true;
    shared.mlp.bias = false;
    let token_types = config.whole("type_vocab_size")?.unwrap_or(2);
    let eps = if own {
        "layer_norm_epsilon"
    } else {
        "layer_norm_eps"
    };
    let norm = norm_of(config, eps, if own { 1e-5 } else { 1e-12 })?;
    let max_tokens = shared.positions;
    Ok(shared.describe(
        ARCHITECTURE.name,
        Positions::Rotary,
        max_tokens,
        token_types,
        norm,
        NAMES,
    ))
}

/// The non-linearity of the gate, by the name that the family's own files give the whole block.
fn own_activation(config: &ConfigFile, key: &str, _: &'static str) -> Result<Activation> {
    match config.text(key)? {
        Some("swiglu") => Ok(Activation::Silu),
        Some("geglu") => Ok(Activation::Gelu),
        _ => Err(config.unsupported(
            key,
            "expected swiglu or geglu: blocks without a gate are not computed here",
        )),
    }
}

/// The rotation as the family's own files say it; refuses what else they may ask for.
fn own_rope(config: &ConfigFile, head_dim: usize) -> Result<Rope> {
    for key in [
        "prenorm",
        "use_rms_norm",
        "qkv_proj_bias",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "rotary_emb_interleaved",
        "parallel_block",
        "causal",
    ] {
        if config.flag(key)? == Some(true) {
            return Err(config.unsupported(key, "expected false"));
        }
    }
    for key in ["num_experts", "moe_every_n_layers"] {
        if config.whole(key)?.is_some_and(|count| count > 0) {
            return Err(config.unsupported(key, "encoders with experts are not computed"));
        }
    }
    if let Some(share) = config.not_negative("rotary_emb_fraction")?
        && share != 1.0
    {
        return Err(config.unsupported(
            "rotary_emb_fraction",
            "rotating a part of each head is not computed",
        ));
    }
    for key in ["rotary_scaling_factor", "rotary_emb_scale_base"] {
        if let Some(factor) = config.positive(key)?
            && factor != 1.0
        {
            return Err(config.unsupported(key, "scaled rotation is not computed here"));
        }
    }
    let theta = config.positive("rotary_emb_base")?.unwrap_or(10_000.0);
    Ok(Rope::new(theta, RopeScaling::None, head_dim))
}
