//! The model families: one file each, which reads the keys of `config.json` and of GGUF files into a
//! [`ModelDescription`], and says in its first lines how the family differs from a Llama.

mod common;
pub mod config_file;
pub mod encoders;
pub mod gguf;
mod gguf_experts;
mod gguf_metadata;
pub(crate) mod read_keys;
mod rope;
pub(crate) mod wrappers;

mod cohere2;
mod deepseek_v2;
mod deepseek_v3;
mod ernie4_5;
mod ernie4_5_moe;
mod exaone4;
mod falcon_h1;
mod gemma2;
mod gemma3;
mod gemma4;
mod glm4;
mod glm4_moe;
mod glm4_moe_lite;
mod gpt_oss;
mod granite;
mod granite4;
mod granite_moe;
mod hunyuan;
mod latent;
mod lfm2;
mod lfm2_moe;
mod llama;
mod mamba;
mod mellum;
mod ministral3;
mod mistral;
mod mixtral;
mod nemotron_h;
mod olmo2;
mod olmo3;
mod olmoe;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_5;
mod qwen3_5_moe;
mod qwen3_moe;
mod qwen3_next;
mod qwen3_vl;
mod smollm3;
mod starcoder2;

use config_file::ConfigFile;
use gguf::{GgufArchitecture, GgufMetadata};
use serde_json::{Map, Value};

use crate::description::ModelDescription;
use crate::error::{Error, Result};

/// A model family.
pub struct Architecture {
    /// Its name, which is also its `model_type`.
    pub name: &'static str,
    /// Its class in transformers, as `architectures` has it.
    pub class: &'static str,
    /// Reads `config.json`.
    pub describe: fn(&ConfigFile) -> Result<ModelDescription>,
    /// Parts of the names of its tensors, and what the description calls them, replaced one after the other.
    pub names: &'static [(&'static str, &'static str)],
    /// How llama.cpp writes it; `None` where that is another family's way.
    pub gguf: Option<GgufArchitecture>,
}

/// A description, and the keys that nothing reads because they change nothing.
pub type Described = (ModelDescription, Vec<String>);

/// Adding an architecture is one file and one line here; CONTRIBUTING.md has the recipe.
static ARCHITECTURES: &[Architecture] = &[
    llama::ARCHITECTURE,
    mistral::ARCHITECTURE,
    qwen2::ARCHITECTURE,
    qwen3::ARCHITECTURE,
    qwen3_moe::ARCHITECTURE,
    qwen3_next::ARCHITECTURE,
    smollm3::ARCHITECTURE,
    granite::ARCHITECTURE,
    olmo2::ARCHITECTURE,
    gemma3::ARCHITECTURE,
    gemma2::ARCHITECTURE,
    phi3::ARCHITECTURE,
    exaone4::ARCHITECTURE,
    olmo3::ARCHITECTURE,
    glm4::ARCHITECTURE,
    ernie4_5::ARCHITECTURE,
    hunyuan::ARCHITECTURE,
    ministral3::ARCHITECTURE,
    cohere2::ARCHITECTURE,
    starcoder2::ARCHITECTURE,
    mellum::ARCHITECTURE,
    granite4::ARCHITECTURE,
    qwen3_vl::ARCHITECTURE,
    lfm2::ARCHITECTURE,
    qwen3_5::ARCHITECTURE,
    qwen3_5_moe::ARCHITECTURE,
    lfm2_moe::ARCHITECTURE,
    glm4_moe::ARCHITECTURE,
    gpt_oss::ARCHITECTURE,
    gemma4::ARCHITECTURE,
    mixtral::ARCHITECTURE,
    qwen2_moe::ARCHITECTURE,
    olmoe::ARCHITECTURE,
    granite_moe::ARCHITECTURE,
    granite_moe::SHARED,
    ernie4_5_moe::ARCHITECTURE,
    deepseek_v2::ARCHITECTURE,
    deepseek_v3::ARCHITECTURE,
    glm4_moe_lite::ARCHITECTURE,
    falcon_h1::ARCHITECTURE,
    nemotron_h::ARCHITECTURE,
];

/// Architectures of GGUF files that share their `model_type` in transformers with another family.
static FURTHER_GGUF: &[GgufArchitecture] = &[gemma3::EMBEDDING];

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

    /// What the description calls a tensor of a folder.
    pub fn tensor_name(&self, name: &str) -> String {
        self.names
            .iter()
            .fold(name.to_owned(), |name, (theirs, ours)| {
                name.replace(theirs, ours)
            })
    }

    /// The names of all architectures.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ARCHITECTURES.iter().map(|a| a.name)
    }

    /// Reads a `config.json` of this architecture.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], and [`Error::UnsupportedModel`] for keys that would change the result.
    pub fn describe_config(&self, keys: &Map<String, Value>) -> Result<Described> {
        let file = ConfigFile::new("config.json", keys);
        let description = (self.describe)(&file)?;
        description
            .check_experts()
            .map_err(|reason| file.invalid("num_hidden_layers", reason))?;
        file.finish(read_keys::of_config(self.name))?;
        Ok((description, file.ignored()))
    }

    /// The architecture of a GGUF file, by its `general.architecture`.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for one that is not known.
    pub fn of_gguf(file: &dyn GgufMetadata, name: &str) -> Result<&'static GgufArchitecture> {
        let known = || {
            let named = ARCHITECTURES.iter().filter_map(|a| a.gguf.as_ref());
            named.chain(FURTHER_GGUF)
        };
        known()
            .find(|a| a.name == name || a.also == Some(name))
            .ok_or_else(|| {
                let names: Vec<&str> = known().map(|a| a.name).collect();
                Error::UnsupportedModel {
                    file: file.name(),
                    key: "general.architecture".into(),
                    value: name.into(),
                    reason: format!("of GGUF files, those of {} are read", names.join(", ")),
                }
            })
    }
}
