//! Which keys of a file the reference implementations read.
//!
//! transformers is the measure for `config.json`, llama.cpp for GGUF files. What their code for an
//! architecture does not read cannot change a result, and is ignored. `scripts/fixtures/read_keys.py`
//! takes the names from their sources, each with the value that changes nothing.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// The keys that are read, with the value that says nothing beyond the default.
pub(crate) type ReadKeys = HashMap<String, Value>;

#[derive(Deserialize)]
struct File {
    #[serde(rename = "config.json")]
    config: HashMap<String, ReadKeys>,
    gguf: HashMap<String, ReadKeys>,
}

static KEYS: LazyLock<Tables> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("read_keys.json"))
        .expect("read_keys.json is made by a script and tested");
    Tables {
        config: file.config,
        gguf: file.gguf,
        none: ReadKeys::new(),
    }
});

struct Tables {
    config: HashMap<String, ReadKeys>,
    gguf: HashMap<String, ReadKeys>,
    none: ReadKeys,
}

/// The keys of `config.json` that transformers reads for an architecture.
pub(crate) fn of_config(architecture: &str) -> &'static ReadKeys {
    KEYS.config.get(architecture).unwrap_or(&KEYS.none)
}

/// The keys of a GGUF file that llama.cpp reads for an architecture, without its prefix.
pub(crate) fn of_gguf(architecture: &str) -> &'static ReadKeys {
    KEYS.gguf.get(architecture).unwrap_or(&KEYS.none)
}

/// Whether a value says what is computed anyway: the default, or nothing where there is none.
pub(crate) fn restates(value: &Value, default: &Value) -> bool {
    if value.is_null() || value == default || same_number(value, default) {
        return true;
    }
    match value {
        Value::Array(list) => list.iter().all(|item| item == "full_attention"),
        Value::Object(map) => map.is_empty(),
        Value::Bool(flag) => default.is_null() && !flag,
        Value::Number(number) => default.is_null() && number.as_f64() == Some(0.0),
        Value::String(text) => default.is_null() && text.is_empty(),
        Value::Null => true,
    }
}

fn same_number(a: &Value, b: &Value) -> bool {
    a.as_f64().is_some() && a.as_f64() == b.as_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::architectures::Architecture;
    use crate::architectures::encoders::EncoderArchitecture;

    #[test]
    fn every_architecture_has_its_keys() {
        for name in EncoderArchitecture::names() {
            assert!(of_config(name).contains_key("vocab_size"), "{name}");
        }
        for name in Architecture::names() {
            assert!(of_config(name).contains_key("hidden_size"), "{name}");
            assert!(of_config(name).contains_key("quantization_config"));
        }
        for name in ["llama", "qwen2", "qwen3", "qwen3moe"] {
            assert!(of_gguf(name).contains_key("block_count"), "{name}");
        }
    }

    /// `rope.rs` reads each of these for the kinds of scaling that have it.
    #[test]
    fn all_keys_of_rotary_embedding_are_known() {
        let file: Value = serde_json::from_str(include_str!("read_keys.json")).unwrap();
        let source = include_str!("rope.rs");
        for key in file["rope_parameters"].as_array().unwrap() {
            assert!(source.contains(&key.to_string()), "{key}");
        }
    }

    #[test]
    fn defaults_and_nothing_restate() {
        for (value, default) in [
            (json!(null), json!(true)),
            (json!(true), json!(true)),
            (json!(1.0), json!(1)),
            (json!(false), json!(null)),
            (json!(0), json!(null)),
            (json!({}), json!(null)),
            (json!([]), json!(null)),
            (json!(["full_attention", "full_attention"]), json!(null)),
        ] {
            assert!(restates(&value, &default), "{value} {default}");
        }
        for (value, default) in [
            (json!(false), json!(true)),
            (json!(0), json!(1)),
            (json!(true), json!(null)),
            (json!(["sliding_attention"]), json!(null)),
            (json!({"a": 1}), json!(null)),
        ] {
            assert!(!restates(&value, &default), "{value} {default}");
        }
    }
}
