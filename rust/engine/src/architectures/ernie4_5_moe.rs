//! ERNIE 4.5 with experts.
//!
//! What is particular: the attention of ERNIE 4.5; experts in some layers, chosen by their weights and a bias, and some beside
//! them for every token.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, GgufRotation};
use super::gguf_experts::GgufExperts;
use super::qwen3_moe::check_counts;
use super::rope::RopeDefaults;
use crate::description::{FeedForward, Mlp, ModelDescription, Router, SharedExpert};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture =
    Architecture {
        name: "ernie4_5_moe",
        class: "Ernie4_5_MoeForCausalLM",
        describe,
        names: &[
            (".mlp.gate.moe_statics.", ".mlp.gate."),
            (".mlp.moe_statics.", ".mlp.gate."),
            (".shared_experts.", ".shared_expert."),
        ],
        gguf: Some(GgufArchitecture {
            name: "ernie4_5-moe",
            ours: "ernie4_5_moe",
            rotation: GgufRotation::Neighbours,
            experts: Some(GgufExperts::SOFTMAX),
            adapt: |keys, _| {
                const STEP: &str = "interleave_moe_layer_step";
                match keys.count(STEP)? {
                    None | Some(1) => Ok(()),
                    Some(_) => Err(keys
                        .unsupported(STEP, "experts in every layer behind the first are computed")),
                }
            },
            ..GgufArchitecture::COMMON
        }),
    };

const DEFAULTS: Defaults = Defaults {
    vocab_size: 103_424,
    hidden_size: 2560,
    intermediate_size: 12_288,
    num_hidden_layers: 28,
    num_attention_heads: 20,
    num_key_value_heads: Some(4),
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults {
        is_interleaved: true,
        ..RopeDefaults::of(500_000.0)
    }),
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    if config.flag("use_bias")?.unwrap_or(false) {
        return Err(config.unsupported("use_bias", "biases of this family are not computed"));
    }
    let experts = experts(config, shared.mlp)?;
    let interval = config.count("moe_layer_interval")?.unwrap_or(1);
    let first = config.whole("moe_layer_start_index")?.unwrap_or(1);
    let last = last_sparse(config, shared.num_layers)?;
    Ok(shared.describe(|index, _, feed_forward| {
        if (index + 1).is_multiple_of(interval) && (first..=last).contains(&index) {
            *feed_forward = experts.clone();
        }
    }))
}

/// The last layer with experts; -1 means the last of all.
fn last_sparse(config: &ConfigFile, num_layers: usize) -> Result<usize> {
    const KEY: &str = "moe_layer_end_index";
    match config.value(KEY).map(serde_json::Value::as_i64) {
        None | Some(Some(-1)) => Ok(num_layers - 1),
        Some(Some(last)) if last >= 0 => Ok(last as usize),
        Some(_) => Err(config.invalid(KEY, "expected a layer, or -1")),
    }
}

/// A sum of weights that there is none of.
const NO_SUM: f64 = 1e-12;

fn experts(config: &ConfigFile, mlp: Mlp) -> Result<FeedForward> {
    let other_name = config.count("num_experts")?;
    let num_experts = config
        .count("moe_num_experts")?
        .or(other_name)
        .unwrap_or(64);
    let other_name = config.count("num_experts_per_tok")?;
    let experts_per_token = config.count("moe_k")?.or(other_name).unwrap_or(6);
    check_counts(
        config,
        ("moe_num_experts", num_experts),
        ("moe_k", experts_per_token),
    )?;
    const LEAST: &str = "moe_norm_min";
    if config
        .not_negative(LEAST)?
        .is_some_and(|least| least > NO_SUM)
    {
        return Err(config.unsupported(LEAST, "sums of weights are as they are"));
    }
    let expert = Mlp {
        intermediate_size: config.count("moe_intermediate_size")?.unwrap_or(1536),
        ..mlp
    };
    let shared = config.whole("moe_num_shared_experts")?.unwrap_or(2);
    Ok(FeedForward::Experts {
        expert,
        num_experts,
        experts_per_token,
        router: Router {
            has_choice_bias: true,
            normalise: Some(NO_SUM),
            ..Router::softmax(true)
        },
        own_norms: None,
        shared: (shared > 0).then_some(SharedExpert {
            mlp: Mlp {
                intermediate_size: expert.intermediate_size * shared,
                ..expert
            },
            is_gated: false,
        }),
    })
}
