//! Batches: order, isolation of failures, progress and stopping.

use std::ops::ControlFlow;

use candle4j_engine::batch::{BatchProgress, generate_all};
use candle4j_engine::cancel::Interrupt;
use candle4j_engine::error::Error;
use candle4j_engine::generate::FinishReason;

use crate::golden::{expected, load, tokens};

#[test]
fn results_are_in_order_and_equal_those_of_one_at_a_time() {
    for case in ["llama-gqa", "qwen3-moe-plain"] {
        let sequences = expected(case).sequences;
        let requests: Vec<_> = (0..12)
            .map(|i| tokens(&sequences[i % sequences.len()].prompt, 16))
            .collect();
        for workers in [1, 4, 100] {
            let mut done = Vec::new();
            let results = generate_all(&load(case), &requests, workers, &mut |p| {
                done.extend(p.last.map(|(index, _)| index));
                assert_eq!(p.total, 12);
                ControlFlow::Continue(())
            })
            .unwrap();
            for (index, result) in results.iter().enumerate() {
                let generation = result.as_ref().unwrap();
                assert_eq!(
                    generation.token_ids,
                    sequences[index % sequences.len()].greedy
                );
            }
            done.sort_unstable();
            assert_eq!(done, (0..12).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_prompt_that_fails_touches_no_other() {
    let sequence = &expected("llama-plain").sequences[0];
    let good = tokens(&sequence.prompt, 16);
    let requests = [good.clone(), tokens(&[9999], 4), good.clone(), good];
    let results = generate_all(&load("llama-plain"), &requests, 2, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(matches!(results[1], Err(Error::InvalidArgument { .. })));
    for index in [0, 2, 3] {
        assert_eq!(results[index].as_ref().unwrap().token_ids, sequence.greedy);
    }
}

#[test]
fn nothing_to_do_is_done() {
    let results = generate_all(&load("llama-plain"), &[], 4, &mut |_| {
        ControlFlow::Continue(())
    });
    assert_eq!(results.unwrap(), vec![]);
}

#[test]
fn a_listener_that_stops_leaves_what_is_done() {
    let requests = vec![tokens(&[1, 2, 3], 200); 40];
    let stop_at = |count: usize, interrupt: Interrupt| {
        move |progress: BatchProgress| {
            if progress.done >= count {
                ControlFlow::Break(interrupt)
            } else {
                ControlFlow::Continue(())
            }
        }
    };
    let results = generate_all(
        &load("llama-plain"),
        &requests,
        2,
        &mut stop_at(3, Interrupt::Stop),
    )
    .unwrap();
    let complete = results
        .iter()
        .filter(|r| matches!(r, Ok(g) if g.finish_reason == FinishReason::Length))
        .count();
    assert!((3..=8).contains(&complete), "{complete} complete");
    assert!(matches!(results[39], Err(Error::Cancelled)));
    let failed = generate_all(
        &load("llama-plain"),
        &requests,
        2,
        &mut stop_at(1, Interrupt::Failed),
    );
    assert_eq!(failed.unwrap_err(), Error::CallbackFailed);
}
