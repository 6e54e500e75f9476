//! What `config.json` and `generation_config.json` say about generating.

use serde_json::{Map, Value};

use super::config_file::ConfigFile;
use crate::error::{Error, Result};
use crate::generate::ProposedSampling;

/// End-of-sequence ids of both files together. Either may hold one id or a list; in chat models
/// the list with the end-of-turn token often stands in the second one only.
pub(crate) fn eos_ids(
    config: &Map<String, Value>,
    generation: Option<&Map<String, Value>>,
) -> Result<Vec<u32>> {
    let mut ids = read_ids("config.json", config)?;
    if let Some(generation) = generation {
        ids.extend(read_ids("generation_config.json", generation)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn read_ids(file: &str, keys: &Map<String, Value>) -> Result<Vec<u32>> {
    const KEY: &str = "eos_token_id";
    let invalid = || Error::InvalidConfig {
        file: file.into(),
        key: KEY.into(),
        value: keys.get(KEY).map(Value::to_string).unwrap_or_default(),
        reason: "expected a token id or a list of them".into(),
    };
    let id = |value: &Value| match value.as_i64() {
        // None, as some tools write it.
        Some(-1) => Ok(u32::MAX),
        Some(id) => u32::try_from(id).map_err(|_| invalid()),
        None => Err(invalid()),
    };
    match keys.get(KEY) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(id).collect(),
        Some(value) => Ok(vec![id(value)?]),
    }
}

/// The sampling that the file proposes; nothing unless `do_sample` is true, as transformers has it
/// (the penalty counts for greedy decoding too).
pub(crate) fn proposed_sampling(generation: &Map<String, Value>) -> Result<ProposedSampling> {
    let keys = ConfigFile::new("generation_config.json", generation);
    let repeat_penalty = keys.positive("repetition_penalty")?;
    if !keys.flag("do_sample")?.unwrap_or(false) {
        return Ok(ProposedSampling {
            repeat_penalty,
            ..Default::default()
        });
    }
    Ok(ProposedSampling {
        // Transformers samples at temperature 1 among the 50 best when the keys are missing.
        temperature: Some(keys.positive("temperature")?.unwrap_or(1.0)),
        top_k: Some(keys.whole("top_k")?.unwrap_or(50)),
        top_p: keys.positive("top_p")?,
        min_p: keys.positive("min_p")?,
        repeat_penalty,
    })
}
