//! Calls in Qwen3-Coder's XML: `<function=name><parameter=key>value</parameter>…</function>`.
//!
//! Values have no types there; the tool's schema tells them.

use serde_json::{Map, Value};

use super::{Tool, ToolCall, new_id};

/// What a text turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Read<T> {
    /// The beginning of something.
    Unfinished,
    /// Something else.
    Wrong,
    /// It, and how many bytes it takes.
    Done(T, usize),
}

/// Reads a call from the beginning of a text.
pub(super) fn read(text: &str, tools: &[Tool]) -> Read<ToolCall> {
    let begin = text.trim_start();
    let (name, length) = match tag(begin, "<function=", ">") {
        Read::Done(name, length) => (name, length),
        Read::Unfinished => return Read::Unfinished,
        Read::Wrong => return Read::Wrong,
    };
    let Some(tool) = tools.iter().find(|tool| tool.name == name.trim()) else {
        return Read::Wrong;
    };
    let mut rest = begin[length..].trim_start();
    let mut arguments = Map::new();
    loop {
        if let Some(end) = rest.strip_prefix("</function>") {
            let call = ToolCall {
                id: new_id(),
                name: tool.name.clone(),
                arguments: Value::Object(arguments).to_string(),
            };
            return Read::Done(call, text.len() - end.len());
        }
        if "</function>".starts_with(rest) {
            return Read::Unfinished;
        }
        let (key, length) = match tag(rest, "<parameter=", ">") {
            Read::Done(key, length) => (key, length),
            Read::Unfinished => return Read::Unfinished,
            Read::Wrong => return Read::Wrong,
        };
        let (value, after) = match value(&rest[length..]) {
            Read::Done(value, length_of_value) => (value, &rest[length + length_of_value..]),
            _ => return Read::Unfinished,
        };
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        arguments.insert(key.trim().to_owned(), typed(value, tool, key.trim()));
        rest = after.trim_start();
    }
}

/// A value and its length with the closing tag, behind which another parameter or the end of the call comes;
/// what else looks like that tag is part of the value.
fn value(text: &str) -> Read<&str> {
    const CLOSING: &str = "</parameter>";
    for (at, _) in text.match_indices(CLOSING) {
        let next = text[at + CLOSING.len()..].trim_start();
        let follows = |tag: &str| next.starts_with(tag) || tag.starts_with(next);
        if follows("<parameter=") || follows("</function>") {
            let is_certain = next.starts_with("<parameter=") || next.starts_with("</function>");
            return match is_certain {
                true => Read::Done(&text[..at], at + CLOSING.len()),
                false => Read::Unfinished,
            };
        }
    }
    Read::Unfinished
}

/// What stands between two texts, the first of which the text begins with, on one line.
fn tag<'a>(text: &'a str, start: &str, end: &str) -> Read<&'a str> {
    let Some(rest) = text.strip_prefix(start) else {
        return match start.starts_with(text) {
            true => Read::Unfinished,
            false => Read::Wrong,
        };
    };
    match rest.find(end) {
        Some(at) if rest[..at].contains('\n') => Read::Wrong,
        Some(at) => Read::Done(&rest[..at], start.len() + at + end.len()),
        None if rest.contains('\n') => Read::Wrong,
        None => Read::Unfinished,
    }
}

/// A value as the schema of its parameter has it: JSON, where the schema allows what that is, else a text.
fn typed(text: &str, tool: &Tool, key: &str) -> Value {
    let root = &tool.parameters;
    let schema = &root["properties"][key];
    let word = match text.trim() {
        // As Python writes them, which templates show to models.
        "True" => "true",
        "False" => "false",
        "None" => "null",
        word => word,
    };
    match serde_json::from_str::<Value>(word) {
        Ok(value) if !value.is_string() && allows(schema, root, &value, 0) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Whether a schema allows a value, by its type alone, and does not take it for a text.
fn allows(schema: &Value, root: &Value, value: &Value, depth: usize) -> bool {
    const DEPTH: usize = 32;
    if depth > DEPTH {
        return false;
    }
    if let Some(path) = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix('#'))
    {
        let target = root.pointer(path);
        return target.is_some_and(|target| allows(target, root, value, depth + 1));
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(cases) = schema[key].as_array() {
            return cases
                .iter()
                .any(|case| allows(case, root, value, depth + 1));
        }
    }
    if let Some(constants) = schema["enum"].as_array() {
        return constants.contains(value);
    }
    if let Some(constant) = schema.get("const") {
        return constant == value;
    }
    let is = |kind: &str| match kind {
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|x| x.fract() == 0.0)
        }
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is),
        // Nothing is said, so it is what it looks like.
        _ => true,
    }
}
