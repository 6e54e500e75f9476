//! Sampling that a GGUF file proposes (`general.sampling.*`), as llama.cpp has it.

use serde_json::Value;

use super::file::GgufFile;
use crate::formats::{GenerationDefaults, is_penalty, is_temperature};

const PREFIX: &str = "general.sampling.";

/// llama.cpp's temperature, where the file proposes something and no temperature.
const TEMPERATURE: f64 = 0.8;

/// Keys that are known and not honoured, with the values that change nothing.
const OTHERS: &[(&str, f64)] = &[
    ("mirostat", 0.0),
    ("xtc_probability", 0.0),
    ("sequence", 0.0),
];

/// What the file proposes, and what the user should know of it: values that cannot be, and keys that change
/// llama.cpp's answers and are not honoured here.
pub(super) fn defaults(file: &GgufFile) -> (GenerationDefaults, Vec<String>) {
    let mut warnings = Vec::new();
    let mut number = |name: &str, fits: &dyn Fn(f64) -> bool| -> Option<f64> {
        let value = file.json(&format!("{PREFIX}{name}"))?;
        let number = value.as_f64().filter(|x| x.is_finite() && fits(*x));
        if number.is_none() {
            warnings.push(format!(
                "{}: {PREFIX}{name} = {value} is ignored: it cannot be",
                file.name()
            ));
        }
        number
    };
    let share = |p: f64| p > 0.0 && p <= 1.0;
    let is_count = |n: f64| n.fract() == 0.0 && n.abs() < 1e9;
    let mut proposed = GenerationDefaults {
        temperature: number("temp", &is_temperature),
        // Below 1 means all.
        top_k: number("top_k", &is_count).map(|k| k.max(0.0) as usize),
        top_p: number("top_p", &share),
        min_p: number("min_p", &|p| (0.0..=1.0).contains(&p)),
        repeat_penalty: number("penalty_repeat", &is_penalty),
        // Below 0 means the whole context.
        repeat_window: number("penalty_last_n", &is_count)
            .filter(|n| *n >= 0.0)
            .map(|n| n as usize),
        ..Default::default()
    };
    if proposed != GenerationDefaults::default() {
        proposed.temperature = proposed.temperature.or(Some(TEMPERATURE));
    }
    for (name, neutral) in OTHERS {
        let value = file.json(&format!("{PREFIX}{name}"));
        if let Some(value) = value
            && value.as_f64() != Some(*neutral)
            && value != Value::Null
        {
            warnings.push(format!(
                "{}: {PREFIX}{name} = {value} is not honoured: answers may differ from those of llama.cpp",
                file.name()
            ));
        }
    }
    (proposed, warnings)
}
