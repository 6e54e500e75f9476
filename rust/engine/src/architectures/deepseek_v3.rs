//! DeepSeek V3, V3.1 and R1.
//!
//! What is particular: keys and values come out of one narrow vector a position; experts in all layers but the first few,
//! chosen by the sigmoid of their scores and a bias out of the best groups, and one beside them for every token.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufMetadata, GgufRotation};
use super::gguf_experts::{GgufExperts, GgufWeights};
use super::glm4_moe::SigmoidExperts;
use super::latent::{LatentDefaults, LatentKeys, attend_by, norm};
use crate::description::rope::{RopeScaling, yarn_mscale};
use crate::description::{FeedForward, Latent, ModelDescription, Scoring};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "deepseek_v3",
    class: "DeepseekV3ForCausalLM",
    describe,
    names: &[(".shared_experts.", ".shared_expert.")],
    gguf: Some(GgufArchitecture {
        name: "deepseek2",
        ours: "deepseek_v3",
        rotation: GgufRotation::Neighbours,
        is_latent: true,
        has_further_layers: true,
        experts: Some(GgufExperts {
            scoring: Scoring::Softmax,
            weights: GgufWeights::ByKeys,
        }),
        adapt,
        adapt_to_tensors,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 129_280,
    hidden_size: 7168,
    intermediate_size: 18_432,
    num_hidden_layers: 61,
    num_attention_heads: 128,
    head_dim: Some(64),
    max_position_embeddings: 4096,
    rope: None,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let is_interleaved = config.flag_or("rope_interleave", true)?;
    let latent = LatentKeys::read(config, &LatentDefaults::DEEPSEEK, is_interleaved)?;
    let dense = config.whole("first_k_dense_replace")?.unwrap_or(3);
    let experts = SigmoidExperts {
        count: 256,
        per_token: 8,
        size: 2048,
        groups: (8, 4),
        scale: 2.5,
    };
    let experts = experts.read(config, shared.mlp)?;
    // Layers behind the others that predict further tokens.
    for key in ["num_nextn_predict_layers", "num_mtp_layers"] {
        let _ = config.whole(key)?;
    }
    Ok(shared.describe(|index, attention, feed_forward| {
        latent.give(attention);
        if index >= dense {
            *feed_forward = experts.clone();
        }
    }))
}

/// Older files have the widths of heads of queries and of values in the keys that newer ones have those of the one head
/// that is kept in.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let kept = [
        keys.required_count("attention.key_length")?,
        keys.required_count("attention.value_length")?,
    ];
    let key = keys.count("attention.key_length_mla")?.unwrap_or(kept[0]);
    let value = keys.count("attention.value_length_mla")?.unwrap_or(kept[1]);
    let kv_rank = keys.required_count("attention.kv_lora_rank")?;
    let query_rank = keys.count("attention.q_lora_rank")?;
    // A tenth of what YaRN's temperature is computed with, of scores and of angles, which takes it back from them.
    let mscale = keys.positive("rope.scaling.yarn_log_multiplier")?;
    for attention in description.attentions_mut() {
        let Some(mut rope) = attention.rope.take() else {
            continue;
        };
        if rope.dims >= key {
            let wrong = format!("expected less than the width of a head, {key}");
            return Err(keys.invalid("rope.dimension_count", wrong));
        }
        let mut temperature = 1.0;
        if let (
            Some(mscale),
            RopeScaling::Yarn {
                factor,
                attention_factor,
                ..
            },
        ) = (mscale, &mut rope.scaling)
        {
            *attention_factor = 1.0;
            temperature = yarn_mscale(*factor, mscale / 0.1).powi(2);
        }
        let latent = Latent {
            query_rank,
            kv_rank,
            plain_dim: key - rope.dims,
            value_dim: value,
            norm: norm(),
            is_by_head: true,
        };
        attend_by(attention, latent, rope, temperature);
    }
    Ok(())
}

/// The tensors say which of two forms they have, whether queries have narrow vectors, which some files have a key for all
/// the same, and where no key does that experts are chosen by sigmoids: those have a bias.
fn adapt_to_tensors(file: &dyn GgufMetadata, description: &mut ModelDescription) -> Result<()> {
    let has = |index: usize, name: &str| file.shape(&format!("blk.{index}.{name}")).is_some();
    let says_scoring = file
        .section("deepseek2.")
        .get("expert_gating_func")
        .is_some_and(|value| value.as_u64() != Some(0));
    for (index, layer) in description.layers.iter_mut().enumerate() {
        if let Some(latent) = layer.attention_mut().and_then(|own| own.latent.as_mut()) {
            latent.is_by_head = has(index, "attn_k_b.weight");
            latent.query_rank = latent.query_rank.filter(|_| has(index, "attn_q_a.weight"));
        }
        if let FeedForward::Experts { router, .. } = &mut layer.feed_forward
            && router.has_choice_bias
            && !says_scoring
        {
            router.scoring = Scoring::Sigmoid;
        }
    }
    Ok(())
}
