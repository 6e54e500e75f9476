//! Multimodal models: only their text decoder is read, which answers texts as the whole model does.

use serde_json::{Map, Value};

/// The `model_type` of such a model, and that of its decoder where the file does not say it.
static WRAPPERS: &[(&str, &str)] = &[
    ("gemma3", "gemma3_text"),
    ("mistral3", "mistral"),
    ("qwen3_vl", "qwen3_vl_text"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
    ("gemma4", "gemma4_text"),
];

/// The configuration of the decoder inside a model; `None` for one that is a decoder itself.
pub(crate) fn decoder_config(config: &Map<String, Value>) -> Option<Map<String, Value>> {
    let name = config.get("model_type")?.as_str()?;
    let (_, decoder) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name)?;
    let mut inner = config.get("text_config")?.as_object()?.clone();
    let mut add = |key: &str, value: Value| {
        inner.entry(key).or_insert(value);
    };
    add("model_type", (*decoder).into());
    for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        if let Some(value) = config.get(key) {
            add(key, value.clone());
        }
    }
    // Of the two places the outer one counts, and its default; whether it is so, the file of the weights tells.
    let tied = config.get("tie_word_embeddings").cloned();
    inner.insert("tie_word_embeddings".into(), tied.unwrap_or(true.into()));
    Some(inner)
}

/// What a tensor of such a model is called where the decoder stands alone.
pub(crate) fn decoder_tensor(name: &str) -> String {
    for (wrapped, plain) in [
        ("model.language_model.", "model."),
        ("language_model.model.", "model."),
        ("language_model.lm_head.", "lm_head."),
    ] {
        if let Some(rest) = name.strip_prefix(wrapped) {
            return format!("{plain}{rest}");
        }
    }
    name.to_owned()
}
