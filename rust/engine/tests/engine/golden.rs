//! The golden data that `scripts/make-fixtures` computes with transformers.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle4j_engine::generate::GenerateOptions;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::{GenerateRequest, Generation, Prompt, Session};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Expected {
    pub sequences: Vec<Sequence>,
    pub text: Vec<Text>,
    pub partial: Vec<Partial>,
    #[serde(default)]
    pub chat: Vec<Chat>,
}

#[derive(Debug, Deserialize)]
pub struct Sequence {
    pub prompt: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub top: Vec<(u32, f32)>,
    pub greedy: Vec<u32>,
}

#[derive(Debug, Deserialize)]
pub struct Text {
    pub text: String,
    pub ids: Vec<u32>,
    pub ids_with_special: Vec<u32>,
    pub decoded: String,
    pub decoded_skip_special: String,
}

#[derive(Debug, Deserialize)]
pub struct Partial {
    pub ids: Vec<u32>,
    pub decoded: String,
}

#[derive(Debug, Deserialize)]
pub struct Chat {
    pub messages: Vec<candle4j_engine::chat::Message>,
    pub with_generation_prompt: String,
    pub without_generation_prompt: String,
    pub ids: Vec<u32>,
}

pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

pub fn cases() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(models())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 40, "{} cases", names.len());
    names
}

pub fn expected(case: &str) -> Expected {
    let path = models().join(case).join("expected.json");
    serde_json::from_slice(&std::fs::read(&path).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn load(case: &str) -> Arc<Model> {
    Arc::new(Model::load(&models().join(case), &LoadOptions::default()).unwrap())
}

pub fn tokens(ids: &[u32], max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        call: 0,
        prompt: Prompt::Tokens(ids.to_vec()),
        options: GenerateOptions {
            max_tokens: Some(max_tokens),
            temperature: Some(0.0),
            repeat_penalty: Some(1.0),
            ignore_eos: true,
            ..Default::default()
        },
        prepare: false,
        turn: false,
        constraint: None,
        tools: Vec::new(),
        tool_choice: Default::default(),
    }
}

/// Generates without listening.
pub fn generate(session: &mut Session, request: &GenerateRequest) -> Generation {
    session
        .generate(request, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

/// The log-probabilities of a prompt's tokens.
pub fn logprobs(model: Model, prompt: &[u32]) -> Vec<f32> {
    let score = Session::new(Arc::new(model)).score(0, prompt, 1);
    score.unwrap().logprobs
}

/// The sum of the squares of what lies between.
pub fn squares(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
