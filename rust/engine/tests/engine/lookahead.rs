//! What is computed ahead changes no answer.

use candle4j_engine::cancel::Stop;
use candle4j_engine::engines::CandleModel;
use candle4j_engine::generate::Sampling;
use candle4j_engine::session::Session;

use crate::golden::{cases, expected, generate, load, tokens};

/// The bits of the logits behind each of `tokens`, one after the other.
fn each(sequence: &mut dyn CandleModel, tokens: &[u32]) -> Vec<Vec<u32>> {
    let mut logits = Vec::new();
    let mut forward = |token| {
        sequence
            .forward(&[token], &Stop::default(), &mut logits)
            .unwrap();
        logits.iter().map(|logit| logit.to_bits()).collect()
    };
    tokens.iter().map(|token| forward(*token)).collect()
}

#[test]
fn drafts_have_the_logits_of_single_tokens_and_leave_nothing_behind() {
    let mut ahead = 0;
    for case in cases() {
        let model = load(&case);
        let prompt = &expected(&case).sequences[0].prompt;
        let start = || {
            let mut sequence = model.new_sequence();
            sequence.expect_length(prompt.len());
            sequence
                .forward(prompt, &Stop::default(), &mut Vec::new())
                .unwrap();
            sequence
        };
        let (mut one, mut other) = (start(), start());
        // More than the pages at the end have room for, so that drafts lie in several.
        for round in 0..6 {
            let next = [7 + round, 11, 13, 17, 19];
            let wrong = [2, 3, 5, 8, 2, 3, 5, 8, 9, 10];
            let mut rows = Vec::new();
            let draft = [&next[1..], &wrong].concat();
            let count = other
                .forward_ahead(&next[..1], &draft, &Stop::default(), &mut rows)
                .unwrap();
            let expected = each(one.as_mut(), &next);
            let size = rows.len() / (count + 1);
            for (row, expected) in rows.chunks(size).zip(&expected) {
                let bits: Vec<u32> = row.iter().map(|logit| logit.to_bits()).collect();
                assert!(bits == *expected, "{case}");
            }
            let taken = count.min(next.len() - 1);
            other.truncate(other.position() - (count - taken));
            assert_eq!(
                each(other.as_mut(), &next[1 + taken..]),
                expected[1 + taken..],
                "{case}"
            );
            assert_eq!(one.position(), other.position(), "{case}");
            ahead += count;
        }
    }
    assert!(ahead > 1000, "{ahead}");
}

#[test]
fn answers_are_the_same_with_and_without_prompt_lookup() {
    for case in cases() {
        let model = load(&case);
        let prompt = expected(&case).sequences[0].prompt.repeat(3);
        for (temperature, logprobs) in [(0.0, None), (0.7, Some(2))] {
            let mut request = tokens(&prompt, 48);
            request.options.temperature = Some(temperature);
            request.options.top_k = Some(3);
            request.options.seed = Some(5);
            request.options.logprobs = logprobs;
            request.options.prompt_lookup = Some(false);
            let mut session = Session::new(model.clone());
            let without = generate(&mut session, &request);
            request.options.prompt_lookup = None;
            for _ in 0..2 {
                let with = generate(&mut session, &request);
                assert_eq!(with.token_ids, without.token_ids, "{case}");
                assert_eq!(with.logprobs, without.logprobs, "{case}");
                assert_eq!(with.finish_reason, without.finish_reason, "{case}");
            }
        }
    }
}

#[test]
fn an_answer_that_repeats_itself_takes_fewer_passes() {
    let model = load("llama-plain");
    let passes = |looks_up: bool| {
        let mut sequence = model.new_sequence();
        let sampling = Sampling {
            max_tokens: 200,
            ignore_eos: true,
            prompt_lookup: looks_up,
            // One token for ever.
            logit_bias: [(9, 1e6)].into(),
            ..Sampling::default()
        };
        let before = model.metrics().passes;
        let generated =
            candle4j_engine::generate::generate(sequence.as_mut(), &[3, 4, 5], &sampling, None);
        assert_eq!(generated.unwrap().tokens, [9; 200]);
        assert_eq!(sequence.position(), 3 + 199);
        model.metrics().passes - before
    };
    assert_eq!(passes(false), 200);
    let with = passes(true);
    assert!(with < 150, "{with}");
}

#[test]
fn sessions_that_look_up_at_a_time_answer_as_each_alone() {
    for case in ["qwen3-plain", "llama-gqa"] {
        let model = load(case);
        let prompt = &expected(case).sequences[0].prompt;
        std::thread::scope(|scope| {
            for index in 0..8 {
                let model = model.clone();
                let mut request = tokens(&prompt[index % 2..].repeat(2), 96);
                scope.spawn(move || {
                    let with = generate(&mut Session::new(model), &request);
                    request.options.prompt_lookup = Some(false);
                    let without = generate(&mut Session::new(load(case)), &request);
                    assert_eq!(with.token_ids, without.token_ids, "{case}, {index}");
                });
            }
        });
    }
}
