//! What a caller may ask of a generation, and what a model's own file proposes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Dry;
use crate::error::{Error, Result};
use crate::formats::{GenerationDefaults, LARGEST_PENALTY, TokenRules, is_penalty, is_temperature};

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
    /// Sample among tokens whose information is nearest to what is expected, as far as their
    /// probabilities sum to this; 1 means all.
    pub typical_p: Option<f64>,
    /// Sample among tokens whose logits are within so many standard deviations of the best; 0 means all.
    pub top_n_sigma: Option<f64>,
    /// Divides the logits of tokens that occurred; 1 means no change.
    pub repeat_penalty: Option<f64>,
    /// How many of the last tokens (prompt included) the penalties count; all when left out.
    pub repeat_window: Option<usize>,
    /// Taken from the logits of tokens that occurred in the answer; 0 means no change.
    pub presence_penalty: Option<f64>,
    /// Taken from the logits of tokens for each time that they occurred in the answer; 0 means no change.
    pub frequency_penalty: Option<f64>,
    /// Taken from the logits of tokens that would repeat a sequence (DRY); 0 means no change.
    pub dry_multiplier: Option<f64>,
    /// By what that grows with each further token of the sequence; 1.75 by default.
    pub dry_base: Option<f64>,
    /// The longest sequence that may be repeated for nothing; 2 by default.
    pub dry_allowed_length: Option<usize>,
    /// Texts that no repeated sequence reaches across: an end of line, a colon, a quotation mark and an
    /// asterisk by default.
    pub dry_breakers: Option<Vec<String>>,
    /// No sequence of so many tokens occurs twice, the prompt included; 0 means that any may.
    pub no_repeat_ngram_size: Option<usize>,
    /// No end before so many tokens.
    pub min_tokens: Option<usize>,
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
    /// Milliseconds after which the call ends with what it has, at least 1; no limit when left out.
    pub timeout_ms: Option<u64>,
    /// Whether to think before the answer, where the model's chat template has a choice.
    pub thinking: Option<Thinking>,
    /// Whether to use prompt lookup decoding where it is faster; true by default. The answer is the same.
    pub prompt_lookup: Option<bool>,
    /// Wait when the model has as many requests as it takes at a time, instead of [`Error::QueueFull`].
    pub wait_when_full: bool,
}

/// Whether a model thinks before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// It thinks.
    On,
    /// It does not.
    Off,
    /// It thinks, and ends its thought after so many tokens.
    Budget(usize),
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
    /// Most tokens of prompt and answer together, where only the model's file sets a limit.
    pub max_length: Option<usize>,
    /// In [0, 1].
    pub min_p: f64,
    /// In (0, 1].
    pub typical_p: f64,
    /// 0 for all.
    pub top_n_sigma: f64,
    /// 0 for all.
    pub epsilon_cutoff: f64,
    /// 0 for all.
    pub eta_cutoff: f64,
    /// Above 0.
    pub repeat_penalty: f64,
    /// `None` for the whole context.
    pub repeat_window: Option<usize>,
    /// 0 for none.
    pub presence_penalty: f64,
    /// 0 for none.
    pub frequency_penalty: f64,
    /// Penalties for sequences. The session fills in what breaks them.
    pub dry: Option<Dry>,
    /// 0 for none.
    pub no_repeat_ngram_size: usize,
    /// New tokens before an end.
    pub min_tokens: usize,
    /// What the model's own file forbids and forces.
    pub rules: Arc<TokenRules>,
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
    /// Whether prompt lookup decoding may be used.
    pub prompt_lookup: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_tokens: DEFAULT_MAX_TOKENS,
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            max_length: None,
            min_p: 0.0,
            typical_p: 1.0,
            top_n_sigma: 0.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            repeat_penalty: 1.0,
            repeat_window: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry: None,
            no_repeat_ngram_size: 0,
            min_tokens: 0,
            rules: Arc::default(),
            seed: 0,
            stop: Vec::new(),
            ignore_eos: false,
            logit_bias: BTreeMap::new(),
            logprobs: None,
            prompt_lookup: true,
        }
    }
}

impl GenerateOptions {
    /// When a call that begins now has to end, if it has to.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let time = Duration::from_millis(self.timeout_ms?);
        // What no clock can tell is never.
        Instant::now().checked_add(time)
    }

    /// Checks every value and fills what is left out. What only changes draws counts at temperature 0 no
    /// more than temperature itself: presence, frequency and sequences are penalised there when the caller
    /// asks for it, not when the model's file does.
    pub fn resolve(&self, proposed: &GenerationDefaults) -> Result<Sampling> {
        let temperature = in_range(
            "temperature",
            self.temperature.or(proposed.temperature).unwrap_or(0.0),
            is_temperature,
            "0, or a number above it whose inverse is finite",
        )?;
        let drawn = |value: Option<f64>| value.filter(|_| temperature > 0.0);
        let fraction = |name, value: Option<f64>, default| {
            in_range(
                name,
                value.unwrap_or(default),
                |p| (0.0..=1.0).contains(&p),
                "a number from 0 to 1",
            )
        };
        let share = |name, value: Option<f64>| {
            in_range(
                name,
                value.unwrap_or(1.0),
                |p| p > 0.0 && p <= 1.0,
                "a number above 0 and at most 1",
            )
        };
        let amount = |name, value: Option<f64>| {
            in_range(
                name,
                value.unwrap_or(0.0),
                |x| x.abs() <= LARGEST_PENALTY,
                "a number from -1000000 to 1000000",
            )
        };
        let at_least = |name, value: Option<f64>, least: f64, default: f64| {
            in_range(
                name,
                value.unwrap_or(default),
                |x| x >= least && x <= LARGEST_PENALTY,
                &format!("a number from {least} to 1000000"),
            )
        };
        if self.timeout_ms == Some(0) {
            return Err(Error::argument("timeout_ms", "expected at least 1, got 0"));
        }
        if self.max_tokens == Some(0) {
            return Err(Error::argument("max_tokens", "expected at least 1, got 0"));
        }
        if self.dry_allowed_length == Some(0) {
            return Err(Error::argument(
                "dry_allowed_length",
                "expected at least 1, got 0",
            ));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::argument("stop", "an empty stop text stops nothing"));
        }
        if self.dry_breakers.iter().flatten().any(String::is_empty) {
            return Err(Error::argument(
                "dry_breakers",
                "an empty text is in every token",
            ));
        }
        if let Some((id, bias)) = self.logit_bias.iter().find(|(_, bias)| !bias.is_finite()) {
            return Err(Error::argument(
                "logit_bias",
                format!("expected a finite number for token {id}, got {bias}"),
            ));
        }
        let dry_multiplier = at_least(
            "dry_multiplier",
            self.dry_multiplier.or(drawn(proposed.dry_multiplier)),
            0.0,
            0.0,
        )?;
        let dry = Dry {
            multiplier: dry_multiplier,
            base: at_least("dry_base", self.dry_base.or(proposed.dry_base), 1.0, 1.75)?,
            allowed_length: self
                .dry_allowed_length
                .or(proposed.dry_allowed_length)
                .unwrap_or(2),
            breaker_texts: self
                .dry_breakers
                .clone()
                .or(proposed.dry_breakers.clone())
                .unwrap_or_else(|| DRY_BREAKERS.map(String::from).to_vec()),
            breakers: Arc::default(),
        };
        let max_tokens = self.max_tokens.or(proposed.max_tokens);
        Ok(Sampling {
            max_tokens: max_tokens.unwrap_or(match proposed.max_length {
                Some(_) => usize::MAX,
                None => DEFAULT_MAX_TOKENS,
            }),
            max_length: proposed.max_length.filter(|_| max_tokens.is_none()),
            temperature,
            top_k: self.top_k.or(proposed.top_k).filter(|k| *k > 0),
            top_p: share("top_p", self.top_p.or(proposed.top_p))?,
            min_p: fraction("min_p", self.min_p.or(proposed.min_p), 0.0)?,
            typical_p: share("typical_p", self.typical_p.or(proposed.typical_p))?,
            top_n_sigma: at_least(
                "top_n_sigma",
                self.top_n_sigma.or(proposed.top_n_sigma),
                0.0,
                0.0,
            )?,
            epsilon_cutoff: proposed.epsilon_cutoff.unwrap_or(0.0),
            eta_cutoff: proposed.eta_cutoff.unwrap_or(0.0),
            repeat_penalty: in_range(
                "repeat_penalty",
                self.repeat_penalty
                    .or(proposed.repeat_penalty)
                    .unwrap_or(1.0),
                is_penalty,
                "a number from 0.000001 to 1000000",
            )?,
            repeat_window: self.repeat_window.or(proposed.repeat_window),
            presence_penalty: amount(
                "presence_penalty",
                self.presence_penalty.or(drawn(proposed.presence_penalty)),
            )?,
            frequency_penalty: amount(
                "frequency_penalty",
                self.frequency_penalty.or(drawn(proposed.frequency_penalty)),
            )?,
            dry: (dry.multiplier > 0.0).then_some(dry),
            no_repeat_ngram_size: self
                .no_repeat_ngram_size
                .or(proposed.no_repeat_ngram_size)
                .unwrap_or(0),
            min_tokens: self.min_tokens.or(proposed.min_tokens).unwrap_or(0),
            rules: proposed.rules.clone(),
            seed: self.seed.unwrap_or_else(rand::random),
            stop: self.stop.iter().chain(&proposed.stop).cloned().collect(),
            ignore_eos: self.ignore_eos,
            logit_bias: self.logit_bias.clone(),
            logprobs: self.logprobs,
            prompt_lookup: self.prompt_lookup.unwrap_or(true),
        })
    }
}

/// What llama.cpp has.
const DRY_BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

impl Sampling {
    /// Applies the limit of prompt and answer together, for a prompt of so many tokens.
    pub(crate) fn limit_length(&mut self, prompt: usize) -> Result<()> {
        let Some(most) = self.max_length else {
            return Ok(());
        };
        self.max_tokens = most.saturating_sub(prompt);
        if self.max_tokens == 0 {
            return Err(Error::argument(
                "max_tokens",
                format!(
                    "the model's generation_config.json limits prompt and answer to {most} tokens together, \
                     and the prompt has {prompt}; say how many tokens to generate"
                ),
            ));
        }
        Ok(())
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
            let error = options.resolve(&GenerationDefaults::default()).unwrap_err();
            assert!(
                matches!(&error, Error::InvalidArgument { name: n, .. } if n == name),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn the_caller_goes_before_the_model_and_the_model_before_greedy() {
        let proposed = GenerationDefaults {
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
        let plain = options.resolve(&GenerationDefaults::default()).unwrap();
        assert_eq!(plain.temperature, 0.0);
    }
}
