//! DeepSeek V2 and V2.5, and their Lite models.
//!
//! What is particular: keys and values come out of one narrow vector a position; experts in all layers but the first few,
//! chosen by a softmax out of all or of the best groups, and some beside them for every token.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::latent::{LatentDefaults, LatentKeys};
use super::qwen3_moe::check_counts;
use crate::description::{FeedForward, Mlp, ModelDescription, Router, SharedExpert};
use crate::error::Result;

/// The table's entry. Its GGUF files are DeepSeek V3's.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "deepseek_v2",
    class: "DeepseekV2ForCausalLM",
    describe,
    names: &[(".shared_experts.", ".shared_expert.")],
    gguf: None,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 102_400,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    head_dim: Some(64),
    max_position_embeddings: 2048,
    rope: None,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let latent = LatentKeys::read(config, &LatentDefaults::DEEPSEEK, true)?;
    if config.flag("mlp_bias")?.unwrap_or(false) {
        return Err(
            config.unsupported("mlp_bias", "biases of feed-forward blocks are not computed")
        );
    }
    let dense = config.whole("first_k_dense_replace")?.unwrap_or(0);
    let experts = experts(config, shared.mlp)?;
    Ok(shared.describe(|index, attention, feed_forward| {
        latent.give(attention);
        if index >= dense {
            *feed_forward = experts.clone();
        }
    }))
}

fn experts(config: &ConfigFile, mlp: Mlp) -> Result<FeedForward> {
    let own = config.count("n_routed_experts")?;
    let num_experts = own.or(config.count("num_experts")?).unwrap_or(64);
    let experts_per_token = config.required_count("num_experts_per_tok")?;
    check_counts(
        config,
        ("n_routed_experts", num_experts),
        ("num_experts_per_tok", experts_per_token),
    )?;
    const METHOD: &str = "topk_method";
    let method = match config.has(METHOD) {
        true => config.text(METHOD)?.unwrap_or("null"),
        false => "greedy",
    };
    let groups = match method {
        "greedy" => {
            // They choose nothing then.
            let _ = (config.value("n_group"), config.value("topk_group"));
            None
        }
        "group_limited_greedy" => {
            let (groups, kept) = (
                config.required_count("n_group")?,
                config.required_count("topk_group")?,
            );
            Router::check_groups(groups, kept, num_experts, experts_per_token)
                .map_err(|reason| config.invalid("n_group", reason))?
        }
        _ => {
            let known = "greedy and group_limited_greedy are known";
            return Err(config.unsupported(METHOD, known));
        }
    };
    // DeepSeek's own code divides by the sum then, transformers does not.
    if config.flag("norm_topk_prob")?.unwrap_or(false) {
        return Err(config.unsupported("norm_topk_prob", "expected false"));
    }
    let expert = Mlp {
        intermediate_size: config.count("moe_intermediate_size")?.unwrap_or(1407),
        ..mlp
    };
    Ok(FeedForward::Experts {
        expert,
        num_experts,
        experts_per_token,
        router: Router {
            groups,
            scale: config.positive("routed_scaling_factor")?.unwrap_or(1.0),
            ..Router::softmax(false)
        },
        own_norms: None,
        shared: SharedExpert::of_all(expert, config.whole("n_shared_experts")?.unwrap_or(2)),
    })
}
