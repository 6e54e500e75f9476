//! The memory of keys and values: shared beginnings, a budget, and that all of it comes back.

use std::sync::{Arc, Barrier};

use candle4j_engine::device::Precision;
use candle4j_engine::error::Error;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::{GenerateRequest, Session};

use crate::golden::{cases, generate, load, models, tokens};

const CASE: &str = "llama-gqa";

fn used(model: &Model) -> u64 {
    model.info().kv_cache_used.unwrap()
}

fn limited(kv_cache_bytes: u64) -> Arc<Model> {
    limited_in(Precision::default(), Some(kv_cache_bytes))
}

fn limited_in(precision: Precision, kv_cache_bytes: Option<u64>) -> Arc<Model> {
    let options = LoadOptions {
        precision,
        kv_cache_bytes,
        ..LoadOptions::default()
    };
    Arc::new(Model::load(&models().join(CASE), &options).unwrap())
}

/// A prompt that begins like all others of the test, and ends in its own way.
fn prompt(shared: usize, own: u32) -> Vec<u32> {
    let beginning = (0..shared as u32).map(|i| 3 + i * 7 % 300);
    beginning.chain([own + 1, own + 2, own + 3]).collect()
}

fn request(shared: usize, own: u32) -> GenerateRequest {
    tokens(&prompt(shared, own), 4)
}

/// Bytes of the pages of so many tokens.
fn bytes_of(model: &Arc<Model>, count: usize) -> u64 {
    let mut session = Session::new(model.clone());
    let before = used(model);
    let prompt: Vec<u32> = (0..count as u32).map(|i| 380 - i % 300).collect();
    generate(&mut session, &tokens(&prompt, 1));
    used(model) - before
}

#[test]
fn k3_sessions_keep_one_beginning_once_and_compute_it_once() {
    for shared in [200, 203, 208, 15, 16, 17, 3] {
        let model = load(CASE);
        let alone: Vec<_> = (0..8)
            .map(|own| generate(&mut Session::new(load(CASE)), &request(shared, own)).token_ids)
            .collect();
        let mut sessions: Vec<_> = (0..8).map(|_| Session::new(model.clone())).collect();
        for (own, session) in sessions.iter_mut().enumerate() {
            let generation = generate(session, &request(shared, own as u32));
            assert_eq!(generation.token_ids, alone[own], "{shared}, {own}");
            if own > 0 {
                assert!(generation.cached_tokens >= shared, "{shared}, {own}");
            }
        }
        // One copy, and for each session what is its own: at most two pages.
        let one = bytes_of(&model, shared);
        let page = bytes_of(&model, 1);
        assert!(
            used(&model) <= one + 8 * 2 * page,
            "{shared}: {}",
            used(&model)
        );
        drop(sessions);
        assert_eq!(used(&model), 0);
    }
}

#[test]
fn k3_sessions_that_begin_at_once_compute_their_beginning_once_too() {
    for case in cases() {
        let model = load(&case);
        let alone = generate(&mut Session::new(load(&case)), &request(120, 5)).token_ids;
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut session = Session::new(model.clone());
                    start.wait();
                    let generation = generate(&mut session, &request(120, 5));
                    assert_eq!(generation.token_ids, alone, "{case}");
                });
            }
        });
        assert_eq!(used(&model), 0, "{case}");
    }
}

#[test]
fn k2_memory_comes_back_from_clear_shorter_prompts_and_close() {
    let model = load(CASE);
    let mut session = Session::new(model.clone());
    generate(&mut session, &request(300, 1));
    let long = used(&model);
    generate(&mut session, &request(40, 9));
    let short = used(&model);
    assert!(short < long / 3, "{short} of {long}");
    let fork = session.fork().unwrap();
    assert_eq!(used(&model), short);
    session.clear();
    assert_eq!(used(&model), short);
    drop(fork);
    assert_eq!(used(&model), 0);
    generate(&mut session, &request(300, 1));
    assert_eq!(used(&model), long);
    drop(session);
    assert_eq!(used(&model), 0);
}

#[test]
fn k1_what_does_not_fit_is_refused_with_need_and_limit() {
    let page = bytes_of(&load(CASE), 1);
    let model = limited(10 * page);
    assert_eq!(model.info().kv_cache_limit, Some(10 * page));
    let mut session = Session::new(model.clone());
    let error = session
        .generate(&request(200, 1), &mut |_| {
            std::ops::ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(
        matches!(&error, Error::OutOfMemory { needed, available, .. }
            if *needed > 10 * page && *available == 10 * page),
        "{error}"
    );
    // What fits is computed, in the same session too.
    let expected = generate(&mut Session::new(load(CASE)), &request(60, 1)).token_ids;
    assert_eq!(generate(&mut session, &request(60, 1)).token_ids, expected);
}

#[test]
fn k1_sessions_that_rest_give_way_and_come_back() {
    let page = bytes_of(&load(CASE), 1);
    let model = limited(12 * page);
    let alone: Vec<_> = (0..6)
        .map(|own| generate(&mut Session::new(load(CASE)), &tokens(&own_prompt(own), 4)).token_ids)
        .collect();
    let mut sessions: Vec<_> = (0..6).map(|_| Session::new(model.clone())).collect();
    for _ in 0..3 {
        for (own, session) in sessions.iter_mut().enumerate() {
            let generation = generate(session, &tokens(&own_prompt(own as u32), 4));
            assert_eq!(generation.token_ids, alone[own]);
            assert!(used(&model) <= 12 * page);
        }
    }
    // A fork of one that was given up computes anew.
    let mut fork = sessions[0].fork().unwrap();
    assert_eq!(
        generate(&mut fork, &tokens(&own_prompt(0), 4)).token_ids,
        alone[0]
    );
}

fn own_prompt(own: u32) -> Vec<u32> {
    (0..80).map(|i| 3 + (own * 50 + i) % 370).collect()
}

#[test]
fn k1_requests_that_run_at_once_wait_or_are_refused_and_all_end() {
    let page = bytes_of(&load(CASE), 1);
    let model = limited(12 * page);
    std::thread::scope(|scope| {
        for own in 0..8 {
            let model = model.clone();
            scope.spawn(move || {
                for _ in 0..5 {
                    let mut session = Session::new(model.clone());
                    let alone =
                        generate(&mut Session::new(load(CASE)), &tokens(&own_prompt(own), 8));
                    let answer = session.generate(&tokens(&own_prompt(own), 8), &mut |_| {
                        std::ops::ControlFlow::Continue(())
                    });
                    match answer {
                        Ok(generation) => assert_eq!(generation.token_ids, alone.token_ids),
                        Err(error) => {
                            assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
                        }
                    }
                }
            });
        }
    });
    assert_eq!(used(&model), 0);
}

/// A session whose call is over holds nobody up, however it ended.
#[test]
fn k1_a_call_that_failed_is_not_waited_for() {
    let page = bytes_of(&load(CASE), 1);
    let model = limited(12 * page);
    let mut failed = Session::new(model.clone());
    let request = GenerateRequest {
        prepare: true,
        ..request(300, 1)
    };
    assert!(
        failed
            .generate(&request, &mut |_| std::ops::ControlFlow::Continue(()))
            .is_err()
    );
    assert!(failed.score(0, &prompt(300, 1), 0).is_err());
    assert_nobody_is_waited_for(&model);
}

/// Loading in half precision computes a token, to see whether the numbers stay finite.
#[test]
fn k1_the_probe_of_half_precision_is_not_waited_for() {
    let page = bytes_of(&limited_in(Precision::F16, None), 1);
    assert_nobody_is_waited_for(&limited_in(Precision::F16, Some(12 * page)));
}

/// Two requests at once, of which each fits into 12 pages alone.
fn assert_nobody_is_waited_for(model: &Arc<Model>) {
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for own in 0..2 {
            let model = model.clone();
            scope.spawn(move || {
                let answer = Session::new(model)
                    .generate(&tokens(&own_prompt(own), 90), &mut |_| {
                        std::ops::ControlFlow::Continue(())
                    });
                assert!(
                    matches!(answer, Ok(_) | Err(Error::OutOfMemory { .. })),
                    "{answer:?}"
                );
            });
        }
    });
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn k2_windows_give_their_pages_up() {
    let model = load("mistral-window");
    let context = model.limits().context_length;
    let mut session = Session::new(model.clone());
    let prompt: Vec<u32> = (0..context as u32 - 8).map(|i| 3 + i * 11 % 350).collect();
    let alone = generate(
        &mut Session::new(load("mistral-window")),
        &tokens(&prompt, 4),
    )
    .token_ids;
    assert_eq!(generate(&mut session, &tokens(&prompt, 4)).token_ids, alone);
    // A turn that goes back a little finds what it needs, or computes it again.
    let mut shorter = prompt[..prompt.len() - 20].to_vec();
    shorter.push(9);
    let again = generate(
        &mut Session::new(load("mistral-window")),
        &tokens(&shorter, 4),
    )
    .token_ids;
    assert_eq!(
        generate(&mut session, &tokens(&shorter, 4)).token_ids,
        again
    );
}

#[test]
fn k1_the_last_page_and_unused_forks_count_as_they_should() {
    let page = bytes_of(&load(CASE), 1);
    let model = limited(10 * page);
    for length in [140, 144, 145, 150, 156] {
        let prompt: Vec<u32> = (0..length).map(|i| 3 + i * 5 % 370).collect();
        let alone = generate(&mut Session::new(load(CASE)), &tokens(&prompt, 4)).token_ids;
        let mut session = Session::new(model.clone());
        assert_eq!(
            generate(&mut session, &tokens(&prompt, 4)).token_ids,
            alone,
            "{length}"
        );
        let fork = session.fork().unwrap();
        drop(session);
        // A fork that nobody has used gives way too.
        let other: Vec<u32> = (0..length).map(|i| 9 + i * 7 % 360).collect();
        generate(&mut Session::new(model.clone()), &tokens(&other, 4));
        drop(fork);
        assert_eq!(used(&model), 0);
    }
}

#[test]
fn k1_a_request_waits_for_memory_of_a_call_between_two_passes() {
    let page = bytes_of(&load(CASE), 1);
    let model = limited(20 * page);
    std::thread::scope(|scope| {
        let (slow, quick) = (model.clone(), model.clone());
        let start = Arc::new(Barrier::new(2));
        let started = start.clone();
        scope.spawn(move || {
            let mut first = true;
            Session::new(slow)
                .generate(&tokens(&own_prompt(1).repeat(2), 20), &mut |_| {
                    if std::mem::take(&mut first) {
                        started.wait();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
        });
        start.wait();
        let prompt: Vec<u32> = (0..200).map(|i| 9 + i * 7 % 360).collect();
        let alone = generate(&mut Session::new(load(CASE)), &tokens(&prompt, 4)).token_ids;
        let generation = generate(&mut Session::new(quick), &tokens(&prompt, 4));
        assert_eq!(generation.token_ids, alone);
    });
}

#[test]
fn k3_nothing_is_shared_across_the_limit_of_a_rotary_embedding() {
    for case in ["llama-rope-dynamic", "llama-rope-longrope"] {
        for (first, second) in [(63, 64), (64, 65), (60, 70), (64, 64), (65, 66), (100, 150)] {
            let prompt: Vec<u32> = (0..second).map(|i| 3 + i * 7 % 300).collect();
            let alone = generate(&mut Session::new(load(case)), &tokens(&prompt, 4)).token_ids;
            let model = load(case);
            let mut living = Session::new(model.clone());
            generate(&mut living, &tokens(&prompt[..first as usize], 1));
            let answer = generate(&mut Session::new(model), &tokens(&prompt, 4)).token_ids;
            assert_eq!(answer, alone, "{case} {first} {second}");
            if first <= 64 && second > 64 {
                let own = generate(&mut living, &tokens(&prompt, 4)).token_ids;
                assert_eq!(own, alone, "{case} {first} {second}, the same session");
            }
        }
    }
}
