//! Llama, through Candle's quantised model of it.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::{MAX_SEQ_LEN, ModelWeights};

use super::file::GgufFile;
use super::loaded_view::LoadedView;
use crate::candle::{CandleForward, candle_error};
use crate::error::{Error, Result};
use crate::model::config_file::ConfigFile;
use crate::model::decoder_config::{
    Activation, DecoderConfig, FeedForward, HEAD, LAYER_LIMIT, LayerConfig,
};
use crate::model::rope::{Rope, RopeScaling};

/// The architecture's name in `general.architecture`, and the prefix of its keys.
pub(super) const NAME: &str = "llama";

/// Reads the keys `llama.*`. Those that nobody reads are refused by name.
pub(super) fn describe(file: &GgufFile) -> Result<DecoderConfig> {
    let (name, keys) = (file.name(), file.section("llama."));
    let keys = ConfigFile::inside(&name, "llama.", &keys);

    let embedding = file.tensor("token_embd.weight")?;
    let &[vocab_size, _] = embedding.shape.as_slice() else {
        return Err(Error::InvalidTensor {
            tensor: embedding.name.clone(),
            expected: "two dimensions".into(),
            got: format!("shape {:?}", embedding.shape),
        });
    };
    // Says again what the embedding's shape says.
    let _ = keys.count("vocab_size")?;

    let hidden_size = keys.required_count("embedding_length")?;
    let num_heads = keys.required_count("attention.head_count")?;
    let num_kv_heads = keys.count("attention.head_count_kv")?.unwrap_or(num_heads);
    if !num_heads.is_multiple_of(num_kv_heads) {
        return Err(keys.invalid(
            "attention.head_count_kv",
            format!("must divide attention.head_count = {num_heads}"),
        ));
    }
    if !hidden_size.is_multiple_of(2 * num_heads) {
        return Err(keys.invalid(
            "attention.head_count",
            format!("must divide embedding_length = {hidden_size} into heads of even width"),
        ));
    }
    let head_dim = hidden_size / num_heads;
    for key in [
        "rope.dimension_count",
        "attention.key_length",
        "attention.value_length",
    ] {
        if keys.count(key)?.is_some_and(|n| n != head_dim) {
            return Err(keys.unsupported(
                key,
                format!("Candle's model takes every head to be {head_dim} wide"),
            ));
        }
    }
    for key in ["expert_count", "expert_used_count"] {
        if keys.whole(key)?.is_some_and(|n| n != 0) {
            return Err(keys.unsupported(key, "models of experts are not read from GGUF files"));
        }
    }
    if keys
        .text("rope.scaling.type")?
        .is_some_and(|kind| kind != "none")
    {
        return Err(keys.unsupported("rope.scaling.type", "Candle's model would ignore it"));
    }
    let num_layers = keys.required_count("block_count")?;
    if num_layers > LAYER_LIMIT {
        return Err(keys.invalid(
            "block_count",
            format!("more than {LAYER_LIMIT} layers are not believed"),
        ));
    }
    let intermediate_size = keys.required_count("feed_forward_length")?;
    let config = DecoderConfig {
        architecture: NAME,
        vocab_size,
        hidden_size,
        num_heads,
        num_kv_heads,
        head_dim,
        rms_norm_eps: keys
            .positive("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| {
                keys.invalid("attention.layer_norm_rms_epsilon", "this key is needed")
            })?,
        activation: Activation::Silu,
        // Candle makes its table of rotary angles for so many positions.
        max_position_embeddings: keys.required_count("context_length")?.min(MAX_SEQ_LEN),
        rope: Rope {
            theta: keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
            scaling: RopeScaling::None,
        },
        tie_word_embeddings: !file.has_tensor(&super::file::gguf_name(HEAD)),
        layers: (0..num_layers)
            .map(|_| LayerConfig {
                window: None,
                qkv_bias: false,
                output_bias: false,
                qk_norm: false,
                feed_forward: FeedForward::Dense {
                    intermediate_size,
                    bias: false,
                },
            })
            .collect(),
    };
    keys.finish()?;
    Ok(config)
}

/// Reads the weights.
pub(super) fn build(
    file: &GgufFile,
    config: &DecoderConfig,
    device: &Device,
) -> Result<Box<dyn CandleForward>> {
    let mut view = LoadedView::new(file, device);
    let content = view.content(metadata(config));
    let model =
        ModelWeights::from_gguf(content, &mut view, device).map_err(|e| candle_error(&e))?;
    Ok(Box::new(Llama {
        empty: model.clone(),
        model,
    }))
}

/// The description again, in the keys and types that Candle wants: in other types it takes some for
/// missing.
fn metadata(config: &DecoderConfig) -> HashMap<String, Value> {
    let count = |n: usize| Value::U32(n as u32);
    HashMap::from([
        ("general.architecture".into(), Value::String(NAME.into())),
        ("llama.attention.head_count".into(), count(config.num_heads)),
        (
            "llama.attention.head_count_kv".into(),
            count(config.num_kv_heads),
        ),
        ("llama.block_count".into(), count(config.layers.len())),
        ("llama.embedding_length".into(), count(config.hidden_size)),
        ("llama.rope.dimension_count".into(), count(config.head_dim)),
        (
            "llama.attention.layer_norm_rms_epsilon".into(),
            Value::F32(config.rms_norm_eps as f32),
        ),
        (
            "llama.rope.freq_base".into(),
            Value::F32(config.rope.theta as f32),
        ),
    ])
}

/// Candle's model keeps the KV cache and a mask for every length that it has seen, so emptying it is
/// taking a fresh one; the weights are shared.
struct Llama {
    model: ModelWeights,
    empty: ModelWeights,
}

impl CandleForward for Llama {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.model.forward(tokens, position)
    }

    fn clear(&mut self) {
        self.model = self.empty.clone();
    }

    fn fork(&self) -> Box<dyn CandleForward> {
        Box::new(Self {
            model: self.empty.clone(),
            empty: self.empty.clone(),
        })
    }
}
