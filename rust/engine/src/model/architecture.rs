//! The table of architectures.

use candle_nn::VarBuilder;
use serde_json::{Map, Value};

use super::config_file::ConfigFile;
use super::decoder_config::DecoderConfig;
use super::{llama, mistral, qwen2, qwen3, qwen3_moe};
use crate::candle::CandleForward;
use crate::error::{Error, Result};

/// All that the library knows of one architecture. One file fills it, one line below lists it.
pub struct Architecture {
    /// Its name, which is also its `model_type`.
    pub name: &'static str,
    /// Its class in transformers, as `architectures` has it.
    pub class: &'static str,
    /// Reads `config.json`.
    pub describe: fn(&ConfigFile) -> Result<DecoderConfig>,
    /// Says why Candle's own model would compute this configuration wrongly, if it would.
    pub check_candle: fn(&DecoderConfig) -> Result<()>,
    /// Whether Candle's own model is exact in half precision too.
    pub candle_half_precision: bool,
    /// Builds Candle's own model of a configuration that `check_candle` accepts.
    pub build_candle: fn(&DecoderConfig, VarBuilder) -> candle_core::Result<Box<dyn CandleForward>>,
}

/// Adding an architecture is one file and one line here; CONTRIBUTING.md has the recipe.
static ARCHITECTURES: &[Architecture] = &[
    llama::ARCHITECTURE,
    mistral::ARCHITECTURE,
    qwen2::ARCHITECTURE,
    qwen3::ARCHITECTURE,
    qwen3_moe::ARCHITECTURE,
];

impl Architecture {
    /// The architecture of a `config.json`: by `model_type`, else by `architectures`; a Qwen3 with
    /// experts is a Qwen3-MoE whatever its file calls itself.
    pub fn of(file: &str, config: &Map<String, Value>) -> Result<&'static Architecture> {
        let keys = ConfigFile::new(file, config);
        let experts = keys
            .value("num_experts")
            .or(keys.value("num_local_experts"));
        let has_experts = experts.is_some_and(|n| n.as_u64() != Some(0));
        let mut found = match keys.text("model_type")? {
            Some(name) => ARCHITECTURES.iter().find(|a| a.name == name),
            None => None,
        };
        let classes = keys.texts("architectures")?.unwrap_or_default();
        if found.is_none() {
            found = ARCHITECTURES.iter().find(|a| classes.contains(&a.class));
        }
        match found {
            Some(a) if a.name == qwen3::ARCHITECTURE.name && has_experts => {
                Ok(&qwen3_moe::ARCHITECTURE)
            }
            Some(a) => Ok(a),
            None => {
                let key = if keys.has("model_type") {
                    "model_type"
                } else {
                    "architectures"
                };
                let known: Vec<&str> = ARCHITECTURES.iter().map(|a| a.name).collect();
                Err(Error::UnsupportedModel {
                    file: String::new(),
                    key: key.into(),
                    value: config.get(key).map_or("(missing)".into(), Value::to_string),
                    reason: format!("the known architectures are {}", known.join(", ")),
                })
            }
        }
    }

    /// The names of all architectures.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ARCHITECTURES.iter().map(|a| a.name)
    }
}
