//! Templates that others published, against transformers.
//!
//! They are not part of this repository: `scripts/fixtures/public_templates.py` renders a folder of them. What was
//! found for which of them is in `public_templates.txt` beside this folder.

use candle4j_engine::chat::{ChatTemplate, Message};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Template {
    name: String,
    sha256: String,
    template: String,
    names: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Message>,
    variables: Map<String, Value>,
    prompt: bool,
    /// What transformers renders; nothing for an error.
    text: Option<String>,
}

#[test]
#[ignore = "needs CANDLE4J_PUBLIC_TEMPLATES, which scripts/fixtures/public_templates.py makes"]
fn public_templates() {
    let path = std::env::var_os("CANDLE4J_PUBLIC_TEMPLATES").expect("CANDLE4J_PUBLIC_TEMPLATES");
    let templates: Vec<Template> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut equal, mut wrong) = (0, Vec::new());
    for template in &templates {
        let parsed = ChatTemplate::parse(
            "template",
            template.template.clone(),
            template.names.clone(),
        );
        let before = equal;
        for (number, case) in template.cases.iter().enumerate() {
            let ours = parsed.as_ref().map_err(ToString::to_string).and_then(|t| {
                t.render(&case.messages, case.prompt, &case.variables)
                    .map_err(|e| e.to_string())
            });
            if ours.as_ref().ok() == case.text.as_ref() {
                equal += 1;
            } else {
                wrong.push(format!(
                    "{}, conversation {number}:\nours   {ours:?}\ntheirs {:?}",
                    template.name, case.text
                ));
            }
        }
        println!(
            "{} {} {} of {} equal",
            template.sha256,
            template.name,
            equal - before,
            template.cases.len()
        );
    }
    println!(
        "{} templates: {equal} conversations equal, {} not",
        templates.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
