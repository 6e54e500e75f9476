//! The keys and tensors of GGUF files that say which experts there are and how they are chosen.

use super::config_file::ConfigFile;
use super::gguf_metadata::{GATE_UP_EXPERTS, GgufMetadata};
use crate::description::{EXPERT_LIMIT, FeedForward, Mlp, Router, Scoring, SharedExpert};
use crate::error::Result;

/// How the files of a family say which experts run.
#[derive(Debug, Clone, Copy)]
pub struct GgufExperts {
    /// What makes weights of a router's scores where no key says so.
    pub(super) scoring: Scoring,
    /// How weights are scaled.
    pub(super) weights: GgufWeights,
}

/// How the weights of chosen experts are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufWeights {
    /// They sum to 1, whatever a key says.
    Normalised,
    /// Not at all.
    AsTheyAre,
    /// As keys say.
    ByKeys,
}

impl GgufExperts {
    /// A softmax whose chosen weights sum to 1.
    pub(super) const SOFTMAX: Self = Self {
        scoring: Scoring::Softmax,
        weights: GgufWeights::Normalised,
    };

    /// The blocks of a layer that has experts, each of which is like `mlp`.
    pub(super) fn read(
        self,
        file: &dyn GgufMetadata,
        keys: &ConfigFile,
        layer: usize,
        mlp: Mlp,
    ) -> Result<FeedForward> {
        let num_experts = keys.whole("expert_count")?.unwrap_or(0);
        let experts_per_token = keys.whole("expert_used_count")?.unwrap_or(0);
        if num_experts > EXPERT_LIMIT {
            return Err(keys.invalid(
                "expert_count",
                format!("more than {EXPERT_LIMIT} experts are not believed"),
            ));
        }
        if experts_per_token == 0 || experts_per_token > num_experts {
            return Err(keys.invalid(
                "expert_used_count",
                format!("expected 1 to expert_count = {num_experts}"),
            ));
        }
        let groups = Router::check_groups(
            keys.count("expert_group_count")?.unwrap_or(1),
            keys.count("expert_group_used_count")?.unwrap_or(1),
            num_experts,
            experts_per_token,
        )
        .map_err(|reason| keys.invalid("expert_group_count", reason))?;
        let has = |name: &str| file.shape(&format!("blk.{layer}.{name}")).is_some();
        let (normalises, scale) = self.scaling(keys)?;
        // Say again what shapes say.
        for key in ["expert_shared_count", "expert_shared_feed_forward_length"] {
            let _ = keys.whole(key)?;
        }
        let shared = file.shape(&format!("blk.{layer}.ffn_up_shexp.weight"));
        let shared = shared.map(|shape| SharedExpert {
            mlp: Mlp {
                intermediate_size: shape.first().copied().unwrap_or(0),
                ..mlp
            },
            is_gated: has("ffn_gate_inp_shexp.weight"),
        });
        // Older files say the size by other keys, or none: the tensor does in all.
        let named = keys.count("expert_feed_forward_length")?;
        let shape = |name: &str| file.shape(&format!("blk.{layer}.{name}.weight"));
        let intermediate_size = match (shape("ffn_up_exps"), shape(GATE_UP_EXPERTS)) {
            (Some(&[_, size, _]), _) => size,
            (None, Some(&[_, both, _])) => both / 2,
            _ => named.unwrap_or(0),
        };
        Ok(FeedForward::Experts {
            expert: Mlp {
                intermediate_size,
                bias: has("ffn_up_exps.bias"),
                ..mlp
            },
            num_experts,
            experts_per_token,
            router: Router {
                scoring: self.scoring(keys)?,
                has_bias: has("ffn_gate_inp.bias"),
                has_choice_bias: has("exp_probs_b.bias"),
                groups,
                normalise: normalises.then_some(0.0),
                scale,
            },
            shared,
            own_norms: None,
        })
    }

    fn scoring(self, keys: &ConfigFile) -> Result<Scoring> {
        const KEY: &str = "expert_gating_func";
        match keys.whole(KEY)? {
            None | Some(0) => Ok(self.scoring),
            Some(1) => Ok(Scoring::Softmax),
            Some(2) => Ok(Scoring::Sigmoid),
            Some(_) => Err(keys.unsupported(KEY, "1, softmax, and 2, sigmoid, are computed")),
        }
    }

    fn scaling(self, keys: &ConfigFile) -> Result<(bool, f64)> {
        if self.weights != GgufWeights::ByKeys {
            return Ok((self.weights == GgufWeights::Normalised, 1.0));
        }
        let scale = keys.not_negative("expert_weights_scale")?;
        let normalises = keys.flag("expert_weights_norm")?.unwrap_or(false);
        // 0 means none.
        Ok((
            normalises,
            scale.filter(|scale| *scale != 0.0).unwrap_or(1.0),
        ))
    }
}
