//! EXAONE 4.
//!
//! What is particular: norms stand behind the blocks and not before them; queries and keys are normalised per head; three
//! layers with a window to one that sees everything and rotates nothing, in the larger models.

use super::Architecture;
use super::common::{Defaults, Shared, sliding_or_every, window_or};
use super::config_file::ConfigFile;
use super::gguf::{GgufArchitecture, sliding_pattern};
use crate::description::{BlockNorms, ModelDescription, QkNorm};
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "exaone4",
    class: "Exaone4ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "exaone4",
        ours: "exaone4",
        adapt: |keys, description| {
            let window = keys.count("attention.sliding_window")?;
            let sliding = sliding_pattern(keys, description.layers.len(), PERIOD)?;
            adapt(description, window, &sliding);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 102_400,
    hidden_size: 4096,
    intermediate_size: 16_384,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    ..Defaults::COMMON
};

/// One layer of so many sees everything.
const PERIOD: usize = 4;

/// Norms, and the windows of those layers that have one where there are windows at all.
fn adapt(description: &mut ModelDescription, window: Option<usize>, sliding: &[bool]) {
    let norm = description.final_norm;
    description.place_norms(BlockNorms::after(norm));
    for (attention, sliding) in description.attentions_mut().zip(sliding) {
        attention.qk_norm = Some(QkNorm::of_heads(norm));
        match window {
            None => {}
            Some(size) if *sliding => attention.window = Some(size),
            Some(_) => attention.rope = None,
        }
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = window_or(config, 4096)?;
    // It stands beside layer_types, sometimes as a text, and counts only without them.
    let period = match config.has("layer_types") {
        true => {
            let _ = config.value("sliding_window_pattern");
            PERIOD
        }
        false => config.count("sliding_window_pattern")?.unwrap_or(PERIOD),
    };
    let sliding = sliding_or_every(config, shared.num_layers, period)?;
    let mut description = shared.describe(|_, _, _| {});
    adapt(&mut description, window, &sliding);
    Ok(description)
}
