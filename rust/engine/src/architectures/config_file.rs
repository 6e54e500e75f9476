//! Reading `config.json` key by key.
//!
//! Every key that is read is remembered. Of the others, those that the reference implementation reads
//! for this architecture are refused by name unless they restate what is computed anyway; those that it
//! does not read either cannot change its result, and are ignored.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::read_keys::{ReadKeys, restates};
use crate::error::{Error, Result};

/// One `config.json`, or one object inside it.
#[derive(Debug)]
pub struct ConfigFile<'a> {
    file: &'a str,
    prefix: String,
    keys: &'a Map<String, Value>,
    read: RefCell<HashSet<&'a str>>,
    /// Shared with the objects inside.
    ignored: Rc<RefCell<Vec<String>>>,
}

impl<'a> ConfigFile<'a> {
    /// A view of `keys`, which were read from `file` (for messages).
    pub fn new(file: &'a str, keys: &'a Map<String, Value>) -> Self {
        Self {
            file,
            prefix: String::new(),
            keys,
            read: RefCell::new(HashSet::new()),
            ignored: Rc::default(),
        }
    }

    /// A view of keys that stand behind `prefix` in their file.
    pub fn inside(file: &'a str, prefix: &str, keys: &'a Map<String, Value>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::new(file, keys)
        }
    }

    /// Whether it has no keys at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The value of a key; a null counts as missing, as transformers has it.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.keys.get_key_value(key)?;
        self.read.borrow_mut().insert(key);
        (!value.is_null()).then_some(value)
    }

    /// Whether the key stands in the file, be it with a null.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether the key was read by now.
    pub fn was_read(&self, key: &str) -> bool {
        self.read.borrow().contains(key)
    }

    /// A count that must be at least 1 and fit what a model can have.
    pub fn count(&self, key: &str) -> Result<Option<usize>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match whole(value) {
                Some(n) if (1..=COUNT_LIMIT).contains(&n) => Ok(Some(n as usize)),
                _ => Err(self.invalid(
                    key,
                    format!("expected a whole number from 1 to {COUNT_LIMIT}"),
                )),
            },
        }
    }

    /// A count that has no default.
    pub fn required_count(&self, key: &str) -> Result<usize> {
        self.count(key)?.ok_or_else(|| self.missing(key))
    }

    /// A whole number that may be 0.
    pub fn whole(&self, key: &str) -> Result<Option<usize>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match whole(value) {
                Some(n) if n <= COUNT_LIMIT => Ok(Some(n as usize)),
                _ => Err(self.invalid(
                    key,
                    format!("expected a whole number from 0 to {COUNT_LIMIT}"),
                )),
            },
        }
    }

    /// A finite number above 0.
    pub fn positive(&self, key: &str) -> Result<Option<f64>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
                _ => Err(self.invalid(key, "expected a number above 0")),
            },
        }
    }

    /// A finite number that may be 0.
    pub fn not_negative(&self, key: &str) -> Result<Option<f64>> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(x) if x.is_finite() && x >= 0.0 => Ok(Some(x)),
                _ => Err(self.invalid(key, "expected a number of at least 0")),
            },
        }
    }

    /// A list of finite numbers above 0.
    pub fn positives(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let numbers: Option<Vec<f64>> = value.as_array().and_then(|list| {
            list.iter()
                .map(|x| x.as_f64().filter(|x| x.is_finite() && *x > 0.0))
                .collect()
        });
        numbers
            .map(Some)
            .ok_or_else(|| self.invalid(key, "expected a list of numbers above 0"))
    }

    /// A list of whole numbers.
    pub fn wholes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let numbers: Option<Vec<usize>> = value
            .as_array()
            .and_then(|list| list.iter().map(|x| whole(x).map(|n| n as usize)).collect());
        numbers
            .map(Some)
            .ok_or_else(|| self.invalid(key, "expected a list of whole numbers"))
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(_) => Err(self.invalid(key, "expected true or false")),
        }
    }

    /// A truth value, `default` where the key is not there. One that is null is false, as Python takes it.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        let default = default && !self.has(key);
        Ok(self.flag(key)?.unwrap_or(default))
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(_) => Err(self.invalid(key, "expected a text")),
        }
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let texts: Option<Vec<&str>> = value
            .as_array()
            .and_then(|list| list.iter().map(Value::as_str).collect());
        texts
            .map(Some)
            .ok_or_else(|| self.invalid(key, "expected a list of texts"))
    }

    /// An object inside this one, to be read and finished by itself.
    pub fn object(&self, key: &str) -> Result<Option<ConfigFile<'a>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(keys)) => Ok(Some(ConfigFile {
                file: self.file,
                prefix: format!("{}{key}.", self.prefix),
                keys,
                read: RefCell::new(HashSet::new()),
                ignored: self.ignored.clone(),
            })),
            Some(_) => Err(self.invalid(key, "expected an object")),
        }
    }

    /// Refuses the keys that were not read here, but by the reference implementation, which reads
    /// `reference`; the others are ignored.
    pub(crate) fn finish(&self, reference: &ReadKeys) -> Result<()> {
        let read = self.read.borrow();
        for (key, value) in self.keys {
            if read.contains(key.as_str()) || value.is_null() {
                continue;
            }
            match reference.get(key) {
                Some(default) if !restates(value, default) => {
                    return Err(self.unsupported(key, "what this key asks for is not computed"));
                }
                _ => self.ignored.borrow_mut().push(self.full(key)),
            }
        }
        Ok(())
    }

    /// The keys that were ignored by now, those of the objects inside too, in order.
    pub(crate) fn ignored(&self) -> Vec<String> {
        let mut keys = self.ignored.borrow().clone();
        keys.sort_unstable();
        keys
    }

    /// An error about a value that cannot be.
    pub fn invalid(&self, key: &str, reason: impl Into<String>) -> Error {
        Error::InvalidConfig {
            file: self.file.into(),
            key: self.full(key),
            value: self.json(key),
            reason: reason.into(),
        }
    }

    /// An error about a value that may be right, but that is not computed here.
    pub fn unsupported(&self, key: &str, reason: impl Into<String>) -> Error {
        Error::UnsupportedModel {
            file: self.file.into(),
            key: self.full(key),
            value: self.json(key),
            reason: reason.into(),
        }
    }

    /// An error about a key that must be there.
    pub fn missing(&self, key: &str) -> Error {
        self.invalid(key, "this key is needed")
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The value as it stands in the file, cut where it is long.
    fn json(&self, key: &str) -> String {
        let mut text = match self.keys.get(key) {
            Some(value) => value.to_string(),
            None => "(missing)".into(),
        };
        if let Some((end, _)) = text.char_indices().nth(200) {
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

/// No size in a model's configuration comes near this; what exceeds it would only lead to
/// arithmetic that overflows further on.
const COUNT_LIMIT: u64 = 1 << 31;

/// A whole number, also when it was written as `1.0` or `1e6`.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|x| x.fract() == 0.0 && *x >= 0.0 && *x < 2f64.powi(53))
            .map(|x| x as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => unreachable!(),
        }
    }

    #[test]
    fn null_counts_as_missing_and_zero_is_refused() {
        let keys = object(json!({"a": null, "b": 0, "c": 3.0, "d": -1, "e": 1e30}));
        let config = ConfigFile::new("config.json", &keys);
        assert_eq!(config.count("a").unwrap(), None);
        assert_eq!(config.count("c").unwrap(), Some(3));
        for key in ["b", "d", "e"] {
            let error = config.count(key).unwrap_err();
            assert!(error.to_string().contains(&format!("{key} = ")), "{error}");
        }
    }

    #[test]
    fn keys_that_the_reference_reads_are_refused_and_others_ignored() {
        let keys = object(json!({
            "hidden_size": 8, "published_by": "x", "attention_chunk_size": null, "is_causal": true,
            "rope": {"theta": 2.0, "twist": 1, "turn": 1}
        }));
        let reference = ReadKeys::from_iter([
            ("attention_chunk_size".to_owned(), Value::Null),
            ("is_causal".to_owned(), true.into()),
            ("turn".to_owned(), Value::Null),
        ]);
        let config = ConfigFile::new("config.json", &keys);
        config.count("hidden_size").unwrap();
        let rope = config.object("rope").unwrap().unwrap();
        rope.positive("theta").unwrap();
        config.finish(&reference).unwrap();
        let error = rope.finish(&reference).unwrap_err();
        assert!(
            matches!(&error, Error::UnsupportedModel { key, value, .. } if key == "rope.turn" && value == "1"),
            "{error}"
        );
        assert_eq!(
            config.ignored(),
            ["is_causal", "published_by", "rope.twist"]
        );
    }
}
