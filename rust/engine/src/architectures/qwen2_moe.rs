//! Qwen1.5 and Qwen2 with experts, such as Qwen1.5-MoE-A2.7B.
//!
//! What is particular: the attention of Qwen2; experts as those of Qwen3-MoE, and one beside them for every token, whose
//! output is gated; a window, if switched on, in every other layer.

use super::Architecture;
use super::common::{Defaults, Shared, sliding_layers, window_or};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::{GgufExperts, GgufWeights};
use super::qwen3_moe::{read_experts, sparse_layers};
use crate::description::{FeedForward, Mlp, ModelDescription, Scoring, SharedExpert};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen2_moe",
    class: "Qwen2MoeForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen2moe",
        ours: "qwen2_moe",
        experts: Some(GgufExperts {
            scoring: Scoring::Softmax,
            weights: GgufWeights::AsTheyAre,
        }),
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: Some(16),
    max_position_embeddings: 32_768,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let bias = config.flag_or("qkv_bias", true)?;
    let windows = windows(config, shared.num_layers)?;
    let experts = read_experts(config, &["num_experts"], shared.mlp, [60, 4, 1408], false)?;
    let experts = with_gated_expert(config, experts, 5632)?;
    let sparse = sparse_layers(config, shared.num_layers)?;
    Ok(shared.describe(|index, attention, feed_forward| {
        attention.qkv_bias = bias;
        attention.window = windows[index];
        if sparse[index] {
            *feed_forward = experts.clone();
        }
    }))
}

/// Experts and one beside them for every token, of a size that is `size` where no key says it, whose output is gated.
pub(super) fn with_gated_expert(
    config: &ConfigFile,
    mut experts: FeedForward,
    size: usize,
) -> Result<FeedForward> {
    let own = config.count("shared_expert_intermediate_size")?;
    if let FeedForward::Experts { expert, shared, .. } = &mut experts {
        *shared = Some(SharedExpert {
            mlp: Mlp {
                intermediate_size: own.unwrap_or(size),
                ..*expert
            },
            is_gated: true,
        });
    }
    Ok(experts)
}

/// The window of each layer: by `layer_types` where the key is there, else in every other one below `max_window_layers`.
fn windows(config: &ConfigFile, num_layers: usize) -> Result<Vec<Option<usize>>> {
    let used = config.flag("use_sliding_window")?.unwrap_or(false);
    let size = match used {
        true => window_or(config, 4096)?,
        false => {
            // Saved as 0 then.
            let _ = config.value("sliding_window");
            None
        }
    };
    let limit = config.whole("max_window_layers")?.unwrap_or(28);
    let sliding = match config.texts("layer_types")? {
        Some(types) => sliding_layers(config, &types, num_layers)?,
        None => (0..num_layers)
            .map(|index| used && index.is_multiple_of(2) && index < limit)
            .collect(),
    };
    if size.is_none() && sliding.contains(&true) {
        return Err(config.invalid(
            "layer_types",
            "sliding_attention needs use_sliding_window = true and a sliding_window",
        ));
    }
    Ok(sliding
        .into_iter()
        .map(|slides| size.filter(|_| slides))
        .collect())
}
