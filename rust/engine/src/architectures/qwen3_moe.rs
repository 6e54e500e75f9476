//! Qwen3-MoE, such as Qwen3-30B-A3B.
//!
//! What is particular: the attention of Qwen3; a mixture of experts in every `decoder_sparse_step`th
//! layer except those in `mlp_only_layers`, which are dense; the window, if switched on, in every
//! layer.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::GgufExperts;
use crate::description::{EXPERT_LIMIT, FeedForward, Mlp, ModelDescription, Router};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3_moe",
    class: "Qwen3MoeForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen3moe",
        ours: "qwen3_moe",
        qk_norm: Some(true),
        experts: Some(GgufExperts::SOFTMAX),
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    num_key_value_heads: Some(4),
    head_dim: None,
    max_position_embeddings: 32_768,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let attention_bias = config.flag("attention_bias")?.unwrap_or(false);
    let window = match (
        config.flag("use_sliding_window")?.unwrap_or(false),
        config.has("sliding_window"),
    ) {
        (true, true) => config.count("sliding_window")?,
        (true, false) => Some(4096),
        (false, _) => {
            config.value("sliding_window");
            None
        }
    };
    // Qwen3-MoE files carry this key of their dense siblings, where it would pick the layers of
    // the window; here all layers have it.
    config.whole("max_window_layers")?;

    let experts = read_experts(config, NUM_EXPERTS, shared.mlp, [128, 8, 768], false)?;
    let sparse = sparse_layers(config, shared.num_layers)?;
    let norm = shared.head_norm();
    Ok(shared.describe(|index, attention, feed_forward| {
        attention.qk_norm = norm;
        attention.qkv_bias = attention_bias;
        attention.output_bias = attention_bias;
        attention.window = window;
        if sparse[index] {
            *feed_forward = experts.clone();
        }
    }))
}

/// Which layers have experts.
pub(super) fn sparse_layers(config: &ConfigFile, num_layers: usize) -> Result<Vec<bool>> {
    let step = config.count("decoder_sparse_step")?.unwrap_or(1);
    let dense = config.wholes("mlp_only_layers")?.unwrap_or_default();
    let is_sparse = |index: usize| !dense.contains(&index) && (index + 1).is_multiple_of(step);
    Ok((0..num_layers).map(is_sparse).collect())
}

/// The names of the number of experts: transformers 5 writes the first for the second.
pub(super) const NUM_EXPERTS: &[&str] = &["num_local_experts", "num_experts"];

/// Makes sure that there can be so many experts, and that so many of them can run for a token, each by the key that says it.
pub(super) fn check_counts(
    config: &ConfigFile,
    (count_key, count): (&str, usize),
    (per_token_key, per_token): (&str, usize),
) -> Result<()> {
    if count > EXPERT_LIMIT {
        let reason = format!("more than {EXPERT_LIMIT} experts are not believed");
        return Err(config.invalid(count_key, reason));
    }
    if per_token > count {
        let reason = format!("must not exceed {count_key} = {count}");
        return Err(config.invalid(per_token_key, reason));
    }
    Ok(())
}

/// Reads the keys of experts, each of which is like `mlp`. Their number is the value of the first of the `names` that is
/// there. The family's own number, how many run for a token, their size, and whether weights are scaled count where no key
/// says so.
pub(super) fn read_experts(
    config: &ConfigFile,
    names: &[&str],
    mlp: Mlp,
    [count, per_token, size]: [usize; 3],
    normalises: bool,
) -> Result<FeedForward> {
    let mut num_experts = None;
    for name in names {
        num_experts = num_experts.or(config.count(name)?);
    }
    let num_experts = num_experts.unwrap_or(count);
    let experts_per_token = config.count("num_experts_per_tok")?.unwrap_or(per_token);
    check_counts(
        config,
        ("num_experts", num_experts),
        ("num_experts_per_tok", experts_per_token),
    )?;
    let intermediate_size = config.count("moe_intermediate_size")?.unwrap_or(size);
    Ok(FeedForward::Experts {
        expert: Mlp {
            intermediate_size,
            ..mlp
        },
        num_experts,
        experts_per_token,
        router: Router::softmax(config.flag("norm_topk_prob")?.unwrap_or(normalises)),
        shared: None,
        own_norms: None,
    })
}
