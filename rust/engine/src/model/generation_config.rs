//! What `config.json` and `generation_config.json` say about generating.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::generate::ProposedSampling;

/// End-of-sequence ids of both files together. Either may hold one id or a list; in chat models
/// the list with the end-of-turn token often stands in the second one only.
pub(crate) fn eos_ids(
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

/// The sampling that the file proposes; nothing unless `do_sample` is true, as transformers has it
/// (the penalty counts for greedy decoding too). Second, what the user should know: keys that change
/// transformers' answers and are not honoured here, and values that cannot be. Neither is a reason not
/// to load a model.
pub(crate) fn proposed_sampling(
    generation: &Map<String, Value>,
) -> (ProposedSampling, Vec<String>) {
    let mut keys = Proposals {
        keys: generation,
        warnings: Vec::new(),
    };
    let samples = generation.get("do_sample") == Some(&Value::Bool(true));
    let sampled = |value: Option<f64>| value.filter(|_| samples);
    let proposed = ProposedSampling {
        // Transformers samples at temperature 1 among the 50 best when the keys are missing.
        temperature: sampled(Some(
            keys.number("temperature", "at least 0", |t| t >= 0.0)
                .unwrap_or(1.0),
        )),
        top_k: sampled(Some(
            keys.number("top_k", "a whole number", |k| k.fract() == 0.0 && k < 1e9)
                // Below 0 means all, as 0 does.
                .map_or(50.0, |k| k.max(0.0)),
        ))
        .map(|k| k as usize),
        top_p: sampled(keys.number("top_p", "above 0 and at most 1", |p| p > 0.0 && p <= 1.0)),
        min_p: sampled(keys.number("min_p", "from 0 to 1", |p| (0.0..=1.0).contains(&p))),
        repeat_penalty: keys.number("repetition_penalty", "above 0", |p| {
            p > 0.0 && (p as f32) > 0.0 && (p as f32).is_finite()
        }),
        max_tokens: keys
            .number("max_new_tokens", "a whole number of at least 1", |n| {
                n >= 1.0 && n.fract() == 0.0 && n < 1e9
            })
            .map(|n| n as usize),
    };
    keys.warn_of_others(samples);
    (proposed, keys.warnings)
}

/// Keys that change what transformers generates and are not honoured, with the values that change nothing.
const OTHERS: &[(&str, &[f64])] = &[
    ("assistant_early_exit", &[]),
    ("bad_words_ids", &[]),
    ("begin_suppress_tokens", &[]),
    ("constraints", &[]),
    ("diversity_penalty", &[0.0]),
    ("encoder_no_repeat_ngram_size", &[0.0]),
    ("encoder_repetition_penalty", &[1.0]),
    ("exponential_decay_length_penalty", &[]),
    ("force_words_ids", &[]),
    ("forced_bos_token_id", &[]),
    ("forced_eos_token_id", &[]),
    ("guidance_scale", &[1.0]),
    ("min_length", &[0.0]),
    ("min_new_tokens", &[0.0]),
    ("no_repeat_ngram_size", &[0.0]),
    ("num_beams", &[1.0]),
    ("penalty_alpha", &[0.0]),
    ("sequence_bias", &[]),
    ("stop_strings", &[]),
    ("suppress_tokens", &[]),
    ("watermarking_config", &[]),
];

/// The same of keys that count when `do_sample` is true.
const OTHERS_OF_SAMPLING: &[(&str, &[f64])] = &[
    ("epsilon_cutoff", &[0.0]),
    ("eta_cutoff", &[0.0]),
    ("top_h", &[]),
    ("typical_p", &[1.0]),
];

struct Proposals<'a> {
    keys: &'a Map<String, Value>,
    warnings: Vec<String>,
}

impl Proposals<'_> {
    /// A number that fits; others are told and left out.
    fn number(&mut self, key: &str, expected: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let value = self.keys.get(key).filter(|value| !value.is_null())?;
        let number = value.as_f64().filter(|x| x.is_finite() && fits(*x));
        if number.is_none() {
            self.warnings.push(format!(
                "generation_config.json: {key} = {value} is ignored: expected a number, {expected}"
            ));
        }
        number
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
                let value: String = value.to_string().chars().take(80).collect();
                self.warnings.push(format!(
                    "generation_config.json: {key} = {value} is not honoured: answers may differ \
                     from those of transformers"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (ProposedSampling, Vec<String>) {
        proposed_sampling(value.as_object().unwrap())
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
            ProposedSampling {
                temperature: Some(0.6),
                top_k: Some(0),
                top_p: Some(0.95),
                min_p: None,
                repeat_penalty: Some(1.05),
                max_tokens: Some(2048),
            }
        );
        let (proposed, warnings) = read(json!({
            "do_sample": true, "temperature": 0, "top_p": 1.5, "top_k": "many",
            "repetition_penalty": 1e-50, "max_new_tokens": 0
        }));
        assert_eq!(proposed.temperature, Some(0.0));
        assert_eq!((proposed.top_p, proposed.repeat_penalty), (None, None));
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        let (proposed, warnings) = read(json!({
            "temperature": 0.6, "typical_p": 0.9, "no_repeat_ngram_size": 3, "bad_words_ids": [[1]]
        }));
        assert_eq!(proposed, ProposedSampling::default());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings
                .iter()
                .any(|w| w.contains("no_repeat_ngram_size = 3 is not honoured"))
        );
    }
}
