//! Tiny GGUF files, made from golden checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::golden::models;

/// What a file will hold; tests change it before it is written.
pub struct GgufFile {
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<(String, Tensor, GgmlDType)>,
    folder: TempDir,
}

fn json(case: &str, file: &str) -> Json {
    serde_json::from_slice(&std::fs::read(models().join(case).join(file)).unwrap()).unwrap()
}

fn count(value: &Json) -> Value {
    Value::U32(value.as_u64().unwrap() as u32)
}

fn texts(list: Vec<String>) -> Value {
    Value::Array(list.into_iter().map(Value::String).collect())
}

/// Whether some layers have Mamba 2.
fn has_state_spaces(config: &Json) -> bool {
    let types = config["layer_types"].as_array();
    config["mamba_d_state"].is_u64()
        && types.is_some_and(|types| types.iter().any(|kind| kind == "linear_attention"))
}

/// The width of a head.
fn head_dim(config: &Json) -> usize {
    let number = |name: &str| config[name].as_u64().map(|n| n as usize);
    let heads = number("num_attention_heads").unwrap();
    number("head_dim").unwrap_or_else(|| number("hidden_size").unwrap() / heads)
}

/// Whether the factors of a norm are 1 + weight in folders.
fn adds_one(family: &str, name: &str) -> bool {
    let is_gemma = family.starts_with("gemma") && family != "gemma4_text";
    (is_gemma || family.starts_with("qwen3_5") || family == "qwen3_next")
        && name.ends_with("norm.weight")
        && !name.ends_with("ssm_norm.weight")
}

/// A tensor of a delta net as llama.cpp's converter writes it: the value heads of a key head lie apart, and decays are as
/// they are used.
fn tiled(name: &str, tensor: Tensor, config: &Json) -> Tensor {
    let number = |name: &str| config[name].as_u64().unwrap() as usize;
    let (keys, values) = (
        number("linear_num_key_heads"),
        number("linear_num_value_heads"),
    );
    let (key_dim, value_dim) = (
        number("linear_key_head_dim"),
        number("linear_value_head_dim"),
    );
    let tensor = match name.ends_with("A_log") {
        true => tensor.exp().unwrap().neg().unwrap(),
        false => tensor,
    };
    if config["model_type"] == "qwen3_next" {
        return tensor;
    }
    let (dim, first, width) = match name.rsplit("linear_attn.").next().unwrap() {
        "in_proj_qkv.weight" | "conv1d.weight" => (0, 2 * keys * key_dim, value_dim),
        "in_proj_z.weight" => (0, 0, value_dim),
        "out_proj.weight" => (1, 0, value_dim),
        "norm.weight" => return tensor,
        _ => (0, 0, 1),
    };
    let each = values / keys;
    let heads = (0..each).flat_map(|turn| (0..keys).map(move |key| key * each + turn));
    let order: Vec<u32> = (0..first)
        .chain(heads.flat_map(|head| (0..width).map(move |i| first + head * width + i)))
        .map(|index| index as u32)
        .collect();
    let order = Tensor::new(order, &Device::Cpu).unwrap();
    tensor.index_select(&order, dim).unwrap()
}

/// The projections of a delta net that stand together by key head, as two tensors.
fn split_by_key_head(tensors: HashMap<String, Tensor>, config: &Json) -> HashMap<String, Tensor> {
    let number = |name: &str| config[name].as_u64().unwrap() as usize;
    let keys = number("linear_num_key_heads");
    let (key, value) = (
        number("linear_key_head_dim"),
        number("linear_value_head_dim"),
    );
    let values = number("linear_num_value_heads") / keys * value;
    let mut split = HashMap::new();
    for (name, tensor) in tensors {
        let Some(layer) = name.strip_suffix("linear_attn.in_proj_qkvz.weight") else {
            split.insert(name, tensor);
            continue;
        };
        let hidden = tensor.dim(1).unwrap();
        let heads = tensor.reshape((keys, 2 * (key + values), hidden)).unwrap();
        let rows = |start, len| {
            let rows = heads.narrow(1, start, len).unwrap();
            rows.reshape((keys * len, hidden)).unwrap()
        };
        let qkv = [rows(0, key), rows(key, key), rows(2 * key, values)];
        let qkv = Tensor::cat(&qkv, 0).unwrap();
        split.insert(format!("{layer}attn_qkv.weight"), qkv);
        split.insert(
            format!("{layer}attn_gate.weight"),
            rows(2 * key + values, values),
        );
    }
    split
}

/// Granite's gate and up are two tensors in GGUF files.
fn split_gates(tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    const STACKED: &str = "block_sparse_moe.input_linear.weight";
    let has_experts = tensors.keys().any(|name| name.ends_with(STACKED));
    let behind = if has_experts { "_shexp" } else { "" };
    let mut split = HashMap::new();
    for (name, tensor) in tensors {
        let experts = name.strip_suffix(STACKED).map(|layer| (layer, "_exps", 1));
        let one = name.strip_suffix("shared_mlp.input_linear.weight");
        match experts.or(one.map(|layer| (layer, behind, 0))) {
            None => {
                split.insert(name, tensor);
            }
            Some((layer, behind, rows)) => {
                let halves = tensor.chunk(2, rows).unwrap();
                for (part, half) in ["gate", "up"].iter().zip(halves) {
                    let half = half.force_contiguous().unwrap();
                    split.insert(format!("{layer}ffn_{part}{behind}.weight"), half);
                }
            }
        }
    }
    split
}

/// The stacked experts of gpt-oss lie transposed in folders, gate and up in turn.
fn split_alternating(tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let mut split = HashMap::new();
    for (name, tensor) in tensors {
        let Some((layer, part)) = name.split_once("experts.") else {
            split.insert(name, tensor);
            continue;
        };
        let (part, kind) = match part.strip_suffix("_bias") {
            Some(part) => (part, "bias"),
            None => (part, "weight"),
        };
        let tensor = match kind {
            "bias" => tensor,
            _ => tensor.transpose(1, 2).unwrap().contiguous().unwrap(),
        };
        if part == "down_proj" {
            split.insert(format!("{layer}experts.down_proj.{kind}"), tensor);
            continue;
        }
        let rows = tensor.dim(1).unwrap() as u32;
        for (first, part) in ["gate_proj", "up_proj"].iter().enumerate() {
            let own: Vec<u32> = (first as u32..rows).step_by(2).collect();
            let own = Tensor::new(own, &Device::Cpu).unwrap();
            let half = tensor.index_select(&own, 1).unwrap();
            split.insert(format!("{layer}experts.{part}.{kind}"), half);
        }
    }
    split
}

impl GgufFile {
    /// A checkpoint, with its matrices as `dtype`.
    pub fn of(case: &str, dtype: GgmlDType) -> Self {
        let config = json(case, "config.json");
        let mut file = Self {
            metadata: Vec::new(),
            tensors: Vec::new(),
            folder: TempDir::new().unwrap(),
        };
        let architecture = match config["model_type"].as_str().unwrap() {
            "qwen3_moe" => "qwen3moe",
            "gemma3_text" => "gemma3",
            "olmo3" => "olmo2",
            "granitemoehybrid" if has_state_spaces(&config) => "granitehybrid",
            "granitemoehybrid" => "granite",
            "hunyuan_v1_dense" => "hunyuan-dense",
            "ministral3" => "mistral3",
            "qwen3_5_text" => "qwen35",
            "qwen3_5_moe_text" => "qwen35moe",
            "qwen3_next" => "qwen3next",
            "lfm2_moe" => "lfm2moe",
            "glm4_moe" => "glm4moe",
            "falcon_h1" => "falcon-h1",
            "nemotron_h" if has_blocks(&config, "moe") => "nemotron_h_moe",
            "deepseek_v2" | "deepseek_v3" | "glm4_moe_lite" => "deepseek2",
            "gpt_oss" => "gpt-oss",
            "gemma4_text" => "gemma4",
            "mixtral" => "llama",
            "qwen2_moe" => "qwen2moe",
            "granitemoe" | "granitemoeshared" => "granitemoe",
            "ernie4_5_moe" => "ernie4_5-moe",
            other => other,
        };
        file.set("general.architecture", Value::String(architecture.into()));
        for (key, name) in [
            ("context_length", "max_position_embeddings"),
            ("embedding_length", "hidden_size"),
            ("block_count", "num_hidden_layers"),
            ("feed_forward_length", "intermediate_size"),
            (
                "expert_shared_feed_forward_length",
                "shared_intermediate_size",
            ),
            ("attention.sliding_window", "sliding_window"),
            ("attention.head_count", "num_attention_heads"),
            ("attention.head_count_kv", "num_key_value_heads"),
            ("vocab_size", "vocab_size"),
            ("shortconv.l_cache", "conv_L_cache"),
            ("ssm.conv_kernel", "linear_conv_kernel_dim"),
            ("ssm.state_size", "linear_key_head_dim"),
            ("ssm.group_count", "linear_num_key_heads"),
            ("ssm.time_step_rank", "linear_num_value_heads"),
            ("expert_count", "num_experts"),
            ("expert_count", "num_local_experts"),
            ("expert_count", "n_routed_experts"),
            ("expert_count", "moe_num_experts"),
            ("expert_used_count", "moe_k"),
            ("expert_used_count", "top_k_experts"),
            ("leading_dense_block_count", "moe_layer_start_index"),
            ("interleave_moe_layer_step", "moe_layer_interval"),
            ("expert_used_count", "num_experts_per_tok"),
            ("expert_shared_count", "n_shared_experts"),
            ("expert_group_count", "n_group"),
            ("expert_group_used_count", "topk_group"),
            ("leading_dense_block_count", "first_k_dense_replace"),
            ("leading_dense_block_count", "num_dense_layers"),
            ("expert_feed_forward_length", "moe_intermediate_size"),
        ] {
            let is_dense = config["num_local_experts"] == 0;
            if config[name].is_u64() && !(is_dense && key.starts_with("expert_used")) {
                file.set(&format!("{architecture}.{key}"), count(&config[name]));
            }
        }
        let head_dim = head_dim(&config);
        let share = config["rope_parameters"]["partial_rotary_factor"].as_f64();
        let rotated = (head_dim as f64 * share.unwrap_or(1.0)) as usize;
        for (key, value) in [
            ("attention.key_length", head_dim),
            ("attention.value_length", head_dim),
            ("rope.dimension_count", rotated),
        ] {
            file.set(&format!("{architecture}.{key}"), Value::U32(value as u32));
        }
        // Gemma's converter leaves the pattern to its readers.
        if let Some(types) = config["layer_types"].as_array()
            && config["sliding_window"].is_u64()
            && !["gemma2", "gemma3"].contains(&architecture)
        {
            let types = types
                .iter()
                .map(|kind| Value::Bool(kind == "sliding_attention"));
            file.set(
                &format!("{architecture}.attention.sliding_window_pattern"),
                Value::Array(types.collect()),
            );
        }
        for (key, name) in [
            ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
            ("attention.layer_norm_rms_epsilon", "norm_eps"),
            ("attention.layer_norm_epsilon", "layer_norm_eps"),
            ("attention.layer_norm_epsilon", "norm_epsilon"),
            ("logit_scale", "logit_scale"),
            ("attn_logit_softcapping", "attn_logit_softcapping"),
            ("final_logit_softcapping", "final_logit_softcapping"),
            ("embedding_scale", "embedding_multiplier"),
            ("residual_scale", "residual_multiplier"),
            ("attention.scale", "attention_multiplier"),
            ("logit_scale", "logits_scaling"),
            ("expert_weights_scale", "routed_scaling_factor"),
        ] {
            if let Some(scale) = config[name].as_f64() {
                file.set(&format!("{architecture}.{key}"), Value::F32(scale as f32));
            }
        }
        if architecture == "gemma4" {
            file.add_gemma4(&config);
        }
        if architecture == "deepseek2" {
            file.add_latent(&config);
        }
        if architecture == "gpt-oss" {
            let size = count(&config["intermediate_size"]);
            file.set("gpt-oss.expert_feed_forward_length", size);
        }
        if ["lfm2moe", "glm4moe"].contains(&architecture) {
            file.set(&format!("{architecture}.expert_gating_func"), Value::U32(2));
        }
        if architecture == "glm4moe" {
            file.set("glm4moe.expert_weights_norm", Value::Bool(true));
        }
        if architecture == "phi3" && config["sliding_window"].is_null() {
            // As the converter says that there is none.
            file.set("phi3.attention.sliding_window", Value::U32(0));
        }
        file.add_recurrent_layers(architecture, &config);
        file.add_rope(architecture, &config);
        file.add_tokenizer(case);
        file.add_tensors(case, &config, dtype);
        file
    }

    /// What says which layers are recurrent, and how.
    /// What each layer of Nemotron-H is, and its state spaces.
    fn add_blocks(&mut self, architecture: &str, config: &Json) {
        let number = |name: &str| config[name].as_u64().unwrap() as u32;
        let key = |name: &str| format!("{architecture}.{name}");
        let types = config["layers_block_type"].as_array().unwrap();
        let of_kind = |kind: &str, count: u32| {
            let counts = types.iter().map(|own| match own == kind {
                true => Value::U32(count),
                false => Value::U32(0),
            });
            Value::Array(counts.collect())
        };
        let heads = number("mamba_num_heads");
        for (name, value) in [
            ("ssm.conv_kernel", number("conv_kernel")),
            ("ssm.state_size", number("ssm_state_size")),
            ("ssm.group_count", number("n_groups")),
            ("ssm.inner_size", heads * number("mamba_head_dim")),
            ("ssm.time_step_rank", heads),
            ("block_count", types.len() as u32),
        ] {
            self.set(&key(name), Value::U32(value));
        }
        let heads = of_kind("full_attention", number("num_key_value_heads"));
        self.set(&key("attention.head_count_kv"), heads);
        let eps = Value::F32(config["layer_norm_epsilon"].as_f64().unwrap() as f32);
        self.set(&key("attention.layer_norm_epsilon"), eps);
        if architecture == "nemotron_h_moe" {
            let size = number("moe_shared_expert_intermediate_size");
            self.set(&key("expert_shared_feed_forward_length"), Value::U32(size));
            self.set(&key("expert_weights_norm"), Value::Bool(true));
            let sizes = of_kind("moe", number("moe_intermediate_size"));
            self.set(&key("feed_forward_length"), sizes);
            return;
        }
        for name in ["expert_count", "expert_used_count", "expert_group_count"] {
            self.remove(&key(name));
        }
        for name in ["expert_group_used_count", "expert_feed_forward_length"] {
            self.remove(&key(name));
        }
        self.remove(&key("expert_weights_scale"));
        let sizes = of_kind("mlp", number("intermediate_size"));
        self.set(&key("feed_forward_length"), sizes);
    }

    /// The widths of narrow vectors and of heads, and which experts run.
    fn add_latent(&mut self, config: &Json) {
        let number = |name: &str| config[name].as_u64().unwrap_or(0) as u32;
        let (rank, rotated) = (number("kv_lora_rank"), number("qk_rope_head_dim"));
        for (key, value) in [
            ("attention.head_count_kv", 1),
            ("attention.key_length", rank + rotated),
            ("attention.value_length", rank),
            (
                "attention.key_length_mla",
                number("qk_nope_head_dim") + rotated,
            ),
            ("attention.value_length_mla", number("v_head_dim")),
            ("attention.kv_lora_rank", rank),
            ("attention.q_lora_rank", number("q_lora_rank")),
            ("rope.dimension_count", rotated),
        ] {
            if value > 0 {
                self.set(&format!("deepseek2.{key}"), Value::U32(value));
            }
        }
        if config["norm_topk_prob"] == true {
            self.set("deepseek2.expert_weights_norm", Value::Bool(true));
        }
        if config["topk_method"] != "group_limited_greedy" && number("n_group") == 0 {
            self.remove("deepseek2.expert_group_count");
        }
        if let Some(mscale) = config["rope_parameters"]["mscale_all_dim"].as_f64() {
            let tenth = Value::F32((0.1 * mscale) as f32);
            self.set("deepseek2.rope.scaling.yarn_log_multiplier", tenth);
        }
        let types = config["mlp_layer_types"].as_array();
        let dense = types.map(|types| types.iter().take_while(|kind| *kind == "dense").count());
        if let Some(dense) = dense {
            let dense = Value::U32(dense as u32);
            self.set("deepseek2.leading_dense_block_count", dense);
        }
    }

    /// Makes the two matrices that make keys and values of narrow vectors one, as older files have them, and says the widths
    /// of heads by the keys that these have.
    pub fn join_latent(&mut self, heads: u32) {
        let taken = std::mem::take(&mut self.tensors);
        let (parts, mut tensors): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .partition(|(name, _, _)| name.contains("attn_k_b") || name.contains("attn_v_b"));
        for (name, keys, dtype) in &parts {
            if name.contains("attn_k_b") {
                let values = name.replace("attn_k_b", "attn_v_b");
                let (_, values, _) = parts.iter().find(|(name, _, _)| *name == values).unwrap();
                let keys = keys.transpose(1, 2).unwrap();
                let both = Tensor::cat(&[&keys, values], 1).unwrap();
                let name = name.replace("attn_k_b", "attn_kv_b");
                tensors.push((name, both.flatten_to(1).unwrap(), *dtype));
            }
        }
        self.tensors = tensors;
        let key = |name: &str| format!("deepseek2.attention.{name}");
        self.set(&key("head_count_kv"), Value::U32(heads));
        for name in ["key_length", "value_length"] {
            let newer = key(&format!("{name}_mla"));
            let (_, value) = self.metadata.iter().find(|(k, _)| *k == newer).unwrap();
            let value = value.clone();
            self.remove(&newer);
            self.set(&key(name), value);
        }
    }

    /// Heads of layers with a window, and what layers share.
    fn add_gemma4(&mut self, config: &Json) {
        let number = |name: &str| config[name].as_u64().unwrap() as u32;
        let layers = number("num_hidden_layers");
        let own = |name: &str, layer: u32| {
            let own = &config["per_layer_config"][layer.to_string()][name];
            own.as_u64().map_or(number(name), |own| own as u32)
        };
        let full = own("head_dim", layers - 1);
        let (local, shared) = (number("head_dim"), number("num_kv_shared_layers"));
        let wide = layers - shared * u32::from(config["use_double_wide_mlp"] == true);
        let sizes = (0..layers).map(|layer| match layer < wide {
            true => number("intermediate_size"),
            false => 2 * number("intermediate_size"),
        });
        let heads = (0..layers).map(|layer| own("num_key_value_heads", layer));
        let list = |numbers: Vec<u32>| Value::Array(numbers.into_iter().map(Value::U32).collect());
        for (key, value) in [
            ("attention.key_length", Value::U32(full)),
            ("attention.value_length", Value::U32(full)),
            ("attention.key_length_swa", Value::U32(local)),
            ("attention.value_length_swa", Value::U32(local)),
            ("attention.shared_kv_layers", Value::U32(shared)),
            ("attention.head_count_kv", list(heads.collect())),
            ("feed_forward_length", list(sizes.collect())),
            ("rope.dimension_count", Value::U32(full)),
            ("rope.dimension_count_swa", Value::U32(local)),
            (
                "embedding_length_per_layer_input",
                Value::U32(number("hidden_size_per_layer_input")),
            ),
        ] {
            self.set(&format!("gemma4.{key}"), value);
        }
    }

    fn add_recurrent_layers(&mut self, architecture: &str, config: &Json) {
        let number = |name: &str| config[name].as_u64().map(|n| n as u32);
        let key = |name: &str| format!("{architecture}.{name}");
        if ["granitehybrid", "falcon-h1"].contains(&architecture) {
            let inner = number("mamba_n_heads").unwrap() * number("mamba_d_head").unwrap();
            for (name, value) in [
                ("ssm.conv_kernel", number("mamba_d_conv").unwrap()),
                ("ssm.state_size", number("mamba_d_state").unwrap()),
                ("ssm.group_count", number("mamba_n_groups").unwrap()),
                ("ssm.inner_size", inner),
                ("ssm.time_step_rank", number("mamba_n_heads").unwrap()),
            ] {
                self.set(&key(name), Value::U32(value));
            }
            self.set(&key("rope.scaling.finetuned"), Value::Bool(false));
        }
        if architecture.starts_with("nemotron_h") {
            self.add_blocks(architecture, config);
        }
        if architecture == "falcon-h1" {
            // Their numbers are in the weights.
            for name in ["embedding_scale", "logit_scale", "attention.scale"] {
                self.remove(&key(name));
            }
        }
        if architecture.starts_with("lfm2") || architecture == "granitehybrid" {
            let heads = number("num_key_value_heads").unwrap();
            let types = config["layer_types"].as_array().unwrap().iter();
            let heads = types.map(|kind| match kind == "conv" || kind == "linear_attention" {
                true => Value::I32(0),
                false => Value::I32(heads as i32),
            });
            self.set(
                &key("attention.head_count_kv"),
                Value::Array(heads.collect()),
            );
        }
        if let Some(heads) = number("linear_num_value_heads") {
            let size = heads * number("linear_value_head_dim").unwrap();
            self.set(&key("ssm.inner_size"), Value::U32(size));
            self.set(&key("full_attention_interval"), Value::U32(4));
            let types = config["layer_types"].as_array().unwrap().iter();
            let recurrent = types.map(|kind| Value::Bool(kind == "linear_attention"));
            self.set(
                &key("attention.recurrent_layers"),
                Value::Array(recurrent.collect()),
            );
            let sections = [3, 3, 2, 0].map(Value::I32).to_vec();
            self.set(&key("rope.dimension_sections"), Value::Array(sections));
        }
    }

    fn add_rope(&mut self, architecture: &str, config: &Json) {
        let rope = match &config["rope_parameters"]["full_attention"] {
            Json::Null => &config["rope_parameters"],
            full => full,
        };
        if rope.is_null() {
            return;
        }
        let float = |name: &str| Value::F32(rope[name].as_f64().unwrap() as f32);
        let key = |name: &str| format!("{architecture}.rope.{name}");
        self.set(&key("freq_base"), float("rope_theta"));
        let local = &config["rope_parameters"]["sliding_attention"]["rope_theta"];
        if let Some(theta) = local.as_f64() {
            self.set(&key("freq_base_swa"), Value::F32(theta as f32));
        }
        match rope["rope_type"].as_str().unwrap() {
            "llama3" => {
                let factors = llama3_factors(rope, config["head_dim"].as_u64().unwrap() as usize);
                let tensor = Tensor::new(factors, &Device::Cpu).unwrap();
                self.tensors
                    .push(("rope_freqs.weight".into(), tensor, GgmlDType::F32));
            }
            kind @ ("linear" | "yarn") => {
                self.set(&key("scaling.type"), Value::String(kind.into()));
                self.set(&key("scaling.factor"), float("factor"));
                if kind == "yarn" {
                    let original = &rope["original_max_position_embeddings"];
                    self.set(&key("scaling.original_context_length"), count(original));
                }
                if rope["llama_4_scaling_beta"].is_f64() {
                    self.set(&key("scaling.yarn_log_multiplier"), float("mscale_all_dim"));
                    self.set(
                        &format!("{architecture}.attention.temperature_scale"),
                        float("llama_4_scaling_beta"),
                    );
                }
            }
            "longrope" => {
                let original = &rope["original_max_position_embeddings"];
                self.set(&key("scaling.original_context_length"), count(original));
                let (factor, original) = (rope["factor"].as_f64(), original.as_f64());
                let scale = (1.0 + factor.unwrap().ln() / original.unwrap().ln()).sqrt();
                self.set(&key("scaling.attn_factor"), Value::F32(scale as f32));
                for length in ["long", "short"] {
                    let factors = rope[format!("{length}_factor")].as_array().unwrap();
                    let factors: Vec<f32> =
                        factors.iter().map(|x| x.as_f64().unwrap() as f32).collect();
                    let tensor = Tensor::new(factors, &Device::Cpu).unwrap();
                    let name = format!("rope_factors_{length}.weight");
                    self.tensors.push((name, tensor, GgmlDType::F32));
                }
            }
            "proportional" => {
                // Those that stand still have factors without end.
                let dims = config["per_layer_config"]["1"]["head_dim"]
                    .as_u64()
                    .unwrap() as usize;
                let share = rope["partial_rotary_factor"].as_f64().unwrap();
                let turning = (dims as f64 * share / 2.0) as usize;
                let factors: Vec<f32> = (0..dims / 2)
                    .map(|index| if index < turning { 1.0 } else { 1e30 })
                    .collect();
                let tensor = Tensor::new(factors, &Device::Cpu).unwrap();
                self.tensors
                    .push(("rope_freqs.weight".into(), tensor, GgmlDType::F32));
            }
            "dynamic" if rope["alpha"].is_f64() => {
                let dims = head_dim(config) as f64;
                let grown = rope["alpha"].as_f64().unwrap().powf(dims / (dims - 2.0));
                let theta = rope["rope_theta"].as_f64().unwrap() * grown;
                self.set(&key("freq_base"), Value::F32(theta as f32));
            }
            "default" => {}
            other => panic!("no GGUF file has {other}"),
        }
    }

    fn add_tokenizer(&mut self, case: &str) {
        let tokenizer = json(case, "tokenizer.json");
        let vocab = tokenizer["model"]["vocab"].as_object().unwrap();
        let added = tokenizer["added_tokens"].as_array().unwrap();
        let mut tokens = vec![String::new(); vocab.len() + added.len()];
        let mut types = vec![Value::I32(1); tokens.len()];
        for (token, id) in vocab {
            tokens[id.as_u64().unwrap() as usize] = token.clone();
        }
        for token in added {
            let id = token["id"].as_u64().unwrap() as usize;
            tokens[id] = token["content"].as_str().unwrap().into();
            types[id] = Value::I32(if token["special"] == true { 3 } else { 4 });
        }
        let merges = tokenizer["model"]["merges"].as_array().unwrap();
        let merges = merges
            .iter()
            .map(|pair| {
                format!(
                    "{} {}",
                    pair[0].as_str().unwrap(),
                    pair[1].as_str().unwrap()
                )
            })
            .collect();
        self.set("tokenizer.ggml.model", Value::String("gpt2".into()));
        self.set("tokenizer.ggml.tokens", texts(tokens));
        self.set("tokenizer.ggml.token_type", Value::Array(types));
        self.set("tokenizer.ggml.merges", texts(merges));
        let config = json(case, "config.json");
        let pre = match config["model_type"].as_str().unwrap() {
            "llama" => "llama-bpe",
            _ => "qwen2",
        };
        self.set("tokenizer.ggml.pre", Value::String(pre.into()));
        for name in ["bos_token_id", "eos_token_id"] {
            if config[name].is_u64() {
                self.set(&format!("tokenizer.ggml.{name}"), count(&config[name]));
            }
        }
        let config = json(case, "tokenizer_config.json");
        if let Some(template) = config["chat_template"].as_str() {
            self.set("tokenizer.chat_template", Value::String(template.into()));
        }
    }

    fn add_tensors(&mut self, case: &str, config: &Json, dtype: GgmlDType) {
        let size = |name: &str| config[name].as_u64().unwrap() as usize;
        let path = models().join(case).join("model.safetensors");
        let family = config["model_type"].as_str().unwrap();
        let interleaved = [
            "llama",
            "mixtral",
            "granitemoe",
            "granitemoeshared",
            "smollm3",
            "granite",
            "granitemoehybrid",
            "ministral3",
        ];
        let interleaved = interleaved.contains(&family);
        let norms_after = [
            "olmo2",
            "olmo3",
            "exaone4",
            "gemma2",
            "gemma3_text",
            "gemma4_text",
        ];
        let norms_after = norms_after.contains(&family);
        let behind_attention = match norms_after {
            true => "post_attention_norm",
            false => "ffn_norm",
        };
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let tensors = match family {
            "gpt_oss" => split_alternating(tensors),
            "qwen3_next" => split_by_key_head(tensors, config),
            "deepseek_v2" | "deepseek_v3" | "glm4_moe_lite" => by_head(tensors, config),
            _ => split_gates(tensors),
        };
        let has_experts = tensors.keys().any(|name| name.contains("block_sparse_moe"));
        for (name, tensor) in stack_experts(tensors) {
            let tensor = match name.contains("linear_attn") {
                true => tiled(&name, tensor, config),
                false => tensor,
            };
            let name = match family {
                "qwen3_5_text" | "qwen3_5_moe_text" | "qwen3_next" => name
                    .replace("linear_attn.in_proj_ba", "ssm_ba")
                    .replace("post_attention_layernorm", "post_attention_norm")
                    .replace("linear_attn.in_proj_qkv", "attn_qkv")
                    .replace("linear_attn.in_proj_z", "attn_gate")
                    .replace("linear_attn.in_proj_b", "ssm_beta")
                    .replace("linear_attn.in_proj_a", "ssm_alpha")
                    .replace("linear_attn.A_log", "ssm_a")
                    .replace("linear_attn.dt_bias", "ssm_dt.bias")
                    .replace("linear_attn.", "ssm_")
                    .replace("out_proj", "out"),
                "lfm2" | "lfm2_moe" => name
                    .replace("model.embedding_norm", "token_embd_norm")
                    .replace("operator_norm", "attn_norm")
                    .replace("self_attn.out_proj", "attn_output")
                    .replace("self_attn.q_layernorm", "attn_q_norm")
                    .replace("self_attn.k_layernorm", "attn_k_norm")
                    .replace("feed_forward.expert_bias", "exp_probs_b.bias")
                    .replace("feed_forward.gate", "ffn_gate_inp")
                    .replace("feed_forward.experts.w1", "ffn_gate_exps")
                    .replace("feed_forward.experts.w2", "ffn_down_exps")
                    .replace("feed_forward.experts.w3", "ffn_up_exps")
                    .replace("feed_forward.w1", "ffn_gate")
                    .replace("feed_forward.w2", "ffn_down")
                    .replace("feed_forward.w3", "ffn_up")
                    .replace("conv.conv", "shortconv.conv")
                    .replace("conv.in_proj", "shortconv.in_proj")
                    .replace("conv.out_proj", "shortconv.out_proj"),
                "mixtral" => name
                    .replace("block_sparse_moe", "mlp")
                    .replace("experts.w1", "experts.gate_proj")
                    .replace("experts.w2", "experts.down_proj")
                    .replace("experts.w3", "experts.up_proj"),
                "nemotron_h" => name
                    .replace("backbone.embeddings", "token_embd")
                    .replace("backbone.norm_f", "output_norm")
                    .replace("backbone.layers", "blk")
                    .replace("mixer.norm", "ssm_norm")
                    .replace(".norm.", ".attn_norm.")
                    .replace("mixer.dt_bias", "ssm_dt.bias")
                    .replace("mixer.A_log", "ssm_a")
                    .replace("mixer.D", "ssm_d")
                    .replace("mixer.in_proj", "ssm_in")
                    .replace("mixer.out_proj", "ssm_out")
                    .replace("mixer.conv1d", "ssm_conv1d")
                    .replace("mixer.shared_experts", "mlp.shared_experts")
                    .replace("mixer.experts", "mlp.experts")
                    .replace("mixer.gate", "mlp.gate")
                    .replace("mixer.up_proj", "mlp.up_proj")
                    .replace("mixer.down_proj", "mlp.down_proj")
                    .replace("mixer.", "self_attn."),
                "granitemoe" | "granitemoeshared" | "granitemoehybrid" | "falcon_h1" => name
                    .replace("feed_forward", "mlp")
                    .replace("pre_ff_layernorm.weight", "ffn_norm")
                    .replace("model.final_layernorm", "output_norm")
                    .replace("mamba.in_proj", "ssm_in")
                    .replace("mamba.out_proj", "ssm_out")
                    .replace("mamba.conv1d", "ssm_conv1d")
                    .replace("mamba.norm", "ssm_norm")
                    .replace("mamba.dt_bias", "ssm_dt.bias")
                    .replace("mamba.A_log", "ssm_a")
                    .replace("mamba.D", "ssm_d")
                    .replace("block_sparse_moe.router.layer", "mlp.gate")
                    .replace("block_sparse_moe.output_linear", "ffn_down_exps")
                    .replace(
                        "shared_mlp.output_linear",
                        if has_experts {
                            "ffn_down_shexp"
                        } else {
                            "ffn_down"
                        },
                    ),
                "ernie4_5_moe" => name.replace(
                    "moe_statics.e_score_correction_bias",
                    "gate.e_score_correction_bias",
                ),
                "gemma4_text" => name
                    .replace("model.embed_tokens_per_layer", "per_layer_token_embd")
                    .replace("model.per_layer_model_projection", "per_layer_model_proj")
                    .replace("model.per_layer_projection_norm", "per_layer_proj_norm")
                    .replace("post_per_layer_input_norm", "post_norm")
                    .replace("per_layer_input_gate", "inp_gate")
                    .replace("per_layer_projection", "proj")
                    .replace("layer_scalar", "layer_output_scale.weight")
                    .replace("router.per_expert_scale", "ffn_down_exps.scale")
                    .replace("router.proj", "ffn_gate_inp")
                    .replace("router.scale", "ffn_gate_inp.scale")
                    .replace("experts.gate_up_proj", "ffn_gate_up_exps.weight")
                    .replace("experts.down_proj", "ffn_down_exps.weight")
                    .replace("pre_feedforward_layernorm_2", "pre_ffw_norm_2")
                    .replace("post_feedforward_layernorm_1", "post_ffw_norm_1")
                    .replace("post_feedforward_layernorm_2", "post_ffw_norm_2"),
                "gpt_oss" => name
                    .replace("post_attention_layernorm", "post_attention_norm")
                    .replace("self_attn.sinks", "attn_sinks.weight")
                    .replace("mlp.router.", "mlp.gate."),
                "glm4" => name
                    .replace("post_attention_layernorm", "ffn_norm")
                    .replace("post_self_attn_layernorm", "post_attention_norm")
                    .replace("post_mlp_layernorm", "post_ffw_norm"),
                _ => name,
            };
            let name = name
                .replace("self_attn.qkv_proj", "attn_qkv")
                .replace("self_attn.query_layernorm", "attn_q_norm")
                .replace("self_attn.key_layernorm", "attn_k_norm")
                .replace("mlp.gate_up_proj", "ffn_up")
                .replace("mlp.c_fc", "ffn_up")
                .replace("mlp.c_proj", "ffn_down")
                .replace("shared_mlp.output_linear", "ffn_down")
                .replace("model.embed_tokens", "token_embd")
                .replace("model.norm", "output_norm")
                .replace("lm_head", "output")
                .replace("model.layers", "blk")
                .replace("self_attn.q_a_proj", "attn_q_a")
                .replace("self_attn.q_a_layernorm", "attn_q_a_norm")
                .replace("self_attn.q_b_proj", "attn_q_b")
                .replace("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa")
                .replace("self_attn.kv_a_layernorm", "attn_kv_a_norm")
                .replace("self_attn.kv_b_proj", "attn_kv_b")
                .replace("self_attn.k_b_proj", "attn_k_b")
                .replace("self_attn.v_b_proj", "attn_v_b")
                .replace("self_attn.o_proj", "attn_output")
                .replace("self_attn.q_proj", "attn_q")
                .replace("self_attn.k_proj", "attn_k")
                .replace("self_attn.v_proj", "attn_v")
                .replace("self_attn.q_norm", "attn_q_norm")
                .replace("self_attn.k_norm", "attn_k_norm")
                .replace("mlp.gate.e_score_correction_bias", "exp_probs_b.bias")
                .replace("mlp.shared_expert_gate.", "ffn_gate_inp_shexp.")
                .replace("mlp.gate.", "ffn_gate_inp.")
                .replace("mlp.experts.gate_proj", "ffn_gate_exps")
                .replace("mlp.experts.up_proj", "ffn_up_exps")
                .replace("mlp.experts.down_proj", "ffn_down_exps")
                .replace("mlp.shared_experts.", "mlp.shared_expert.")
                .replace("mlp.shared_expert.gate_proj", "ffn_gate_shexp")
                .replace("mlp.shared_expert.up_proj", "ffn_up_shexp")
                .replace("mlp.shared_expert.down_proj", "ffn_down_shexp")
                .replace("mlp.gate_proj", "ffn_gate")
                .replace("mlp.up_proj", "ffn_up")
                .replace("mlp.down_proj", "ffn_down")
                .replace("post_attention_layernorm", behind_attention)
                .replace("pre_feedforward_layernorm", "ffn_norm")
                .replace("post_feedforward_layernorm", "post_ffw_norm")
                .replace("input_layernorm", "attn_norm");
            let tensor = match tensor.rank() {
                3 => tensor.squeeze(1).unwrap(),
                2 if name.ends_with("exp_probs_b.bias") => tensor.squeeze(0).unwrap(),
                _ => tensor,
            };
            let tensor = match name.rsplit('.').nth(1).unwrap() {
                "attn_q" if interleaved => interleave(&tensor, size("num_attention_heads")),
                "attn_k" if interleaved => interleave(&tensor, size("num_key_value_heads")),
                _ => tensor,
            };
            let tensor = match name.rsplit('.').next().unwrap() {
                "ssm_a" if ["granitemoehybrid", "falcon_h1", "nemotron_h"].contains(&family) => {
                    tensor.exp().unwrap().neg().unwrap()
                }
                _ => tensor,
            };
            let tensor = match family {
                "falcon_h1" => multiplied(&name, tensor, config),
                _ => tensor,
            };
            // llama.cpp's converter writes the factors.
            let tensor = match adds_one(family, &name) {
                true => (tensor + 1.0).unwrap(),
                false => tensor,
            };
            let dtype = if tensor.rank() == 1 {
                GgmlDType::F32
            } else {
                dtype
            };
            self.tensors.push((name, tensor, dtype));
        }
    }

    /// A tensor of ones.
    pub fn add_vector(&mut self, name: &str, len: usize) {
        let tensor = Tensor::ones(len, DType::F32, &Device::Cpu).unwrap();
        self.tensors.push((name.into(), tensor, GgmlDType::F32));
    }

    /// Sets a key, or replaces it.
    pub fn set(&mut self, key: &str, value: Value) {
        self.remove(key);
        self.metadata.push((key.into(), value));
    }

    pub fn remove(&mut self, key: &str) {
        self.metadata.retain(|(known, _)| known != key);
    }

    /// Every matrix as its type holds it, in another type.
    pub fn requantize(&mut self, to: GgmlDType) {
        for (_, tensor, dtype) in &mut self.tensors {
            if tensor.rank() > 1 {
                let packed = QTensor::quantize(tensor, *dtype).unwrap();
                *tensor = packed.dequantize(&Device::Cpu).unwrap();
                *dtype = to;
            }
        }
    }

    /// Makes the feed-forward blocks `width` wide; what is new is zero and changes nothing.
    pub fn widen_feed_forward(&mut self, width: u32) {
        self.set("llama.feed_forward_length", Value::U32(width));
        for (name, tensor, _) in &mut self.tensors {
            let dimension = match name.rsplit('.').nth(1).unwrap() {
                "ffn_gate" | "ffn_up" => 0,
                "ffn_down" => 1,
                _ => continue,
            };
            let missing = width as usize - tensor.dim(dimension).unwrap();
            *tensor = tensor.pad_with_zeros(dimension, 0, missing).unwrap();
        }
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let tensors: Vec<(&str, QTensor)> = self
            .tensors
            .iter()
            .map(|(name, tensor, dtype)| {
                (name.as_str(), QTensor::quantize(tensor, *dtype).unwrap())
            })
            .collect();
        let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
        let metadata: Vec<(&str, &Value)> =
            self.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let mut bytes = std::io::Cursor::new(Vec::new());
        gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
        bytes.into_inner()
    }

    /// The bytes of the file, with another number for the type of all matrices.
    pub fn bytes_with_type(&self, number: u32) -> Vec<u8> {
        let mut bytes = self.bytes();
        for (name, tensor, _) in self.tensors.iter().filter(|(_, t, _)| t.rank() > 1) {
            let entry = [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
            let found = bytes.windows(entry.len()).position(|part| part == entry);
            // Behind the name come the number of dimensions and the dimensions.
            let place = found.unwrap() + entry.len() + 4 + 8 * tensor.rank();
            bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Changes all matrices, which are of Q4_0, to what their blocks stand for by other levels.
    pub fn relevel(&mut self, levels: &[f32; 16]) {
        for (_, tensor, dtype) in self.tensors.iter_mut().filter(|(_, t, _)| t.rank() > 1) {
            assert_eq!(*dtype, GgmlDType::Q4_0);
            let packed = QTensor::quantize(tensor, *dtype).unwrap();
            let mut values = Vec::new();
            for block in packed.data().unwrap().chunks_exact(18) {
                let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
                for shift in [0, 4] {
                    let levels = block[2..]
                        .iter()
                        .map(|b| levels[usize::from(b >> shift & 15)]);
                    values.extend(levels.map(|level| scale * level));
                }
            }
            *tensor = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
            *dtype = GgmlDType::F32;
        }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("tiny.gguf");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn load(&self) -> Result<Model, Error> {
        self.load_bytes(&self.bytes())
    }

    pub fn load_bytes(&self, bytes: &[u8]) -> Result<Model, Error> {
        self.load_bytes_with(bytes, &LoadOptions::default())
    }

    pub fn load_with(&self, options: &LoadOptions) -> Result<Model, Error> {
        self.load_bytes_with(&self.bytes(), options)
    }

    pub fn load_bytes_with(&self, bytes: &[u8], options: &LoadOptions) -> Result<Model, Error> {
        Model::load(&self.write(bytes), options)
    }
}

/// Whether some layers of Nemotron-H are blocks of a kind.
fn has_blocks(config: &Json, kind: &str) -> bool {
    let types = config["layers_block_type"].as_array();
    types.is_some_and(|types| types.iter().any(|own| own == kind))
}

/// A tensor of Falcon-H1 with the numbers that its configuration multiplies with.
fn multiplied(name: &str, tensor: Tensor, config: &Json) -> Tensor {
    let number = |key: &str| config[key].as_f64().unwrap();
    let of_list = |key: &str, index: usize| config[key][index].as_f64().unwrap();
    let input = number("attention_in_multiplier");
    let part = name.strip_suffix(".weight").unwrap_or(name);
    let factor = match part.rsplit('.').next().unwrap() {
        "ffn_down" => of_list("mlp_multipliers", 1),
        "ffn_gate" => of_list("mlp_multipliers", 0),
        "attn_k" => number("key_multiplier") * input,
        "attn_q" | "attn_v" => input,
        "attn_output" => number("attention_out_multiplier"),
        "ssm_out" => number("ssm_out_multiplier"),
        "output" => number("lm_head_multiplier"),
        "token_embd" => number("embedding_multiplier"),
        "ssm_in" => {
            let size = |key: &str| config[key].as_u64().unwrap() as usize;
            let (inner, heads) = (size("mamba_d_ssm"), size("mamba_n_heads"));
            let state = size("mamba_n_groups") * size("mamba_d_state");
            let mut start = 0;
            let sizes = [inner, inner, state, state, heads].into_iter().enumerate();
            let parts = sizes.map(|(index, size)| {
                start += size;
                let part = tensor.narrow(0, start - size, size).unwrap();
                (part * of_list("ssm_multipliers", index)).unwrap()
            });
            let all = Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap();
            return (all * number("ssm_in_multiplier")).unwrap();
        }
        "ssm_norm" => {
            let groups = config["mamba_n_groups"].as_u64().unwrap() as usize;
            return tensor.reshape((groups, ())).unwrap();
        }
        _ => 1.0,
    };
    (tensor * factor).unwrap()
}

/// The matrices that make keys and values of narrow vectors by head, those of keys with rows for columns.
fn by_head(tensors: HashMap<String, Tensor>, config: &Json) -> HashMap<String, Tensor> {
    let size = |name: &str| config[name].as_u64().unwrap() as usize;
    let (plain, value) = (size("qk_nope_head_dim"), size("v_head_dim"));
    let mut all = HashMap::new();
    for (name, tensor) in split_gates(tensors) {
        if !name.contains("kv_b_proj") {
            all.insert(name, tensor);
            continue;
        }
        let heads = size("num_attention_heads");
        let each = tensor.reshape((heads, plain + value, ())).unwrap();
        let keys = each.narrow(1, 0, plain).unwrap().transpose(1, 2).unwrap();
        let values = each.narrow(1, plain, value).unwrap();
        for (part, tensor) in [("k_b_proj", keys), ("v_b_proj", values)] {
            let name = name.replace("kv_b_proj", part);
            all.insert(name, tensor.contiguous().unwrap());
        }
    }
    all
}

/// The tensors with those of all experts of a layer as one.
fn stack_experts(tensors: HashMap<String, Tensor>) -> Vec<(String, Tensor)> {
    let mut stacks: BTreeMap<String, BTreeMap<usize, Tensor>> = BTreeMap::new();
    let mut all = Vec::new();
    for (name, tensor) in tensors {
        let expert = name.split_once(".experts.").and_then(|(layer, rest)| {
            let (number, projection) = rest.split_once('.')?;
            Some((
                format!("{layer}.experts.{projection}"),
                number.parse().ok()?,
            ))
        });
        match expert {
            Some((stack, number)) => {
                stacks.entry(stack).or_default().insert(number, tensor);
            }
            None => all.push((name, tensor)),
        }
    }
    for (name, experts) in stacks {
        let experts: Vec<Tensor> = experts.into_values().collect();
        all.push((name, Tensor::stack(&experts, 0).unwrap()));
    }
    all
}

/// Llama 3's scaling as converters spell it out: what each frequency is divided by.
fn llama3_factors(rope: &Json, head_dim: usize) -> Vec<f32> {
    let value = |name: &str| rope[name].as_f64().unwrap();
    let (factor, low, high) = (
        value("factor"),
        value("low_freq_factor"),
        value("high_freq_factor"),
    );
    let original = value("original_max_position_embeddings");
    (0..head_dim / 2)
        .map(|i| {
            let exponent = 2.0 * i as f64 / head_dim as f64;
            let wave_length = 2.0 * std::f64::consts::PI * value("rope_theta").powf(exponent);
            let smooth = ((original / wave_length - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        })
        .collect()
}

/// The rows of each head in the order of GGUF's Llamas: first and second half take turns.
fn interleave(tensor: &Tensor, heads: usize) -> Tensor {
    let dims = tensor.dims().to_vec();
    let (rows, columns): (usize, usize) = (dims[0], dims[1..].iter().product());
    tensor
        .reshape((heads, 2, rows / heads / 2, columns))
        .and_then(|t| t.transpose(1, 2)?.contiguous()?.reshape(dims))
        .unwrap()
}
