//! Candle's quantized Llama, for GGUF files.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::{MAX_SEQ_LEN, ModelWeights};

use super::{
    CandleForward, attention, dense, refuse, refuse_mixed_layers, refuse_rope_scaling, rope,
};
use crate::description::ModelDescription;
use crate::error::{Result, candle_error};
use crate::formats::Kernels;
use crate::formats::gguf::GgufTensors;

/// Positions of its table of rotary angles.
pub(crate) const MAX_POSITIONS: usize = MAX_SEQ_LEN;

/// The architecture's name in the metadata that Candle is given.
const NAME: &str = "llama";

/// Refuses what Candle's quantized Llama would compute wrongly.
fn check(config: &ModelDescription) -> Result<()> {
    if config.architecture != NAME {
        return Err(refuse(
            "general.architecture",
            config.architecture,
            "of GGUF files, the candle engine computes Llamas",
        ));
    }
    refuse_mixed_layers(config)?;
    if attention(config).query_size() != config.hidden_size {
        return Err(refuse(
            "attention.key_length",
            attention(config).head_dim,
            "Candle's model takes embedding_length / attention.head_count instead",
        ));
    }
    let biased = attention(config).qkv_bias
        || attention(config).output_bias
        || dense(config).is_some_and(|mlp| mlp.bias);
    if biased {
        return Err(refuse("attn_q.bias", true, "Candle's model drops biases"));
    }
    refuse_rope_scaling(config)
}

/// Reads the weights, unless Candle would compute them wrongly.
pub(super) fn load(
    tensors: &GgufTensors,
    config: &ModelDescription,
    device: &Device,
) -> Result<Box<dyn CandleForward>> {
    check(config)?;
    let mut view = tensors.view(device, Kernels::Candle);
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
fn metadata(config: &ModelDescription) -> HashMap<String, Value> {
    let count = |n: usize| Value::U32(n as u32);
    HashMap::from([
        ("general.architecture".into(), Value::String(NAME.into())),
        (
            "llama.attention.head_count".into(),
            count(attention(config).num_heads),
        ),
        (
            "llama.attention.head_count_kv".into(),
            count(attention(config).num_kv_heads),
        ),
        ("llama.block_count".into(), count(config.layers.len())),
        ("llama.embedding_length".into(), count(config.hidden_size)),
        (
            "llama.rope.dimension_count".into(),
            count(attention(config).head_dim),
        ),
        (
            "llama.attention.layer_norm_rms_epsilon".into(),
            Value::F32(config.final_norm.eps as f32),
        ),
        (
            "llama.rope.freq_base".into(),
            Value::F32(rope(config).theta as f32),
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
