//! Tools: what a model may call, how its chat template tells it so, and how its calls are read.

mod format;
mod grammar;
mod parser;
mod prompt;
mod xml;
mod xml_grammar;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) use format::ToolFormat;
pub(crate) use grammar::grammar;
pub(crate) use parser::{Calls, ToolParser};

use crate::error::{Error, Result};
use crate::generate::check_schema;

/// A function that a model may call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// What it is called, letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// What it does, for the model.
    #[serde(default)]
    pub description: String,
    /// A JSON schema of its arguments, which are an object.
    #[serde(default)]
    pub parameters: Value,
}

impl Tool {
    /// As chat templates expect it, which is the form of OpenAI's API.
    fn for_template(&self) -> Value {
        json!({
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.schema(),
            },
        })
    }

    /// The schema of the arguments, an object also where it was left open.
    fn schema(&self) -> Value {
        match &self.parameters {
            Value::Object(schema) if schema.contains_key("type") || schema.contains_key("$ref") => {
                self.parameters.clone()
            }
            Value::Object(schema) => {
                let mut typed = Map::new();
                typed.insert("type".to_owned(), "object".into());
                typed.extend(schema.clone());
                if !typed.contains_key("properties") {
                    typed.insert("properties".to_owned(), json!({}));
                }
                Value::Object(typed)
            }
            _ => json!({"type": "object", "properties": {}}),
        }
    }
}

/// Whether a model calls tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// It may.
    #[default]
    Auto,
    /// It calls at least one.
    Required,
    /// It calls none, and is told of none.
    None,
    /// It calls this one.
    Name(String),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolCall {
    /// Tells calls of one conversation apart: nine letters and digits, as Mistral's templates want them.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, a JSON object as the model wrote it.
    pub arguments: String,
}

/// Checks what tools are offered.
///
/// # Errors
/// [`Error::InvalidArgument`] for a name that is empty, odd or there twice, a schema that is none, and a choice
/// that no tool has.
pub(crate) fn check(tools: &[Tool], choice: &ToolChoice) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    for (i, tool) in tools.iter().enumerate() {
        let wrong = |reason: String| Err(Error::argument("tools", format!("tools[{i}]: {reason}")));
        let name = &tool.name;
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_plain) {
            return wrong(format!(
                "expected a name of at most 128 letters, digits, '_', '-' and '.', got {name:?}"
            ));
        }
        if tools[..i].iter().any(|other| other.name == *name) {
            return wrong(format!("the name {name:?} is there twice"));
        }
        match &tool.parameters {
            Value::Null => {}
            Value::Object(schema)
                if schema.get("type").is_none_or(|kind| kind == "object")
                    && !schema.contains_key("enum")
                    && !schema.contains_key("const") =>
            {
                check_schema(&tool.parameters)
                    .or_else(|reason| wrong(format!("parameters: {reason}")))?;
            }
            _ => {
                return wrong("parameters: expected the JSON schema of an object".to_owned());
            }
        }
    }
    match choice {
        ToolChoice::Name(name) if !tools.iter().any(|tool| tool.name == *name) => Err(
            Error::argument("tool_choice", format!("no tool is called {name:?}")),
        ),
        ToolChoice::Required if tools.is_empty() => {
            Err(Error::argument("tool_choice", "there are no tools to call"))
        }
        _ => Ok(()),
    }
}

/// An id for a call.
fn new_id() -> String {
    use rand::Rng;
    let mut rng = rand::rng();
    (0..9)
        .map(|_| char::from(rng.sample(rand::distr::Alphanumeric)))
        .collect()
}
