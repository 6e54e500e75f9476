//! Granite 3 with experts, such as Granite 3.1 1B-A400M, and those with one expert more for every token.
//!
//! What is particular: the multipliers of Granite; experts in every layer, whose chosen weights sum to 1, stacked in the files
//! under names of their own.

use super::Architecture;
use super::common::Shared;
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::gguf_experts::GgufExperts;
use super::granite::{self, DEFAULTS, read_scales};
use super::qwen3_moe::read_experts;
use crate::description::{FeedForward, Mlp, ModelDescription, Router, SharedExpert};
use crate::error::Result;

/// What Granite calls the tensors of its blocks.
pub(super) const NAMES: &[(&str, &str)] = &[
    (
        ".block_sparse_moe.input_linear.weight",
        ".mlp.experts.gate_up_proj",
    ),
    (
        ".block_sparse_moe.output_linear.weight",
        ".mlp.experts.down_proj",
    ),
    (".block_sparse_moe.router.layer.", ".mlp.gate."),
    (".block_sparse_moe.router.", ".mlp.gate."),
    (".block_sparse_moe.", ".mlp."),
    (
        ".shared_mlp.input_linear.",
        ".mlp.shared_expert.gate_up_proj.",
    ),
    (
        ".shared_mlp.output_linear.",
        ".mlp.shared_expert.down_proj.",
    ),
];

/// The table's entry of models without an expert for every token. GGUF files of both have one name.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "granitemoe",
    class: "GraniteMoeForCausalLM",
    describe: |config| describe(ARCHITECTURE.name, config, false),
    names: NAMES,
    gguf: Some(GgufArchitecture {
        name: "granitemoe",
        ours: "granitemoe",
        rotation: GgufRotation::Permuted,
        experts: Some(GgufExperts::SOFTMAX),
        adapt: granite::adapt,
        ..GgufArchitecture::COMMON
    }),
};

/// The table's entry of models with an expert for every token.
pub const SHARED: Architecture = Architecture {
    name: "granitemoeshared",
    class: "GraniteMoeSharedForCausalLM",
    describe: |config| describe(SHARED.name, config, true),
    names: NAMES,
    gguf: None,
};

fn describe(name: &'static str, config: &ConfigFile, has_shared: bool) -> Result<ModelDescription> {
    let common = Shared::read(name, config, &DEFAULTS)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let mlp = common.mlp;
    let size = match has_shared {
        true => config.whole("shared_intermediate_size")?.unwrap_or(0),
        false => 0,
    };
    let experts = read_granite_experts(config, mlp, size)?;
    let mut description = common.describe(|_, attention, feed_forward| {
        attention.qkv_bias = bias;
        attention.output_bias = bias;
        *feed_forward = experts.clone();
    });
    read_scales(config, &mut description)?;
    Ok(description)
}

/// Experts that are like `mlp`, and one of a `shared_size` for every token, unless that is 0.
pub(super) fn read_granite_experts(
    config: &ConfigFile,
    mlp: Mlp,
    shared_size: usize,
) -> Result<FeedForward> {
    let mut experts = read_experts(
        config,
        &["num_local_experts"],
        mlp,
        [8, 2, mlp.intermediate_size],
        true,
    )?;
    if let FeedForward::Experts {
        expert,
        router,
        shared,
        ..
    } = &mut experts
    {
        // Keys of other families, which this one does not read.
        *expert = mlp;
        *router = Router::softmax(true);
        *shared = (shared_size > 0).then_some(SharedExpert {
            mlp: Mlp {
                intermediate_size: shared_size,
                ..mlp
            },
            is_gated: false,
        });
    }
    Ok(experts)
}
