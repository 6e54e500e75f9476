//! Low-rank adapters (Hu et al. 2021, LoRA) as PEFT saves them, merged into the matrices that they were trained for.

use std::path::Path;

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::checkpoint_tensors::CheckpointTensors;
use super::tensor_entry::TensorEntry;
use crate::description::{EMBEDDING, HEAD};
use crate::error::{Error, Result};
use crate::files::{self, Limit};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What PEFT puts in front of the names of the model.
const PREFIX: &str = "base_model.model.";

/// The settings that are read.
struct Settings {
    alpha: f64,
    /// Whether the root of the rank divides, and not the rank (Kalajdzievski 2023).
    by_root: bool,
    /// Other values of `alpha`, for modules whose names end so.
    alphas: Vec<(Regex, f64)>,
}

/// An adapter in a folder.
pub(super) struct Adapter {
    settings: Settings,
    tensors: CheckpointTensors,
}

impl Adapter {
    /// Opens the two files of an adapter.
    ///
    /// # Errors
    /// [`Error::InvalidFile`], [`Error::UnsupportedModel`] for settings that are not computed, and [`Error::Io`].
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let bytes = files::read_if_present(&path, Limit::Settings)?;
        let bytes = bytes.ok_or_else(|| Error::InvalidFile {
            file: path.display().to_string(),
            reason: format!("no such file; an adapter is a folder with {CONFIG} and {WEIGHTS}"),
        })?;
        let config: Map<String, Value> = files::json(&path, &bytes)?;
        Ok(Self {
            settings: Settings::read(&config)?,
            tensors: CheckpointTensors::of_file(&folder.join(WEIGHTS))?,
        })
    }

    /// Changes the tensors of a model, whose names `rename` makes of published ones.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for tensors that do not belong to the model, or that are not understood.
    pub(super) fn merge_into(
        self,
        model: &mut CheckpointTensors,
        rename: impl Fn(&str) -> String,
    ) -> Result<()> {
        let mut entries = model.append(self.tensors)?;
        let mut names: Vec<String> = entries.keys().cloned().collect();
        names.sort();
        for name in names {
            // Those of a pair go together.
            let Some(entry) = entries.remove(&name) else {
                continue;
            };
            let module = name.strip_prefix(PREFIX).unwrap_or(&name);
            if let Some(module) = module.strip_suffix(".lora_A.weight") {
                let other = name.replace(".lora_A.weight", ".lora_B.weight");
                let up = entries.remove(&other);
                let up = up.ok_or_else(|| wrong(&other, "the other half of an adapter", "none"))?;
                let target = rename(&format!("{module}.weight"));
                let base = base_of(model, &name, &target)?;
                let scale = self
                    .settings
                    .scale(module, entry.shape.first().copied().unwrap_or(1));
                let merged = base
                    .merged(entry, up, scale)
                    .map_err(|reason| wrong(&name, &reason, "others"))?;
                model.put(target, merged);
            } else if module.contains("lora_") || module.contains("ia3_") {
                return Err(wrong(
                    &name,
                    "the two matrices of an adapter of a matrix",
                    "another part",
                ));
            } else {
                // Trained as a whole, beside the adapters; or what the model's own was, as of an output projection.
                let module = module
                    .replace(".modules_to_save", "")
                    .replace(".base_layer", "");
                let target = rename(&module);
                let base = base_of(model, &name, &target)?;
                if base.shape != entry.shape {
                    return Err(wrong(
                        &name,
                        &format!("shape {:?}", base.shape),
                        &format!("shape {:?}", entry.shape),
                    ));
                }
                model.put(target, entry);
            }
        }
        Ok(())
    }
}

/// The tensor that an adapter changes; the output projection may be the embedding.
fn base_of(model: &CheckpointTensors, name: &str, target: &str) -> Result<TensorEntry> {
    let found = model.get(target);
    let tied = (target == HEAD).then(|| model.get(EMBEDDING)).flatten();
    found.or(tied).cloned().ok_or_else(|| {
        wrong(
            name,
            "a tensor of the model",
            &format!("{target}, which is not there"),
        )
    })
}

fn wrong(tensor: &str, expected: &str, got: &str) -> Error {
    Error::InvalidTensor {
        file: WEIGHTS.into(),
        tensor: tensor.into(),
        expected: expected.into(),
        got: got.into(),
    }
}

impl Settings {
    fn read(config: &Map<String, Value>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Known {
            #[serde(default)]
            lora_alpha: Option<f64>,
            #[serde(default)]
            use_rslora: Option<bool>,
            #[serde(default)]
            alpha_pattern: Option<Map<String, Value>>,
        }
        for (key, known) in [
            ("peft_type", &[Value::from("LORA")][..]),
            ("bias", &["none".into()]),
            ("use_dora", &[false.into()]),
            ("fan_in_fan_out", &[false.into()]),
            ("lora_bias", &[false.into()]),
            ("use_qalora", &[false.into()]),
            ("use_bdlora", &[false.into()]),
        ] {
            let value = config.get(key).unwrap_or(&Value::Null);
            if !value.is_null() && !known.contains(value) {
                return Err(unsupported(key, value));
            }
        }
        for key in [
            "trainable_token_indices",
            "target_parameters",
            "alora_invocation_tokens",
        ] {
            let value = config.get(key).unwrap_or(&Value::Null);
            let is_empty = value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty);
            if !value.is_null() && !is_empty {
                return Err(unsupported(key, value));
            }
        }
        let known: Known = serde_json::from_value(Value::Object(config.clone())).map_err(|e| {
            Error::InvalidFile {
                file: CONFIG.into(),
                reason: e.to_string(),
            }
        })?;
        let alpha = known.lora_alpha.unwrap_or(8.0);
        let mut alphas = Vec::new();
        for (pattern, value) in known.alpha_pattern.unwrap_or_default() {
            let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            match (regex, value.as_f64()) {
                (Ok(regex), Some(alpha)) => alphas.push((regex, alpha)),
                _ => return Err(unsupported("alpha_pattern", &value)),
            }
        }
        Ok(Self {
            alpha,
            by_root: known.use_rslora.unwrap_or(false),
            alphas,
        })
    }

    /// What the product of the two matrices of a module is multiplied with.
    fn scale(&self, module: &str, rank: usize) -> f64 {
        let own = self
            .alphas
            .iter()
            .find(|(pattern, _)| pattern.is_match(module).unwrap_or(false));
        let alpha = own.map_or(self.alpha, |(_, alpha)| *alpha);
        match self.by_root {
            true => alpha / (rank as f64).sqrt(),
            false => alpha / rank as f64,
        }
    }
}

fn unsupported(key: &str, value: &Value) -> Error {
    Error::UnsupportedModel {
        file: CONFIG.into(),
        key: key.into(),
        value: value.to_string(),
        reason: "of adapters, plain LoRA of matrices is merged".into(),
    }
}
