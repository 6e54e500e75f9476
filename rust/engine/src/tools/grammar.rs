//! Grammars, in llguidance's notation of Lark, for answers that call tools.

use serde_json::{Value, json};

use super::{Tool, ToolChoice, ToolFormat};
use crate::generate::compact;

/// Most calls in one answer.
const MOST_CALLS: usize = 16;

/// The grammar of an answer: one call or more where there must be one; else text, in which a call, once it
/// begins, is one of the tools' calls.
///
/// `special` tells the id of a special token by its text; `answer` is a JSON schema for answers that call none.
pub(crate) fn grammar(
    format: ToolFormat,
    tools: &[Tool],
    choice: &ToolChoice,
    special: &dyn Fn(&str) -> Option<u32>,
    answer: Option<&Value>,
) -> String {
    let offered: Vec<&Tool> = tools
        .iter()
        .filter(|tool| !matches!(choice, ToolChoice::Name(name) if *name != tool.name))
        .collect();
    let mut lark = Lark {
        format,
        special,
        rules: String::new(),
    };
    lark.calls(&offered);
    let several = match choice {
        ToolChoice::Name(_) => 0,
        _ => MOST_CALLS - 1,
    };
    let start = match (choice, answer) {
        (ToolChoice::Auto, Some(schema)) => {
            lark.rules
                .push_str(&format!("answer: %json {}\n", compact(schema)));
            format!("answer | {}", lark.several(several))
        }
        (ToolChoice::Auto, None) => lark.within_text(&offered, several),
        _ => lark.several(several),
    };
    format!("start: {start}\n{}", lark.rules)
}

struct Lark<'a> {
    format: ToolFormat,
    special: &'a dyn Fn(&str) -> Option<u32>,
    rules: String,
}

impl Lark<'_> {
    /// A text of the grammar, of which a special token is one token.
    fn text(&self, text: &str) -> String {
        match (self.special)(text) {
            Some(id) => format!("<[{id}]>"),
            None => quoted(text),
        }
    }

    /// The rule `call` for one call from behind its opening, and those below it.
    fn calls(&mut self, tools: &[&Tool]) {
        let names: Vec<String> = (0..tools.len()).map(|i| format!("call_{i}")).collect();
        self.rules
            .push_str(&format!("call: {}\n", names.join(" | ")));
        for (i, tool) in tools.iter().enumerate() {
            let call = match self.format {
                ToolFormat::Xml => self.xml(i, tool),
                ToolFormat::MistralNamed => {
                    let arguments = self.text("[ARGS]");
                    format!("{} {arguments} {}", quoted(&tool.name), schema(tool))
                }
                format => {
                    let key = format.arguments();
                    let begin = format!("{{\"name\": {}, \"{key}\": ", json!(tool.name));
                    format!("{} {} \"}}\"", quoted(&begin), schema(tool))
                }
            };
            self.rules.push_str(&format!("call_{i}: {call}\n"));
        }
    }

    /// An answer that is one call, and up to so many `more`.
    fn several(&self, more: usize) -> String {
        let opening = self.opening();
        let closing = self.closing();
        match self.format {
            ToolFormat::Hermes | ToolFormat::Xml => {
                let one = format!("{opening} \"\\n\" call \"\\n\" {closing}");
                repeated(&one, "\n", more)
            }
            ToolFormat::Llama => {
                let tag = (self.special)("<|python_tag|>").map(|id| format!("<[{id}]>? "));
                format!(
                    "{}{}",
                    tag.unwrap_or_default(),
                    repeated("call", "; ", more)
                )
            }
            ToolFormat::Mistral => format!("{opening} {}", list(more)),
            ToolFormat::MistralNamed => format!("({opening} call){{1,{}}}", more + 1),
            ToolFormat::Json if more == 0 => "call".to_owned(),
            ToolFormat::Json => format!("call | {}", list(more)),
        }
    }

    fn opening(&self) -> String {
        match self.format {
            ToolFormat::Hermes | ToolFormat::Xml => self.text("<tool_call>"),
            _ => self.text("[TOOL_CALLS]"),
        }
    }

    fn closing(&self) -> String {
        self.text("</tool_call>")
    }

    /// Text, in which calls may begin.
    fn within_text(&mut self, tools: &[&Tool], more: usize) -> String {
        self.rules.push_str("TEXT: /(.|\\n)*/\n");
        let behind = match self.format {
            ToolFormat::Hermes | ToolFormat::Xml => {
                format!("\"\\n\" call \"\\n\" {}", self.closing())
            }
            ToolFormat::Mistral => list(more),
            ToolFormat::MistralNamed => "call".to_owned(),
            ToolFormat::Llama | ToolFormat::Json => return self.instead_of_text(tools, more),
        };
        let tag = match self.format {
            ToolFormat::Hermes | ToolFormat::Xml => "<tool_call>",
            _ => "[TOOL_CALLS]",
        };
        // A special token ends the text before it by itself.
        match (self.special)(tag) {
            Some(id) => self.rules.push_str(&format!("opening: TEXT <[{id}]>\n")),
            None => self
                .rules
                .push_str(&format!("opening[lazy]: TEXT {}\n", quoted(tag))),
        }
        format!("(opening {behind})* TEXT")
    }

    /// Text that does not begin like a call, or calls.
    fn instead_of_text(&mut self, tools: &[&Tool], more: usize) -> String {
        let names: Vec<String> = tools
            .iter()
            .map(|tool| tool.name.replace('.', "\\."))
            .collect();
        let names = names.join("|");
        self.rules.push_str(&format!(
            "OTHER: /(?s:.*)/ & ~/(?s:\\[?\\{{\"name\": \"({names})\".*)/\n"
        ));
        format!("OTHER | {}", self.several(more))
    }

    /// One call in XML. Values that may be texts stand there without quotes.
    fn xml(&mut self, call: usize, tool: &Tool) -> String {
        let schema = tool.schema();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut parts = vec![quoted(&format!("<function={}>\n", tool.name))];
        let none = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        for (i, (key, property)) in properties.iter().enumerate() {
            let name = format!("value_{call}_{i}");
            let end = quoted("\n</parameter>\n");
            let rule = match value(property, &schema) {
                Form::Json(schema) => format!("{name}: %json {schema} {end}\n"),
                Form::OneOf(texts) => format!("{name}: ({}) {end}\n", texts.join(" | ")),
                Form::Text(regex) => format!("{name}[lazy]: /{regex}/ {end}\n"),
            };
            self.rules.push_str(&rule);
            let parameter = format!("{} {name}", quoted(&format!("<parameter={key}>\n")));
            match required.contains(&key.as_str()) {
                true => parts.push(parameter),
                false => parts.push(format!("({parameter})?")),
            }
        }
        parts.push(quoted("</function>"));
        parts.join(" ")
    }
}

/// One of something, and up to so many `more`.
fn repeated(one: &str, separator: &str, more: usize) -> String {
    match more {
        0 => one.to_owned(),
        _ => format!("{one} ({} {one}){{0,{more}}}", quoted(separator)),
    }
}

/// A list in JSON of one call, and up to so many `more`.
fn list(more: usize) -> String {
    format!("\"[\" {} \"]\"", repeated("call", ", ", more))
}

/// What a value in XML is.
enum Form {
    /// JSON that a schema describes.
    Json(Value),
    /// One of these texts, in quotes.
    OneOf(Vec<String>),
    /// A text that a regular expression describes.
    Text(String),
}

/// What the value of a property is in XML. What may be a text stands there without quotes.
fn value(property: &Value, root: &Value) -> Form {
    let constants = property["enum"].as_array().cloned();
    let constants = constants.or_else(|| property.get("const").map(|one| vec![one.clone()]));
    if let Some(constants) = constants {
        let text = |constant: &Value| match constant {
            Value::String(text) => quoted(text),
            other => quoted(&other.to_string()),
        };
        return Form::OneOf(constants.iter().map(text).collect());
    }
    if may_be_text(property, root, 0) {
        return Form::Text(text_regex(property));
    }
    let mut schema = property.clone();
    // What it refers to stands in the schema of all arguments.
    for key in ["$defs", "definitions"] {
        if let (Some(definitions), Some(schema)) = (root.get(key), schema.as_object_mut()) {
            schema.insert(key.to_owned(), definitions.clone());
        }
    }
    Form::Json(compact(&schema))
}

/// Whether a schema allows texts.
fn may_be_text(schema: &Value, root: &Value, depth: usize) -> bool {
    const DEPTH: usize = 32;
    let target = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix('#'));
    if let Some(target) = target.and_then(|path| root.pointer(path)) {
        return depth < DEPTH && may_be_text(target, root, depth + 1);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(cases) = schema[key].as_array() {
            return depth < DEPTH && cases.iter().any(|case| may_be_text(case, root, depth + 1));
        }
    }
    if let Some(constants) = schema["enum"].as_array() {
        return constants.iter().any(Value::is_string);
    }
    match (schema.get("const"), &schema["type"]) {
        (Some(constant), _) => constant.is_string(),
        (None, Value::String(kind)) => kind == "string",
        (None, Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => true,
    }
}

/// The texts that a schema allows, as far as its pattern and lengths go.
fn text_regex(schema: &Value) -> String {
    if schema["type"] != "string" {
        return "(.|\\n)*".to_owned();
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let begin = if pattern.starts_with('^') {
            ""
        } else {
            "(.|\\n)*"
        };
        let end = if pattern.ends_with('$') {
            ""
        } else {
            "(.|\\n)*"
        };
        let inner = pattern.trim_start_matches('^').trim_end_matches('$');
        return format!("{begin}({}){end}", inner.replace('/', "\\/"));
    }
    let least = schema["minLength"].as_u64().unwrap_or(0);
    match schema["maxLength"].as_u64() {
        Some(most) => format!("(.|\\n){{{least},{most}}}"),
        None => format!("(.|\\n){{{least},}}"),
    }
}

/// The schema of a tool's arguments, of which nothing but its properties is allowed, unless it says more.
fn schema(tool: &Tool) -> String {
    let mut schema = tool.schema();
    if let Some(object) = schema.as_object_mut()
        && object.contains_key("properties")
        && ![
            "additionalProperties",
            "patternProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "$ref",
        ]
        .iter()
        .any(|key| object.contains_key(*key))
    {
        object.insert("additionalProperties".to_owned(), false.into());
    }
    format!("%json {}", compact(&schema))
}

/// A text in Lark's notation.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}
