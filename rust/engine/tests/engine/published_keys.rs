//! Keys as people published them: what the reference implementation does not read changes nothing.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value as Gguf;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use serde_json::{Value, json};

use crate::checkpoint::Checkpoint;
use crate::gguf_file::GgufFile;
use crate::golden::{expected, generate, logprobs, squares, tokens};

fn assert_golden(model: Model, case: &str) {
    let mut session = Session::new(std::sync::Arc::new(model));
    for sequence in &expected(case).sequences {
        session.clear();
        let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
        assert_eq!(generation.token_ids, sequence.greedy, "{case}");
    }
}

/// A checkpoint with further keys, which must say nothing.
fn with_keys(case: &str, keys: &[(&str, Value)]) -> Model {
    let checkpoint = Checkpoint::copy(case);
    checkpoint.edit("config.json", |config| {
        for (key, value) in keys {
            config.insert((*key).into(), value.clone());
        }
    });
    checkpoint
        .load()
        .unwrap_or_else(|error| panic!("{case}: {error}"))
}

#[test]
fn keys_of_published_folders() {
    for (case, keys) in [
        // Qwen2.5, and its kind with a million tokens of context.
        (
            "qwen2-plain",
            vec![
                ("use_mrope", json!(false)),
                ("attn_implementation", json!("flash_attention_2")),
                (
                    "dual_chunk_attention_config",
                    json!({"chunk_size": 262144, "local_size": 8192}),
                ),
            ],
        ),
        // SmolLM2.
        (
            "llama-tied",
            vec![
                ("is_llama_config", json!(true)),
                ("rope_interleaved", json!(false)),
                (
                    "transformers.js_config",
                    json!({"kv_cache_dtype": {"q4f16": "float16"}}),
                ),
                ("pretraining_tp", json!(1)),
            ],
        ),
        // Qwen3-Coder and Qwen3 2507.
        (
            "qwen3-moe-plain",
            vec![
                ("use_qk_norm", json!(true)),
                ("qkv_bias", json!(false)),
                ("shared_expert_intermediate_size", json!(0)),
                ("router_aux_loss_coef", json!(0.0)),
                ("norm_topk_prob_note", json!("x")),
            ],
        ),
        // Training notes, names of tools, and what other programs read.
        (
            "llama-plain",
            vec![
                ("activation", json!("silu")),
                ("attention_temperature", json!(2.0)),
                ("unsloth_fixed", json!(true)),
                ("neftune_noise_alpha", json!(5)),
                ("lora_alpha", json!(16)),
                ("use_flash_attention_2", json!(true)),
                ("tokenizer_model_max_length", json!(4096)),
                ("auto_map", json!({"AutoConfig": "configuration_x.X"})),
                ("layer_types", json!(["full_attention", "full_attention"])),
                ("is_causal", json!(true)),
                ("quantization_config", json!({})),
            ],
        ),
    ] {
        let model = with_keys(case, &keys);
        let ignored = model.info().ignored_keys;
        for (key, _) in &keys {
            assert!(ignored.iter().any(|k| k == key), "{key}: {ignored:?}");
        }
        assert_golden(model, case);
    }
}

#[test]
fn what_gpt_oss_makes_up_is_what_its_key_says() {
    let made_up = json!({
        "rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
        "truncate": false, "original_max_position_embeddings": 4096,
    });
    let prompt: Vec<u32> = (5..45).collect();
    let of = |keys: &[(&str, Value)]| logprobs(with_keys("gpt-oss-plain", keys), &prompt);
    let said = of(&[("rope_parameters", made_up)]);
    let null = of(&[("rope_parameters", Value::Null)]);
    let old = of(&[
        ("rope_parameters", Value::Null),
        ("rope_scaling", json!({})),
    ]);
    assert_eq!((&null, &old), (&said, &said));
    let none = of(&[("rope_parameters", json!({}))]);
    assert!(squares(&none, &said) > 1e-6);
}

#[test]
fn keys_of_published_rotary_scaling() {
    let scaled = |case: &str, key: &str, value: Value| {
        let checkpoint = Checkpoint::copy(case);
        checkpoint.edit("config.json", |config| {
            let name = if config.contains_key("rope_scaling") {
                "rope_scaling"
            } else {
                "rope_parameters"
            };
            config[name][key] = value;
        });
        checkpoint
            .load()
            .unwrap_or_else(|error| panic!("{case}: {key}: {error}"))
    };
    for (case, key, value) in [
        ("llama-rope-yarn", "finetuned", json!(true)),
        // As DeepSeek-R1-0528-Qwen3-8B has it; transformers does not read it.
        ("llama-rope-yarn", "attn_factor", json!(0.8782488562869419)),
        ("llama-rope-linear", "beta_fast", json!(64.0)),
        ("llama-rope-llama3", "note", json!("x")),
        ("llama-plain", "short_factor", json!([1.0])),
    ] {
        let model = scaled(case, key, value);
        let ignored = model.info().ignored_keys;
        assert!(
            ignored.iter().any(|k| k.ends_with(&format!(".{key}"))),
            "{ignored:?}"
        );
        assert_golden(model, case);
    }
}

#[test]
fn keys_of_published_gguf_files() {
    let text = |text: &str| Gguf::String(text.into());
    let load = |case: &str, keys: &[(&str, Gguf)]| {
        let mut file = GgufFile::of(case, GgmlDType::F32);
        for (key, value) in keys {
            file.set(key, value.clone());
        }
        file.load()
            .unwrap_or_else(|error| panic!("{case}: {error}"))
    };
    for (case, keys) in [
        (
            "qwen3-moe-norm-topk",
            vec![
                ("qwen3moe.expert_shared_feed_forward_length", Gguf::U32(0)),
                ("qwen3moe.expert_weights_norm", Gguf::Bool(true)),
                ("qwen3moe.expert_gating_func", Gguf::U32(1)),
            ],
        ),
        (
            "llama-gqa",
            vec![
                ("llama.rope.scaling.yarn_attn_factor", Gguf::F32(1.0)),
                ("llama.rope.scaling.yarn_ext_factor", Gguf::F32(1.0)),
                ("llama.rope.scale_linear", Gguf::F32(1.0)),
                ("llama.rope.scaling.finetuned", Gguf::Bool(true)),
                ("llama.attention.causal", Gguf::Bool(true)),
                ("llama.pooling_type", Gguf::U32(3)),
                ("llama.tensor_data_layout", text("Meta AI original pth")),
                ("llama.expert_count", Gguf::U32(0)),
                ("general.finetune", text("Instruct")),
                ("general.sampling.temp", Gguf::F32(0.6)),
                ("quantize.imatrix.file", text("/models/x.imatrix")),
            ],
        ),
    ] {
        assert_golden(load(case, &keys), case);
    }
    // A linear factor by its old name, and by its new one without a type.
    for key in ["llama.rope.scale_linear", "llama.rope.scaling.factor"] {
        let mut file = GgufFile::of("llama-rope-linear", GgmlDType::F32);
        let factor = rope_factor("llama-rope-linear");
        file.remove("llama.rope.scaling.type");
        file.remove("llama.rope.scaling.factor");
        file.set(key, Gguf::F32(factor));
        assert_golden(file.load().unwrap(), "llama-rope-linear");
    }
    // The same as in the folder.
    let mut file = GgufFile::of("llama-rope-yarn", GgmlDType::F32);
    file.set("llama.rope.scaling.attn_factor", Gguf::F32(0.878));
    assert_golden(file.load().unwrap(), "llama-rope-yarn");
}

fn rope_factor(case: &str) -> f32 {
    let checkpoint = Checkpoint::copy(case);
    let mut factor = 0.0;
    checkpoint.edit("config.json", |config| {
        let rope = config
            .get("rope_scaling")
            .or(config.get("rope_parameters"))
            .unwrap();
        factor = rope["factor"].as_f64().unwrap() as f32;
    });
    factor
}

/// deepseek-coder's context is 16,384, which its linear factor is in already.
#[test]
fn the_context_is_told_as_published() {
    let checkpoint = Checkpoint::copy("llama-rope-linear");
    let mut published = 0;
    checkpoint.edit("config.json", |config| {
        published = config["max_position_embeddings"].as_u64().unwrap() as usize;
    });
    assert_eq!(checkpoint.load().unwrap().info().context_length, published);
}

#[test]
fn a_template_that_is_none_costs_chatting_and_not_the_model() {
    let checkpoint = Checkpoint::copy("llama-plain");
    std::fs::write(
        checkpoint.path().join("chat_template.jinja"),
        "{% if %}{{ messages",
    )
    .unwrap();
    let model = checkpoint.load().unwrap();
    assert!(!model.info().has_chat_template);
    let warnings = model.info().warnings.join("\n");
    assert!(
        warnings.contains("cannot chat") && warnings.contains("chat_template.jinja"),
        "{warnings}"
    );
    assert!(model.chat_template().is_err());
    assert_golden(model, "llama-plain");
}
