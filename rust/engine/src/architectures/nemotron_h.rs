//! Nemotron-H, Nemotron Nano 2 and Nemotron 3 Nano.
//!
//! What is particular: each layer is one block, a selective state space, attention that rotates nothing, a feed-forward
//! block or experts; those have no gates and square what their ReLU gives; experts are chosen by the sigmoid of their
//! scores and a bias.

use super::Architecture;
use super::common::{Defaults, Shared, activation_of};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, heads_by_layer};
use super::gguf_experts::{GgufExperts, GgufWeights};
use super::glm4_moe::SigmoidExperts;
use super::mamba;
use crate::description::{
    Activation, BlockNorms, FeedForward, LAYER_LIMIT, LayerDescription, Mixer, Mlp,
    ModelDescription, Norm, Scoring, SharedExpert, StateSpace, StateSpaceNorm,
};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "nemotron_h",
    class: "NemotronHForCausalLM",
    describe,
    names: &[
        ("backbone.", "model."),
        (".embeddings.", ".embed_tokens."),
        (".mixer.norm.", ".mamba.gated_norm."),
        (".norm.", ".input_layernorm."),
        (".norm_f.", ".norm."),
        (".gated_norm.", ".norm."),
        (".mixer.in_proj.", ".mamba.in_proj."),
        (".mixer.out_proj.", ".mamba.out_proj."),
        (".mixer.conv1d.", ".mamba.conv1d."),
        (".mixer.A_log", ".mamba.A_log"),
        (".mixer.D", ".mamba.D"),
        (".mixer.dt_bias", ".mamba.dt_bias"),
        (".mixer.q_proj.", ".self_attn.q_proj."),
        (".mixer.k_proj.", ".self_attn.k_proj."),
        (".mixer.v_proj.", ".self_attn.v_proj."),
        (".mixer.o_proj.", ".self_attn.o_proj."),
        (".mixer.", ".mlp."),
        (".shared_experts.", ".shared_expert."),
    ],
    gguf: Some(GgufArchitecture {
        name: "nemotron_h",
        ours: "nemotron_h",
        also: Some("nemotron_h_moe"),
        is_hybrid: true,
        has_lone_blocks: true,
        has_further_layers: true,
        activation: Activation::ReluSquared,
        is_gated: false,
        experts: Some(GgufExperts {
            scoring: Scoring::Sigmoid,
            weights: GgufWeights::ByKeys,
        }),
        adapt,
        adapt_to_tensors: mamba::adapt_to_tensors,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 131_072,
    hidden_size: 4096,
    intermediate_size: 21_504,
    num_hidden_layers: 4,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: Some(128),
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope: None,
    ..Defaults::COMMON
};

/// Keys of experts, which say nothing where no layer has any.
const EXPERTS: [&str; 12] = [
    "n_routed_experts",
    "num_local_experts",
    "n_shared_experts",
    "moe_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "moe_shared_expert_overlap",
    "moe_latent_size",
    "num_experts_per_tok",
    "routed_scaling_factor",
    "norm_topk_prob",
    "n_group",
    "topk_group",
];

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    StateSpace,
    Attention,
    Mlp,
    Experts,
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let blocks = blocks(config)?;
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    shared.num_layers = blocks.len();
    // What a further layer that predicts more tokens is, and what changes how the same is computed.
    for key in [
        "num_nextn_predict_layers",
        "mtp_layers_block_type",
        "mtp_hybrid_override_pattern",
        "residual_in_fp32",
        "chunk_size",
        "mamba_chunk_size",
    ] {
        let _ = config.value(key);
    }
    let eps = config.positive("layer_norm_epsilon")?;
    shared.norm.eps = eps.unwrap_or(DEFAULTS.rms_norm_eps);
    let mlp = Mlp {
        activation: activation_of(config, "mlp_hidden_act", "relu2")?,
        bias: config.flag("mlp_bias")?.unwrap_or(false),
        is_gated: false,
        ..shared.mlp
    };
    let experts = match blocks.contains(&Block::Experts) {
        true => Some(experts(config, mlp)?),
        false => {
            for key in EXPERTS {
                let _ = config.value(key);
            }
            None
        }
    };
    let space = state_space(config, shared.norm.eps)?;
    let norm = shared.norm;
    let mut description = shared.describe(|index, attention, feed_forward| {
        attention.rope = None;
        *feed_forward = match (blocks[index], &experts) {
            (Block::Mlp, _) => FeedForward::Dense(mlp),
            (Block::Experts, Some(experts)) => experts.clone(),
            _ => FeedForward::None,
        };
    });
    for (layer, block) in description.layers.iter_mut().zip(blocks) {
        match block {
            Block::StateSpace => layer.mixer = Mixer::StateSpace(space),
            Block::Attention => {}
            Block::Mlp | Block::Experts => layer.mixer = Mixer::None,
        }
        place_norm(layer, norm);
    }
    Ok(description)
}

/// Places a norm in front of a layer's one block.
fn place_norm(layer: &mut LayerDescription, norm: Norm) {
    let (norms, none) = (BlockNorms::before(norm), BlockNorms::none());
    (layer.mixer_norms, layer.feed_forward_norms) = match layer.mixer {
        Mixer::None => (none, norms),
        _ => (norms, none),
    };
}

/// What each layer is: by a list, or in older files by a text with a sign a layer.
fn blocks(config: &ConfigFile) -> Result<Vec<Block>> {
    const PATTERN: &str = "hybrid_override_pattern";
    let mut list = None;
    for key in ["layers_block_type", "layer_types"] {
        if let (None, Some(types)) = (&list, config.texts(key)?) {
            let blocks = types.iter().map(|kind| match *kind {
                "mamba" | "linear_attention" => Ok(Block::StateSpace),
                "attention" | "full_attention" => Ok(Block::Attention),
                "mlp" => Ok(Block::Mlp),
                "moe" => Ok(Block::Experts),
                _ => Err(config.unsupported(key, "mamba, attention, mlp and moe are known")),
            });
            list = Some(blocks.collect::<Result<Vec<_>>>()?);
        }
    }
    let pattern = config.text(PATTERN)?;
    let key = match list {
        Some(_) => "layers_block_type",
        None => PATTERN,
    };
    let blocks = match (list, pattern) {
        (Some(list), _) => list,
        (None, None) => vec![
            Block::StateSpace,
            Block::Experts,
            Block::Attention,
            Block::Mlp,
        ],
        (None, Some(pattern)) => pattern
            .chars()
            .map(|sign| match sign {
                'M' => Ok(Block::StateSpace),
                '*' => Ok(Block::Attention),
                '-' => Ok(Block::Mlp),
                'E' => Ok(Block::Experts),
                _ => Err(config.unsupported(PATTERN, "M, *, - and E are known")),
            })
            .collect::<Result<_>>()?,
    };
    match (1..=LAYER_LIMIT).contains(&blocks.len()) {
        true => Ok(blocks),
        false => Err(config.invalid(key, format!("expected 1 to {LAYER_LIMIT} layers"))),
    }
}

fn experts(config: &ConfigFile, mlp: Mlp) -> Result<FeedForward> {
    if config.value("moe_latent_size").is_some() {
        return Err(config.unsupported(
            "moe_latent_size",
            "experts of narrow vectors are not computed",
        ));
    }
    let defaults = SigmoidExperts {
        count: 8,
        per_token: 2,
        size: 7688,
        groups: (1, 1),
        scale: 1.0,
    };
    if mlp.bias {
        return Err(config.unsupported("mlp_bias", "experts with biases are not computed"));
    }
    let mut experts = defaults.read(config, mlp)?;
    let size = config.count("moe_shared_expert_intermediate_size")?;
    // It says when they are computed.
    let _ = config.value("moe_shared_expert_overlap");
    if let FeedForward::Experts { shared, .. } = &mut experts {
        *shared = Some(SharedExpert {
            mlp: Mlp {
                intermediate_size: size.unwrap_or(7688),
                ..mlp
            },
            is_gated: false,
        });
    }
    Ok(experts)
}

fn state_space(config: &ConfigFile, eps: f64) -> Result<StateSpace> {
    let count = |key: &str| config.count(key);
    let heads = count("mamba_num_heads")?.unwrap_or(128);
    let groups = count("mamba_n_groups")?.or(count("n_groups")?).unwrap_or(8);
    if !heads.is_multiple_of(groups) {
        let wrong = format!("{heads} heads do not fall into {groups} groups");
        return Err(config.invalid("n_groups", wrong));
    }
    mamba::check_time_steps(config)?;
    // Transformers bounds the time steps of prompts, but not those of answers; NVIDIA's own code bounds none.
    const LEAST: &str = "time_step_min";
    if config
        .not_negative(LEAST)?
        .is_some_and(|least| least > 0.001)
    {
        return Err(config.unsupported(LEAST, "expected at most 0.001: time steps are not bounded"));
    }
    let bias = config.flag("use_bias")?.unwrap_or(false);
    let own = config.flag("mamba_conv_bias")?;
    // Say again what the numbers of heads and their width say, or what training began with.
    for key in [
        "expand",
        "mamba_expand",
        "mamba_proj_bias",
        "time_step_max",
        "time_step_floor",
    ] {
        let _ = config.value(key);
    }
    Ok(StateSpace {
        heads,
        head_dim: count("mamba_head_dim")?.unwrap_or(64),
        groups,
        state_dim: count("ssm_state_size")?.unwrap_or(128),
        taps: count("mamba_d_conv")?
            .or(count("conv_kernel")?)
            .unwrap_or(4),
        conv_bias: match own {
            Some(own) => own,
            None => config.flag_or("use_conv_bias", true)?,
        },
        bias,
        output_bias: bias,
        activation: activation_of(config, "mamba_hidden_act", "silu")?,
        norm: Some(StateSpaceNorm {
            eps,
            is_before_gate: false,
        }),
        scales: [1.0; 5],
        has_decays: false,
    })
}

/// Layers with a feed-forward block have no mixer; of the others, those without heads of keys have no attention. Norms are
/// RMS norms, though files may say their ε by the key of the other kind.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    description.final_norm = Norm::rms(description.final_norm.eps);
    // Converters write them for models without experts too.
    for key in [
        "expert_weights_norm",
        "expert_weights_scale",
        "expert_group_count",
        "expert_group_used_count",
        "expert_used_count",
        "expert_shared_count",
        "expert_feed_forward_length",
        "expert_shared_feed_forward_length",
    ] {
        let _ = keys.value(key);
    }
    let space = mamba::of_gguf(keys, description.final_norm.eps)?;
    let further = keys.whole("nextn_predict_layers")?.unwrap_or(0);
    let heads = heads_by_layer(keys, description.layers.len(), further)?;
    let norm = description.final_norm;
    for (layer, heads) in description.layers.iter_mut().zip(heads) {
        if layer.feed_forward != FeedForward::None {
            layer.mixer = Mixer::None;
        } else if heads == 0 {
            layer.mixer = Mixer::StateSpace(space);
        } else if let Some(attention) = layer.attention_mut() {
            attention.rope = None;
        }
        place_norm(layer, norm);
    }
    Ok(())
}
