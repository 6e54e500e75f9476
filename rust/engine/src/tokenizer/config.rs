//! `tokenizer_config.json`: the tokens that it adds to `tokenizer.json`.
//!
//! Folders of older models have the same in `special_tokens_map.json` and `added_tokens.json`. What counts
//! where follows `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__` of Hugging Face
//! transformers.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::HfTokenizer;
use super::class::{FILE, TokenizerClass, text_of};
use crate::error::{Error, Result};
use crate::files::{self, Limit};

const OLD_SPECIAL: &str = "special_tokens_map.json";
const OLD_ADDED: &str = "added_tokens.json";

/// The keys of special tokens without a name of their own, the second of which counts where the first is not.
const EXTRA: &str = "extra_special_tokens";
const ADDITIONAL: &str = "additional_special_tokens";

/// The most tokens that are added. Published files have up to a few thousand.
const MOST_ADDED: usize = 100_000;

/// What a model's folder says of its tokenizer beside `tokenizer.json`.
#[derive(Debug, Default)]
pub(crate) struct TokenizerConfig {
    /// `tokenizer_config.json`, with what `special_tokens_map.json` has.
    keys: Map<String, Value>,
    /// Tokens with an entry of their own, by their ids.
    added: Vec<AddedToken>,
    /// The file that they come from.
    added_from: &'static str,
    /// What reads `tokenizer.json`.
    class: TokenizerClass,
}

impl TokenizerConfig {
    /// Reads the files of a folder, none of which it must have.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::InvalidFile`], which name the file.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Option<Map<String, Value>>> {
            let path = folder.join(name);
            files::read_if_present(&path, Limit::Settings)?
                .map(|bytes| files::json(&path, &bytes))
                .transpose()
        };
        let mut keys = read(FILE)?.unwrap_or_default();
        if let Some(entries) = keys.remove("added_tokens_decoder") {
            return Ok(Self {
                added: entries_of(&entries)?,
                added_from: FILE,
                keys,
                class: TokenizerClass::File,
            });
        }
        for (key, value) in read(OLD_SPECIAL)?.into_iter().flatten() {
            keys.insert(key, value);
        }
        let mut config = Self {
            keys,
            added: Vec::new(),
            added_from: OLD_ADDED,
            class: TokenizerClass::File,
        };
        if let Some(ids) = read(OLD_ADDED)? {
            config.added = config.old_entries(&ids)?;
        }
        Ok(config)
    }

    /// All keys.
    pub(crate) fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    /// Sets the class that reads `tokenizer.json`, for a model of this family and configuration.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for a class that is not known.
    pub(crate) fn set_class(&mut self, family: &str, model: &Map<String, Value>) -> Result<()> {
        self.class = TokenizerClass::of(family, model, &self.keys)?;
        Ok(())
    }

    /// Whether the model is told which tokens belong to a pair's second text.
    pub(crate) fn tells_pairs(&self) -> bool {
        match self.keys.get("model_input_names") {
            Some(Value::Array(names)) => names.iter().any(|name| name == "token_type_ids"),
            _ => self.class.tells_pairs(),
        }
    }

    /// The texts of the tokens that have a name, such as `bos_token`.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys
            .iter()
            .filter(|(name, _)| name.ends_with("_token"))
            .filter_map(|(name, value)| Some((name.as_str(), text_of(value)?)))
    }

    /// Makes of a `tokenizer.json` what its class makes of it, and adds the tokens that it lacks or has with other
    /// properties. What is put around texts is the business of the class, else of `tokenizer.json` alone: beside one,
    /// transformers drops `add_bos_token` and `add_eos_token`.
    pub(super) fn apply(&self, tokenizer: &mut HfTokenizer) -> Result<()> {
        if self.keys.get("split_special_tokens") == Some(&Value::Bool(true)) {
            tokenizer.set_encode_special_tokens(true);
        }
        self.class.prepare(tokenizer, &self.keys)?;
        self.add_tokens(tokenizer)?;
        self.class.finish(tokenizer, &self.keys)
    }

    fn add_tokens(&self, tokenizer: &mut HfTokenizer) -> Result<()> {
        let invalid = |reason: String| Error::InvalidFile {
            file: self.added_from.into(),
            reason,
        };
        let known: HashMap<String, AddedToken> = tokenizer
            .get_added_tokens_decoder()
            .into_values()
            .map(|token| (token.content.clone(), token))
            .collect();
        let special: Vec<AddedToken> = self.special_tokens().collect();
        let count = self.added.len() + special.len();
        if count > MOST_ADDED {
            return Err(invalid(format!(
                "{count} tokens are added; at most {MOST_ADDED} are"
            )));
        }
        let mut tokens: Vec<AddedToken> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for token in &self.added {
            if known.get(&token.content) != Some(token) {
                places.insert(token.content.clone(), tokens.len());
                tokens.push(token.clone());
            }
        }
        for token in special {
            match places.get(&token.content) {
                Some(place) => tokens[*place].special = true,
                None if known.contains_key(&token.content) => {}
                None => {
                    places.insert(token.content.clone(), tokens.len());
                    tokens.push(token);
                }
            }
        }
        tokenizer
            .add_tokens(tokens)
            .map_err(|e| invalid(e.to_string()))?;
        Ok(())
    }

    /// Tokens that are special because a key names them.
    fn special_tokens(&self) -> impl Iterator<Item = AddedToken> {
        let named = self.keys.iter().filter(|(key, _)| key.ends_with("_token"));
        let extra = self.keys.get(EXTRA).filter(|value| !is_empty(value));
        let extra = extra.or_else(|| self.keys.get(ADDITIONAL));
        let (list, by_name) = match extra {
            Some(Value::Array(list)) => (Some(list), None),
            Some(Value::Object(map)) => (None, Some(map)),
            _ => (None, None),
        };
        named
            .map(|(_, value)| value)
            .chain(list.into_iter().flatten())
            .chain(by_name.into_iter().flat_map(Map::values))
            .filter_map(|value| {
                let mut token = token_of(value)?;
                token.special = true;
                // Left out, it follows from being special.
                if value.get("normalized").is_none() {
                    token.normalized = false;
                }
                Some(token)
            })
            .filter(|token| !token.content.is_empty())
    }

    /// `added_tokens.json` has ids alone.
    fn old_entries(&self, ids: &Map<String, Value>) -> Result<Vec<AddedToken>> {
        let mut entries: Vec<(u64, AddedToken)> = Vec::with_capacity(ids.len());
        let special: HashSet<String> = self.special_tokens().map(|token| token.content).collect();
        for (text, id) in ids {
            let special = special.contains(text);
            let id = id.as_u64().ok_or_else(|| Error::InvalidFile {
                file: OLD_ADDED.into(),
                reason: format!("{text:?}: expected a token id, got {id}"),
            })?;
            entries.push((id, AddedToken::from(text.clone(), special)));
        }
        entries.sort_by_key(|(id, _)| *id);
        Ok(entries.into_iter().map(|(_, token)| token).collect())
    }
}

/// The tokens of `added_tokens_decoder` in the order of their ids.
fn entries_of(entries: &Value) -> Result<Vec<AddedToken>> {
    let invalid = |reason: String| Error::InvalidFile {
        file: FILE.into(),
        reason: format!("added_tokens_decoder: {reason}"),
    };
    let entries = entries
        .as_object()
        .ok_or_else(|| invalid("expected an object".into()))?;
    let mut tokens = Vec::with_capacity(entries.len());
    for (id, entry) in entries {
        let number: u64 = id
            .parse()
            .map_err(|_| invalid(format!("expected token ids as keys, got {id:?}")))?;
        let token = token_of(entry)
            .filter(|_| entry.is_object())
            .ok_or_else(|| invalid(format!("{id}: expected a token with its content")))?;
        tokens.push((number, token));
    }
    tokens.sort_by_key(|(id, _)| *id);
    Ok(tokens.into_iter().map(|(_, token)| token).collect())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A token, which is written as its text or as an object with properties.
fn token_of(value: &Value) -> Option<AddedToken> {
    let text = text_of(value)?;
    if value.is_string() {
        return Some(AddedToken::from(text, true));
    }
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(text, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_ids() {
        let tokens = entries_of(&json!({
            "10": {"content": "<b>", "special": true, "lstrip": true},
            "9": {"content": "<a>"},
        }))
        .unwrap();
        let texts: Vec<&str> = tokens.iter().map(|t| t.content.as_str()).collect();
        assert_eq!(texts, ["<a>", "<b>"]);
        assert!(tokens[0].normalized && !tokens[1].normalized);
        assert!(!tokens[0].lstrip && tokens[1].lstrip);
    }

    #[test]
    fn entries_that_are_no_tokens_are_named() {
        for (entries, expected) in [
            (json!([]), "expected an object"),
            (json!({"x": {"content": "a"}}), "got \"x\""),
            (json!({"1": {"special": true}}), "1: expected a token"),
        ] {
            let error = entries_of(&entries).unwrap_err().to_string();
            assert!(error.contains("tokenizer_config.json"), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }
}
