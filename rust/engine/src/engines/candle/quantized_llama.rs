//! Candle's quantized Llama, for GGUF files.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::{MAX_SEQ_LEN, ModelWeights};

use super::{CandleForward, refuse, refuse_rope_scaling};
use crate::description::{FeedForward, ModelDescription};
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
    if config.query_size() != config.hidden_size {
        return Err(refuse(
            "attention.key_length",
            config.head_dim,
            "Candle's model takes embedding_length / attention.head_count instead",
        ));
    }
    let plain = config.layers.iter().all(|layer| {
        !layer.qkv_bias
            && !layer.output_bias
            && !matches!(layer.feed_forward, FeedForward::Dense { bias: true, .. })
    });
    if !plain {
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
