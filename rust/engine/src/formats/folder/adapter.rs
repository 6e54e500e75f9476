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

/// Keys of other ways to adapt, which say nothing in plain LoRA.
const VARIANTS: [&str; 13] = [
    "alora_invocation_tokens",
    "arrow_config",
    "ensure_weight_tying",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
];

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
        for name in [CONFIG, WEIGHTS] {
            let path = folder.join(name);
            if !path.is_file() {
                return Err(Error::InvalidFile {
                    file: path.display().to_string(),
                    reason: format!(
                        "no such file; an adapter is a folder with {CONFIG} and {WEIGHTS}"
                    ),
                });
            }
        }
        let path = folder.join(CONFIG);
        let config = files::json(&path, &files::read(&path, Limit::Settings)?)?;
        Ok(Self {
            settings: Settings::read(&config)?,
            tensors: CheckpointTensors::of_file(&folder.join(WEIGHTS))?,
        })
    }

    /// Changes the tensors of a model, whose names `rename` makes of published ones.
    ///
    /// # Errors
    /// [`Error::InvalidTensor`] for tensors that do not belong to the model, or that are not understood, and
    /// [`Error::InvalidFile`] for a pattern that takes too long.
    pub(super) fn merge_into(
        self,
        model: &mut CheckpointTensors,
        rename: impl Fn(&str) -> String,
    ) -> Result<()> {
        let mut entries = model.append(self.tensors)?;
        if entries.is_empty() {
            return Err(Error::InvalidFile {
                file: WEIGHTS.into(),
                reason: "expected the matrices of an adapter, got no tensor".into(),
            });
        }
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
                let rank = entry.shape.first().copied().unwrap_or(1);
                let scale = self.settings.scale(module, rank)?;
                let shapes = format!("{:?} and {:?}", entry.shape, up.shape);
                let merged = base
                    .merged(entry, up, scale)
                    .map_err(|reason| wrong(&name, &reason, &shapes))?;
                model.put(target, merged);
            } else if module.contains("lora_") {
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
            lora_alpha: Option<f64>,
            use_rslora: Option<bool>,
            alpha_pattern: Option<Map<String, Value>>,
        }
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(keys) => keys.is_empty(),
            _ => false,
        };
        for (key, value) in config {
            let is_read = match key.as_str() {
                "peft_type" => value == "LORA",
                "bias" => value.is_null() || value == "none",
                // The others change the model's own weights, too, which the adapter then belongs to.
                "init_lora_weights" => {
                    let kinds = ["gaussian", "eva", "orthogonal"];
                    value.is_null() || value.is_boolean() || kinds.iter().any(|kind| value == kind)
                }
                key => !VARIANTS.contains(&key) || says_nothing(value),
            };
            if !is_read {
                return Err(unsupported(key, value));
            }
        }
        let known = serde_json::from_value(Value::Object(config.clone()));
        let known: Known = known.map_err(|e| invalid(e.to_string()))?;
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
    fn scale(&self, module: &str, rank: usize) -> Result<f64> {
        let mut alpha = self.alpha;
        for (pattern, own) in &self.alphas {
            let is_match = pattern.is_match(module);
            if is_match.map_err(|e| invalid(format!("alpha_pattern: {e}")))? {
                alpha = *own;
                break;
            }
        }
        let rank = rank as f64;
        Ok(alpha / if self.by_root { rank.sqrt() } else { rank })
    }
}

fn invalid(reason: String) -> Error {
    Error::InvalidFile {
        file: CONFIG.into(),
        reason,
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
