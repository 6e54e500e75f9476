//! How a model's own files propose to generate: data that formats read and generation applies.

use std::sync::Arc;

/// How a model's own file proposes to generate: a `generation_config.json`, or keys of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationDefaults {
    /// See `GenerateOptions::temperature`.
    pub temperature: Option<f64>,
    /// See `GenerateOptions::top_k`.
    pub top_k: Option<usize>,
    /// See `GenerateOptions::top_p`.
    pub top_p: Option<f64>,
    /// See `GenerateOptions::min_p`.
    pub min_p: Option<f64>,
    /// See `GenerateOptions::typical_p`.
    pub typical_p: Option<f64>,
    /// See `GenerateOptions::top_n_sigma`.
    pub top_n_sigma: Option<f64>,
    /// Sample among tokens of at least this probability.
    pub epsilon_cutoff: Option<f64>,
    /// The same, less where the choice is wide (Hewitt et al. 2022).
    pub eta_cutoff: Option<f64>,
    /// See `GenerateOptions::repeat_penalty`.
    pub repeat_penalty: Option<f64>,
    /// See `GenerateOptions::repeat_window`.
    pub repeat_window: Option<usize>,
    /// See `GenerateOptions::presence_penalty`.
    pub presence_penalty: Option<f64>,
    /// See `GenerateOptions::frequency_penalty`.
    pub frequency_penalty: Option<f64>,
    /// See `GenerateOptions::dry_multiplier`.
    pub dry_multiplier: Option<f64>,
    /// See `GenerateOptions::dry_base`.
    pub dry_base: Option<f64>,
    /// See `GenerateOptions::dry_allowed_length`.
    pub dry_allowed_length: Option<usize>,
    /// See `GenerateOptions::dry_breakers`.
    pub dry_breakers: Option<Vec<String>>,
    /// See `GenerateOptions::no_repeat_ngram_size`.
    pub no_repeat_ngram_size: Option<usize>,
    /// See `GenerateOptions::max_tokens`.
    pub max_tokens: Option<usize>,
    /// The most tokens of prompt and answer together.
    pub max_length: Option<usize>,
    /// See `GenerateOptions::min_tokens`.
    pub min_tokens: Option<usize>,
    /// Texts that end an answer beside the caller's.
    pub stop: Vec<String>,
    /// What is forbidden and forced.
    pub rules: Arc<TokenRules>,
}

/// Rules of a `generation_config.json`. They count whatever a caller asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenRules {
    /// Tokens that are never generated.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that are not generated first.
    pub begin_suppress_tokens: Vec<u32>,
    /// What is added to the logit of a sequence's last token when the others are there; minus infinity
    /// forbids the sequence.
    pub sequence_bias: Vec<(Vec<u32>, f32)>,
    /// Tokens of which one is generated where the answer reaches its limit.
    pub forced_eos: Vec<u32>,
    /// Prompt and answer have at least so many tokens together.
    pub min_length: usize,
    /// From how many new tokens on ends become more probable, and by what factor with each.
    pub decay: Option<(i64, f64)>,
}

/// The largest penalty. Logits have some tens; what is computed of both stays finite.
pub(crate) const LARGEST_PENALTY: f64 = 1e6;

/// Whether logits can be divided by it, or it is 0.
pub(crate) fn is_temperature(t: f64) -> bool {
    t == 0.0 || (t > 0.0 && (1.0 / t).is_finite())
}

/// Whether logits can be divided and multiplied by it.
pub(crate) fn is_penalty(p: f64) -> bool {
    (1.0 / LARGEST_PENALTY..=LARGEST_PENALTY).contains(&p)
}
