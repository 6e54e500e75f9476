//! What a `generation_config.json` forbids, forces and limits, against transformers.

use std::sync::Arc;

use candle4j_engine::generate::{FinishReason, GenerateOptions};
use candle4j_engine::session::{GenerateRequest, Prompt, Session};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::golden::generate;

#[derive(Deserialize)]
struct Case {
    model: String,
    prompt: Vec<u32>,
    keys: Map<String, Value>,
    tokens: Vec<u32>,
}

fn session(model: &str, keys: &Map<String, Value>) -> Session {
    let checkpoint = Checkpoint::copy(model);
    let path = checkpoint.path().join("generation_config.json");
    std::fs::write(path, Value::Object(keys.clone()).to_string()).unwrap();
    checkpoint.edit("config.json", |config| {
        config.remove("eos_token_id");
    });
    let _ = std::fs::remove_file(checkpoint.path().join("tokenizer_config.json"));
    Session::new(Arc::new(checkpoint.load().unwrap()))
}

fn request(prompt: &[u32], options: GenerateOptions) -> GenerateRequest {
    GenerateRequest {
        call: 0,
        prompt: Prompt::Tokens(prompt.to_vec()),
        options,
        prepare: false,
        turn: false,
        constraint: None,
        tools: Vec::new(),
        tool_choice: Default::default(),
    }
}

#[test]
fn what_is_forbidden_forced_and_limited_equals_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generation.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() > 100);
    for case in &cases {
        let mut session = session(&case.model, &case.keys);
        assert_eq!(session.model().info().warnings, Vec::<String>::new());
        let limited = ["max_new_tokens", "max_length"].map(|key| case.keys.contains_key(key));
        let options = GenerateOptions {
            max_tokens: (limited == [false, false]).then_some(24),
            ..Default::default()
        };
        let generation = generate(&mut session, &request(&case.prompt, options));
        assert_eq!(
            generation.token_ids, case.tokens,
            "{} {:?} {:?}",
            case.model, case.prompt, case.keys
        );
    }
}

#[test]
fn stop_strings_end_an_answer_and_other_keys_are_told_with_it() {
    let keys = json!({"stop_strings": ["a", "e", "i", "o", "u"], "num_beams": 4});
    let mut session = session("llama-plain", keys.as_object().unwrap());
    let generation = generate(
        &mut session,
        &request(&[51, 312, 360], GenerateOptions::default()),
    );
    assert_eq!(generation.finish_reason, FinishReason::StopString);
    assert!(!generation.text.contains(['a', 'e', 'i', 'o', 'u']));
    assert!(
        matches!(&generation.warnings[..], [w] if w.contains("num_beams = 4")),
        "{:?}",
        generation.warnings
    );
}

#[test]
fn a_prompt_as_long_as_the_models_own_limit_asks_for_another() {
    let keys = json!({"max_length": 3});
    let mut session = session("llama-plain", keys.as_object().unwrap());
    let ask = |max_tokens| {
        request(
            &[51, 312, 360],
            GenerateOptions {
                max_tokens,
                ..Default::default()
            },
        )
    };
    let error = session
        .generate(&ask(None), &mut |_| std::ops::ControlFlow::Continue(()))
        .unwrap_err();
    assert!(
        error.to_string().contains("to 3 tokens together"),
        "{error}"
    );
    assert_eq!(generate(&mut session, &ask(Some(5))).token_ids.len(), 5);
}
