//! The folder of an encoder: `config.json`, safetensors files and `tokenizer.json`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{CheckpointTensors, read_json, without_config};
use crate::architectures::encoders::{ClassifierHead, EncoderArchitecture};
use crate::description::encoder::{EncoderDescription, EncoderNames};
use crate::error::Result;
use crate::formats::Tensors;
use crate::tokenizer::{LengthSettings, Tokenizer, TokenizerConfig};

/// Everything that the files of an encoder say, its weights still on disk.
pub(crate) struct EncoderCheckpoint {
    /// What the model is.
    pub(crate) description: EncoderDescription,
    /// What its tensors are called.
    pub(crate) names: &'static EncoderNames,
    /// What a classifier of its family has on top.
    pub(crate) head: ClassifierHead,
    /// Keys of the configuration that nothing reads, because they change nothing.
    pub(crate) ignored_keys: Vec<String>,
    /// The tokenizer.
    pub(crate) tokenizer: Tokenizer,
    /// Whether the tokenizer tells which tokens belong to a pair's second text.
    pub(crate) tells_pairs: bool,
    /// What its settings say of long texts.
    pub(crate) lengths: LengthSettings,
    /// The weights.
    pub(crate) tensors: Tensors,
}

/// The `config.json` of a folder.
///
/// # Errors
/// [`Error::InvalidFile`](crate::error::Error::InvalidFile) where there is none.
pub(crate) fn config(folder: &Path) -> Result<Map<String, Value>> {
    read_json(folder, "config.json")?.ok_or_else(|| without_config(folder))
}

/// Reads everything but the weights.
pub(crate) fn open(
    folder: &Path,
    config: &Map<String, Value>,
    architecture: &'static EncoderArchitecture,
    mut tokens: TokenizerConfig,
) -> Result<EncoderCheckpoint> {
    let (description, head, ignored_keys) = architecture.describe_config(config)?;
    let mut tensors = CheckpointTensors::open(folder)?;
    tensors.rename(modern_name)?;
    let words = |prefix: &str, names: &EncoderNames| format!("{prefix}{}.weight", names.words);
    let has = |name: &str| tensors.get(name).is_some();
    let prefixed = description
        .names
        .iter()
        .find(|names| !names.prefix.is_empty() && has(&words(names.prefix, names)));
    if let Some(names) = prefixed {
        tensors.rename(|name| name.strip_prefix(names.prefix).unwrap_or(name).to_owned())?;
    }
    let names = description.names(|name| tensors.get(name).is_some());
    tokens.set_class(architecture.name, config)?;
    let tokenizer = Tokenizer::open_with(&folder.join("tokenizer.json"), &tokens)?;
    Ok(EncoderCheckpoint {
        description,
        names,
        head,
        ignored_keys,
        tells_pairs: tokens.tells_pairs(),
        lengths: LengthSettings::of(&tokens, &tokenizer),
        tokenizer,
        tensors: Tensors::Folder(Arc::new(tensors)),
    })
}

/// Norms of files from before 2019 call their parts by other names.
fn modern_name(name: &str) -> String {
    for (old, new) in [
        ("LayerNorm.gamma", "LayerNorm.weight"),
        ("LayerNorm.beta", "LayerNorm.bias"),
    ] {
        if let Some(begin) = name.strip_suffix(old) {
            return format!("{begin}{new}");
        }
    }
    name.to_owned()
}
