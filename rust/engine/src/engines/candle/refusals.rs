//! What Candle's models would compute wrongly, refused by name.

use std::fmt::Display;

use crate::description::ModelDescription;
use crate::description::rope::RopeScaling;
use crate::error::{Error, Result};

/// An error that names a key of the configuration and its value.
pub(super) fn refuse(key: &str, value: impl Display, reason: &str) -> Error {
    Error::UnsupportedModel {
        file: String::new(),
        key: key.into(),
        value: value.to_string(),
        reason: reason.into(),
    }
}

/// Refuses windows that some position of the context would feel: Candle applies them in the first
/// prefill only, and off by one.
pub(super) fn refuse_window(config: &ModelDescription) -> Result<()> {
    let felt = config
        .layers
        .iter()
        .filter_map(|layer| layer.window)
        .find(|window| *window < config.max_position_embeddings);
    match felt {
        None => Ok(()),
        Some(window) => Err(refuse(
            "sliding_window",
            window,
            "Candle's model does not apply a sliding window over the KV cache",
        )),
    }
}

/// Refuses every change of the rotary frequencies.
pub(super) fn refuse_rope_scaling(config: &ModelDescription) -> Result<()> {
    match &config.rope.scaling {
        RopeScaling::None => Ok(()),
        other => Err(refuse(
            "rope_type",
            other.name(),
            "Candle's model would ignore this scaling",
        )),
    }
}
