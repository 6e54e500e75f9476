//! Tools: models are told of them in their template's way, and their calls are valid.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle4j_engine::chat::Message;
use candle4j_engine::error::Error;
use candle4j_engine::generate::{Constraint, FinishReason, GenerateOptions};
use candle4j_engine::session::{GenerateRequest, Generation, Prompt, Session};
use candle4j_engine::tools::{Tool, ToolCall, ToolChoice};
use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;

/// Marks by which forms are found, and special tokens of the tokenizer that are renamed.
const FORMS: [(&str, &[(&str, &str)]); 9] = [
    ("<tool_call>", &[]),
    (
        "<tool_call>",
        &[("<|stop|>", "<tool_call>"), ("<|system|>", "</tool_call>")],
    ),
    ("<tool_call> <function=", &[]),
    ("\"parameters\" ipython", &[]),
    ("\"parameters\" ipython", &[("<|stop|>", "<|python_tag|>")]),
    ("[TOOL_CALLS]", &[]),
    ("[TOOL_CALLS]", &[("<|stop|>", "[TOOL_CALLS]")]),
    (
        "[TOOL_CALLS] [ARGS]",
        &[("<|stop|>", "[TOOL_CALLS]"), ("<|system|>", "[ARGS]")],
    ),
    ("", &[]),
];

fn session(marks: &str, renamed: &[(&str, &str)]) -> Session {
    let checkpoint = Checkpoint::copy("llama-plain");
    let known = if marks.is_empty() {
        ""
    } else {
        "{{ tools | tojson if tools }}"
    };
    let template = format!(
        "{{# {marks} #}}{known}{{% for m in messages %}}{{{{ m.role }}}}: {{{{ m.content }}}}\n{{% endfor %}}"
    );
    std::fs::write(checkpoint.path().join("chat_template.jinja"), template).unwrap();
    checkpoint.edit("config.json", |config| {
        config.insert("max_position_embeddings".into(), 8192.into());
    });
    checkpoint.edit("tokenizer.json", |tokenizer| {
        for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
            for (from, to) in renamed {
                if token["content"] == *from {
                    token["content"] = (*to).into();
                }
            }
        }
    });
    if !renamed.is_empty() {
        std::fs::remove_file(checkpoint.path().join("tokenizer_config.json")).unwrap();
    }
    Session::new(Arc::new(checkpoint.load().unwrap()))
}

fn tools() -> Vec<Tool> {
    let place = json!({"type": "object", "additionalProperties": false, "required": ["x"],
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}}});
    vec![
        Tool {
            name: "get_weather".into(),
            description: "Tells the weather.".into(),
            parameters: json!({
                "type": "object", "required": ["city", "days"],
                "properties": {
                    "city": {"enum": ["Rome", "New York"]},
                    "days": {"type": "integer", "minimum": 1, "maximum": 7},
                    "place": {"$ref": "#/$defs/place"},
                    "code": {"type": "string", "pattern": "^[a-c/]{1,3}$"},
                    "note": {"type": "string", "maxLength": 8},
                },
                "$defs": {"place": place},
            }),
        },
        Tool {
            name: "now".into(),
            description: String::new(),
            parameters: Value::Null,
        },
    ]
}

fn request(choice: ToolChoice, seed: u64) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Chat {
            messages: vec![message("user", "How is the weather in Rome?")],
            variables: Map::new(),
        },
        options: GenerateOptions {
            temperature: Some(1.0),
            top_k: Some(0),
            top_p: Some(1.0),
            max_tokens: Some(1500),
            seed: Some(seed),
            ..Default::default()
        },
        tools: tools(),
        tool_choice: choice,
        ..Default::default()
    }
}

fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.into(),
        content: Some(content.into()),
        more: Map::new(),
    }
}

/// Generates, and checks that what was streamed is what came out.
fn answer(session: &mut Session, request: &GenerateRequest) -> Generation {
    let (mut text, mut calls): (String, Vec<ToolCall>) = Default::default();
    let generation = session
        .generate(request, &mut |token| {
            text.push_str(token.text);
            calls.extend_from_slice(token.tool_calls);
            assert!(token.tool_calls.is_empty() || token.is_tool_call);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(generation.text, text);
    assert_eq!(generation.tool_calls, calls);
    generation
}

fn assert_valid(call: &ToolCall) {
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
    let keys: Vec<&String> = arguments.as_object().unwrap().keys().collect();
    match &*call.name {
        "now" => assert!(keys.is_empty(), "{call:?}"),
        "get_weather" => {
            assert!(["Rome", "New York"].contains(&arguments["city"].as_str().unwrap()));
            assert!(
                (1..=7).contains(&arguments["days"].as_u64().unwrap()),
                "{call:?}"
            );
            assert!(
                arguments
                    .get("place")
                    .is_none_or(|place| place["x"].as_u64().unwrap() < 10)
            );
            let code = arguments["code"].as_str().unwrap_or("a");
            assert!(
                code.len() <= 3 && code.chars().all(|c| "abc/".contains(c)),
                "{call:?}"
            );
            let note = arguments["note"].as_str().unwrap_or("");
            assert!(note.chars().count() <= 8, "{call:?}");
            assert!(keys.len() <= 5, "{call:?}");
        }
        other => panic!("{other} was not offered"),
    }
}

#[test]
fn required_calls_are_valid_in_every_form() {
    for (marks, renamed) in FORMS {
        let mut session = session(marks, renamed);
        for seed in 0..10 {
            let generation = answer(&mut session, &request(ToolChoice::Required, seed));
            let what = format!("{marks} {renamed:?}: {generation:?}");
            assert_eq!(generation.finish_reason, FinishReason::ToolCalls, "{what}");
            assert!(!generation.tool_calls.is_empty(), "{what}");
            assert_eq!(generation.text, "", "{what}");
            generation.tool_calls.iter().for_each(assert_valid);

            let named = answer(
                &mut session,
                &request(ToolChoice::Name("get_weather".into()), seed),
            );
            let names: Vec<&str> = named.tool_calls.iter().map(|call| &*call.name).collect();
            assert_eq!(names, ["get_weather"], "{marks}: {named:?}");
            assert_valid(&named.tool_calls[0]);
        }
    }
}

#[test]
fn a_model_that_may_call_answers_or_calls() {
    for (marks, renamed) in FORMS {
        let mut session = session(marks, renamed);
        for seed in 0..5 {
            let mut request = request(ToolChoice::Auto, seed);
            request.options.max_tokens = Some(60);
            let generation = answer(&mut session, &request);
            generation.tool_calls.iter().for_each(assert_valid);
            // An answer of a form, or calls.
            request.constraint = Some(Constraint::JsonSchema(json!({"enum": ["yes", "no"]})));
            request.options.max_tokens = Some(1500);
            let generation = answer(&mut session, &request);
            match &*generation.text {
                "\"yes\"" | "\"no\"" => assert!(generation.tool_calls.is_empty()),
                "" => generation.tool_calls.iter().for_each(assert_valid),
                other => panic!("{marks}: {other}"),
            }
        }
    }
}

#[test]
fn a_call_that_begins_in_a_text_is_one_of_those_offered() {
    for (marks, renamed) in &FORMS[..8] {
        let mut session = session(marks, renamed);
        let opening = match *marks {
            marks if marks.starts_with("[TOOL") => "[TOOL_CALLS]",
            marks if marks.starts_with('<') => "<tool_call>",
            _ => "{\"name\": \"",
        };
        let tokenizer = session.model().tokenizer().clone();
        for seed in 0..5 {
            // A model that likes to call tools.
            let mut request = request(ToolChoice::Auto, seed);
            let first = tokenizer.encode(opening, false).unwrap();
            request.options.logit_bias = first.iter().map(|id| (*id, 30.0)).collect();
            request.options.max_tokens = Some(80);
            let generation = answer(&mut session, &request);
            generation.tool_calls.iter().for_each(assert_valid);
        }
    }
}

#[test]
fn models_are_told_of_tools_in_their_templates_way() {
    for (marks, renamed) in FORMS {
        let session = session(marks, renamed);
        let told = |choice: ToolChoice| {
            let mut request = request(choice, 0);
            request.options.max_tokens = Some(1);
            let mut session = Session::new(session.model().clone());
            answer(&mut session, &request).prompt_tokens
        };
        assert!(
            told(ToolChoice::Auto) > told(ToolChoice::None) + 20,
            "{marks}"
        );
        assert_eq!(
            told(ToolChoice::Auto),
            told(ToolChoice::Required),
            "{marks}"
        );
    }
}

#[test]
fn calls_and_results_go_back_to_the_model() {
    for (marks, renamed) in FORMS {
        let mut session = session(marks, renamed);
        let mut request = request(ToolChoice::Auto, 1);
        request.options.max_tokens = Some(3);
        let function = json!({"name": "now", "arguments": {}});
        let calls = json!([{"id": "a", "type": "function", "function": function}]);
        let mut called = message("assistant", "");
        called.more.insert("tool_calls".into(), calls);
        let mut result = message("tool", "12:00");
        result.more.insert("name".into(), "now".into());
        request.prompt = Prompt::Chat {
            messages: vec![message("user", "The time?"), called, result.clone(), result],
            variables: Map::new(),
        };
        assert_eq!(answer(&mut session, &request).token_ids.len(), 3, "{marks}");
    }
}

#[test]
fn what_is_wrong_with_tools_is_named() {
    let mut session = session("<tool_call>", &[]);
    let mut refused = |change: &dyn Fn(&mut GenerateRequest)| {
        let mut request = request(ToolChoice::Auto, 0);
        change(&mut request);
        let outcome = session.generate(&request, &mut |_| ControlFlow::Continue(()));
        match outcome.unwrap_err() {
            Error::InvalidArgument { name, reason } => format!("{name}: {reason}"),
            other => panic!("{other}"),
        }
    };
    type Change<'a> = &'a dyn Fn(&mut GenerateRequest);
    let cases: [(Change, &str); 8] = [
        (
            &|r| r.tools[1].name = "get_weather".into(),
            "tools: tools[1]: the name",
        ),
        (
            &|r| r.tools[0].name = "a b".into(),
            "tools: tools[0]: expected a name",
        ),
        (
            &|r| r.tools[0].parameters = json!(3),
            "tools: tools[0]: parameters",
        ),
        (
            &|r| r.tools[0].parameters["properties"]["city"] = json!({"type": "strnig"}),
            "tools: ",
        ),
        (
            &|r| r.tool_choice = ToolChoice::Name("x".into()),
            "tool_choice: no tool is called",
        ),
        (
            &|r| {
                r.tools.clear();
                r.tool_choice = ToolChoice::Required;
            },
            "tool_choice: there are no tools",
        ),
        (
            &|r| {
                r.prompt = Prompt::Text {
                    text: "x".into(),
                    raw: true,
                }
            },
            "tools: needs messages",
        ),
        (
            &|r| r.constraint = Some(Constraint::Regex("a".into())),
            "constraint: of those",
        ),
    ];
    for (change, expected) in cases {
        let error = refused(change);
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}

fn typed(parameters: Value) -> GenerateRequest {
    let mut request = request(ToolChoice::Required, 0);
    request.tools = vec![Tool {
        name: "t".into(),
        description: String::new(),
        parameters,
    }];
    request
}

#[test]
fn arguments_in_xml_follow_their_schema_or_it_is_refused() {
    let mut session = session("<tool_call> <function=", &[]);
    let unit = json!({"enum": ["C", "K"]});
    let schema = json!({
        "type": "object", "required": ["a", "b", "c", "d", "e"],
        "properties": {
            "a": {"$ref": "#/$defs/unit"},
            "b": {"anyOf": [{"$ref": "#/$defs/unit"}, {"type": "null"}]},
            "c": {"type": "string", "pattern": "^[0-9]+$", "maxLength": 3},
            "d": {"type": ["string", "null"], "maxLength": 4},
            "e": {"type": "string", "format": "date"},
        },
        "$defs": {"unit": unit},
    });
    let mut request = typed(schema);
    for seed in 0..20 {
        request.options.seed = Some(seed);
        let generation = answer(&mut session, &request);
        assert!(!generation.tool_calls.is_empty(), "{}", generation.text);
        for call in &generation.tool_calls {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            let text = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
            assert!(["C", "K"].contains(&&*text("a")), "{call:?}");
            assert!(["C", "K", ""].contains(&&*text("b")), "{call:?}");
            assert!((1..=3).contains(&text("c").len()), "{call:?}");
            assert!(text("c").chars().all(|c| c.is_ascii_digit()), "{call:?}");
            assert!(text("d").chars().count() <= 4, "{call:?}");
            assert_eq!(text("e").len(), 10, "{call:?}");
        }
    }
    for (schema, reason) in [
        (json!({"type": "array"}), "the JSON schema of an object"),
        (
            json!({"anyOf": [{"type": "object"}]}),
            "anyOf is not supported",
        ),
        (
            json!({"type": "object", "required": ["x"]}),
            "\"x\" is not described",
        ),
        (
            json!({"properties": {"a>b": {}}}),
            "\"a>b\" is not supported",
        ),
        (
            json!({"properties": {"x": {"type": "string", "not": {"const": ""}}}}),
            "not is not",
        ),
        (
            json!({"properties": {"x": {"allOf": [{}]}}}),
            "allOf is not supported",
        ),
        (
            json!({"properties": {"x": {"type": "string", "format": "colour"}}}),
            "colour",
        ),
        (
            json!({"properties": {"x": {"$ref": "https://example.org"}}}),
            "example.org",
        ),
    ] {
        let error = session
            .generate(&typed(schema.clone()), &mut |_| ControlFlow::Continue(()))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("tools: ") && error.contains(reason),
            "{schema}: {error}"
        );
    }
}
