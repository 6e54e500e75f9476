//! Where descriptions, tensors, tokenizers and chat templates come from: a folder of safetensors files, or one
//! GGUF file. Both become a `Checkpoint`.

mod block_type;
mod codebook;
pub mod folder;
mod generation_defaults;
pub(crate) mod gguf;
mod grids;
mod matrix;
mod quantization;
mod quantize;
mod stored;
mod tensors;

use std::path::Path;

use serde_json::{Map, Value};

pub(crate) use block_type::BlockType;
pub use generation_defaults::{GenerationDefaults, TokenRules};
pub(crate) use generation_defaults::{LARGEST_PENALTY, is_penalty, is_temperature};
pub(crate) use matrix::{LevelBlocks, Matrix, quantized_matrix};
pub use quantization::Quantization;
pub(crate) use stored::{ReadRows, StoredRows};
pub(crate) use tensors::{
    Kernels, LazyRows, Storage, TensorSource, Tensors, kept_type, quantized_type, unreadable,
};

use crate::description::ModelDescription;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Everything that the files of a model say, its weights still on disk.
pub(crate) struct Checkpoint {
    /// What the model is.
    pub(crate) description: ModelDescription,
    /// Keys of the configuration that nothing reads, because they change nothing.
    pub(crate) ignored_keys: Vec<String>,
    /// The ids that end an answer, as the files have them: some may not be in the vocabulary.
    pub(crate) eos_ids: Vec<u32>,
    /// How the files propose to generate.
    pub(crate) defaults: GenerationDefaults,
    /// What of that is not honoured.
    pub(crate) generation_warnings: Vec<String>,
    /// What else the user should know of the files.
    pub(crate) warnings: Vec<String>,
    /// The tokenizer.
    pub(crate) tokenizer: Tokenizer,
    /// The chat template, where there is one.
    pub(crate) template: Option<TemplateSource>,
    /// The weights.
    pub(crate) tensors: Tensors,
}

/// A chat template that was not parsed yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TemplateSource {
    /// The file that it comes from, for messages.
    pub(crate) file: String,
    /// The Jinja text.
    pub(crate) source: String,
    /// The special tokens by their names (`bos_token` and so on), which templates can use.
    pub(crate) variables: Map<String, Value>,
}

impl Checkpoint {
    /// Reads everything but the weights of a folder or a GGUF file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// The same of a folder, to whose weights those of an adapter are added.
    ///
    /// # Errors
    /// Besides, [`Error::InvalidArgument`] for an adapter of a GGUF file.
    pub(crate) fn open_with(path: &Path, adapter: Option<&Path>) -> Result<Self> {
        match (path.is_file(), adapter) {
            (true, None) => gguf::open(path),
            (true, Some(_)) => Err(Error::argument(
                "adapter",
                "expected none: adapters are merged into the weights of folders, and this is a GGUF file",
            )),
            (false, adapter) => folder::open(path, adapter),
        }
    }
}
