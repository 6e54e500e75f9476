//! Encoders in a GGUF file: BERT and NomicBERT, with word pieces.

use std::path::Path;
use std::sync::Arc;

use super::file::GgufFile;
use super::{GgufTensors, sentence, tokenizer};
use crate::architectures::encoders::gguf::GgufEncoder;
use crate::error::{Error, Result};
use crate::formats::Tensors;
use crate::formats::folder::encoder::EncoderCheckpoint;
use crate::formats::folder::sentence::PoolingMode;
use crate::tokenizer::LengthSettings;

const TOKENIZER: &str = "tokenizer.ggml.model";

/// Reads everything but the weights of a file, and how it pools, where it says so; `None` for a file that holds no encoder.
///
/// # Errors
/// Those of the file, and [`Error::UnsupportedModel`] for what is not computed.
pub(crate) fn open(path: &Path) -> Result<Option<(EncoderCheckpoint, Option<PoolingMode>)>> {
    let mut file = GgufFile::open(path)?;
    let name = file.required_text("general.architecture")?.to_owned();
    let Some(architecture) = GgufEncoder::of(&name) else {
        return Ok(None);
    };
    let tokenizer = file.required_text(TOKENIZER)?;
    if tokenizer != "bert" {
        return Err(Error::UnsupportedModel {
            file: file.name(),
            key: TOKENIZER.into(),
            value: tokenizer.into(),
            reason: "of encoders in GGUF files, those with word pieces (bert) are read; take the model's folder".into(),
        });
    }
    let described = architecture.describe(&file)?;
    let description = described.description;
    let names = &description.names[0];
    for (name, shape) in description.tensors(names) {
        let tensor = file.tensor(&name)?;
        if tensor.shape != shape {
            return Err(Error::InvalidTensor {
                file: file.name(),
                tensor: name,
                expected: format!("shape {shape:?}"),
                got: format!("shape {:?}", tensor.shape),
            });
        }
    }
    let (tokenizer, _) = tokenizer::tokenizer(&file)?;
    let pooling = sentence::pooling(&file)?;
    file.drop_metadata();
    Ok(Some((
        EncoderCheckpoint {
            names,
            head: described.head,
            ignored_keys: described.ignored_keys,
            tokenizer,
            tells_pairs: true,
            lengths: LengthSettings::default(),
            tensors: Tensors::Gguf(GgufTensors {
                file: Arc::new(file),
                architecture: None,
            }),
            description,
        },
        pooling,
    )))
}
