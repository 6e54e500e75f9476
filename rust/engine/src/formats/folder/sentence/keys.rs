//! What the files of sentence-transformers have in common.

use serde_json::{Map, Value};

use crate::architectures::config_file::ConfigFile;
use crate::error::Result;

/// Refuses keys that were not read, unless they are known to change nothing.
pub(super) fn refuse_others(
    config: &ConfigFile,
    keys: &Map<String, Value>,
    inert: &[&str],
) -> Result<()> {
    for (key, value) in keys {
        let is_read = value.is_null() || config.was_read(key);
        if !is_read && !inert.contains(&key.as_str()) && !key.starts_with("__") {
            return Err(config.unsupported(key, "what this key asks for is not computed"));
        }
    }
    Ok(())
}
