//! Phi-3, Phi-3.5 and Phi-4.
//!
//! What is particular: one tensor for queries, keys and values, and one for gate and up; Phi-4-mini rotates a part of each
//! head; long contexts by LongRoPE; a window in every layer where the key is set.

use super::Architecture;
use super::common::{Defaults, Shared};
use super::config_file::ConfigFile;
use super::gguf::GgufArchitecture;
use super::rope::RopeDefaults;
use crate::description::ModelDescription;
use crate::description::rope::RopeScaling;
use crate::error::Result;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "phi3",
    class: "Phi3ForCausalLM",
    describe,
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "phi3",
        ours: "phi3",
        adapt: |keys, description| {
            // 0 says that there is none.
            let window = keys.whole("attention.sliding_window")?.filter(|n| *n > 0);
            set_window(description, window);
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 32_064,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope: Some(RopeDefaults {
        share: Some(1.0),
        original: Some(4096),
        ..RopeDefaults::of(10_000.0)
    }),
    ..Defaults::COMMON
};

fn set_window(description: &mut ModelDescription, window: Option<usize>) {
    for attention in description.attentions_mut() {
        attention.window = window;
    }
}

fn describe(config: &ConfigFile) -> Result<ModelDescription> {
    let shared = Shared::read(ARCHITECTURE.name, config, &DEFAULTS)?;
    let window = config.count("sliding_window")?;
    let mut description = shared.describe(|_, _, _| {});
    set_window(&mut description, window);
    let known = description
        .attentions()
        .flat_map(|attention| &attention.rope)
        .all(|rope| {
            matches!(
                rope.scaling,
                RopeScaling::None | RopeScaling::LongRope { .. }
            )
        });
    match known {
        true => Ok(description),
        false => Err(config.unsupported("rope_scaling", "this family has longrope alone")),
    }
}
