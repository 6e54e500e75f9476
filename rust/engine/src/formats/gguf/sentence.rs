//! What a GGUF file says of how the states of a text's tokens become one vector.

use super::file::GgufFile;
use crate::architectures::Architecture;
use crate::architectures::gguf::DENSE_OVER_VECTORS;
use crate::error::{Error, Result};
use crate::formats::folder::sentence::{DenseActivation, DenseWeights, Module, PoolingMode};

/// How states become a vector, where the file says so.
///
/// # Errors
/// [`Error::InvalidConfig`], and [`Error::UnsupportedModel`] for a model that gives scores.
pub(super) fn pooling(file: &GgufFile) -> Result<Option<PoolingMode>> {
    let key = format!(
        "{}.pooling_type",
        file.required_text("general.architecture")?
    );
    let Some(value) = file.json(&key) else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(PoolingMode::Mean)),
        Some(2) => Ok(Some(PoolingMode::Cls)),
        Some(3) => Ok(Some(PoolingMode::LastToken)),
        _ => Err(Error::UnsupportedModel {
            file: file.name(),
            key,
            value: value.to_string(),
            reason: "1 (mean), 2 (cls) and 3 (last) are known".into(),
        }),
    }
}

/// The steps behind a decoder; `None` where the file says nothing of them.
///
/// # Errors
/// Those of [`pooling`], and [`Error::InvalidTensor`] where EmbeddingGemma's layers over the vector are missing: converters
/// leave them out unless they are asked for them, and the vectors would be others than the model's.
pub(super) fn modules(file: &GgufFile) -> Result<Option<Vec<Module>>> {
    let name = file.required_text("general.architecture")?;
    let architecture = Architecture::of_gguf(file, name)?;
    let pooled = |mode| Module::Pooling {
        modes: vec![mode],
        include_prompt: true,
    };
    if !architecture.has_dense {
        return Ok(pooling(file)?.map(|mode| vec![pooled(mode)]));
    }
    let mut modules = vec![pooled(pooling(file)?.unwrap_or(PoolingMode::Mean))];
    for name in DENSE_OVER_VECTORS {
        let tensor = file.tensor(name).map_err(|_| Error::InvalidTensor {
            file: file.name(),
            tensor: name.into(),
            expected: "the layer that the model has over its vectors".into(),
            got: "none; convert the folder with --sentence-transformers-dense-modules, or take it itself".into(),
        })?;
        let &[rows, columns] = &tensor.shape[..] else {
            return Err(Error::InvalidTensor {
                file: file.name(),
                tensor: name.into(),
                expected: "two dimensions".into(),
                got: format!("shape {:?}", tensor.shape),
            });
        };
        modules.push(Module::Dense {
            weights: DenseWeights::Gguf(name),
            columns,
            rows,
            bias: false,
            activation: DenseActivation::Identity,
        });
    }
    modules.push(Module::Normalize);
    Ok(Some(modules))
}
