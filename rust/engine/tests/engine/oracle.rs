//! Every golden checkpoint: the same tokens and log-probabilities as transformers, or a refusal
//! that names the key.

use std::sync::Arc;

use candle4j_engine::device::Precision;
use candle4j_engine::engines::Engine;
use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::Session;

use crate::golden::{cases, expected, generate, models, tokens};

/// What Candle's own models would compute wrongly, by the key that the refusal must name.
const REFUSED: &[(&str, &str)] = &[
    ("llama-attention-bias", "attention_bias"),
    ("llama-both-biases", "attention_bias"),
    ("llama-mlp-bias", "mlp_bias"),
    ("llama-head-dim", "head_dim"),
    ("llama-gelu", "hidden_act"),
    ("llama-rope-dynamic", "rope_type"),
    ("llama-rope-dynamic-crossing", "rope_type"),
    ("llama-rope-linear", "rope_type"),
    ("llama-rope-longrope", "rope_type"),
    ("llama-rope-longrope-crossing", "rope_type"),
    ("llama-rope-yarn", "rope_type"),
    ("llama-rope-yarn-attention-factor", "rope_type"),
    ("llama-rope-yarn-mscale", "rope_type"),
    ("mistral-rope-yarn", "rope_type"),
    ("mistral-window", "sliding_window"),
    ("qwen2-layer-types", "sliding_window"),
    ("qwen2-rope-yarn", "rope_type"),
    ("qwen2-window", "sliding_window"),
    ("qwen3-rope-yarn", "rope_type"),
    ("qwen3-window", "sliding_window"),
    ("qwen3-moe-mlp-only-layers", "mlp_only_layers"),
    ("qwen3-moe-window", "sliding_window"),
];

/// The families that Candle has models of.
const CANDLES: [&str; 5] = ["llama", "mistral", "qwen2", "qwen3", "qwen3_moe"];

/// The key that the refusal of a case by the `candle` engine must name.
fn refused_key(case: &str) -> Option<&'static str> {
    let config = std::fs::read(models().join(case).join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    if !CANDLES.contains(&config["model_type"].as_str().unwrap()) {
        return Some("model_type");
    }
    let refused = REFUSED.iter().find(|(name, _)| *name == case);
    refused.map(|(_, key)| *key)
}

#[test]
fn the_fused_engine_equals_transformers_in_every_configuration() {
    for case in cases() {
        let model = load(&case, Engine::Fused).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(model.info().engine, "fused");
        compare(&case, Arc::new(model));
    }
}

#[test]
fn the_candle_engine_equals_transformers_or_refuses_by_name() {
    let mut equal = 0;
    let mut refused = 0;
    for case in cases() {
        let loaded = load(&case, Engine::Candle);
        match (loaded, refused_key(&case)) {
            (Ok(model), None) => {
                compare(&case, Arc::new(model));
                equal += 1;
            }
            (Err(Error::UnsupportedModel { key, .. }), Some(expected)) => {
                assert_eq!(key, expected, "{case}");
                refused += 1;
            }
            (Ok(_), Some(_)) => panic!("{case} should have been refused"),
            (Err(error), _) => panic!("{case}: {error}"),
        }
    }
    assert!(equal >= 25, "{equal} cases are equal");
    assert!(refused >= REFUSED.len());
}

fn load(case: &str, engine: Engine) -> Result<Model, Error> {
    let options = LoadOptions {
        engine,
        precision: Precision::F32,
        ..LoadOptions::default()
    };
    Model::load(&models().join(case), &options)
}

fn compare(case: &str, model: Arc<Model>) {
    let mut session = Session::new(model);
    for sequence in &expected(case).sequences {
        let n = sequence.prompt.len();
        let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
        assert_eq!(generation.token_ids, sequence.greedy, "{case}, {n} tokens");
        let score = session.score(0, &sequence.prompt, 5).unwrap();
        assert_eq!(score.logprobs.len(), n - 1);
        for (index, (ours, theirs)) in score.logprobs.iter().zip(&sequence.logprobs).enumerate() {
            assert!(
                (ours - theirs).abs() < 1e-3,
                "{case}, {n} tokens, token {}: {ours} for {theirs}",
                index + 1
            );
        }
        assert_eq!(score.top.len(), sequence.top.len());
        for (ours, (id, logprob)) in score.top.iter().zip(&sequence.top) {
            assert_eq!(ours.id, *id, "{case}, {n} tokens");
            assert!((ours.logprob - logprob).abs() < 1e-3, "{case}, {n} tokens");
        }
    }
}

/// Folders whose matrices other tools packed.
const PACKED: &[&str] = &[
    "llama-awq",
    "phi3-awq",
    "qwen2-gptq",
    "llama-gptq-order",
    "qwen3-fp8",
    "qwen3-moe-fp8",
    "llama-compressed-words",
    "llama-compressed-bytes",
    "qwen3-compressed-floats",
    "gpt-oss-mxfp4",
];

#[test]
fn packed_matrices_in_the_least_memory_give_the_same_tokens() {
    for case in PACKED {
        let model = Model::load(&models().join(case), &LoadOptions::default()).unwrap();
        let mut session = Session::new(Arc::new(model));
        for sequence in &expected(case).sequences {
            let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
            assert_eq!(generation.token_ids, sequence.greedy, "{case}");
            let score = session.score(0, &sequence.prompt, 5).unwrap();
            for (ours, theirs) in score.logprobs.iter().zip(&sequence.logprobs) {
                // The kernels of blocks round activations, and numbers of 16 bits are rounded.
                assert!((ours - theirs).abs() < 3e-2, "{case}: {ours} for {theirs}");
            }
        }
    }
}
