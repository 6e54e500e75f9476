//! GLM-4.5, 4.6 and their Air models.
//!
//! What is particular: experts in all layers but the first few, chosen by the sigmoid of their scores and a bias out of the
//! best groups, and one beside them for every token; half of each head is rotated; queries and keys may be normalised per
//! head.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::gguf_experts::{GgufExperts, GgufWeights};
use super::qwen3_moe::check_counts;
use super::rope::RopeDefaults;
use crate::description::{FeedForward, Mlp, ModelDescription, Router, Scoring, SharedExpert};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "glm4_moe",
    class: "Glm4MoeForCausalLM",
    describe,
    names: &[(".shared_experts.", ".shared_expert.")],
    gguf: Some(GgufArchitecture {
        name: "glm4moe",
        ours: "glm4_moe",
        qk_norm: None,
        adapt: |keys, _| {
            // Texts have several positions that are equal.
            let _ = keys.value("rope.dimension_sections");
            Ok(())
        },
        has_further_layers: true,
        experts: Some(GgufExperts {
            scoring: Scoring::Sigmoid,
            weights: GgufWeights::ByKeys,
        }),
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 151_552,
    hidden_size: 4096,
    intermediate_size: 10_944,
    num_hidden_layers: 46,
    num_attention_heads: 96,
    num_key_value_heads: Some(8),
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults {
        share: Some(0.5),
        ..RopeDefaults::of(10_000.0)
    }),
    ..Defaults::COMMON
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let qkv_bias = config.flag("attention_bias")?.unwrap_or(false);
    let norm = match config.flag("use_qk_norm")?.unwrap_or(false) {
        true => shared.head_norm(),
        false => None,
    };
    let dense = config.whole("first_k_dense_replace")?.unwrap_or(1);
    let experts = SigmoidExperts {
        count: 128,
        per_token: 8,
        size: 1408,
        groups: (1, 1),
        scale: 1.0,
    };
    let experts = experts.read(config, shared.mlp)?;
    // Layers behind the others that predict further tokens.
    for key in ["num_nextn_predict_layers", "num_mtp_layers"] {
        let _ = config.whole(key)?;
    }
    Ok(shared.describe(|index, attention, feed_forward| {
        attention.qk_norm = norm;
        attention.qkv_bias = qkv_bias;
        if index >= dense {
            *feed_forward = experts.clone();
        }
    }))
}

/// What a family of experts by sigmoid has where no key says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigmoidExperts {
    /// Experts of a layer.
    pub(super) count: usize,
    /// How many run for a token.
    pub(super) per_token: usize,
    /// Width of one.
    pub(super) size: usize,
    /// Groups of experts, and from how many they are chosen.
    pub(super) groups: (usize, usize),
    /// What their weights are multiplied with.
    pub(super) scale: f64,
}

impl SigmoidExperts {
    /// Reads experts, each of which is like `mlp`, and the ones beside them for every token as one.
    pub(super) fn read(&self, config: &ConfigFile, mlp: Mlp) -> Result<FeedForward> {
        // Transformers 5 may write the second name for the first.
        let own = config.count("n_routed_experts")?;
        let num_experts = own
            .or(config.count("num_local_experts")?)
            .unwrap_or(self.count);
        let experts_per_token = config
            .count("num_experts_per_tok")?
            .unwrap_or(self.per_token);
        check_counts(
            config,
            ("n_routed_experts", num_experts),
            ("num_experts_per_tok", experts_per_token),
        )?;
        let groups = config.count("n_group")?.unwrap_or(self.groups.0);
        let kept = config.count("topk_group")?.unwrap_or(self.groups.1);
        let groups = Router::check_groups(groups, kept, num_experts, experts_per_token)
            .map_err(|reason| config.invalid("n_group", reason))?;
        let normalises = config.flag_or("norm_topk_prob", true)?;
        let scale = config.positive("routed_scaling_factor")?;
        let expert = Mlp {
            intermediate_size: config.count("moe_intermediate_size")?.unwrap_or(self.size),
            ..mlp
        };
        let shared = config.whole("n_shared_experts")?.unwrap_or(1);
        Ok(FeedForward::Experts {
            expert,
            num_experts,
            experts_per_token,
            router: Router {
                scoring: Scoring::Sigmoid,
                has_bias: false,
                has_choice_bias: true,
                groups,
                normalise: normalises.then_some(1e-20),
                scale: scale.unwrap_or(self.scale),
            },
            own_norms: None,
            shared: SharedExpert::of_all(expert, shared),
        })
    }
}
