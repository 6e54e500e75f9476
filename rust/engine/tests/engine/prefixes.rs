//! Beginnings that prompts share are computed once.

use std::sync::Arc;

use candle4j_engine::engines::Engine;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::session::{GenerateRequest, Session};

use crate::golden::{cases, expected, generate, load, models, tokens};

fn prepared(ids: &[u32]) -> GenerateRequest {
    GenerateRequest {
        prepare: true,
        ..tokens(ids, 1)
    }
}

/// Configurations whose keys depend on the length that a sequence will have.
fn depends_on_length(case: &str) -> bool {
    case.contains("dynamic") || case.contains("longrope")
}

fn is_hybrid(case: &str) -> bool {
    [
        "lfm2",
        "qwen3-5",
        "qwen3-next",
        "granite4-hybrid",
        "falcon-h1",
        "nemotron-h",
    ]
    .iter()
    .any(|family| case.starts_with(family))
}

#[test]
fn a_second_turn_computes_its_new_tokens_only_and_gives_the_same_answer() {
    for case in cases() {
        let sequences = expected(&case).sequences;
        let (short, long) = (&sequences[0], &sequences[1]);
        let mut session = Session::new(load(&case));
        // Half of the prompt, an answer that leads away from it, and then the whole prompt.
        let half = &long.prompt[..long.prompt.len() / 2];
        generate(&mut session, &tokens(half, 8));
        let generation = generate(&mut session, &tokens(&long.prompt, 16));
        assert_eq!(generation.token_ids, long.greedy, "{case}");
        if !depends_on_length(&case) {
            // Recurrent layers go back to before the last token of a prompt.
            let known = half.len() - usize::from(is_hybrid(&case));
            assert!(generation.cached_tokens >= known, "{case}");
        }
        // Nothing in common, and then once more the same.
        let generation = generate(&mut session, &tokens(&short.prompt, 16));
        assert_eq!(generation.token_ids, short.greedy, "{case}");
        let again = generate(&mut session, &tokens(&short.prompt, 16));
        assert_eq!(again.token_ids, short.greedy, "{case}");
        if !depends_on_length(&case) {
            assert_eq!(again.cached_tokens, short.prompt.len() - 1, "{case}");
        }
    }
}

/// Prompts with keys that depend on the length, in turns, after calls that were stopped, and as continuations.
#[test]
fn h15_keys_rotated_for_another_length_are_computed_again() {
    let alphabet = |count: usize, by: usize| -> Vec<u32> {
        (0..count).map(|i| (3 + i * by % 300) as u32).collect()
    };
    for case in cases().into_iter().filter(|case| depends_on_length(case)) {
        let model = load(&case);
        let answer = |prompt: &[u32]| {
            generate(&mut Session::new(model.clone()), &tokens(prompt, 12)).token_ids
        };
        let (long, longer) = (alphabet(100, 7), alphabet(150, 7));
        for between in [2, 40, 100] {
            let mut session = Session::new(model.clone());
            let cancelled = GenerateRequest {
                call: 1,
                ..tokens(&long, 12)
            };
            session.cancel().cancel(1);
            generate(&mut session, &cancelled);
            for prompt in [&long[..between], &long, &longer, &long[..between], &longer] {
                let generation = generate(&mut session, &tokens(prompt, 12));
                assert_eq!(
                    generation.token_ids,
                    answer(prompt),
                    "{case}, {between}, {}",
                    prompt.len()
                );
                let mut turn = prompt.to_vec();
                turn.extend(&generation.token_ids);
                turn.extend([9, 8, 7]);
                let mut fork = session.fork().unwrap();
                for session in [&mut fork, &mut session] {
                    let next = generate(session, &tokens(&turn, 12)).token_ids;
                    assert_eq!(next, answer(&turn), "{case}, {between}, {}", turn.len());
                }
            }
            session.score(0, &long, 0).unwrap();
            let generation = generate(&mut session, &tokens(&longer, 12));
            assert_eq!(generation.token_ids, answer(&longer), "{case}");
        }
    }
}

#[test]
fn a_prepared_prompt_is_not_computed_again() {
    let sequence = &expected("qwen3-plain").sequences[2];
    let mut session = Session::new(load("qwen3-plain"));
    let (prefix, prompt) = (&sequence.prompt[..60], &sequence.prompt);
    let preparation = generate(&mut session, &prepared(prefix));
    assert!(preparation.token_ids.is_empty());
    assert_eq!(preparation.prompt_tokens, 60);
    assert_eq!(preparation.cached_tokens, 0);
    let generation = generate(&mut session, &tokens(prompt, 16));
    assert_eq!(generation.cached_tokens, 60);
    assert_eq!(generation.token_ids, sequence.greedy);
}

#[test]
fn a_fork_goes_on_from_the_same_tokens_and_leaves_the_other_alone() {
    for case in [
        "llama-gqa",
        "qwen2-window",
        "qwen3-moe-plain",
        "lfm2-plain",
        "qwen3-5-plain",
    ] {
        let sequence = &expected(case).sequences[2];
        let mut session = Session::new(load(case));
        generate(&mut session, &prepared(&sequence.prompt[..80]));
        let mut forks: Vec<Session> = (0..2).map(|_| session.fork().unwrap()).collect();
        // One goes elsewhere before the others go on.
        let mut other = sequence.prompt[..80].to_vec();
        other.extend([7, 8, 9]);
        generate(&mut forks[0], &tokens(&other, 16));
        for session in [&mut session, &mut forks[1]] {
            let generation = generate(session, &tokens(&sequence.prompt, 16));
            assert!(generation.cached_tokens >= 80, "{case}");
            assert_eq!(generation.token_ids, sequence.greedy, "{case}");
        }
    }
}

#[test]
fn candles_models_fork_without_what_was_computed() {
    let options = LoadOptions {
        engine: Engine::Candle,
        ..LoadOptions::default()
    };
    let model = Arc::new(Model::load(&models().join("llama-gqa"), &options).unwrap());
    let sequence = &expected("llama-gqa").sequences[1];
    let mut session = Session::new(model);
    generate(&mut session, &prepared(&sequence.prompt[..20]));
    let generation = generate(&mut session.fork().unwrap(), &tokens(&sequence.prompt, 16));
    assert_eq!(generation.cached_tokens, 0);
    assert_eq!(generation.token_ids, sequence.greedy);
    // The whole of what was prepared can be gone on from.
    let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
    assert_eq!(generation.cached_tokens, 20);
    assert_eq!(generation.token_ids, sequence.greedy);
}

/// Sessions of their own find the states of recurrent layers behind prompts, parts of prompts and answers.
#[test]
fn other_sessions_go_on_from_what_a_hybrid_has_computed() {
    for case in ["lfm2-plain", "qwen3-5-plain"] {
        let model = load(case);
        let prompt: Vec<u32> = (0..400u32).map(|i| 3 + i * 7 % 300).collect();
        let fresh = |tokens_of: &[u32]| {
            let other = load(case);
            generate(&mut Session::new(other), &tokens(tokens_of, 12)).token_ids
        };
        let mut first = Session::new(model.clone());
        let answer = generate(&mut first, &tokens(&prompt, 12)).token_ids;
        assert_eq!(answer, fresh(&prompt), "{case}");
        // The same prompt, one with its beginning, and one that goes on from the answer.
        let mut begins_so = prompt[..300].to_vec();
        begins_so.extend([5, 9, 5, 9]);
        let mut goes_on = [&prompt[..], &answer[..]].concat();
        goes_on.extend([11, 12, 13]);
        for (next, known) in [
            (&prompt, prompt.len() - 1),
            (&begins_so, 256),
            (&goes_on, prompt.len() + answer.len() - 1),
        ] {
            let mut other = Session::new(model.clone());
            let generation = generate(&mut other, &tokens(next, 12));
            assert_eq!(generation.cached_tokens, known, "{case}");
            assert_eq!(generation.token_ids, fresh(next), "{case}");
            // And once more, in the same session.
            let generation = generate(&mut other, &tokens(next, 12));
            assert_eq!(generation.token_ids, fresh(next), "{case}");
        }
        let forks = (0..100).map(|_| first.fork().unwrap());
        for (index, mut fork) in forks.enumerate().step_by(33) {
            let mut next = goes_on.clone();
            next.push(20 + index as u32);
            let generation = generate(&mut fork, &tokens(&next, 12));
            assert!(generation.cached_tokens >= prompt.len() + answer.len() - 1);
            assert_eq!(generation.token_ids, fresh(&next), "{case}");
        }
    }
}
