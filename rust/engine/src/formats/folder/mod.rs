//! A folder as it is on the Hub: `config.json`, safetensors files, `tokenizer.json` and what lies beside them.

mod adapter;
mod checkpoint_tensors;
pub(crate) mod encoder;
mod experts;
mod generation_config;
mod packed;
mod packed_tensors;
pub(crate) mod sentence;
mod source;
mod template;
mod tensor_entry;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use adapter::Adapter;
pub use checkpoint_tensors::CheckpointTensors;
pub(crate) use source::FolderSource;
pub(crate) use template::read as read_template;
pub use tensor_entry::TensorEntry;

use super::{Checkpoint, GenerationDefaults, Tensors};
use crate::architectures::{Architecture, wrappers};
use crate::description::{EMBEDDING, HEAD};
use crate::error::{Error, Result};
use crate::files::{self, Limit};
use crate::tokenizer::{Tokenizer, TokenizerConfig};

/// Reads everything but the weights, to which those of an adapter are added.
pub(super) fn open(folder: &Path, adapter: Option<&Path>) -> Result<Checkpoint> {
    let mut whole = read_json(folder, "config.json")?.ok_or_else(|| without_config(folder))?;
    let outer_method = packed::method::take(&mut whole)?;
    let inner = wrappers::decoder_config(&whole);
    let is_wrapped = inner.is_some();
    let mut config = inner.unwrap_or(whole);
    let method = packed::method::take(&mut config)?.or(outer_method);
    let config = &config;
    let generation = read_json(folder, GENERATION)?;
    let architecture = Architecture::of("config.json", config)?;
    let (mut description, ignored_keys) = architecture.describe_config(config)?;
    let adapter = adapter.map(Adapter::open).transpose()?;
    let mut tensors = CheckpointTensors::open(folder)?;
    let name = |published: &str| match is_wrapped {
        true => architecture.tensor_name(&wrappers::decoder_tensor(published)),
        false => architecture.tensor_name(published),
    };
    tensors.rename(name)?;
    tensors.unpack(method)?;
    if let Some(adapter) = adapter {
        adapter.merge_into(&mut tensors, name)?;
    }
    tensors.split_experts()?;
    tensors.split_fused(&description)?;
    if description.tie_word_embeddings {
        description.tie_word_embeddings = tensors.ties_embeddings(EMBEDDING, HEAD)?;
    }
    let tokens = TokenizerConfig::open(folder)?;
    let tokenizer = Tokenizer::open_with(&folder.join("tokenizer.json"), &tokens)?;
    let (defaults, generation_warnings) = match &generation {
        Some(keys) => generation_config::defaults(keys),
        None => Default::default(),
    };
    let mut eos_ids = generation_config::eos_ids(config, generation.as_ref())?;
    // vLLM ends an answer at it too; transformers looks at the two configurations alone, which in many
    // fine-tuned chat models still name the base model's.
    eos_ids.extend(
        tokens
            .named()
            .find(|(name, _)| *name == "eos_token")
            .and_then(|(_, text)| tokenizer.id_of(text)),
    );
    eos_ids.sort_unstable();
    eos_ids.dedup();
    Ok(Checkpoint {
        description,
        ignored_keys,
        eos_ids,
        defaults,
        generation_warnings,
        warnings: Vec::new(),
        tokenizer,
        template: read_template(folder, &tokens)?,
        tensors: Tensors::Folder(Arc::new(tensors)),
    })
}

const GENERATION: &str = "generation_config.json";

/// The generation defaults of a `generation_config.json`, which may lie beside a GGUF file too, and what of it is
/// not honoured.
pub(super) fn generation_defaults(
    folder: &Path,
) -> Result<Option<(GenerationDefaults, Vec<String>)>> {
    let keys = read_json(folder, GENERATION)?;
    Ok(keys.map(|keys| generation_config::defaults(&keys)))
}

/// What a folder without `config.json` is, as far as that can be told.
fn without_config(folder: &Path) -> Error {
    let has = |name: &str| folder.join(name).is_file();
    let ends_in = |ending: &str| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| name.ends_with(ending))
    };
    let (file, reason) = if !folder.is_dir() {
        (
            folder.display().to_string(),
            "no such file or folder".into(),
        )
    } else if has("adapter_config.json") {
        (
            folder.join("adapter_config.json").display().to_string(),
            "this is a LoRA adapter and no model; load its base model with this folder as the adapter".into(),
        )
    } else if let Some(gguf) = ends_in(".gguf") {
        (
            folder.join("config.json").display().to_string(),
            format!("no such file; to load {gguf}, give the file and not its folder"),
        )
    } else {
        (
            folder.join("config.json").display().to_string(),
            "no such file".into(),
        )
    };
    Error::InvalidFile { file, reason }
}

fn read_json(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let path = folder.join(name);
    files::read_if_present(&path, Limit::Settings)?
        .map(|bytes| files::json(&path, &bytes))
        .transpose()
}
