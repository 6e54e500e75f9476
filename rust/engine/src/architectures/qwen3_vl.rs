//! The decoder of Qwen3-VL.
//!
//! What is particular: Qwen3 with other defaults. Its rotation has three positions a token, which are equal in texts.

use super::Architecture;
use super::common::Defaults;
use super::gguf::GgufArchitecture;
use super::qwen3::{self, describe_as};
use super::rope::RopeDefaults;

/// The table's entry.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "qwen3_vl_text",
    class: "Qwen3VLTextModel",
    describe: |config| describe_as(ARCHITECTURE.name, config, &DEFAULTS),
    names: &[],
    gguf: Some(GgufArchitecture {
        name: "qwen3vl",
        ours: "qwen3_vl_text",
        qk_norm: Some(true),
        adapt: |keys, _| {
            // Which dimensions turn by which of the three positions, and where images enter.
            let _ = keys.value("rope.dimension_sections");
            let _ = keys.value("n_deepstack_layers");
            Ok(())
        },
        ..GgufArchitecture::COMMON
    }),
};

const DEFAULTS: Defaults = Defaults {
    max_position_embeddings: 128_000,
    rope: Some(RopeDefaults::of(500_000.0)),
    ..qwen3::DEFAULTS
};
