//! Candle's Llama: what it computes wrongly, and how it is built.

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama as candle_llama;

use super::{CandleArchitecture, CandleForward, attention, dense, dense_size, refuse, rope};
use crate::description::rope::RopeScaling;
use crate::description::{Activation, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub(super) const ARCHITECTURE: CandleArchitecture = CandleArchitecture {
    name: "llama",
    exact_in_half_precision: true,
    check,
    build,
};

fn check(config: &ModelDescription) -> Result<()> {
    if attention(config).qkv_bias {
        return Err(refuse(
            "attention_bias",
            true,
            "Candle's Llama drops these biases",
        ));
    }
    let mlp = dense(config);
    if mlp.is_some_and(|mlp| mlp.bias) {
        return Err(refuse(
            "mlp_bias",
            true,
            "Candle's Llama drops these biases",
        ));
    }
    if attention(config).query_size() != config.hidden_size {
        return Err(refuse(
            "head_dim",
            attention(config).head_dim,
            "Candle's Llama takes hidden_size / num_attention_heads instead",
        ));
    }
    if let Some(mlp) = mlp
        && mlp.activation != Activation::Silu
    {
        return Err(refuse(
            "hidden_act",
            format!("{:?}", mlp.activation),
            "Candle's Llama always applies SiLU",
        ));
    }
    match rope(config).scaling {
        RopeScaling::None | RopeScaling::Llama3 { .. } => Ok(()),
        ref other => Err(refuse(
            "rope_type",
            other.name(),
            "Candle's Llama knows default and llama3 only",
        )),
    }
}

fn build(
    config: &ModelDescription,
    weights: VarBuilder,
) -> candle_core::Result<Box<dyn CandleForward>> {
    let rope_scaling = match rope(config).scaling {
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => Some(candle_llama::Llama3RopeConfig {
            factor: factor as f32,
            low_freq_factor: low_freq_factor as f32,
            high_freq_factor: high_freq_factor as f32,
            original_max_position_embeddings,
            rope_type: candle_llama::Llama3RopeType::Llama3,
        }),
        _ => None,
    };
    let candle_config = candle_llama::Config {
        hidden_size: config.hidden_size,
        intermediate_size: dense_size(config),
        vocab_size: config.vocab_size,
        num_hidden_layers: config.layers.len(),
        num_attention_heads: attention(config).num_heads,
        num_key_value_heads: attention(config).num_kv_heads,
        use_flash_attn: false,
        rms_norm_eps: config.final_norm.eps,
        rope_theta: rope(config).theta as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling,
        max_position_embeddings: config.max_position_embeddings,
        tie_word_embeddings: config.tie_word_embeddings,
    };
    let (dtype, device) = (weights.dtype(), weights.device().clone());
    let cache = candle_llama::Cache::new(true, dtype, &candle_config, &device)?;
    Ok(Box::new(Llama {
        model: candle_llama::Llama::load(weights, &candle_config)?,
        empty: cache.clone(),
        cache,
    }))
}

/// Candle keeps a Llama's KV cache beside the model, so emptying it is taking a fresh one.
#[derive(Clone)]
struct Llama {
    model: candle_llama::Llama,
    cache: candle_llama::Cache,
    empty: candle_llama::Cache,
}

impl CandleForward for Llama {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> candle_core::Result<Tensor> {
        self.model
            .forward(tokens, position, &mut self.cache)?
            .to_dtype(DType::F32)
    }

    fn clear(&mut self) {
        self.cache = self.empty.clone();
    }

    fn fork(&self) -> Box<dyn CandleForward> {
        let mut fork = self.clone();
        fork.clear();
        Box::new(fork)
    }
}
