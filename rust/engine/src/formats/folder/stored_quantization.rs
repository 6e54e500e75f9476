//! How the matrices of a folder were quantized, as `quantization_config` says it.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

const KEY: &str = "quantization_config";

/// Takes the key out of a configuration where it is understood: what is quantized and how can be seen of the tensors then.
///
/// # Errors
/// [`Error::UnsupportedModel`] for methods that are not read.
pub(super) fn take(config: &mut Map<String, Value>) -> Result<()> {
    let Some(found) = config.get(KEY) else {
        return Ok(());
    };
    // Left there, as keys are that say nothing.
    if found.is_null() || *found == json!({}) {
        return Ok(());
    }
    let method = found["quant_method"].as_str();
    if method == Some("mxfp4") {
        config.remove(KEY);
        return Ok(());
    }
    Err(Error::UnsupportedModel {
        file: "config.json".into(),
        key: KEY.into(),
        value: method.map_or_else(|| found.to_string(), str::to_owned),
        reason: "of quantized folders, those in mxfp4 are read; a folder in 16 bits or a GGUF file of the model would be"
            .into(),
    })
}
