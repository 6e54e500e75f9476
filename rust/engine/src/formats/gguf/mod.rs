//! Models in one GGUF file: weights, configuration, tokenizer and chat template together.
//!
//! Candle's reader parses the file. The rest is here: the metadata become the model's description (by its
//! [architecture](crate::architectures::gguf)), its tokenizer and its chat template, every key and every tensor
//! that nobody would heed is refused by name, and the tensors are read for either engine.

pub(crate) mod encoder;
mod file;
mod lazy_rows;
mod loaded_view;
mod pre_tokenizer;
mod sampling;
mod sentence;
mod sentencepiece;
mod skim;
mod source;
mod tokenizer;
mod tokenizer_parts;
mod word_pieces;

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

pub(crate) use loaded_view::LoadedView;

use self::file::GgufFile;
use self::source::GgufSource;
use super::folder::sentence::Module;
use super::{Checkpoint, Kernels, Tensors, folder};
use crate::architectures::Architecture;
use crate::architectures::gguf::GgufArchitecture;
use crate::description::ModelDescription;
use crate::error::Result;

/// The tensors of a GGUF file, which are read when they are asked for.
pub(crate) struct GgufTensors {
    file: Arc<GgufFile>,
    /// Of a decoder, whose tensors are asked for by their names on the Hub.
    architecture: Option<&'static GgufArchitecture>,
}

/// Reads and checks everything but the weights themselves.
pub(super) fn open(path: &Path) -> Result<Checkpoint> {
    read(path, GgufFile::open(path)?)
}

/// Reads a decoder for embeddings, with the steps behind it where the file says which.
///
/// # Errors
/// Those of the file, and [`Error::UnsupportedModel`](crate::error::Error::UnsupportedModel) for what is not computed.
pub(crate) fn open_embedder(path: &Path) -> Result<(Checkpoint, Option<Vec<Module>>)> {
    let file = GgufFile::open(path)?;
    let modules = sentence::modules(&file)?;
    Ok((read(path, file)?, modules))
}

fn read(path: &Path, mut file: GgufFile) -> Result<Checkpoint> {
    let name = file.required_text("general.architecture")?;
    let architecture = Architecture::of_gguf(&file, name)?;
    let (description, ignored_keys) = architecture.describe(&file)?;
    file.check_tensors(&description)?;
    let eos_ids = tokenizer::eos_ids(&file)?;
    let (tokenizer, warnings) = tokenizer::tokenizer(&file)?;
    let template = tokenizer::template(&file)?;
    // As the file of the model that comes with this library has it.
    let beside = path.parent().map(folder::generation_defaults);
    let (defaults, generation_warnings) = match beside.transpose()?.flatten() {
        Some(beside) => beside,
        None => sampling::defaults(&file),
    };
    // Vocabulary and merges are megabytes that nobody needs any more.
    file.drop_metadata();
    Ok(Checkpoint {
        description,
        ignored_keys,
        eos_ids,
        defaults,
        generation_warnings,
        warnings,
        tokenizer,
        template,
        tensors: Tensors::Gguf(GgufTensors {
            file: Arc::new(file),
            architecture: Some(architecture),
        }),
    })
}

impl GgufTensors {
    /// What the file calls a decoder's architecture.
    pub(crate) fn architecture(&self) -> &'static str {
        self.architecture
            .map_or("", |architecture| architecture.name)
    }

    /// Bytes that the weights take in memory.
    pub(crate) fn byte_len(&self, device: &Device, kernels: Kernels) -> u64 {
        self.view(device, kernels).byte_len()
    }

    /// The type that most of the weights have in memory, by its lower-case name.
    pub(crate) fn precision(&self, device: &Device, kernels: Kernels) -> &'static str {
        self.view(device, kernels).prevailing_type().name()
    }

    /// The file as it would be with its tensors as they are kept in memory.
    pub(crate) fn view(&self, device: &Device, kernels: Kernels) -> LoadedView<'_> {
        LoadedView::new(&self.file, device, kernels)
    }

    /// The tensors by the names that they have in the file.
    pub(super) fn plain_source<'a>(&'a self, device: &'a Device) -> GgufSource<'a> {
        GgufSource::plain(&self.file, device)
    }

    /// The tensors for the kernels of this library.
    pub(super) fn source<'a>(
        &'a self,
        description: &'a ModelDescription,
        device: &'a Device,
    ) -> GgufSource<'a> {
        GgufSource::new(&self.file, self.architecture, description, device)
    }
}
