//! Texts as messages of a chat, which the model's chat template makes a prompt of.
//!
//! Follows sentence-transformers: a text is the message of a user, a pair has the roles `query` and `document`, and a prompt
//! is a message of the system before them.

use serde_json::{Map, Value, json};

use super::limits::TextLimits;
use crate::chat::ChatTemplate;
use crate::error::Result;
use crate::formats::TemplateSource;
use crate::formats::folder::sentence::MessageSettings;
use crate::tokenizer::{Passage, Tokenizer};

/// How texts become prompts by a chat template.
pub(super) struct Messages {
    template: ChatTemplate,
    /// Whether a message's content is a list of parts, and not a text.
    structured: bool,
    generation_prompt: bool,
    variables: Map<String, Value>,
}

/// A role and what it says.
type Turn<'a> = (&'a str, &'a str);

/// The roles of a pair.
const QUERY: &str = "query";
const DOCUMENT: &str = "document";
const SYSTEM: &str = "system";

/// By these, a template is known that takes contents as lists of parts.
const STRUCTURED: [&str; 5] = [
    "content[0]",
    ".type",
    "'type'",
    "\"type\"",
    "message.content[",
];

impl Messages {
    /// By a template, and by what the files say of it.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`](crate::error::Error::ChatTemplate) for what is no template.
    pub(super) fn of(template: TemplateSource, settings: Option<&MessageSettings>) -> Result<Self> {
        let by_template = STRUCTURED.iter().any(|mark| template.source.contains(mark));
        let mut variables = settings.map_or_else(Map::new, |settings| settings.variables.clone());
        let generation_prompt = variables.remove("add_generation_prompt");
        Ok(Self {
            structured: settings
                .and_then(|settings| settings.structured)
                .unwrap_or(by_template),
            generation_prompt: generation_prompt == Some(Value::Bool(true)),
            variables,
            template: ChatTemplate::of(template)?,
        })
    }

    /// Why the template does not write both texts of a pair into a prompt; `None` where it does.
    pub(super) fn pair_failure(&self) -> Option<String> {
        let render =
            |query: &str, document: &str| self.render(&[(QUERY, query), (DOCUMENT, document)]);
        let all = render("alpha", "bravo").and_then(|first| {
            Ok((
                first,
                render("charlie", "bravo")?,
                render("alpha", "foxtrot")?,
            ))
        });
        match all {
            Err(error) => Some(error.to_string()),
            Ok((first, query, document)) if first == query || first == document => {
                Some("the chat template has no place for the roles query and document".into())
            }
            Ok(_) => None,
        }
    }

    /// The tokens of a text behind a prompt.
    ///
    /// # Errors
    /// As [`TextLimits::passage`], and [`Error::ChatTemplate`](crate::error::Error::ChatTemplate).
    pub(super) fn text(
        &self,
        limits: &TextLimits,
        tokenizer: &Tokenizer,
        prompt: &str,
        text: &str,
        truncate: bool,
    ) -> Result<Passage> {
        self.passage(limits, tokenizer, prompt, &[("user", text)], truncate)
    }

    /// The tokens of a pair behind a prompt.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(super) fn pair(
        &self,
        limits: &TextLimits,
        tokenizer: &Tokenizer,
        prompt: &str,
        [query, document]: [&str; 2],
        truncate: bool,
    ) -> Result<Passage> {
        let turns = [(QUERY, query), (DOCUMENT, document)];
        self.passage(limits, tokenizer, prompt, &turns, truncate)
    }

    fn passage(
        &self,
        limits: &TextLimits,
        tokenizer: &Tokenizer,
        prompt: &str,
        turns: &[Turn],
        truncate: bool,
    ) -> Result<Passage> {
        let tokens = |said: Option<&str>| -> Result<Vec<u32>> {
            let system = (!prompt.is_empty()).then_some((SYSTEM, prompt));
            let rest = turns
                .iter()
                .map(|(role, text)| (*role, said.unwrap_or(text)));
            let all: Vec<Turn> = system.into_iter().chain(rest).collect();
            tokenizer.encode(&self.render(&all)?, false)
        };
        limits.rendered(tokens(None)?, truncate, || {
            // What is the same whatever is said, at the end.
            let (first, second) = (tokens(Some("0"))?, tokens(Some("1 2 3 4"))?);
            let both = first.iter().rev().zip(second.iter().rev());
            let same = both.take_while(|(left, right)| left == right).count();
            Ok(match same < first.len().min(second.len()) {
                true => first[first.len() - same..].to_vec(),
                false => Vec::new(),
            })
        })
    }

    fn render(&self, turns: &[Turn]) -> Result<String> {
        let messages = turns
            .iter()
            .map(|(role, text)| {
                let content = match self.structured {
                    true => json!([{"type": "text", "text": text}]),
                    false => json!(text),
                };
                json!({"role": role, "content": content})
            })
            .collect();
        self.template
            .render_values(messages, self.generation_prompt, &self.variables)
    }
}
