//! What can be seen of a model from outside.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle4j_engine::cancel::Interrupt;
use candle4j_engine::error::Error;
use candle4j_engine::generate::GenerateOptions;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::{GenerateRequest, Prompt, Session};

use crate::golden::models;

#[test]
fn loading_tells_how_far_it_is_and_stops_when_it_is_told() {
    let path = models().join("llama-plain");
    let options = LoadOptions::default();
    let mut told = Vec::new();
    Model::load_watched(&path, &options, &mut |progress| {
        told.push(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    let last = told.last().unwrap();
    assert_eq!(last.bytes, last.total);
    assert!(told.is_sorted_by_key(|progress| progress.bytes));
    for (interrupt, error) in [
        (Interrupt::Stop, Error::Cancelled),
        (Interrupt::Failed, Error::CallbackFailed),
    ] {
        let mut count = 0;
        let stopped = Model::load_watched(&path, &options, &mut |_| {
            count += 1;
            ControlFlow::Break(interrupt)
        });
        assert_eq!(stopped.err(), Some(error));
        assert_eq!(count, 1);
    }
}

#[test]
fn a_model_counts_what_it_does() {
    let model = Model::load(&models().join("llama-plain"), &LoadOptions::default()).unwrap();
    let mut session = Session::new(Arc::new(model));
    let request = GenerateRequest {
        prompt: Prompt::Tokens(vec![1, 2, 3, 4]),
        options: GenerateOptions {
            max_tokens: Some(5),
            temperature: Some(0.0),
            ignore_eos: true,
            ..Default::default()
        },
        ..Default::default()
    };
    for _ in 0..2 {
        session
            .generate(&request, &mut |_| ControlFlow::Continue(()))
            .unwrap();
    }
    let metrics = session.model().metrics();
    assert_eq!(metrics.requests, 2);
    assert_eq!((metrics.prompt_tokens, metrics.cached_tokens), (8, 3));
    assert_eq!(metrics.generated_tokens, 10);
    assert_eq!((metrics.active, metrics.waiting, metrics.failed), (0, 0, 0));
    // A prompt of 4, of 1, and 4 tokens behind each.
    assert_eq!((metrics.passes, metrics.pass_sequences), (10, 10));
    assert_eq!(metrics.pass_tokens, 4 + 1 + 8);
    assert!(metrics.pass_ms > 0.0 && metrics.decode_ms > 0.0);
}
