//! Decoders inside of larger models, such as those that see: they answer as they do alone.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::{expected, generate, models, tokens};

/// A checkpoint as the decoder of another model, whose tensors are called by `rename`.
fn wrapped(case: &str, wrapper: &str, decoder: &str, rename: fn(&str) -> String) -> TempDir {
    let (from, folder) = (models().join(case), TempDir::new().unwrap());
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let mut inner: Value =
        serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    let end = inner["eos_token_id"].take();
    inner["model_type"] = decoder.into();
    let config = json!({
        "architectures": ["OfAllKinds"],
        "model_type": wrapper,
        "eos_token_id": end,
        "image_token_id": 7,
        "text_config": inner,
        "vision_config": {"hidden_size": 8},
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let tensors = candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu);
    let mut renamed: HashMap<String, Tensor> = tensors
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (rename(&name), tensor))
        .collect();
    let eye = Tensor::zeros(4, candle_core::DType::F32, &Device::Cpu).unwrap();
    renamed.insert("model.vision_tower.patch.weight".into(), eye);
    candle_core::safetensors::save(&renamed, folder.path().join("model.safetensors")).unwrap();
    folder
}

/// As files have it since transformers 4.52.
fn new_name(name: &str) -> String {
    match name.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None => name.into(),
    }
}

/// As earlier ones do.
fn old_name(name: &str) -> String {
    format!("language_model.{name}")
}

#[test]
fn a_decoder_inside_of_another_model_answers_as_it_does_alone() {
    for (case, wrapper, decoder) in [
        ("gemma3-plain", "gemma3", "gemma3_text"),
        ("mistral-plain", "mistral3", "mistral"),
        ("ministral3-plain", "mistral3", "ministral3"),
        ("qwen3-plain", "qwen3_vl", "qwen3_vl_text"),
        ("qwen3-5-plain", "qwen3_5", "qwen3_5_text"),
    ] {
        for rename in [new_name, old_name] {
            let folder = wrapped(case, wrapper, decoder, rename);
            let model = Model::load(folder.path(), &LoadOptions::default())
                .unwrap_or_else(|e| panic!("{case}: {e}"));
            assert!(!model.limits().eos_ids.is_empty());
            let mut session = Session::new(Arc::new(model));
            for sequence in &expected(case).sequences {
                let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
                assert_eq!(generation.token_ids, sequence.greedy, "{case}");
            }
        }
    }
}

#[test]
fn one_without_a_decoder_of_its_own_is_refused_by_name() {
    let folder = wrapped("llama-plain", "llava_next", "llama", new_name);
    let error = Model::load(folder.path(), &LoadOptions::default()).err();
    let error = error.expect("no such model is known").to_string();
    assert!(error.contains("llava_next"), "{error}");
}
