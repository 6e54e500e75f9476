//! The model's chat template, a Jinja text that turns messages into a prompt.
//!
//! It is rendered as transformers renders it: whitespace trimmed around blocks, loop controls,
//! Python's methods on strings, lists and dictionaries, `raise_exception`, `strftime_now`, and a
//! `tojson` that leaves characters as they are.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files;

/// One message of a conversation. Keys beside role and content (a tool's name, tool calls) reach
/// the template as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said; null where a message consists of tool calls.
    #[serde(default)]
    pub content: Option<String>,
    /// All other keys.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A template that was parsed.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token` and the like, which templates write into the prompt.
    variables: Map<String, Value>,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Finds and parses the template of a model's folder: `chat_template.jinja`, else
    /// `chat_template` in `tokenizer_config.json`, else `chat_template.json`; `None` when the model
    /// has none.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let config = read_object(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let file = files::read_if_present(&folder.join("chat_template.jinja"))?;
        let source = match file {
            Some(bytes) => Some(String::from_utf8(bytes).map_err(|e| Error::InvalidFile {
                file: "chat_template.jinja".into(),
                reason: e.to_string(),
            })?),
            None => match default_template(config.get("chat_template")) {
                Some(source) => Some(source),
                None => read_object(&folder.join("chat_template.json"))?
                    .and_then(|object| default_template(object.get("chat_template"))),
            },
        };
        source
            .map(|source| Self::parse(source, special_variables(&config)))
            .transpose()
    }

    /// Parses a template. `variables` are what it can use beside the messages.
    pub fn parse(source: String, variables: Map<String, Value>) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|e| template_error(&e))?;
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, source)
            .map_err(|e| template_error(&e))?;
        Ok(Self {
            environment,
            variables,
        })
    }

    /// Renders messages to a prompt, `generation_prompt` with the beginning of an answer behind
    /// them. `more` holds further variables, such as `tools` or `enable_thinking`.
    pub fn render(
        &self,
        messages: &[Message],
        generation_prompt: bool,
        more: &Map<String, Value>,
    ) -> Result<String> {
        let mut context = self.variables.clone();
        context.insert("messages".into(), to_value(messages)?);
        context.insert("add_generation_prompt".into(), generation_prompt.into());
        for (key, value) in more {
            context.insert(key.clone(), value.clone());
        }
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(minijinja::Value::from(Serde(&context))))
            .map_err(|e| template_error(&e))
    }
}

fn to_value(messages: &[Message]) -> Result<Value> {
    serde_json::to_value(messages).map_err(|e| Error::ChatTemplate(e.to_string()))
}

/// The last line of an error's chain is the one that a template raised or that tells most.
fn template_error(error: &minijinja::Error) -> Error {
    let mut text = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line() {
        text.push_str(&format!(" (line {line})"));
    }
    Error::ChatTemplate(text)
}

/// A template, or the one named `default` of a list of named ones.
fn default_template(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let is_default = |t: &&Value| t.get("name").and_then(Value::as_str) == Some("default");
            named
                .iter()
                .find(is_default)
                .or(named.first())
                .and_then(|t| t.get("template"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        }
        _ => None,
    }
}

/// The special tokens of `tokenizer_config.json` by their names there, each a text or an object
/// with the text inside.
fn special_variables(config: &Map<String, Value>) -> Map<String, Value> {
    let mut variables = Map::new();
    for (key, value) in config {
        if !key.ends_with("_token") {
            continue;
        }
        let text = match value {
            Value::String(text) => Some(text.as_str()),
            Value::Object(token) => token.get("content").and_then(Value::as_str),
            _ => None,
        };
        if let Some(text) = text {
            variables.insert(key.clone(), text.into());
        }
    }
    variables
}

fn read_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    let Some(bytes) = files::read_if_present(path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Error::InvalidFile {
            file: files::name(path),
            reason: e.to_string(),
        })
}

fn raise_exception(message: String) -> std::result::Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// Today, in the way that templates ask for it; local time is not known here, so it is UTC.
fn strftime_now(format: &str) -> String {
    chrono::Utc::now().format(format).to_string()
}

/// JSON as Python writes it: `, ` and `: ` between things unless `separators` or `indent` say
/// otherwise, and nothing escaped for HTML.
fn to_json(
    value: &minijinja::Value,
    kwargs: Kwargs,
) -> std::result::Result<minijinja::Value, minijinja::Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    // Accepted because templates pass them; they ask for what is done anyway.
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let text = match indent {
        Some(width) => {
            let spaces = vec![b' '; width];
            write_json(
                value,
                serde_json::ser::PrettyFormatter::with_indent(&spaces),
            )
        }
        None => write_json(value, PythonFormatter),
    };
    text.map(minijinja::Value::from_safe_string)
        .map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string()))
}

fn write_json(
    value: &minijinja::Value,
    formatter: impl serde_json::ser::Formatter,
) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, formatter,
    ))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Python's default separators.
struct PythonFormatter;

impl serde_json::ser::Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
