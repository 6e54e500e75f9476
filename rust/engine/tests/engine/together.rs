//! Sessions that are computed together answer as each alone.

use std::sync::Barrier;

use candle4j_engine::error::Error;
use candle4j_engine::session::Session;

use crate::checkpoint::Checkpoint;
use crate::golden::{cases, expected, generate, load, tokens};

#[test]
fn prompts_of_different_lengths_answer_as_each_alone() {
    for case in cases() {
        let model = load(&case);
        let sequences = expected(&case).sequences;
        let start = Barrier::new(2 * sequences.len());
        std::thread::scope(|scope| {
            for sequence in sequences.iter().chain(&sequences) {
                let (model, start, case) = (model.clone(), &start, &case);
                scope.spawn(move || {
                    let mut session = Session::new(model);
                    start.wait();
                    for _ in 0..2 {
                        session.clear();
                        let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
                        assert_eq!(generation.token_ids, sequence.greedy, "{case}");
                    }
                });
            }
        });
    }
}

#[test]
fn who_scores_and_who_generates_do_not_disturb_each_other() {
    let model = load("qwen3-plain");
    let sequences = expected("qwen3-plain").sequences;
    std::thread::scope(|scope| {
        for sequence in &sequences {
            let (generating, scoring) = (model.clone(), model.clone());
            scope.spawn(move || {
                let mut session = Session::new(generating);
                let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
                assert_eq!(generation.token_ids, sequence.greedy);
            });
            scope.spawn(move || {
                let score = Session::new(scoring).score(0, &sequence.prompt, 5).unwrap();
                for (ours, theirs) in score.logprobs.iter().zip(&sequence.logprobs) {
                    assert!((ours - theirs).abs() < 1e-3);
                }
            });
        }
    });
}

/// With all being woken for each token of each, a thread waits some sixteen times a token.
#[cfg(target_os = "linux")]
#[test]
fn s3_who_waits_is_woken_for_its_own_tokens() {
    const SESSIONS: usize = 8;
    fn waits() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }
    let model = load("llama-plain");
    let start = Barrier::new(SESSIONS);
    let each: Vec<(u64, usize)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SESSIONS as u32)
            .map(|index| {
                let (model, start) = (model.clone(), &start);
                scope.spawn(move || {
                    let mut session = Session::new(model);
                    start.wait();
                    let before = waits();
                    let generation = generate(&mut session, &tokens(&[index, 5, 6], 200));
                    (waits() - before, generation.token_ids.len())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let waits: u64 = each.iter().map(|(waits, _)| waits).sum();
    let tokens: usize = each.iter().map(|(_, tokens)| tokens).sum();
    assert!(
        waits < 4 * tokens as u64,
        "{waits} waits for {tokens} tokens"
    );
}

#[test]
fn numbers_that_are_not_finite_are_the_fault_of_one_alone() {
    const POISON: usize = 300;
    let checkpoint = Checkpoint::copy("llama-plain");
    checkpoint.edit_weights(|tensors| {
        let (shape, values) = tensors.get_mut("model.embed_tokens.weight").unwrap();
        values[POISON * shape[1]] = f32::NAN;
    });
    let model = std::sync::Arc::new(checkpoint.load().unwrap());
    let error = Session::new(model.clone())
        .score(0, &[1, 2, POISON as u32], 0)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Numeric { what, .. } if what == "the logit of token 0 is NaN"),
        "{error}"
    );
    let healthy = load("llama-plain");
    let prompt: Vec<u32> = (1..20).collect();
    let expected = generate(&mut Session::new(healthy), &tokens(&prompt, 8)).token_ids;
    std::thread::scope(|scope| {
        for index in 0..4 {
            let (model, prompt, expected) = (model.clone(), &prompt, &expected);
            scope.spawn(move || {
                let mut session = Session::new(model);
                if index == 0 {
                    let request = tokens(&[1, 2, POISON as u32], 8);
                    let error = session
                        .generate(&request, &mut |_| std::ops::ControlFlow::Continue(()))
                        .unwrap_err();
                    assert!(
                        matches!(&error, Error::Numeric { place, .. } if place == "layer 0"),
                        "{error}"
                    );
                } else {
                    let generation = generate(&mut session, &tokens(prompt, 8));
                    assert_eq!(&generation.token_ids, expected);
                }
            });
        }
    });
}
