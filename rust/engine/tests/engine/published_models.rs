//! Popular models in small, with the keys that they are published with, against transformers.

use std::fs;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value as Gguf;
use candle4j_engine::generate::GenerateOptions;
use candle4j_engine::session::{GenerateRequest, Prompt, Session};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::checkpoint::Checkpoint;
use crate::gguf_file::GgufFile;
use crate::golden::{expected, generate, tokens};

#[derive(Deserialize)]
struct Published {
    name: String,
    case: String,
    files: Map<String, Value>,
    prompt: Vec<u32>,
    greedy: Vec<u32>,
}

#[test]
fn popular_models_load_as_published_and_answer_as_in_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/published.json");
    let models: Vec<Published> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(models.len() >= 50);
    for model in &models {
        let checkpoint = Checkpoint::copy(&model.case);
        let _ = fs::remove_file(checkpoint.path().join("tokenizer_config.json"));
        for (name, content) in &model.files {
            fs::write(checkpoint.path().join(name), content.to_string()).unwrap();
        }
        let loaded = checkpoint
            .load()
            .unwrap_or_else(|e| panic!("{}: {e}", model.name));
        let warnings = loaded.info().warnings;
        assert_eq!(warnings, Vec::<String>::new(), "{}", model.name);
        let mut session = Session::new(Arc::new(loaded));
        let request = GenerateRequest {
            call: 0,
            prompt: Prompt::Tokens(model.prompt.clone()),
            options: GenerateOptions {
                temperature: Some(0.0),
                max_tokens: Some(24),
                ..Default::default()
            },
            prepare: false,
            turn: false,
            constraint: None,
            tools: Vec::new(),
            tool_choice: Default::default(),
        };
        let answer = generate(&mut session, &request);
        assert_eq!(answer.token_ids, model.greedy, "{}", model.name);
    }
}

/// Keys that makers of GGUF files write beside those that describe the model, each with the family that it
/// was seen with.
fn notes(maker: &str, family: &str) -> Vec<(String, Gguf)> {
    let text = |text: &str| Gguf::String(text.into());
    let texts = |list: &[&str]| Gguf::Array(list.iter().map(|t| text(t)).collect());
    let ours = |key: &str| format!("{family}.{key}");
    let keys: Vec<(String, Gguf)> = match maker {
        // Made by early converters, with little beside the model.
        "TheBloke" => vec![
            ("general.name".into(), text("LLaMA v2")),
            ("general.file_type".into(), Gguf::U32(15)),
            ("general.quantization_version".into(), Gguf::U32(2)),
            (ours("tensor_data_layout"), text("Meta AI original pth")),
        ],
        "bartowski" => vec![
            ("general.type".into(), text("model")),
            ("general.name".into(), text("Model 8B Instruct")),
            ("general.finetune".into(), text("Instruct")),
            ("general.basename".into(), text("Model")),
            ("general.size_label".into(), text("8B")),
            ("general.license".into(), text("llama3.1")),
            ("general.tags".into(), texts(&["facebook", "meta"])),
            ("general.languages".into(), texts(&["en", "de"])),
            ("general.file_type".into(), Gguf::U32(15)),
            ("general.quantization_version".into(), Gguf::U32(2)),
            (
                "quantize.imatrix.file".into(),
                text("/models/model.imatrix"),
            ),
            ("quantize.imatrix.dataset".into(), text("calibration.txt")),
            ("quantize.imatrix.entries_count".into(), Gguf::I32(224)),
            ("quantize.imatrix.chunks_count".into(), Gguf::I32(125)),
        ],
        "unsloth" => vec![
            ("general.type".into(), text("model")),
            ("general.quantized_by".into(), text("Unsloth")),
            (
                "general.repo_url".into(),
                text("https://huggingface.co/unsloth"),
            ),
            ("general.base_model.count".into(), Gguf::U32(1)),
            ("general.base_model.0.name".into(), text("Model")),
            ("general.base_model.0.organization".into(), text("Maker")),
            (
                "general.base_model.0.repo_url".into(),
                text("https://huggingface.co/maker/model"),
            ),
            ("general.file_type".into(), Gguf::U32(7)),
            ("general.quantization_version".into(), Gguf::U32(2)),
            ("tokenizer.ggml.add_bos_token".into(), Gguf::Bool(false)),
            ("tokenizer.ggml.padding_token_id".into(), Gguf::U32(3)),
            ("quantize.imatrix.file".into(), text("imatrix_unsloth.gguf")),
        ],
        "Ollama" => vec![
            ("general.file_type".into(), Gguf::U32(15)),
            ("general.parameter_count".into(), Gguf::U64(8_030_261_312)),
            ("general.quantization_version".into(), Gguf::U32(2)),
            ("tokenizer.ggml.add_bos_token".into(), Gguf::Bool(false)),
            ("tokenizer.ggml.add_eos_token".into(), Gguf::Bool(false)),
            (
                "tokenizer.ggml.eos_token_ids".into(),
                Gguf::Array(vec![Gguf::I32(377)]),
            ),
        ],
        "makers" => vec![
            ("general.type".into(), text("model")),
            ("general.author".into(), text("Maker")),
            ("general.url".into(), text("https://example.org")),
            ("general.version".into(), text("2507")),
            ("general.description".into(), text("A model")),
            ("general.source.url".into(), text("https://example.org")),
            ("general.alignment".into(), Gguf::U32(32)),
            ("general.file_type".into(), Gguf::U32(1)),
            ("general.datasets".into(), texts(&["a/b"])),
            (ours("attention.causal"), Gguf::Bool(true)),
        ],
        other => panic!("{other}"),
    };
    let of_family: Vec<(String, Gguf)> = match family {
        "qwen3moe" => vec![
            (ours("expert_shared_feed_forward_length"), Gguf::U32(0)),
            (ours("expert_weights_scale"), Gguf::F32(1.0)),
            (ours("expert_gating_func"), Gguf::U32(1)),
        ],
        "llama" => vec![
            (ours("expert_count"), Gguf::U32(0)),
            (ours("expert_used_count"), Gguf::U32(0)),
        ],
        _ => Vec::new(),
    };
    keys.into_iter().chain(of_family).collect()
}

#[test]
fn files_of_all_makers_load_and_answer_as_in_transformers() {
    let families = [
        ("llama", "llama-gqa"),
        ("llama", "llama-rope-llama3"),
        ("llama", "llama-head-dim"),
        ("qwen2", "qwen2-plain"),
        ("qwen3", "qwen3-plain"),
        ("qwen3moe", "qwen3-moe-norm-topk"),
    ];
    for (family, case) in families {
        for maker in ["TheBloke", "bartowski", "unsloth", "Ollama", "makers"] {
            let mut file = GgufFile::of(case, GgmlDType::F32);
            for (key, value) in notes(maker, family) {
                file.set(&key, value);
            }
            let name = format!("{maker} {case}");
            let model = file.load().unwrap_or_else(|e| panic!("{name}: {e}"));
            let warnings = model.info().warnings;
            assert_eq!(warnings, Vec::<String>::new(), "{name}");
            let sequence = &expected(case).sequences[0];
            let mut session = Session::new(Arc::new(model));
            let answer = generate(&mut session, &tokens(&sequence.prompt, 16));
            assert_eq!(answer.token_ids, sequence.greedy, "{name}");
        }
    }
}
