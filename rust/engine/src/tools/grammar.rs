//! Grammars, in llguidance's notation of Lark, for answers that call tools.

use serde_json::{Value, json};

use super::{Tool, ToolChoice, ToolFormat, xml_grammar};
use crate::error::{Error, Result};
use crate::generate::{compact, escaped};

/// Most calls in one answer.
const MOST_CALLS: usize = 16;

/// The grammar of an answer: one call or more where there must be one; else text, in which a call, once it
/// begins, is one of the tools' calls.
///
/// # Errors
/// [`Error::InvalidArgument`] for a schema that calls in this form cannot follow.
///
/// `special` tells the id of a special token by its text; `answer` is a JSON schema for answers that call none.
pub(crate) fn grammar(
    format: ToolFormat,
    tools: &[Tool],
    choice: &ToolChoice,
    special: &dyn Fn(&str) -> Option<u32>,
    answer: Option<&Value>,
) -> Result<String> {
    let offered: Vec<&Tool> = tools
        .iter()
        .filter(|tool| !matches!(choice, ToolChoice::Name(name) if *name != tool.name))
        .collect();
    let mut lark = Lark {
        format,
        special,
        rules: String::new(),
    };
    lark.calls(&offered)?;
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
    Ok(format!("start: {start}\n{}", lark.rules))
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
    fn calls(&mut self, tools: &[&Tool]) -> Result<()> {
        let names: Vec<String> = (0..tools.len()).map(|i| format!("call_{i}")).collect();
        self.rules
            .push_str(&format!("call: {}\n", names.join(" | ")));
        for (i, tool) in tools.iter().enumerate() {
            let call = match self.format {
                ToolFormat::Xml => {
                    let refused =
                        |reason| Error::argument("tools", format!("{}: {reason}", tool.name));
                    xml_grammar::call(tool, &format!("value_{i}"), &mut self.rules)
                        .map_err(refused)?
                }
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
        Ok(())
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
        // What the reader of calls takes for the beginning of one does not come in another way.
        let mut others = Vec::new();
        match (self.special)(tag) {
            Some(id) => {
                others.push(tag);
                self.rules.push_str(&format!("opening: TEXT <[{id}]>\n"));
            }
            None => self
                .rules
                .push_str(&format!("opening[lazy]: TEXT {}\n", quoted(tag))),
        }
        if self.format == ToolFormat::Xml {
            others.push("<function=");
        }
        let excluded: String = others
            .iter()
            .map(|text| format!(" & ~/(?s:.*){}(?s:.*)/", escaped(text)))
            .collect();
        self.rules.push_str(&format!("TEXT: /(?s:.*)/{excluded}\n"));
        format!("(opening {behind})* TEXT")
    }

    /// Text that does not begin like a call, or calls.
    fn instead_of_text(&mut self, tools: &[&Tool], more: usize) -> String {
        let names: Vec<String> = tools.iter().map(|tool| escaped(&tool.name)).collect();
        let call = format!(
            "\\s*\\[?\\s*\\{{(?s:.*)\"name\"\\s*:\\s*\"({})\"(?s:.*)",
            names.join("|")
        );
        let mut excluded = format!(" & ~/{call}/");
        if self.format == ToolFormat::Llama {
            excluded += &format!(" & ~/(?s:.*){}(?s:.*)/", escaped("<|python_tag|>"));
        }
        self.rules
            .push_str(&format!("OTHER: /(?s:.*)/{excluded}\n"));
        format!("OTHER | {}", self.several(more))
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
pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string()
}
