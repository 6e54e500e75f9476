//! What `config.json` and `generation_config.json` say about generating.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::formats::{GenerationDefaults, TokenRules, is_penalty, is_temperature};

/// End-of-sequence ids of both files together. Either may hold one id or a list; in chat models
/// the list with the end-of-turn token often stands in the second one only.
pub(super) fn eos_ids(
    config: &Map<String, Value>,
    generation: Option<&Map<String, Value>>,
) -> Result<Vec<u32>> {
    let mut ids = read_ids("config.json", config)?;
    if let Some(generation) = generation {
        ids.extend(read_ids("generation_config.json", generation)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn read_ids(file: &str, keys: &Map<String, Value>) -> Result<Vec<u32>> {
    const KEY: &str = "eos_token_id";
    let invalid = || Error::InvalidConfig {
        file: file.into(),
        key: KEY.into(),
        value: keys.get(KEY).map(Value::to_string).unwrap_or_default(),
        reason: "expected a token id or a list of them".into(),
    };
    let id = |value: &Value| match value.as_i64() {
        // None, as some tools write it.
        Some(-1) => Ok(u32::MAX),
        Some(id) => u32::try_from(id).map_err(|_| invalid()),
        None => Err(invalid()),
    };
    match keys.get(KEY) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(id).collect(),
        Some(value) => Ok(vec![id(value)?]),
    }
}

/// How the file proposes to generate. What concerns draws counts when `do_sample` is true, as
/// transformers has it; penalties, limits and what is forbidden or forced always do. Second, what the user
/// should know: keys that change transformers' answers and are not honoured here, and values that cannot
/// be. Neither is a reason not to load a model.
///
/// `top_n_sigma`, `presence_penalty`, `frequency_penalty`, `dry_multiplier`, `dry_base`,
/// `dry_allowed_length`, `dry_breakers` and `repeat_window` are no keys of transformers; they say what the options of those
/// names say.
pub(super) fn defaults(generation: &Map<String, Value>) -> (GenerationDefaults, Vec<String>) {
    let mut keys = Keys {
        keys: generation,
        warnings: Vec::new(),
    };
    let samples = generation.get("do_sample") == Some(&Value::Bool(true));
    let share = |p: f64| p > 0.0 && p <= 1.0;
    let fraction = |p: f64| (0.0..=1.0).contains(&p);
    let amount = |x: f64| x.abs() <= 1e6;
    let positive = |x: f64| (0.0..=1e6).contains(&x);
    let drawn = if samples {
        GenerationDefaults {
            // Transformers samples at temperature 1 among the 50 best when the keys are missing.
            temperature: Some(
                keys.number("temperature", "at least 0", is_temperature)
                    .unwrap_or(1.0),
            ),
            top_k: Some(
                keys.number("top_k", "a whole number", |k| k.fract() == 0.0 && k < 1e9)
                    // Below 0 means all, as 0 does.
                    .map_or(50, |k| k.max(0.0) as usize),
            ),
            top_p: keys.number("top_p", "above 0 and at most 1", share),
            min_p: keys.number("min_p", "from 0 to 1", fraction),
            typical_p: keys.number("typical_p", "above 0 and at most 1", share),
            epsilon_cutoff: keys.number("epsilon_cutoff", "from 0 to 1", fraction),
            eta_cutoff: keys.number("eta_cutoff", "from 0 to 1", fraction),
            top_n_sigma: keys.number("top_n_sigma", "from 0 to 1000000", positive),
            presence_penalty: keys.number("presence_penalty", "up to 1000000", amount),
            frequency_penalty: keys.number("frequency_penalty", "up to 1000000", amount),
            dry_multiplier: keys.number("dry_multiplier", "from 0 to 1000000", positive),
            dry_base: keys.number("dry_base", "from 1 to 1000000", |x| x >= 1.0 && positive(x)),
            dry_allowed_length: keys.count("dry_allowed_length", 1),
            dry_breakers: keys
                .value("dry_breakers")
                .is_some()
                .then(|| keys.texts("dry_breakers")),
            ..Default::default()
        }
    } else {
        GenerationDefaults::default()
    };
    let proposed = GenerationDefaults {
        repeat_penalty: keys.number("repetition_penalty", "from 0.000001 to 1000000", is_penalty),
        repeat_window: keys.count("repeat_window", 0),
        no_repeat_ngram_size: keys.count("no_repeat_ngram_size", 0),
        max_tokens: keys.count("max_new_tokens", 1),
        max_length: keys.count("max_length", 1),
        min_tokens: keys.count("min_new_tokens", 0),
        stop: keys.texts("stop_strings"),
        rules: Arc::new(keys.rules()),
        ..drawn
    };
    keys.warn_of_others(samples);
    (proposed, keys.warnings)
}

/// Keys that change what transformers generates and are not honoured, with the values that change nothing.
const OTHERS: &[(&str, &[f64])] = &[
    ("assistant_early_exit", &[]),
    ("constraints", &[]),
    ("diversity_penalty", &[0.0]),
    ("dola_layers", &[]),
    ("encoder_no_repeat_ngram_size", &[0.0]),
    ("encoder_repetition_penalty", &[1.0]),
    ("force_words_ids", &[]),
    ("forced_bos_token_id", &[]),
    ("guidance_scale", &[1.0]),
    ("max_time", &[]),
    ("num_beams", &[1.0]),
    ("penalty_alpha", &[0.0]),
    ("token_healing", &[]),
    ("watermarking_config", &[]),
];

/// The same of keys that count when `do_sample` is true.
const OTHERS_OF_SAMPLING: &[(&str, &[f64])] = &[("top_h", &[])];

struct Keys<'a> {
    keys: &'a Map<String, Value>,
    warnings: Vec<String>,
}

impl Keys<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    fn ignored(&mut self, key: &str, expected: &str) {
        let value = self.shown(key);
        self.warnings.push(format!(
            "generation_config.json: {key} = {value} is ignored: expected {expected}"
        ));
    }

    fn shown(&self, key: &str) -> String {
        let value = self.keys.get(key).map(Value::to_string);
        value.unwrap_or_default().chars().take(80).collect()
    }

    /// A number that fits; others are told and left out.
    fn number(&mut self, key: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let number = self.value(key)?.as_f64();
        let number = number.filter(|x| x.is_finite() && fits(*x));
        if number.is_none() {
            self.ignored(key, &format!("a number, {expected}"));
        }
        number
    }

    /// A whole number of at least `least`.
    fn count(&mut self, key: &str, least: usize) -> Option<usize> {
        let expected = format!("a whole number of at least {least}");
        let fits = |n: f64| n >= least as f64 && n.fract() == 0.0 && n < 1e9;
        self.number(key, &expected, fits).map(|n| n as usize)
    }

    /// A text or a list of texts.
    fn texts(&mut self, key: &str) -> Vec<String> {
        let texts = match self.value(key) {
            None => return Vec::new(),
            Some(Value::String(text)) => Some(vec![text.clone()]),
            Some(Value::Array(list)) => list
                .iter()
                .map(|text| text.as_str().map(str::to_owned))
                .collect(),
            Some(_) => None,
        };
        match texts {
            Some(texts) if texts.iter().all(|text| !text.is_empty()) => texts,
            _ => {
                self.ignored(key, "texts");
                Vec::new()
            }
        }
    }

    /// A token id or a list of them.
    fn ids(&mut self, key: &str) -> Vec<u32> {
        // Numbers below zero are no tokens, and forbid and force none.
        let value = match self.value(key) {
            Some(Value::Array(list)) => Some(Value::Array(
                list.iter()
                    .filter(|id| id.as_i64().is_none_or(|id| id >= 0))
                    .cloned()
                    .collect(),
            )),
            other => other.cloned(),
        };
        match value.as_ref().map(ids_of) {
            None => Vec::new(),
            Some(Some(ids)) => ids,
            Some(None) => {
                self.ignored(key, "token ids");
                Vec::new()
            }
        }
    }

    /// What is forbidden and forced.
    fn rules(&mut self) -> TokenRules {
        let mut sequence_bias = self.sequence_bias();
        let ends = self.value("eos_token_id").and_then(ids_of);
        sequence_bias.extend(self.bad_words(&ends.unwrap_or_default()));
        TokenRules {
            suppress_tokens: self.ids("suppress_tokens"),
            begin_suppress_tokens: self.ids("begin_suppress_tokens"),
            sequence_bias,
            forced_eos: self.ids("forced_eos_token_id"),
            min_length: self.count("min_length", 0).unwrap_or(0),
            decay: self.decay(),
        }
    }

    /// Sequences that are never completed. One that is an end alone does not count.
    fn bad_words(&mut self, ends: &[u32]) -> Vec<(Vec<u32>, f32)> {
        const KEY: &str = "bad_words_ids";
        let words: Option<Vec<Vec<u32>>> = match self.value(KEY) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list
                .iter()
                .map(|word| ids_of(word).filter(|_| word.is_array()))
                .collect(),
            Some(_) => None,
        };
        let Some(words) = words else {
            self.ignored(KEY, "lists of token ids");
            return Vec::new();
        };
        words
            .into_iter()
            .filter(|word| !matches!(word[..], [id] if ends.contains(&id)))
            .map(|word| (word, f32::NEG_INFINITY))
            .collect()
    }

    /// Pairs of a sequence and what is added to its last token's logit.
    fn sequence_bias(&mut self) -> Vec<(Vec<u32>, f32)> {
        const KEY: &str = "sequence_bias";
        let pair = |pair: &Value| {
            let [sequence, bias] = &pair.as_array()?[..] else {
                return None;
            };
            let bias = bias.as_f64()? as f32;
            bias.is_finite().then_some((ids_of(sequence)?, bias))
        };
        let pairs = match self.value(KEY) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list.iter().map(pair).collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        let Some(pairs) = pairs else {
            self.ignored(KEY, "pairs of token ids and a number");
            return Vec::new();
        };
        // Of several for one sequence the last counts.
        let by_sequence: BTreeMap<Vec<u32>, f32> = pairs.into_iter().collect();
        by_sequence.into_iter().collect()
    }

    fn decay(&mut self) -> Option<(i64, f64)> {
        const KEY: &str = "exponential_decay_length_penalty";
        let pair = self.value(KEY)?.as_array().and_then(|pair| {
            let [start, factor] = &pair[..] else {
                return None;
            };
            let start = start
                .as_f64()
                .filter(|n| n.fract() == 0.0 && n.abs() < 1e9)?;
            Some((start as i64, factor.as_f64().filter(|f| *f > 0.0)?))
        });
        if pair.is_none() {
            self.ignored(KEY, "a number of tokens and a factor");
        }
        pair
    }

    fn warn_of_others(&mut self, samples: bool) {
        let counted = OTHERS
            .iter()
            .chain(OTHERS_OF_SAMPLING.iter().filter(|_| samples));
        for (key, neutral) in counted {
            let Some(value) = self.keys.get(*key) else {
                continue;
            };
            let says_nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::Number(number) => number.as_f64().is_some_and(|x| neutral.contains(&x)),
                _ => false,
            };
            if !says_nothing {
                let value = self.shown(key);
                self.warnings.push(format!(
                    "generation_config.json: {key} = {value} is not honoured: answers may differ \
                     from those of transformers"
                ));
            }
        }
    }
}

/// A token id, or a list of at least one.
fn ids_of(value: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().map(id).collect(),
        value => Some(vec![id(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (GenerationDefaults, Vec<String>) {
        defaults(value.as_object().unwrap())
    }

    #[test]
    fn legal_and_odd_values_propose_or_warn_and_never_fail() {
        let (proposed, warnings) = read(json!({
            "do_sample": true, "temperature": 0.6, "top_k": -1, "top_p": 0.95, "min_p": null,
            "repetition_penalty": 1.05, "max_new_tokens": 2048, "num_beams": 1, "typical_p": 1.0,
            "suppress_tokens": [], "transformers_version": "4.51.0"
        }));
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            proposed,
            GenerationDefaults {
                temperature: Some(0.6),
                top_k: Some(0),
                top_p: Some(0.95),
                typical_p: Some(1.0),
                repeat_penalty: Some(1.05),
                max_tokens: Some(2048),
                ..Default::default()
            }
        );
        let (proposed, warnings) = read(json!({
            "do_sample": true, "temperature": 1e-320, "top_p": 1.5, "top_k": "many",
            "repetition_penalty": 1e-50, "max_new_tokens": 0, "stop_strings": [""],
            "suppress_tokens": ["a"], "bad_words_ids": [3], "sequence_bias": {"a": 1},
            "exponential_decay_length_penalty": 1, "forced_eos_token_id": "end"
        }));
        assert_eq!(proposed.temperature, Some(1.0));
        assert_eq!((proposed.top_p, proposed.repeat_penalty), (None, None));
        assert_eq!(*proposed.rules, TokenRules::default());
        assert_eq!(warnings.len(), 11, "{warnings:?}");
        let (proposed, warnings) =
            read(json!({"temperature": 0.6, "typical_p": 0.9, "num_beams": 4}));
        assert_eq!(proposed, GenerationDefaults::default());
        assert!(
            matches!(&warnings[..], [w] if w.contains("num_beams = 4 is not honoured")),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_is_forbidden_and_forced_is_read() {
        let (proposed, warnings) = read(json!({
            "eos_token_id": [2, 7], "suppress_tokens": [1], "begin_suppress_tokens": [220, 2],
            "bad_words_ids": [[2], [5, 6]], "sequence_bias": [[[4], -1.5]], "forced_eos_token_id": 2,
            "min_length": 4, "min_new_tokens": 3, "max_length": 64, "no_repeat_ngram_size": 3,
            "stop_strings": "###", "exponential_decay_length_penalty": [10, 1.5]
        }));
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            *proposed.rules,
            TokenRules {
                suppress_tokens: vec![1],
                begin_suppress_tokens: vec![220, 2],
                sequence_bias: vec![(vec![4], -1.5), (vec![5, 6], f32::NEG_INFINITY)],
                forced_eos: vec![2],
                min_length: 4,
                decay: Some((10, 1.5)),
            }
        );
        assert_eq!(proposed.min_tokens, Some(3));
        assert_eq!(proposed.max_length, Some(64));
        assert_eq!(proposed.no_repeat_ngram_size, Some(3));
        assert_eq!(proposed.stop, ["###"]);
    }
}
