//! Models in one GGUF file: weights, configuration, tokenizer and chat template together.
//!
//! Candle's reader parses the file. The rest is here: the metadata become the model's description,
//! its tokenizer and its chat template, every key and every tensor that nobody would heed is refused
//! by name, and the tensors are read for either engine.

mod codebook;
mod describe;
mod file;
mod grids;
mod llama;
mod loaded_view;
mod pre_tokenizer;
mod sampling;
mod sentencepiece;
mod skim;
mod source;
mod tokenizer;

use std::path::Path;

use candle_core::Device;
use candle_transformers::models::quantized_llama::MAX_SEQ_LEN;

pub(crate) use file::GgufFile;

use self::describe::GgufArchitecture;
use self::loaded_view::LoadedView;
use self::source::GgufSource;
use crate::candle::CandleForward;
use crate::chat::ChatTemplate;
use crate::error::Result;
use crate::fused::Decoder;
use crate::generate::ProposedSampling;
use crate::model::Engine;
use crate::model::decoder_config::DecoderConfig;
use crate::tokenizer::Tokenizer;

/// Everything that a GGUF file holds, its weights still on disk.
pub(crate) struct GgufModel {
    /// The model's description.
    pub config: DecoderConfig,
    /// Keys of the architecture that change nothing.
    pub(crate) ignored_keys: Vec<String>,
    /// The ids that end an answer.
    pub eos_ids: Vec<u32>,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template, where there is one.
    pub template: Result<Option<ChatTemplate>>,
    /// What may make answers worse than the model's.
    pub(crate) warnings: Vec<String>,
    /// Sampling that the file proposes.
    pub(crate) proposed: ProposedSampling,
    /// What the user should know of that.
    pub(crate) generation_warnings: Vec<String>,
    /// The weights.
    pub weights: GgufWeights,
}

/// The weights of a GGUF file, which are read when they are loaded.
pub(crate) struct GgufWeights {
    file: GgufFile,
    architecture: &'static GgufArchitecture,
}

impl GgufModel {
    /// Reads and checks everything but the weights themselves.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = GgufFile::open(path)?;
        let architecture = GgufArchitecture::of(&file)?;
        let (config, ignored_keys) = architecture.describe(&file)?;
        file.check_tensors(&config)?;
        let eos_ids = tokenizer::eos_ids(&file)?;
        let (tokenizer, warnings) = tokenizer::tokenizer(&file)?;
        let template = tokenizer::template(&file);
        let (proposed, generation_warnings) = sampling::proposed(&file);
        // Vocabulary and merges are megabytes that nobody needs any more.
        file.drop_metadata();
        Ok(Self {
            config,
            ignored_keys,
            eos_ids,
            tokenizer,
            template,
            warnings,
            proposed,
            generation_warnings,
            weights: GgufWeights { file, architecture },
        })
    }
}

impl GgufWeights {
    /// Bytes that the weights take in memory on `device`, for an engine.
    pub(crate) fn byte_len(&self, device: &Device, engine: Engine) -> u64 {
        LoadedView::new(&self.file, device, engine).byte_len()
    }

    /// The type that most of the weights have on `device`, for an engine, by its lower-case name.
    pub(crate) fn precision(&self, device: &Device, engine: Engine) -> &'static str {
        file::dtype_name(LoadedView::new(&self.file, device, engine).prevailing_type())
    }

    /// Positions that Candle's own model of them reaches: it makes its table of rotary angles for so
    /// many.
    pub(crate) const CANDLE_POSITIONS: usize = MAX_SEQ_LEN;

    /// Reads the weights into Candle's own model.
    pub(crate) fn load_candle(
        &self,
        config: &DecoderConfig,
        device: &Device,
    ) -> Result<Box<dyn CandleForward>> {
        llama::check_candle(config)?;
        llama::build(&self.file, config, device)
    }

    /// Reads the weights into the decoder of this crate.
    pub(crate) fn load_fused(&self, config: &DecoderConfig, device: &Device) -> Result<Decoder> {
        let source = GgufSource::new(&self.file, self.architecture, config, device);
        Decoder::load(config, &source)
    }
}
