//! The model's chat template, a Jinja text that turns messages into a prompt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reasoning::{self, ReasoningTags};
use super::{jinja, limits};
use crate::error::{Error, Result, panic_message};
use crate::formats::TemplateSource;
use crate::formats::folder::read_template;
use crate::stack;
use crate::tokenizer::TokenizerConfig;

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

/// A template that was parsed. Any number of threads may use it at once.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The file that it comes from, for messages.
    file: String,
    environment: Environment<'static>,
    /// The texts that it has in quotes.
    texts: Vec<String>,
    /// `bos_token` and the like, which templates write into the prompt.
    variables: Map<String, Value>,
    /// The tags around the model's thoughts, if it thinks.
    reasoning: Option<ReasoningTags>,
    /// The variable that switches thinking, if there is one.
    thinking_switch: Option<&'static str>,
    /// The template's text.
    source: String,
    /// Set once a rendering took too long, whose thread may still be at it.
    gave_up: Arc<AtomicBool>,
}

const NAME: &str = "chat_template";

/// How long compiling or rendering may take. Other limits are met long before, unless a template does
/// something that is not counted.
const TIME_LIMIT: Duration = Duration::from_secs(8);

impl ChatTemplate {
    /// Finds and parses the template of a model's folder: `chat_template.jinja`, else
    /// `chat_template` in `tokenizer_config.json`, else `chat_template.json`; `None` when the model
    /// has none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidFile`] and [`Error::ChatTemplate`], which name the file.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let tokens = TokenizerConfig::open(folder)?;
        read_template(folder, &tokens)?.map(Self::of).transpose()
    }

    /// Parses a template of a checkpoint.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn of(template: TemplateSource) -> Result<Self> {
        Self::parse(&template.file, template.source, template.variables)
    }

    /// Parses a template. `file` is where it comes from, and `variables` are what it can use beside the
    /// messages.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] for what is no template, or larger than 256 KiB.
    pub fn parse(file: &str, source: String, variables: Map<String, Value>) -> Result<Self> {
        if source.len() > limits::MOST_SOURCE {
            return Err(Error::ChatTemplate(format!(
                "{file}: the template has {} bytes; at most {} are read",
                source.len(),
                limits::MOST_SOURCE
            )));
        }
        let texts = jinja::texts(&source);
        let reasoning = ReasoningTags::of(&source);
        let thinking_switch = reasoning::switch(&source);
        let text = source.clone();
        let environment = stack::run_within(TIME_LIMIT, move || jinja::environment(NAME, &source))?
            .ok_or_else(|| {
                Error::ChatTemplate(format!(
                    "{file}: compiling takes longer than {} seconds",
                    TIME_LIMIT.as_secs()
                ))
            })?
            .map_err(|e| template_error(file, &e))?;
        Ok(Self {
            file: file.into(),
            environment,
            texts,
            variables,
            reasoning,
            thinking_switch,
            source: text,
            gave_up: Arc::default(),
        })
    }

    /// The texts that it has in quotes, none of them empty.
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The tags around the model's thoughts, if it thinks.
    pub(crate) fn reasoning(&self) -> Option<ReasoningTags> {
        self.reasoning
    }

    /// The variable that switches thinking, if there is one.
    pub(crate) fn thinking_switch(&self) -> Option<&'static str> {
        self.thinking_switch
    }

    /// The template's text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Renders messages to a prompt, `generation_prompt` with the beginning of an answer behind
    /// them. `more` holds further variables, such as `tools` or `enable_thinking`.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] for what the template raises or gets wrong, and when it takes more steps,
    /// memory or time than any real one does.
    pub fn render(
        &self,
        messages: &[Message],
        generation_prompt: bool,
        more: &Map<String, Value>,
    ) -> Result<String> {
        self.render_values(to_value(messages)?, generation_prompt, more)
    }

    /// Like [`Self::render`], for messages in whatever form the template takes.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub(crate) fn render_values(
        &self,
        messages: Value,
        generation_prompt: bool,
        more: &Map<String, Value>,
    ) -> Result<String> {
        if self.gave_up.load(Ordering::Relaxed) {
            return Err(self.too_slow());
        }
        let mut context = self.variables.clone();
        // Defined and none, as transformers passes them when there are none.
        context.insert("tools".into(), Value::Null);
        context.insert("documents".into(), Value::Null);
        context.insert("messages".into(), messages);
        context.insert("add_generation_prompt".into(), generation_prompt.into());
        for (key, value) in more {
            context.insert(key.clone(), value.clone());
        }
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(limits::fuel(size(&context))));
        let rendered = stack::run_within(TIME_LIMIT, move || {
            catch_unwind(AssertUnwindSafe(|| {
                environment
                    .get_template(NAME)
                    .and_then(|template| template.render(minijinja::Value::from(Serde(&context))))
            }))
        })?;
        match rendered {
            // The interpreter panics on some nonsense, such as a cycle of nothing.
            Some(Err(panic)) => Err(Error::ChatTemplate(format!(
                "{}: the template cannot be run: {}",
                self.file,
                panic_message(panic.as_ref())
            ))),
            Some(Ok(result)) => result.map_err(|e| template_error(&self.file, &e)),
            None => {
                self.gave_up.store(true, Ordering::Relaxed);
                Err(self.too_slow())
            }
        }
    }

    fn too_slow(&self) -> Error {
        Error::ChatTemplate(format!(
            "{}: rendering takes longer than {} seconds",
            self.file,
            TIME_LIMIT.as_secs()
        ))
    }
}

/// About the bytes of JSON that values take.
fn size(context: &Map<String, Value>) -> usize {
    fn of(value: &Value) -> usize {
        8 + match value {
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(of).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + of(value)).sum(),
            _ => 0,
        }
    }
    context.values().map(of).sum()
}

fn to_value(messages: &[Message]) -> Result<Value> {
    serde_json::to_value(messages).map_err(|e| Error::ChatTemplate(e.to_string()))
}

/// The last line of an error's chain is the one that a template raised or that tells most.
fn template_error(file: &str, error: &minijinja::Error) -> Error {
    if error.kind() == ErrorKind::OutOfFuel {
        return Error::ChatTemplate(format!(
            "{file}: rendering takes more steps or memory than its limit for these messages"
        ));
    }
    let mut text = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line() {
        text.push_str(&format!(" (line {line} of {file})"));
    }
    Error::ChatTemplate(text)
}
