//! The chat template of a folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files::{self, Limit};
use crate::formats::TemplateSource;
use crate::tokenizer::TokenizerConfig;

/// Finds the template: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json`, else
/// `chat_template.json`.
///
/// # Errors
/// [`Error::Io`] and [`Error::InvalidFile`], which name the file.
pub(crate) fn read(folder: &Path, tokens: &TokenizerConfig) -> Result<Option<TemplateSource>> {
    const TEMPLATE: &str = "chat_template.jinja";
    const CONFIG: &str = "tokenizer_config.json";
    const OLD: &str = "chat_template.json";
    let file = files::read_if_present(&folder.join(TEMPLATE), Limit::Template)?;
    let found = match file {
        Some(bytes) => {
            let source = String::from_utf8(bytes).map_err(|e| Error::InvalidFile {
                file: TEMPLATE.into(),
                reason: e.to_string(),
            })?;
            Some((TEMPLATE, source))
        }
        None => match default_template(tokens.keys().get("chat_template")) {
            Some(source) => Some((CONFIG, source)),
            None => read_object(&folder.join(OLD))?
                .and_then(|object| default_template(object.get("chat_template")))
                .map(|source| (OLD, source)),
        },
    };
    Ok(found.map(|(file, source)| TemplateSource {
        file: file.into(),
        source,
        variables: special_variables(tokens),
    }))
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

/// The special tokens by their names, which templates can use.
fn special_variables(tokens: &TokenizerConfig) -> Map<String, Value> {
    tokens
        .named()
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect()
}

fn read_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    files::read_if_present(path, Limit::Settings)?
        .map(|bytes| files::json(path, &bytes))
        .transpose()
}
