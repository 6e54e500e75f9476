//! What a caller may ask of a generation, and what a model's own file proposes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};

/// The answer's length when neither caller nor context says otherwise.
pub const DEFAULT_MAX_TOKENS: usize = 2048;

/// Options as a caller gives them. What is left out is taken from the model's
/// `generation_config.json`, and what that leaves out too is greedy decoding.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateOptions {
    /// Most tokens to generate; 2048 by default. The context's end stops sooner.
    pub max_tokens: Option<usize>,
    /// 0 takes the most probable token; above 0 samples, the flatter the higher.
    pub temperature: Option<f64>,
    /// Sample among this many most probable tokens; 0 means all.
    pub top_k: Option<usize>,
    /// Sample among the fewest tokens whose probabilities sum to this; 1 means all.
    pub top_p: Option<f64>,
    /// Sample among tokens of at least this fraction of the best one's probability; 0 means all.
    pub min_p: Option<f64>,
    /// Divides the logits of tokens that occurred; 1 means no change.
    pub repeat_penalty: Option<f64>,
    /// How many of the last tokens (prompt included) count as occurred; all when left out.
    pub repeat_window: Option<usize>,
    /// Start of the random sequence; a random one, reported in the result, when left out.
    pub seed: Option<u64>,
    /// Texts that end the answer and are cut from it.
    pub stop: Vec<String>,
    /// Go on after an end-of-sequence token, as if it were any other.
    pub ignore_eos: bool,
    /// What is added to the logits of tokens, by their ids.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Tell how probable each new token was, and this many of the most probable in its place.
    pub logprobs: Option<usize>,
}

/// Options with nothing left open.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// 0 for greedy.
    pub temperature: f64,
    /// `None` for all.
    pub top_k: Option<usize>,
    /// In (0, 1].
    pub top_p: f64,
    /// In [0, 1].
    pub min_p: f64,
    /// Above 0.
    pub repeat_penalty: f64,
    /// `None` for the whole context.
    pub repeat_window: Option<usize>,
    /// Start of the random sequence.
    pub seed: u64,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether end-of-sequence tokens are like any other.
    pub ignore_eos: bool,
    /// What is added to the logits of tokens; ids below the size of the vocabulary.
    pub logit_bias: BTreeMap<u32, f32>,
    /// How many of the most probable tokens are told beside each new one, if any are told.
    pub logprobs: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_tokens: DEFAULT_MAX_TOKENS,
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_window: None,
            seed: 0,
            stop: Vec::new(),
            ignore_eos: false,
            logit_bias: BTreeMap::new(),
            logprobs: None,
        }
    }
}

impl GenerateOptions {
    /// Checks every value and fills what is left out.
    pub fn resolve(&self, proposed: &ProposedSampling) -> Result<Sampling> {
        let temperature = in_range(
            "temperature",
            self.temperature.or(proposed.temperature).unwrap_or(0.0),
            |t| t >= 0.0,
            "a number of at least 0",
        )?;
        let top_p = in_range(
            "top_p",
            self.top_p.or(proposed.top_p).unwrap_or(1.0),
            |p| p > 0.0 && p <= 1.0,
            "a number above 0 and at most 1",
        )?;
        let min_p = in_range(
            "min_p",
            self.min_p.or(proposed.min_p).unwrap_or(0.0),
            |p| (0.0..=1.0).contains(&p),
            "a number from 0 to 1",
        )?;
        let repeat_penalty = in_range(
            "repeat_penalty",
            self.repeat_penalty
                .or(proposed.repeat_penalty)
                .unwrap_or(1.0),
            |p| p > 0.0,
            "a number above 0",
        )?;
        if self.max_tokens == Some(0) {
            return Err(Error::argument("max_tokens", "expected at least 1, got 0"));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::argument("stop", "an empty stop text stops nothing"));
        }
        if let Some((id, bias)) = self.logit_bias.iter().find(|(_, bias)| !bias.is_finite()) {
            return Err(Error::argument(
                "logit_bias",
                format!("expected a finite number for token {id}, got {bias}"),
            ));
        }
        Ok(Sampling {
            max_tokens: self
                .max_tokens
                .or(proposed.max_tokens)
                .unwrap_or(DEFAULT_MAX_TOKENS),
            temperature,
            top_k: self.top_k.or(proposed.top_k).filter(|k| *k > 0),
            top_p,
            min_p,
            repeat_penalty,
            repeat_window: self.repeat_window,
            seed: self.seed.unwrap_or_else(rand::random),
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos,
            logit_bias: self.logit_bias.clone(),
            logprobs: self.logprobs,
        })
    }
}

fn in_range(name: &str, value: f64, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64> {
    if value.is_finite() && fits(value) {
        Ok(value)
    } else {
        Err(Error::argument(
            name,
            format!("expected {expected}, got {value}"),
        ))
    }
}

/// The sampling that a model's `generation_config.json` proposes, where `do_sample` is true.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProposedSampling {
    /// See [`GenerateOptions::temperature`].
    pub temperature: Option<f64>,
    /// See [`GenerateOptions::top_k`].
    pub top_k: Option<usize>,
    /// See [`GenerateOptions::top_p`].
    pub top_p: Option<f64>,
    /// See [`GenerateOptions::min_p`].
    pub min_p: Option<f64>,
    /// See [`GenerateOptions::repeat_penalty`].
    pub repeat_penalty: Option<f64>,
    /// See [`GenerateOptions::max_tokens`].
    pub max_tokens: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused_by_name() {
        let cases = [
            (
                "temperature",
                GenerateOptions {
                    temperature: Some(f64::NAN),
                    ..Default::default()
                },
            ),
            (
                "top_p",
                GenerateOptions {
                    top_p: Some(-1.0),
                    ..Default::default()
                },
            ),
            (
                "min_p",
                GenerateOptions {
                    min_p: Some(1.5),
                    ..Default::default()
                },
            ),
            (
                "repeat_penalty",
                GenerateOptions {
                    repeat_penalty: Some(0.0),
                    ..Default::default()
                },
            ),
            (
                "max_tokens",
                GenerateOptions {
                    max_tokens: Some(0),
                    ..Default::default()
                },
            ),
            (
                "stop",
                GenerateOptions {
                    stop: vec![String::new()],
                    ..Default::default()
                },
            ),
        ];
        for (name, options) in cases {
            let error = options.resolve(&ProposedSampling::default()).unwrap_err();
            assert!(
                matches!(&error, Error::InvalidArgument { name: n, .. } if n == name),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn the_caller_goes_before_the_model_and_the_model_before_greedy() {
        let proposed = ProposedSampling {
            temperature: Some(0.7),
            top_k: Some(20),
            ..Default::default()
        };
        let options = GenerateOptions {
            top_k: Some(5),
            seed: Some(1),
            ..Default::default()
        };
        let sampling = options.resolve(&proposed).unwrap();
        assert_eq!(sampling.temperature, 0.7);
        assert_eq!(sampling.top_k, Some(5));
        let plain = options.resolve(&ProposedSampling::default()).unwrap();
        assert_eq!(plain.temperature, 0.0);
    }
}
