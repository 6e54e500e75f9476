//! OpenAI's gpt-oss.
//!
//! What is particular: a window in every other layer; a score a head that takes part in the softmax without a position; biases
//! everywhere; experts whose gate and up are limited, most of them in MXFP4.

use super::Architecture;
use super::common::{Defaults, Shared, sliding_or_every, window_or};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, sliding_pattern};
use super::gguf_experts::GgufExperts;
use super::qwen3_moe::{NUM_EXPERTS, read_experts};
use super::rope::RopeDefaults;
use crate::description::rope::{Rope, RopeScaling, yarn_mscale};
use crate::description::{Activation, Clamp, FeedForward, Mlp, ModelDescription};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "gpt_oss",
    class: "GptOssForCausalLM",
    describe,
    names: &[(".mlp.router.", ".mlp.gate.")],
    gguf: Some(GgufArchitecture {
        name: "gpt-oss",
        ours: "gpt_oss",
        experts: Some(GgufExperts::SOFTMAX),
        adapt,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 201_088,
    hidden_size: 2880,
    intermediate_size: 2880,
    num_hidden_layers: 36,
    num_attention_heads: 64,
    num_key_value_heads: Some(8),
    head_dim: Some(64),
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults::of(150_000.0)),
    ..Defaults::COMMON
};

/// One layer of so many sees everything.
const PERIOD: usize = 2;

/// Of gate and up, where no key says it.
const CLAMP: Clamp = Clamp {
    alpha: 1.702,
    limit: 7.0,
};

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let made_up = made_up_rope(config)?;
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = window_or(config, 128)?;
    let sliding = sliding_or_every(config, shared.num_layers, PERIOD)?;
    let bias = config.flag_or("attention_bias", true)?;
    let mlp = Mlp {
        activation: Activation::Silu,
        bias: true,
        clamp: Some(Clamp {
            alpha: config.positive("swiglu_alpha")?.unwrap_or(CLAMP.alpha),
            limit: config.positive("swiglu_limit")?.unwrap_or(CLAMP.limit),
        }),
        ..shared.mlp
    };
    let mut experts = read_experts(
        config,
        NUM_EXPERTS,
        mlp,
        [128, 4, mlp.intermediate_size],
        true,
    )?;
    if let FeedForward::Experts { expert, router, .. } = &mut experts {
        // Keys of other families' experts, which this one does not read.
        *expert = mlp;
        router.normalise = Some(0.0);
        router.has_bias = true;
    }
    Ok(shared.describe(|index, attention, feed_forward| {
        attention.qkv_bias = bias;
        attention.output_bias = bias;
        attention.has_sinks = true;
        if let Some(made_up) = &made_up {
            attention.rope = attention.rope.take().map(|rope| Rope {
                scaling: made_up.clone(),
                ..rope
            });
        }
        attention.window = window.filter(|_| sliding[index]);
        *feed_forward = experts.clone();
    }))
}

/// The scaling that transformers makes up where no key says anything; an empty object of version 5 says that there is none.
fn made_up_rope(config: &ConfigFile) -> Result<Option<RopeScaling>> {
    let old = config.object("rope_scaling")?;
    let says_something =
        config.value("rope_parameters").is_some() || old.is_some_and(|object| !object.is_empty());
    const FACTOR: f64 = 32.0;
    Ok((!says_something).then(|| RopeScaling::Yarn {
        factor: FACTOR,
        attention_factor: yarn_mscale(FACTOR, 1.0),
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: false,
        original_max_position_embeddings: 4096,
    }))
}

fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let window = keys.required_count("attention.sliding_window")?;
    let sliding = sliding_pattern(keys, description.layers.len(), PERIOD)?;
    let local = keys.positive("rope.freq_base_swa")?;
    for (layer, sliding) in description.layers.iter_mut().zip(sliding) {
        if let Some(attention) = layer.attention_mut() {
            attention.has_sinks = true;
            attention.window = Some(window).filter(|_| sliding);
            if let Some(rope) = &mut attention.rope {
                rope.theta = local.filter(|_| sliding).unwrap_or(rope.theta);
                do_not_truncate(&mut rope.scaling);
            }
        }
        if let FeedForward::Experts { expert, .. } = &mut layer.feed_forward {
            expert.clamp = Some(CLAMP);
        }
    }
    Ok(())
}

/// No key says that the borders between what YaRN scales and what it leaves are no whole numbers.
fn do_not_truncate(scaling: &mut RopeScaling) {
    if let RopeScaling::Yarn { truncate, .. } = scaling {
        *truncate = false;
    }
}
