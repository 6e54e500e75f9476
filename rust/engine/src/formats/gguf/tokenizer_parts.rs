//! The parts of a `tokenizer.json` that the metadata of a GGUF file become.

use serde_json::Value;

/// What `tokenizer.json` has besides its added tokens.
pub(super) struct TokenizerParts {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) decoder: Value,
    pub(super) model: Value,
    /// What is put around texts when the file does not say.
    pub(super) special_tokens: SpecialTokens,
}

/// What is put around texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpecialTokens {
    /// A beginning-of-sequence token in front.
    pub(super) bos: bool,
    /// An end-of-sequence token behind.
    pub(super) eos: bool,
    /// The ids of those tokens where the file has none.
    pub(super) bos_id: Option<u32>,
    pub(super) eos_id: Option<u32>,
}
