//! Mixtral.
//!
//! What is particular: Mistral with experts in every layer, whose chosen weights sum to 1; no window unless one is set.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::qwen3_moe::{NUM_EXPERTS, read_experts};
use super::rope::RopeDefaults;
use crate::description::{FeedForward, ModelDescription, Router};
use crate::error::Result;

/// The table's entry. GGUF files of these models call themselves Llama.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "mixtral",
    class: "MixtralForCausalLM",
    describe,
    names: &[
        (".block_sparse_moe.", ".mlp."),
        (".w1.", ".gate_proj."),
        (".w3.", ".up_proj."),
        (".w2.", ".down_proj."),
    ],
    gguf: None,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults::of(1_000_000.0)),
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = config.count("sliding_window")?;
    let mut experts = read_experts(
        config,
        NUM_EXPERTS,
        shared.mlp,
        [8, 2, shared.mlp.intermediate_size],
        true,
    )?;
    if let FeedForward::Experts { expert, router, .. } = &mut experts {
        // Keys of other families, which this one does not read.
        *expert = shared.mlp;
        *router = Router::softmax(true);
    }
    // Noise of training.
    let _ = config.value("router_jitter_noise");
    Ok(shared.describe(|_, attention, feed_forward| {
        attention.window = window;
        *feed_forward = experts.clone();
    }))
}
