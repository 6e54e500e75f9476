//! Sessions: reuse of the cache, stops, seeds, cancelling, scores and limits.

use std::ops::ControlFlow;

use candle4j_engine::cancel::Cancel;
use candle4j_engine::cancel::Interrupt;
use candle4j_engine::error::Error;
use candle4j_engine::generate::FinishReason;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::session::{GenerateRequest, Prompt, Session};

use crate::checkpoint::Checkpoint;
use crate::golden::{expected, generate, load, tokens};

const CASES: [&str; 7] = [
    "lfm2-plain",
    "qwen3-5-plain",
    "llama-gqa",
    "mistral-plain",
    "qwen2-plain",
    "qwen3-plain",
    "qwen3-moe-plain",
];

#[test]
fn a_second_turn_computes_only_what_is_new() {
    for case in CASES {
        let sequence = &expected(case).sequences[1];
        let mut session = Session::new(load(case));
        let first = generate(&mut session, &tokens(&sequence.prompt, 8));
        assert_eq!(first.cached_tokens, 0);

        let mut longer = sequence.prompt.clone();
        longer.extend(&first.token_ids);
        longer.extend([7, 8, 9]);
        let second = generate(&mut session, &tokens(&longer, 8));
        // The last token of an answer is sampled, but not computed.
        assert_eq!(second.cached_tokens, longer.len() - 4, "{case}");

        let fresh = generate(&mut Session::new(load(case)), &tokens(&longer, 8));
        assert_eq!(second.token_ids, fresh.token_ids, "{case}");
        assert_eq!(fresh.cached_tokens, 0);
    }
}

#[test]
fn a_prompt_that_differs_is_computed_anew() {
    for case in CASES {
        let sequences = &expected(case).sequences;
        let mut session = Session::new(load(case));
        for sequence in sequences.iter().chain(sequences) {
            let generation = generate(&mut session, &tokens(&sequence.prompt, 16));
            assert_eq!(generation.token_ids, sequence.greedy, "{case}");
        }
    }
}

#[test]
fn end_of_sequence_tokens_of_both_files_stop() {
    let checkpoint = Checkpoint::copy("llama-plain");
    let sequence = &expected("llama-plain").sequences[0];
    let third = sequence.greedy[2];
    assert!(!sequence.greedy[..2].contains(&third));
    for file in ["config.json", "generation_config.json"] {
        for value in [serde_json::json!(third), serde_json::json!([third, 1])] {
            checkpoint.edit(file, |keys| {
                keys.insert("eos_token_id".into(), value);
            });
            let model = std::sync::Arc::new(checkpoint.load().unwrap());
            let mut request = tokens(&sequence.prompt, 16);
            request.options.ignore_eos = false;
            let stopped = generate(&mut Session::new(model.clone()), &request);
            assert_eq!(stopped.token_ids, sequence.greedy[..3], "{file}");
            assert_eq!(stopped.finish_reason, FinishReason::Stop);
            request.options.ignore_eos = true;
            let whole = generate(&mut Session::new(model), &request);
            assert_eq!(whole.token_ids, sequence.greedy);
            assert_eq!(whole.finish_reason, FinishReason::Length);
        }
        checkpoint.edit(file, |keys| {
            keys.insert("eos_token_id".into(), 1.into());
        });
    }
}

#[test]
fn stop_texts_are_found_across_tokens_and_cut() {
    let model = load("qwen3-plain");
    let mut session = Session::new(model.clone());
    let sequence = &expected("qwen3-plain").sequences[1];
    let request = tokens(&sequence.prompt, 16);
    let whole = generate(&mut session, &request).text;
    let characters: Vec<char> = whole.chars().collect();
    let mut across = 0;
    for start in 1..characters.len() - 2 {
        let stop: String = characters[start..start + 2].iter().collect();
        let cut = whole.find(&stop).unwrap();
        let mut request = request.clone();
        request.options.stop = vec![stop.clone()];
        let mut pieces = String::new();
        let stopped = session
            .generate(&request, &mut |token| {
                pieces.push_str(token.text);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(stopped.finish_reason, FinishReason::StopString, "{stop:?}");
        assert_eq!(stopped.text, whole[..cut], "{stop:?}");
        assert_eq!(pieces, stopped.text);
        let last = *stopped.token_ids.last().unwrap();
        if !model
            .tokenizer()
            .decode(&[last], true)
            .unwrap()
            .contains(&stop)
        {
            across += 1;
        }
    }
    assert!(across > 0, "no stop text spanned two tokens");
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let mut session = Session::new(load("llama-plain"));
    let mut request = tokens(&[51, 312, 360], 24);
    request.options.temperature = Some(1.0);
    request.options.seed = Some(5);
    let first = generate(&mut session, &request);
    assert_eq!(first.seed, 5);
    assert_eq!(generate(&mut session, &request).token_ids, first.token_ids);
    request.options.seed = Some(6);
    assert_ne!(generate(&mut session, &request).token_ids, first.token_ids);
    // A random seed is told, so that the answer can be had again.
    request.options.seed = None;
    let random = generate(&mut session, &request);
    request.options.seed = Some(random.seed);
    assert_eq!(generate(&mut session, &request).token_ids, random.token_ids);
}

#[test]
fn a_model_proposes_its_own_sampling() {
    let mut session = Session::new(load("llama-eos-list"));
    let mut request = tokens(&expected("llama-eos-list").sequences[0].prompt, 16);
    request.options.temperature = None;
    request.options.repeat_penalty = None;
    let answers: std::collections::HashSet<Vec<u32>> = (0..8)
        .map(|_| generate(&mut session, &request).token_ids)
        .collect();
    assert!(
        answers.len() > 1,
        "do_sample of generation_config.json was not heeded"
    );
}

#[test]
fn a_listener_stops_or_fails() {
    let sequence = &expected("llama-plain").sequences[0];
    let mut session = Session::new(load("llama-plain"));
    for (interrupt, expected) in [
        (Interrupt::Stop, None),
        (Interrupt::Failed, Some(Error::CallbackFailed)),
    ] {
        let mut count = 0;
        let outcome = session.generate(&tokens(&sequence.prompt, 16), &mut |_| {
            count += 1;
            if count == 4 {
                ControlFlow::Break(interrupt)
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(count, 4);
        match expected {
            Some(error) => assert_eq!(outcome.unwrap_err(), error),
            None => {
                let generation = outcome.unwrap();
                assert_eq!(generation.finish_reason, FinishReason::Cancelled);
                assert_eq!(generation.token_ids, sequence.greedy[..4]);
            }
        }
    }
    let after = generate(&mut session, &tokens(&sequence.prompt, 16));
    assert_eq!(after.token_ids, sequence.greedy);
}

#[test]
fn cancelling_a_number_hits_that_call_and_no_other() {
    let sequence = &expected("llama-plain").sequences[0];
    let mut session = Session::new(load("llama-plain"));
    let cancel = session.cancel();
    let numbered = |call| GenerateRequest {
        call,
        ..tokens(&sequence.prompt, 16)
    };
    cancel.cancel(2);
    for call in [1, 3] {
        let other = generate(&mut session, &numbered(call));
        assert_eq!(other.token_ids, sequence.greedy);
    }
    let cancelled = generate(&mut session, &numbered(2));
    assert_eq!(cancelled.finish_reason, FinishReason::Cancelled);
    assert!(cancelled.token_ids.is_empty());
    // From another thread, while it runs.
    let mut seen = 0;
    let generation = session
        .generate(&numbered(4), &mut |_| {
            seen += 1;
            if seen == 2 {
                std::thread::scope(|scope| {
                    scope.spawn(|| cancel.cancel(4));
                });
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(generation.finish_reason, FinishReason::Cancelled);
    assert_eq!(generation.token_ids, sequence.greedy[..2]);
    assert_eq!(session.score(4, &sequence.prompt, 1), Err(Error::Cancelled));
    // All from then on, whatever is cancelled then.
    cancel.cancel(Cancel::ALL);
    cancel.cancel(6);
    for call in [5, 6, 7] {
        let cancelled = generate(&mut session, &numbered(call));
        assert_eq!(cancelled.finish_reason, FinishReason::Cancelled);
    }
}

#[test]
fn the_end_of_the_context_is_told_and_more_is_an_error() {
    let checkpoint = Checkpoint::copy("llama-plain");
    let options = LoadOptions {
        context_length: Some(12),
        ..Default::default()
    };
    let model = std::sync::Arc::new(checkpoint.load_with(&options).unwrap());
    let mut session = Session::new(model);
    let prompt: Vec<u32> = (1..=8).collect();
    let generation = generate(&mut session, &tokens(&prompt, 100));
    assert_eq!(generation.finish_reason, FinishReason::ContextFull);
    assert_eq!(generation.token_ids.len(), 4);
    for (length, needed) in [(12, 13), (13, 13)] {
        let error = session
            .generate(&tokens(&vec![1; length], 1), &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap_err();
        assert_eq!(error, Error::ContextFull { needed, limit: 12 });
    }
    let too_long = LoadOptions {
        context_length: Some(1 << 20),
        ..Default::default()
    };
    let error = checkpoint.load_with(&too_long).err().unwrap();
    assert!(
        matches!(&error, Error::InvalidArgument { name, .. } if name == "context_length"),
        "{error}"
    );
}

#[test]
fn prompts_that_cannot_be_are_refused() {
    let mut session = Session::new(load("llama-plain"));
    let mut outcome = |request: &GenerateRequest| {
        session
            .generate(request, &mut |_| ControlFlow::Continue(()))
            .unwrap_err()
    };
    for ids in [vec![], vec![384], vec![1, u32::MAX]] {
        let error = outcome(&tokens(&ids, 1));
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
    let empty = GenerateRequest {
        prompt: Prompt::Text {
            text: String::new(),
            raw: true,
        },
        ..tokens(&[1], 1)
    };
    assert!(matches!(outcome(&empty), Error::InvalidArgument { .. }));
}

#[test]
fn chosen_tokens_come_with_their_own_probabilities() {
    let sequence = &expected("llama-gqa").sequences[1];
    let mut session = Session::new(load("llama-gqa"));
    let mut request = tokens(&sequence.prompt, 16);
    request.options.logprobs = Some(3);
    let generation = generate(&mut session, &request);
    assert_eq!(generation.logprobs.len(), 16);
    let mut whole = sequence.prompt.clone();
    whole.extend(&generation.token_ids);
    let score = session.score(0, &whole, 0).unwrap();
    let own = &score.logprobs[sequence.prompt.len() - 1..];
    for ((told, id), own) in generation
        .logprobs
        .iter()
        .zip(&generation.token_ids)
        .zip(own)
    {
        assert_eq!(told.id, *id);
        assert!((told.logprob - own).abs() < 1e-4);
        // Greedy: the chosen one is the best.
        assert_eq!(told.top.len(), 3);
        assert_eq!(
            (told.top[0].id, told.top[0].logprob),
            (told.id, told.logprob)
        );
        assert!(told.top[0].logprob >= told.top[1].logprob);
    }
    request.options.logprobs = None;
    assert!(generate(&mut session, &request).logprobs.is_empty());
}

#[test]
fn biases_choose_and_forbid_tokens() {
    let sequence = &expected("llama-gqa").sequences[0];
    let mut session = Session::new(load("llama-gqa"));
    let mut request = tokens(&sequence.prompt, 8);
    request.options.logit_bias.insert(7, 1000.0);
    request.options.logprobs = Some(0);
    let chosen = generate(&mut session, &request);
    assert_eq!(chosen.token_ids, [7; 8]);
    // The probability is the model's own.
    assert!(chosen.logprobs[0].logprob < -0.1);
    let first = sequence.greedy[0];
    request.options.logit_bias = [(first, -1000.0)].into();
    let other = generate(&mut session, &request);
    assert!(!other.token_ids.contains(&first));
    request.options.logit_bias = [(1_000_000, 1.0)].into();
    let error = session
        .generate(&request, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(
        matches!(&error, Error::InvalidArgument { name, .. } if name == "logit_bias"),
        "{error}"
    );
}
