//! Gemma 4's text models.
//!
//! What is particular: norms around the blocks, on the heads of queries, keys and values, with plain factors; layers that see
//! everything have wider heads, may take keys for values, and rotate the first of all frequencies; the last layers have no
//! keys and values of their own, and may be twice as wide; each layer has an input of its own and is multiplied with a number;
//! there may be experts beside the block of each layer, which read the residual stream by norms of their own.

use serde_json::{Map, Value};

use super::Architecture;
use super::common::{Defaults, Shared, activation_of, sliding_layers, window_or};
use super::config_file::ConfigFile;
use super::gemma3::place_norms;
use super::gguf::{GgufArchitecture, GgufMetadata, ROPE_FACTORS, truths};
use super::gguf_experts::GgufExperts;
use super::qwen3_moe::check_counts;
use super::rope::read_layer_rope;
use crate::description::rope::{Rope, RopeScaling};
use crate::description::{
    Activation, Attention, FeedForward, KvSource, Mlp, ModelDescription, Norm, PerLayerInputs,
    QkNorm, Router, SharedExpert,
};
use crate::error::{Error, Result};

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "gemma4_text",
    class: "Gemma4ForCausalLM",
    describe,
    names: &[
        (".experts.", ".mlp.experts."),
        (".router.proj.", ".mlp.gate."),
        (".router.scale", ".mlp.gate.scale"),
        (".router.per_expert_scale", ".mlp.experts.scale"),
    ],
    gguf: Some(GgufArchitecture {
        name: "gemma4",
        ours: "gemma4_text",
        experts: Some(GgufExperts::SOFTMAX),
        activation: Activation::GeluTanh,
        heads_vary: true,
        adapt,
        adapt_to_tensors,
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 262_144,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 30,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 131_072,
    rope: None,
    tie_word_embeddings: true,
    ..Defaults::COMMON
};

/// The rotary bases of layers that see everything, and of those with a window.
const THETA: [f64; 2] = [1_000_000.0, 10_000.0];

/// The share of frequencies that turn in layers that see everything.
const SHARE: f64 = 0.25;

/// One layer of so many sees everything.
const PERIOD: usize = 6;

/// Width of the heads of layers that see everything, where no key says it.
const GLOBAL_HEAD_DIM: usize = 512;

/// How many of the last layers have no keys and values of their own.
const SHARED_LAYERS: &str = "num_kv_shared_layers";

/// The heads of layers that see everything.
struct GlobalHeads {
    head_dim: usize,
    num_kv_heads: usize,
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let mut shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let activation = activation_of(config, "hidden_activation", "gelu_pytorch_tanh")?;
    shared.mlp.activation = activation;
    let experts = experts(config, shared.mlp, shared.norm)?;
    if config.text("use_bidirectional_attention")? == Some("all") {
        return Err(config.unsupported(
            "use_bidirectional_attention",
            "no answers come from such a model",
        ));
    }
    let num_layers = shared.num_layers;
    let sliding = layer_kinds(config, num_layers)?;
    let heads = global_heads(config, &sliding, shared.head_dim())?;
    let local = read_layer_rope(
        config,
        shared.head_dim(),
        "sliding_attention",
        None,
        THETA[1],
        None,
    )?;
    let full = global_rope(config, heads.head_dim)?;
    let window = window_or(config, 512)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let keys_are_values = config.flag("attention_k_eq_v")?.unwrap_or(false);
    let first_shared = first_shared(config, SHARED_LAYERS, num_layers)?;
    let doubles = config.flag("use_double_wide_mlp")?.unwrap_or(false);
    let sources = kv_sources(config, SHARED_LAYERS, &sliding, first_shared)?;
    let norm = shared.norm;
    let mut description = shared.describe(|index, attention, feed_forward| {
        attention.qkv_bias = bias;
        attention.output_bias = bias;
        attention.scale = 1.0;
        attention.qk_norm = Some(QkNorm::of_heads(norm));
        attention.v_norm = true;
        match sliding[index] {
            true => {
                attention.window = window;
                attention.rope = Some(local.clone());
            }
            false => widen(attention, &heads, &full, keys_are_values),
        }
        if let Some(source) = sources[index] {
            attention.kv = KvSource::Layer(source);
            if let FeedForward::Dense(mlp) = feed_forward
                && doubles
            {
                mlp.intermediate_size *= 2;
            }
        }
        if let (Some(experts), FeedForward::Dense(mlp)) = (&experts, &feed_forward) {
            *feed_forward = beside(experts, *mlp);
        }
    });
    place_norms(&mut description, norm);
    for layer in &mut description.layers {
        layer.has_scalar = true;
    }
    description.logits_cap = config.positive("final_logit_softcapping")?;
    let size = config.whole("hidden_size_per_layer_input")?.unwrap_or(256);
    let vocab_size = config
        .count("vocab_size_per_layer_input")?
        .unwrap_or(262_144);
    if size > 0 {
        if vocab_size < description.vocab_size {
            return Err(config.invalid(
                "vocab_size_per_layer_input",
                format!("expected at least vocab_size = {}", description.vocab_size),
            ));
        }
        description.per_layer_inputs = Some(PerLayerInputs {
            vocab_size,
            size,
            activation,
        });
    }
    Ok(description)
}

/// The experts of each layer, if there are any, each of which is like `mlp`.
fn experts(config: &ConfigFile, mlp: Mlp, norm: Norm) -> Result<Option<FeedForward>> {
    let sizes = ["num_experts", "top_k_experts", "moe_intermediate_size"];
    if !config.flag("enable_moe_block")?.unwrap_or(false) {
        for key in sizes {
            let _ = config.value(key);
        }
        return Ok(None);
    }
    let [num_experts, experts_per_token, intermediate_size] = sizes;
    let num_experts = config.required_count(num_experts)?;
    let experts_per_token = config.required_count(experts_per_token)?;
    check_counts(
        config,
        ("num_experts", num_experts),
        ("top_k_experts", experts_per_token),
    )?;
    Ok(Some(FeedForward::Experts {
        expert: Mlp {
            intermediate_size: config.required_count(intermediate_size)?,
            ..mlp
        },
        num_experts,
        experts_per_token,
        router: Router::softmax(true),
        shared: None,
        own_norms: Some(norm),
    }))
}

/// Experts beside a block that runs for every token.
fn beside(experts: &FeedForward, mlp: Mlp) -> FeedForward {
    let mut experts = experts.clone();
    if let FeedForward::Experts { shared, .. } = &mut experts {
        *shared = Some(SharedExpert {
            mlp,
            is_gated: false,
        });
    }
    experts
}

/// Makes an attention one that sees everything.
fn widen(attention: &mut Attention, heads: &GlobalHeads, rope: &Rope, keys_are_values: bool) {
    attention.head_dim = heads.head_dim;
    attention.num_kv_heads = heads.num_kv_heads;
    attention.rope = Some(rope.clone());
    if keys_are_values {
        attention.kv = KvSource::KeysAsValues;
    }
}

/// Which layers have a window; the last one never does.
fn layer_kinds(config: &ConfigFile, num_layers: usize) -> Result<Vec<bool>> {
    let mut sliding = match config.texts("layer_types")? {
        Some(types) => sliding_layers(config, &types, num_layers)?,
        None => (1..=num_layers)
            .map(|number| !number.is_multiple_of(PERIOD))
            .collect(),
    };
    if let Some(last) = sliding.last_mut() {
        *last = false;
    }
    Ok(sliding)
}

/// The heads of layers that see everything: by keys of their own, or, as transformers saves them, by one object a layer.
fn global_heads(config: &ConfigFile, sliding: &[bool], local: usize) -> Result<GlobalHeads> {
    const KEY: &str = "per_layer_config";
    let common = config.count("num_key_value_heads")?.unwrap_or(4);
    let by_key = GlobalHeads {
        head_dim: config.count("global_head_dim")?.unwrap_or(GLOBAL_HEAD_DIM),
        num_kv_heads: match config.flag("attention_k_eq_v")?.unwrap_or(false) {
            true => config
                .count("num_global_key_value_heads")?
                .unwrap_or(common),
            false => {
                let _ = config.value("num_global_key_value_heads");
                common
            }
        },
    };
    let heads = match config.value(KEY) {
        None => by_key,
        Some(Value::Object(layers)) => by_layer(config, sliding, layers, local, common)?,
        Some(_) => {
            return Err(config.invalid(KEY, "expected an object for each layer that differs"));
        }
    };
    let num_heads = config.count("num_attention_heads")?.unwrap_or(8);
    if !num_heads.is_multiple_of(heads.num_kv_heads) || !heads.head_dim.is_multiple_of(2) {
        return Err(config.invalid(
            "global_head_dim",
            format!(
                "{} heads of keys, {} wide, do not fit {num_heads} heads of queries",
                heads.num_kv_heads, heads.head_dim
            ),
        ));
    }
    Ok(heads)
}

fn by_layer(
    config: &ConfigFile,
    sliding: &[bool],
    layers: &Map<String, Value>,
    head_dim: usize,
    num_kv_heads: usize,
) -> Result<GlobalHeads> {
    const KEY: &str = "per_layer_config";
    /// More than any head is wide.
    const LARGEST: u64 = 1 << 20;
    let of = |index: usize| -> Option<(usize, usize)> {
        let Some(own) = layers.get(&index.to_string()) else {
            return Some((head_dim, num_kv_heads));
        };
        let own = own.as_object()?;
        let known = |key: &String| ["head_dim", "num_key_value_heads"].contains(&key.as_str());
        let count = |key: &str, default: usize| match own.get(key) {
            None => Some(default),
            Some(count) => count
                .as_u64()
                .filter(|count| (1..=LARGEST).contains(count))
                .map(|count| count as usize),
        };
        own.keys().all(known).then_some(())?;
        Some((
            count("head_dim", head_dim)?,
            count("num_key_value_heads", num_kv_heads)?,
        ))
    };
    let mut global = None;
    for (index, slides) in sliding.iter().enumerate() {
        let Some(own) = of(index) else {
            return Err(config.unsupported(
                KEY,
                "of a layer, head_dim and num_key_value_heads are known",
            ));
        };
        let expected = match slides {
            true => (head_dim, num_kv_heads),
            false => *global.get_or_insert(own),
        };
        if own != expected {
            return Err(config.unsupported(KEY, "layers of a kind that differ from each other"));
        }
    }
    let (head_dim, num_kv_heads) = global.unwrap_or((head_dim, num_kv_heads));
    Ok(GlobalHeads {
        head_dim,
        num_kv_heads,
    })
}

fn global_rope(config: &ConfigFile, head_dim: usize) -> Result<Rope> {
    if let Some(all) = config.object("rope_parameters")? {
        for kind in ["full_attention", "sliding_attention"] {
            let own = all.object(kind)?.ok_or_else(|| all.missing(kind))?;
            if own.value("rope_theta").is_none() {
                return Err(own.missing("rope_theta"));
            }
        }
        return read_layer_rope(config, head_dim, "full_attention", None, THETA[0], None);
    }
    let scaling = RopeScaling::Proportional {
        frequencies: (SHARE * head_dim as f64 / 2.0) as usize,
        factor: 1.0,
    };
    Ok(Rope::new(THETA[0], scaling, head_dim))
}

/// The first layer without keys and values of its own.
fn first_shared(config: &ConfigFile, key: &str, num_layers: usize) -> Result<usize> {
    let shared = config.whole(key)?.unwrap_or(0);
    match shared < num_layers {
        true => Ok(num_layers - shared),
        false => Err(config.invalid(key, format!("expected less than {num_layers}"))),
    }
}

/// Of each layer without keys and values of its own, the layer whose they are: the last one of its kind that has some.
fn kv_sources(
    config: &ConfigFile,
    key: &str,
    sliding: &[bool],
    first_shared: usize,
) -> Result<Vec<Option<usize>>> {
    let source = |(index, slides): (usize, &bool)| {
        if index < first_shared {
            return Ok(None);
        }
        let last = sliding[..first_shared]
            .iter()
            .rposition(|own| own == slides);
        last.map(Some).ok_or_else(|| {
            config.invalid(key, "no layer of this kind is left to have keys and values")
        })
    };
    sliding.iter().enumerate().map(source).collect()
}

/// The keys say of heads what holds for layers that see everything, and what for the others behind `_swa`.
fn adapt(keys: &ConfigFile, description: &mut ModelDescription) -> Result<()> {
    let count = description.layers.len();
    const PATTERN: &str = "attention.sliding_window_pattern";
    let sliding = truths(keys, PATTERN, count)?.ok_or_else(|| keys.missing(PATTERN))?;
    let window = keys.required_count("attention.sliding_window")?;
    let head_dim = keys.required_count("attention.key_length_swa")?;
    for key in ["attention.value_length_swa", "rope.dimension_count_swa"] {
        if keys.count(key)?.is_some_and(|length| length != head_dim) {
            return Err(keys.unsupported(key, format!("keys are {head_dim} wide")));
        }
    }
    let local = keys.positive("rope.freq_base_swa")?.unwrap_or(THETA[1]);
    const HEADS: &str = "attention.head_count_kv";
    let heads = match keys.value(HEADS) {
        Some(Value::Array(_)) => keys.wholes(HEADS)?,
        _ => None,
    };
    const SHARED: &str = "attention.shared_kv_layers";
    let sources = kv_sources(keys, SHARED, &sliding, first_shared(keys, SHARED, count)?)?;
    let norm = description.final_norm;
    place_norms(description, norm);
    for (index, layer) in description.layers.iter_mut().enumerate() {
        let Some(attention) = layer.attention_mut() else {
            continue;
        };
        attention.scale = 1.0;
        attention.qk_norm = Some(QkNorm::of_heads(norm));
        attention.v_norm = true;
        if sliding[index] {
            attention.head_dim = head_dim;
            attention.window = Some(window);
            attention.rope = Some(Rope::new(local, RopeScaling::None, head_dim));
        }
        if let Some(heads) = &heads {
            let own = heads.get(index).copied().unwrap_or(0);
            if own == 0 || !attention.num_heads.is_multiple_of(own) {
                let expected = format!("expected {count} divisors of attention.head_count");
                return Err(keys.invalid(HEADS, expected));
            }
            attention.num_kv_heads = own;
        }
        if let Some(source) = sources[index] {
            attention.kv = KvSource::Layer(source);
        }
    }
    description.logits_cap = keys.positive("final_logit_softcapping")?;
    let size = keys.whole("embedding_length_per_layer_input")?.unwrap_or(0);
    description.per_layer_inputs = (size > 0).then_some(PerLayerInputs {
        vocab_size: description.vocab_size,
        size,
        activation: Activation::GeluTanh,
    });
    Ok(())
}

/// Layers without a projection to values take keys for them; and the frequencies that stand still are those of a tensor.
fn adapt_to_tensors(file: &dyn GgufMetadata, description: &mut ModelDescription) -> Result<()> {
    if file.shape(ROPE_FACTORS).is_none() {
        return Err(Error::InvalidTensor {
            file: file.name(),
            tensor: ROPE_FACTORS.into(),
            expected: "a tensor of that name".into(),
            got: "none".into(),
        });
    }
    let norm = description.final_norm;
    for (index, layer) in description.layers.iter_mut().enumerate() {
        let has = |name: &str| file.shape(&format!("blk.{index}.{name}.weight")).is_some();
        layer.has_scalar = has("layer_output_scale");
        if let FeedForward::Experts {
            expert,
            shared,
            own_norms,
            ..
        } = &mut layer.feed_forward
        {
            let up = file.shape(&format!("blk.{index}.ffn_up.weight"));
            *own_norms = Some(norm);
            *shared = Some(SharedExpert {
                mlp: Mlp {
                    intermediate_size: up.and_then(|shape| shape.first().copied()).unwrap_or(0),
                    ..*expert
                },
                is_gated: false,
            });
        }
        if let Some(attention) = layer.attention_mut()
            && attention.has_own_kv()
            && has("attn_k")
            && !has("attn_v")
        {
            attention.kv = KvSource::KeysAsValues;
        }
    }
    Ok(())
}
