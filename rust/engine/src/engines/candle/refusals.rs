//! What Candle's models would compute wrongly, refused by name.

use std::fmt::Display;

use crate::description::rope::RopeScaling;
use crate::description::{Attention, ModelDescription};
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
        .attentions()
        .filter_map(|attention| attention.window)
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

/// Refuses layers that differ in more than their windows and feed-forward blocks, and such without attention or
/// rotary embedding.
pub(super) fn refuse_mixed_layers(description: &ModelDescription) -> Result<()> {
    let plain = |attention: &Attention| Attention {
        window: None,
        ..attention.clone()
    };
    let first = description.attentions().next().map(plain);
    let alike = description
        .layers
        .iter()
        .all(|layer| layer.attention().map(plain) == first);
    match first.and_then(|attention| attention.rope) {
        Some(_) if alike => Ok(()),
        _ => Err(refuse(
            "num_hidden_layers",
            description.layers.len(),
            "Candle's models have layers that are all alike; use engine fused",
        )),
    }
}

/// Refuses every change of the rotary frequencies.
pub(super) fn refuse_rope_scaling(config: &ModelDescription) -> Result<()> {
    let mut scalings = config.attentions().flat_map(|attention| &attention.rope);
    match scalings.find(|rope| rope.scaling != RopeScaling::None) {
        None => Ok(()),
        Some(rope) => Err(refuse(
            "rope_type",
            rope.scaling.name(),
            "Candle's model would ignore this scaling",
        )),
    }
}
