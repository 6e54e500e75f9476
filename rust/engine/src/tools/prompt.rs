//! How a model is told of its tools.

use serde_json::{Map, Value, json};

use super::{Tool, ToolFormat};
use crate::chat::{ChatTemplate, Message};

impl ToolFormat {
    /// Makes calls and results ordinary messages where a chat template has no place for them.
    pub(crate) fn fit(self, messages: &mut Vec<Message>, template: &ChatTemplate) {
        if self == Self::Json && !template.source().contains("tool") {
            *messages = plain(messages);
        }
    }

    /// Adds tools to what a chat template gets: as its variable `tools`, or, where it knows none, as a system
    /// message.
    pub(crate) fn tell(
        self,
        tools: &[Tool],
        messages: &mut Vec<Message>,
        variables: &mut Map<String, Value>,
        template: &ChatTemplate,
    ) {
        if self.is_rendered() {
            let tools = tools.iter().map(Tool::for_template).collect();
            variables.insert("tools".to_owned(), Value::Array(tools));
            return;
        }
        let text = instructions(tools);
        match messages.first_mut() {
            Some(first) if first.role == "system" => {
                let own = first.content.take().unwrap_or_default();
                first.content = Some(format!("{own}\n\n{text}").trim_start().to_owned());
            }
            Some(first) if !template.source().contains("system") => {
                let own = first.content.take().unwrap_or_default();
                first.content = Some(format!("{text}\n\n{own}"));
            }
            _ => messages.insert(0, message("system", text)),
        }
    }
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content: Some(content),
        more: Map::new(),
    }
}

fn instructions(tools: &[Tool]) -> String {
    let mut text = String::from(
        "You can call these functions, which are given as JSON with the schema of their arguments:\n",
    );
    for tool in tools {
        let line = json!({
            "name": tool.name, "description": tool.description, "arguments": tool.schema(),
        });
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(
        "\nTo call one, answer with nothing but a JSON object: {\"name\": \"…\", \"arguments\": {…}}. To call \
         several at once, answer with a list of such objects. The results come in the next message. If no \
         function helps, answer in words.",
    );
    text
}

/// Messages without calls and results, for templates that have no place for them.
fn plain(messages: &[Message]) -> Vec<Message> {
    let mut plain: Vec<Message> = Vec::new();
    let mut is_results = false;
    for one in messages {
        let calls = one.more.get("tool_calls").and_then(Value::as_array);
        if one.role == "tool" {
            let name = one
                .more
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("the function");
            let result = one.content.as_deref().unwrap_or_default();
            let text = format!("Result of {name}: {result}");
            match plain.last_mut() {
                // Many templates want users and assistants to take turns.
                Some(last) if is_results => {
                    let before = last.content.take().unwrap_or_default();
                    last.content = Some(format!("{before}\n{text}"));
                }
                _ => plain.push(message("user", text)),
            }
            is_results = true;
            continue;
        }
        is_results = false;
        match calls {
            Some(calls) if !calls.is_empty() => {
                let calls: Vec<Value> = calls
                    .iter()
                    .map(|call| {
                        let function = call.get("function").unwrap_or(call);
                        json!({"name": function["name"], "arguments": function["arguments"]})
                    })
                    .collect();
                let json = match &calls[..] {
                    [one] => one.to_string(),
                    _ => Value::Array(calls).to_string(),
                };
                let own = one.content.as_deref().unwrap_or_default();
                plain.push(message(
                    &one.role,
                    format!("{own}\n{json}").trim_start().to_owned(),
                ));
            }
            _ => plain.push(one.clone()),
        }
    }
    plain
}
