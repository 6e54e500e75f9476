//! Reading `config.json` key by key.
//!
//! Every key that is read is remembered. Keys that nobody asked for are refused by name, unless
//! they are known to say nothing about how logits are computed: so a model that was published with
//! some new idea is never run without it.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Keys that do not change what the model computes: training settings, notes of the tools that
/// wrote the file, settings of generation (read elsewhere), and names of classification labels.
const HARMLESS: &[&str] = &[
    "add_cross_attention",
    "architectures",
    "attention_dropout",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "length_penalty",
    "max_length",
    "max_sequence_length",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "sep_token_id",
    "seq_length",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// One `config.json`, or one object inside it.
#[derive(Debug)]
pub struct ConfigFile<'a> {
    file: &'a str,
    prefix: String,
    keys: &'a Map<String, Value>,
    read: RefCell<HashSet<&'a str>>,
}

impl<'a> ConfigFile<'a> {
    /// A view of `keys`, which were read from `file` (for messages).
    pub fn new(file: &'a str, keys: &'a Map<String, Value>) -> Self {
        Self {
            file,
            prefix: String::new(),
            keys,
            read: RefCell::new(HashSet::new()),
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
            })),
            Some(_) => Err(self.invalid(key, "expected an object")),
        }
    }

    /// Refuses the keys that were not read and may mean something.
    pub fn finish(&self) -> Result<()> {
        let read = self.read.borrow();
        for (key, value) in self.keys {
            let known = read.contains(key.as_str())
                || HARMLESS.contains(&key.as_str())
                || key.starts_with('_')
                || value.is_null();
            if !known {
                return Err(self.unsupported(key, "this key is not known, so it is not ignored"));
            }
        }
        Ok(())
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

    fn missing(&self, key: &str) -> Error {
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
    fn unknown_keys_are_refused_by_name() {
        let keys = object(
            json!({"hidden_size": 8, "use_cache": true, "_private": 1, "x": null,
            "rope": {"theta": 2.0, "twist": 1}}),
        );
        let config = ConfigFile::new("config.json", &keys);
        config.count("hidden_size").unwrap();
        let rope = config.object("rope").unwrap().unwrap();
        rope.positive("theta").unwrap();
        config.finish().unwrap();
        let error = rope.finish().unwrap_err();
        assert!(
            matches!(&error, Error::UnsupportedModel { key, value, .. } if key == "rope.twist" && value == "1"),
            "{error}"
        );
    }
}
