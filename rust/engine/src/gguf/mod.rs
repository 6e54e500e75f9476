//! Models in one GGUF file: weights, configuration, tokenizer and chat template together.
//!
//! Candle's reader parses the file, and Candle's quantised models compute it. What lies between is
//! here: every key and every tensor that Candle would pass over is refused by name, and the
//! tokenizer is put together from the metadata.

mod file;
mod llama;
mod loaded_view;
mod tokenizer;

use std::path::Path;

use candle_core::Device;

pub(crate) use file::GgufFile;

use self::loaded_view::LoadedView;
use crate::candle::CandleForward;
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::model::decoder_config::DecoderConfig;
use crate::tokenizer::Tokenizer;

/// Everything that a GGUF file holds, its weights still on disk.
pub(crate) struct GgufModel {
    /// The model's description.
    pub config: DecoderConfig,
    /// The ids that end an answer.
    pub eos_ids: Vec<u32>,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template, where there is one.
    pub template: Option<ChatTemplate>,
    /// The weights.
    pub weights: GgufWeights,
}

/// The weights of a GGUF file, which are read when they are loaded.
pub(crate) struct GgufWeights {
    file: GgufFile,
}

impl GgufModel {
    /// Reads and checks everything but the weights themselves.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = GgufFile::open(path)?;
        let architecture = file.required_text("general.architecture")?;
        if architecture != llama::NAME {
            return Err(Error::UnsupportedModel {
                key: "general.architecture".into(),
                value: architecture.into(),
                reason: format!(
                    "of GGUF files, only those of architecture {} are read",
                    llama::NAME
                ),
            });
        }
        let config = llama::describe(&file)?;
        file.check_tensors(&config)?;
        let eos_ids = tokenizer::eos_ids(&file)?;
        let tokenizer = tokenizer::tokenizer(&file)?;
        let template = tokenizer::template(&file)?;
        // Vocabulary and merges are megabytes that nobody needs any more.
        file.drop_metadata();
        Ok(Self {
            config,
            eos_ids,
            tokenizer,
            template,
            weights: GgufWeights { file },
        })
    }
}

impl GgufWeights {
    /// Bytes that the weights take in memory on `device`.
    pub(crate) fn byte_len(&self, device: &Device) -> u64 {
        LoadedView::new(&self.file, device).byte_len()
    }

    /// The type that most of the weights have on `device`, by its lower-case name.
    pub(crate) fn precision(&self, device: &Device) -> &'static str {
        file::dtype_name(LoadedView::new(&self.file, device).prevailing_type())
    }

    /// Reads the weights.
    pub(crate) fn load(
        &self,
        config: &DecoderConfig,
        device: &Device,
    ) -> Result<Box<dyn CandleForward>> {
        llama::build(&self.file, config, device)
    }
}
