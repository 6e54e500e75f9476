//! Answers that follow a grammar.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle4j_engine::generate::{Constraint, FinishReason, GenerateOptions};
use candle4j_engine::model::Model;
use candle4j_engine::session::{GenerateRequest, Generation, Prompt, Session};
use serde_json::{Value, json};

use crate::golden::load;

fn model(name: &str) -> Arc<Model> {
    load(name)
}

fn request(constraint: Constraint, seed: u64) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Text {
            text: "Who keeps the lantern?".into(),
            raw: true,
        },
        options: GenerateOptions {
            temperature: Some(1.0),
            top_k: Some(0),
            top_p: Some(1.0),
            max_tokens: Some(400),
            seed: Some(seed),
            ..Default::default()
        },
        constraint: Some(constraint),
        ..Default::default()
    }
}

fn answer(session: &mut Session, request: &GenerateRequest) -> Generation {
    session
        .generate(request, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn schemas_give_documents_that_parse() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "kind": {"enum": ["fox", "owl", 5, null]},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
        },
        "required": ["name", "kind", "age", "tags"],
        "additionalProperties": false,
    });
    // Byte-level and SentencePiece vocabularies.
    for name in ["llama-plain", "qwen3-plain", "mistral-plain"] {
        let mut session = Session::new(model(name));
        for seed in 0..20 {
            let constraint = Constraint::JsonSchema(schema.clone());
            let generation = answer(&mut session, &request(constraint, seed));
            assert_eq!(generation.finish_reason, FinishReason::Stop);
            let document: Value = serde_json::from_str(&generation.text).unwrap();
            let name_length = document["name"].as_str().unwrap().chars().count();
            assert!(name_length <= 12, "{document}");
            assert!(document["age"].as_u64().unwrap() <= 120, "{document}");
            assert!(
                document["tags"].as_array().unwrap().len() <= 3,
                "{document}"
            );
            assert_eq!(document.as_object().unwrap().len(), 4);
            // Nothing but what the grammar leaves open is chosen, with or without probabilities.
            let mut told = request(Constraint::JsonSchema(schema.clone()), seed);
            told.options.logprobs = Some(1);
            let same = answer(&mut session, &told);
            assert_eq!(same.token_ids, generation.token_ids);
            assert_eq!(same.logprobs.len(), same.token_ids.len());
        }
    }
}

#[test]
fn texts_regular_expressions_and_lark() {
    let mut session = Session::new(model("llama-plain"));
    let texts = [
        "a lantern".to_owned(),
        "a \"key\"\n".to_owned(),
        "ключ 🦊".to_owned(),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let mut hot = request(Constraint::OneOf(texts.to_vec()), seed);
        hot.options.temperature = Some(20.0);
        let one = answer(&mut session, &hot);
        assert!(texts.contains(&one.text), "{:?}", one.text);
        seen.insert(one.text);
        let regex = Constraint::Regex("[a-f]{3}-[0-9]{2,4}".to_owned());
        let text = answer(&mut session, &request(regex, seed)).text;
        let (word, number) = text.split_once('-').unwrap();
        assert!(word.len() == 3 && (2..=4).contains(&number.len()), "{text}");
        let lark = Constraint::Lark("start: (\"ja\" | \"nein\") /[!?]/".to_owned());
        let text = answer(&mut session, &request(lark, seed)).text;
        assert!(["ja!", "ja?", "nein!", "nein?"].contains(&&*text), "{text}");
    }
    assert!(seen.len() > 1);
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let mut session = Session::new(model("llama-plain"));
    for (constraint, reason) in [
        (
            Constraint::JsonSchema(json!({"type": "nonsense"})),
            "nonsense",
        ),
        (
            Constraint::JsonSchema(json!({"type": "array", "uniqueItems": true})),
            "uniqueItems",
        ),
        (
            Constraint::JsonSchema(json!({"type": "string", "format": "colour"})),
            "colour",
        ),
        (
            Constraint::JsonSchema(json!({"$ref": "https://example.org/x.json"})),
            "example.org",
        ),
        (Constraint::JsonSchema(json!(5)), "schema"),
        (Constraint::Regex("(".to_owned()), "("),
        (Constraint::Lark("begin: x".to_owned()), "start"),
        (Constraint::OneOf(Vec::new()), "none empty"),
    ] {
        let error = session
            .generate(&request(constraint.clone(), 0), &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("constraint: "), "{constraint:?}: {text}");
        assert!(text.contains(reason), "{constraint:?}: {text}");
    }
    let mut endless = request(Constraint::Regex("a".to_owned()), 0);
    endless.options.ignore_eos = true;
    assert!(
        session
            .generate(&endless, &mut |_| ControlFlow::Continue(()))
            .is_err()
    );
}

#[test]
fn a_limit_cuts_and_a_stop_ends() {
    let mut session = Session::new(model("llama-plain"));
    let mut cut = request(Constraint::Regex("[a-z]{200}".to_owned()), 1);
    cut.options.max_tokens = Some(5);
    let generation = answer(&mut session, &cut);
    assert_eq!(generation.finish_reason, FinishReason::Length);
    assert_eq!(generation.token_ids.len(), 5);
    let mut count = 0;
    let stopped = session
        .generate(
            &request(Constraint::Regex("[a-z]{200}".to_owned()), 1),
            &mut |_| {
                count += 1;
                match count {
                    3 => ControlFlow::Break(candle4j_engine::cancel::Interrupt::Stop),
                    _ => ControlFlow::Continue(()),
                }
            },
        )
        .unwrap();
    assert_eq!(stopped.finish_reason, FinishReason::Cancelled);
    // And the session goes on.
    let one = Constraint::OneOf(vec!["yes".to_owned()]);
    assert_eq!(answer(&mut session, &request(one, 1)).text, "yes");
}

#[test]
fn what_is_spelled_like_a_special_token_is_text() {
    let mut session = Session::new(model("llama-plain"));
    for special in ["<|end|>", "<|stop|>"] {
        let text = format!("a{special}b");
        for constraint in [
            Constraint::OneOf(vec![text.clone()]),
            Constraint::Regex(text.replace('|', "\\|")),
        ] {
            assert_eq!(answer(&mut session, &request(constraint, 1)).text, text);
        }
        let document = answer(
            &mut session,
            &request(Constraint::JsonSchema(json!({"const": text})), 1),
        );
        assert_eq!(document.text, json!(text).to_string());
    }
}

#[test]
fn large_and_hopeless_grammars() {
    let mut session = Session::new(model("llama-plain"));
    let many: Vec<String> = (0..5000).map(|i| format!("text+{i}?")).collect();
    let one = answer(&mut session, &request(Constraint::OneOf(many.clone()), 1));
    assert!(many.contains(&one.text));
    for hopeless in [
        Constraint::JsonSchema(json!({"$ref": "#"})),
        Constraint::Lark("start: start".to_owned()),
        Constraint::Regex("[a&&b]".to_owned()),
        Constraint::JsonSchema(json!({"type": "object", "minProperties": 2})),
    ] {
        let error = session
            .generate(&request(hopeless.clone(), 1), &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap_err();
        assert!(
            error.to_string().starts_with("constraint: "),
            "{hopeless:?}: {error}"
        );
    }
    assert_eq!(
        answer(
            &mut session,
            &request(Constraint::JsonSchema(json!({"const": 1})), 1)
        )
        .text,
        "1"
    );
}

/// A thought that the model would end its answer in.
#[test]
fn a_thought_does_not_end_an_answer_that_has_a_form() {
    let checkpoint = crate::checkpoint::Checkpoint::copy("llama-plain");
    std::fs::write(
        checkpoint.path().join("chat_template.jinja"),
        "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n{# </think> #}",
    )
    .unwrap();
    let mut session = Session::new(Arc::new(checkpoint.load().unwrap()));
    let eos = session.model().limits().eos_ids[0];
    for seed in 0..20 {
        let mut one = request(Constraint::JsonSchema(json!({"type": "boolean"})), seed);
        one.prompt = Prompt::Text {
            text: "Is it?".into(),
            raw: false,
        };
        let end = session.model().tokenizer().id_of("</think>").unwrap();
        one.options.logit_bias = [(eos, 9.0), (end, 6.0)].into_iter().collect();
        let generation = answer(&mut session, &one);
        assert_eq!(generation.finish_reason, FinishReason::Stop);
        assert!(
            ["true", "false"].contains(&&*generation.text),
            "{generation:?}"
        );
    }
}
