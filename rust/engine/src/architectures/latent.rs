//! The keys of attention whose keys and values come out of narrow vectors, as DeepSeek's families have them.

use super::config_file::ConfigFile;
use super::rope::{RopeDefaults, read_rope_or};
use crate::description::rope::{Rope, RopeScaling, yarn_mscale};
use crate::description::{Attention, Latent, Norm};
use crate::error::Result;

/// The ε of the norms of narrow vectors: transformers has its default there, not the model's.
const EPS: f64 = 1e-6;

/// What a family has where no key says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct LatentDefaults {
    /// `q_lora_rank`
    pub(super) query_rank: usize,
    /// `kv_lora_rank`
    pub(super) kv_rank: usize,
    /// `qk_nope_head_dim`
    pub(super) plain_dim: usize,
    /// `qk_rope_head_dim`
    pub(super) rotated_dim: usize,
    /// `v_head_dim`
    pub(super) value_dim: usize,
}

impl LatentDefaults {
    /// Those of DeepSeek V2 and V3.
    pub(super) const DEEPSEEK: Self = Self {
        query_rank: 1536,
        kv_rank: 512,
        plain_dim: 128,
        rotated_dim: 64,
        value_dim: 128,
    };
}

/// What the keys say of such attention.
#[derive(Debug, Clone)]
pub(super) struct LatentKeys {
    latent: Latent,
    rope: Rope,
    /// What scores are multiplied with besides.
    temperature: f64,
    bias: bool,
}

impl LatentKeys {
    /// Reads the keys; neighbours turn against each other, or halves.
    pub(super) fn read(
        config: &ConfigFile,
        defaults: &LatentDefaults,
        is_interleaved: bool,
    ) -> Result<Self> {
        const SCALED: &str = "mscale_all_dim";
        check_heads(config)?;
        let query_rank = match config.has("q_lora_rank") {
            true => config.count("q_lora_rank")?,
            false => Some(defaults.query_rank),
        };
        let size = |key: &str, default: usize| -> Result<usize> {
            Ok(config.count(key)?.unwrap_or(default))
        };
        let rotated_dim = size("qk_rope_head_dim", defaults.rotated_dim)?;
        if !rotated_dim.is_multiple_of(2) {
            return Err(config.invalid("qk_rope_head_dim", "expected an even number"));
        }
        let rope = RopeDefaults {
            is_interleaved,
            ..RopeDefaults::of(10_000.0)
        };
        let rope = read_rope_or(config, rotated_dim, &rope)?;
        let mut temperature = 1.0;
        for key in ["rope_parameters", "rope_scaling"] {
            let Some(object) = config.object(key)? else {
                continue;
            };
            let mscale = object.not_negative(SCALED)?.filter(|mscale| *mscale > 0.0);
            temperature = match (&rope.scaling, mscale) {
                (_, None) => temperature,
                (RopeScaling::None, _) => 1.0,
                (RopeScaling::Yarn { factor, .. }, Some(mscale)) => {
                    yarn_mscale(*factor, mscale).powi(2)
                }
                _ => return Err(object.unsupported(SCALED, "it is understood of YaRN alone")),
            };
        }
        Ok(Self {
            latent: Latent {
                query_rank,
                kv_rank: size("kv_lora_rank", defaults.kv_rank)?,
                plain_dim: size("qk_nope_head_dim", defaults.plain_dim)?,
                value_dim: size("v_head_dim", defaults.value_dim)?,
                norm: norm(),
                is_by_head: false,
            },
            rope,
            temperature,
            bias: config.flag("attention_bias")?.unwrap_or(false),
        })
    }

    /// Gives a layer this attention.
    pub(super) fn give(&self, attention: &mut Attention) {
        attend_by(attention, self.latent, self.rope.clone(), self.temperature);
        attention.qkv_bias = self.bias;
        attention.output_bias = self.bias;
    }
}

/// Makes sure that there are as many heads of keys and values as of queries: they are made of the one that is kept.
fn check_heads(config: &ConfigFile) -> Result<()> {
    const HEADS: &str = "num_key_value_heads";
    let own = config.count(HEADS)?;
    let queries = config.count("num_attention_heads")?;
    match own.is_none() || queries.is_none() || own == queries {
        true => Ok(()),
        false => Err(config.unsupported(HEADS, "expected as many as num_attention_heads")),
    }
}

/// Makes an attention one of narrow vectors, whose scores are multiplied with `temperature` besides.
pub(super) fn attend_by(attention: &mut Attention, latent: Latent, rope: Rope, temperature: f64) {
    let rotated = rope.dims;
    attention.num_kv_heads = 1;
    attention.head_dim = latent.kv_rank + rotated;
    attention.scale = temperature / ((latent.plain_dim + rotated) as f64).sqrt();
    attention.rope = Some(rope);
    attention.latent = Some(Box::new(latent));
}

/// The norm of narrow vectors.
pub(super) fn norm() -> Norm {
    Norm::rms(EPS)
}
