//! The grammar of arguments in Qwen3-Coder's XML, where texts stand without quotes.
//!
//! What of a tool's schema cannot be said there is refused by name: a call must be valid by all of it.

use serde_json::{Map, Value};

use super::Tool;
use super::grammar::quoted;
use crate::generate::{compact, escaped};

/// How deep references and alternatives are followed.
const DEPTH: usize = 16;

/// What ends a value.
const END: &str = "\n</parameter>\n";

/// Keys that say nothing about which values are valid.
const ANNOTATIONS: [&str; 9] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$comment",
    "$defs",
    "definitions",
    "$schema",
];

/// Writes the grammar of a call, and the rules that it needs, whose names begin with `prefix`.
///
/// # Errors
/// What of the tool's schema is not supported, and where.
pub(super) fn call(tool: &Tool, prefix: &str, rules: &mut String) -> Result<String, String> {
    let root = tool.schema();
    let schema = resolved(&root, &root)?;
    let none = Map::new();
    let keys = schema.as_object().unwrap_or(&none);
    let known = [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "$ref",
    ];
    refuse_other(keys, &known, "")?;
    if keys
        .get("additionalProperties")
        .is_some_and(|more| !more.is_boolean())
    {
        return Err("additionalProperties is not supported".to_owned());
    }
    let properties = match keys.get("properties") {
        None => &none,
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err("properties: expected an object".to_owned()),
    };
    let required: Vec<&str> = match keys.get("required") {
        None => Vec::new(),
        Some(list) => list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect(),
    };
    if let Some(name) = required
        .iter()
        .find(|name| !properties.contains_key(**name))
    {
        return Err(format!("the required property {name:?} is not described"));
    }
    let mut parts = vec![quoted(&format!("<function={}>\n", tool.name))];
    for (i, (key, property)) in properties.iter().enumerate() {
        if key.is_empty() || key.trim() != key || key.contains(['<', '>', '\n', '\r']) {
            return Err(format!("the name of the property {key:?} is not supported"));
        }
        let mut values = Values {
            root: &root,
            name: format!("{prefix}_{i}"),
            alternatives: Vec::new(),
            rules,
        };
        values
            .add(property, 0)
            .map_err(|reason| format!("properties.{key}: {reason}"))?;
        let name = values.finish();
        let parameter = format!("{} {name}", quoted(&format!("<parameter={key}>\n")));
        match required.contains(&key.as_str()) {
            true => parts.push(parameter),
            false => parts.push(format!("({parameter})?")),
        }
    }
    parts.push(quoted("</function>"));
    Ok(parts.join(" "))
}

fn resolved<'a>(schema: &'a Value, root: &'a Value) -> Result<&'a Value, String> {
    let mut target = schema;
    for _ in 0..DEPTH {
        let Some(path) = target["$ref"].as_str() else {
            return Ok(target);
        };
        let found = path.strip_prefix('#').and_then(|path| root.pointer(path));
        target = found.ok_or_else(|| format!("$ref {path:?} is not supported"))?;
    }
    Err("$ref leads to itself".to_owned())
}

fn refuse_other(keys: &Map<String, Value>, known: &[&str], place: &str) -> Result<(), String> {
    let is_known =
        |key: &&String| known.contains(&key.as_str()) || ANNOTATIONS.contains(&key.as_str());
    match keys.keys().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => Err(format!(
            "{place}{key} is not supported in the form in which this model calls tools"
        )),
    }
}

/// The values of one property, as alternatives of a rule.
struct Values<'a> {
    root: &'a Value,
    name: String,
    alternatives: Vec<String>,
    rules: &'a mut String,
}

impl Values<'_> {
    fn finish(self) -> String {
        let Self {
            name,
            alternatives,
            rules,
            ..
        } = self;
        rules.push_str(&format!("{name}: {}\n", alternatives.join(" | ")));
        name
    }

    fn new_rule(&mut self, attributes: &str, body: &str) {
        let rule = format!("{}_{}", self.name, self.alternatives.len());
        self.rules
            .push_str(&format!("{rule}{attributes}: {body}\n"));
        self.alternatives.push(rule);
    }

    fn add(&mut self, schema: &Value, depth: usize) -> Result<(), String> {
        let schema = resolved(schema, self.root)?;
        if depth > DEPTH {
            return Err("is nested too deeply".to_owned());
        }
        let Some(keys) = schema.as_object() else {
            return match schema {
                Value::Bool(true) => self.text(&Map::new()),
                _ => Err("expected a schema".to_owned()),
            };
        };
        if let Some(constants) = keys.get("enum").and_then(Value::as_array) {
            return constants
                .iter()
                .try_for_each(|constant| self.constant(constant));
        }
        if let Some(constant) = keys.get("const") {
            return self.constant(constant);
        }
        if let Some(cases) = keys.get("anyOf").and_then(Value::as_array) {
            refuse_other(keys, &["anyOf"], "")?;
            return cases.iter().try_for_each(|case| self.add(case, depth + 1));
        }
        let kinds: Vec<&str> = match keys.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if kinds.is_empty() {
            return self.text(keys);
        }
        if kinds.contains(&"string") {
            self.text(keys)?;
        }
        let others: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "string").collect();
        if !others.is_empty() {
            self.json(keys, &others);
        }
        Ok(())
    }

    fn constant(&mut self, constant: &Value) -> Result<(), String> {
        let text = match constant {
            Value::String(text) if text.contains("</parameter>") => {
                return Err(format!("the constant {text:?} is not supported"));
            }
            Value::String(text) => quoted(text),
            other => quoted(&other.to_string()),
        };
        self.new_rule("", &format!("{text} {}", quoted(END)));
        Ok(())
    }

    fn json(&mut self, keys: &Map<String, Value>, kinds: &[&str]) {
        let mut schema = keys.clone();
        schema.insert("type".to_owned(), kinds.into());
        // What it refers to stands in the schema of all arguments.
        for key in ["$defs", "definitions"] {
            if let Some(definitions) = self.root.get(key) {
                schema.insert(key.to_owned(), definitions.clone());
            }
        }
        let schema = compact(&Value::Object(schema));
        self.new_rule("", &format!("%json {schema} {}", quoted(END)));
    }

    /// A text, which is whatever stands before the end.
    fn text(&mut self, keys: &Map<String, Value>) -> Result<(), String> {
        let known = ["type", "pattern", "minLength", "maxLength", "format"];
        let of_others = [
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "items",
            "minItems",
            "maxItems",
            "properties",
            "required",
            "additionalProperties",
        ];
        refuse_other(keys, &[&known[..], &of_others].concat(), "")?;
        let mut parts = vec![format!("~/(?s:.*){}(?s:.*)/", escaped("</parameter>"))];
        if let Some(regex) = keys.get("pattern").and_then(Value::as_str) {
            parts.push(format!("/{}/", whole(regex)));
        }
        if let Some(format) = keys.get("format").and_then(Value::as_str) {
            let regex = by_format(format).ok_or_else(|| {
                format!(
                    "format {format:?} is not supported in the form in which this model calls tools"
                )
            })?;
            parts.push(format!("/{regex}/"));
        }
        let length = |key: &str| keys.get(key).and_then(Value::as_u64);
        let (least, most) = (length("minLength").unwrap_or(0), length("maxLength"));
        let most = most.map_or(String::new(), |most| most.to_string());
        parts.push(format!("/(?s:.){{{least},{most}}}/"));
        let terminal = format!("T{}_{}", self.name, self.alternatives.len()).to_uppercase();
        self.rules
            .push_str(&format!("{terminal}: {}\n", parts.join(" & ")));
        self.new_rule("[lazy]", &format!("{terminal} {}", quoted(END)));
        Ok(())
    }
}

/// A pattern of JSON schema, which may match anywhere, as one that matches all of a text.
fn whole(regex: &str) -> String {
    let (begin, inner) = match regex.strip_prefix('^') {
        Some(inner) => ("", inner),
        None => ("(?s:.*)", regex),
    };
    let backslashes = |text: &str| text.chars().rev().take_while(|c| *c == '\\').count();
    let (inner, end) = match inner.strip_suffix('$') {
        Some(shorter) if backslashes(shorter).is_multiple_of(2) => (shorter, ""),
        _ => (inner, "(?s:.*)"),
    };
    let mut slashed = String::new();
    for c in inner.chars() {
        if c == '/' && backslashes(&slashed).is_multiple_of(2) {
            slashed.push('\\');
        }
        slashed.push(c);
    }
    format!("{begin}({slashed}){end}")
}

/// The texts of a format.
fn by_format(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
        "time" => r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
        "date-time" => {
            r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
        }
        "uuid" => r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "email" => r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*@[A-Za-z0-9]+(\.[A-Za-z0-9]+)+",
        "ipv4" => {
            r"((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
        }
        "uri" => r"https?:\/\/[A-Za-z0-9]+(\.[A-Za-z0-9]+)+(\/[A-Za-z0-9._~-]*)*",
        _ => return None,
    })
}
