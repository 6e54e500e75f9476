//! GLM-4.7 Flash.
//!
//! What is particular: GLM-4.5's experts with DeepSeek's attention, whose keys and values come out of one narrow vector a
//! position.

use super::Architecture;
use super::common::{Defaults, Shared, layers_of_kind};
use super::config_file::ConfigFile;
use super::glm4_moe::SigmoidExperts;
use super::latent::{LatentDefaults, LatentKeys};
use crate::description::ModelDescription;
use crate::error::Result;

/// The table's entry. Its GGUF files are DeepSeek V3's.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "glm4_moe_lite",
    class: "Glm4MoeLiteForCausalLM",
    describe,
    names: &[(".shared_experts.", ".shared_expert.")],
    gguf: None,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 154_880,
    hidden_size: 2048,
    intermediate_size: 10_240,
    num_hidden_layers: 47,
    num_attention_heads: 20,
    head_dim: Some(64),
    max_position_embeddings: 202_752,
    rms_norm_eps: 1e-5,
    rope: None,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let defaults = LatentDefaults {
        query_rank: 768,
        kv_rank: 512,
        plain_dim: 192,
        rotated_dim: 64,
        value_dim: 256,
    };
    let is_interleaved = config.flag_or("rope_interleave", true)?;
    let latent = LatentKeys::read(config, &defaults, is_interleaved)?;
    const TYPES: &str = "mlp_layer_types";
    let count = shared.num_layers;
    let sparse = match config.texts(TYPES)? {
        Some(types) => layers_of_kind(config, TYPES, &types, ["sparse", "dense"], count)?,
        None => (0..count).map(|index| index > 0).collect(),
    };
    let experts = SigmoidExperts {
        count: 64,
        per_token: 4,
        size: 1536,
        groups: (1, 1),
        scale: 1.8,
    };
    let experts = experts.read(config, shared.mlp)?;
    // Layers behind the others that predict further tokens.
    let _ = config.whole("num_nextn_predict_layers")?;
    Ok(shared.describe(|index, attention, feed_forward| {
        latent.give(attention);
        if sparse[index] {
            *feed_forward = experts.clone();
        }
    }))
}
