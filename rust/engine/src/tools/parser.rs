//! Calls of tools, told from the text of an answer while it comes.
//!
//! A call is told once it is complete. What looked like one and is not, because it is malformed, calls what was
//! not offered, or ends in the middle, is text. However a text is cut into pieces, what comes out is the same.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::xml::{self, Read};
use super::{Tool, ToolCall, ToolFormat, new_id};

/// What became certain of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space came.
    Begin,
    Text,
    /// Inside a call, of which `held` has all, its tag included.
    Call,
    /// Inside a list of calls.
    List,
    /// Behind a call; white space and what separates calls is not text.
    After,
    /// No calls are looked for.
    Off,
}

/// Splits an answer into text and calls.
#[derive(Debug)]
pub(crate) struct ToolParser {
    format: ToolFormat,
    tools: Vec<Tool>,
    state: State,
    held: String,
    /// Line breaks before the call that is held, which are text if it is none.
    breaks: String,
    /// How the list of calls began that is under way, until the first of it came.
    list_opening: String,
    /// Whether there was text before.
    has_text: bool,
}

impl ToolParser {
    /// A parser for the tools that are offered; without any, all is text.
    pub(crate) fn new(format: ToolFormat, tools: &[Tool]) -> Self {
        Self {
            format,
            tools: tools.to_vec(),
            state: if tools.is_empty() {
                State::Off
            } else {
                State::Begin
            },
            held: String::new(),
            breaks: String::new(),
            list_opening: String::new(),
            has_text: false,
        }
    }

    /// Whether a special token's text is part of a call, which the text of an answer would not have.
    pub(crate) fn is_tag(&self, text: &str) -> bool {
        self.state != State::Off && self.format.tags().contains(&text)
    }

    /// Whether what comes next may be part of a call, as far as is known.
    pub(crate) fn is_call(&self) -> bool {
        matches!(self.state, State::Call | State::List)
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) -> Calls {
        let mut calls = Calls::default();
        self.held.push_str(piece);
        while self.step(&mut calls) {}
        calls
    }

    /// What is still held back when the answer ends.
    pub(crate) fn finish(&mut self) -> Calls {
        let mut calls = Calls::default();
        if self.state == State::After {
            let next = self.behind_call();
            // What may follow a call is no text.
            if !next.is_empty() && !self.closing().starts_with(next) {
                calls.text = match self.has_text {
                    true => format!("\n{next}"),
                    false => next.to_owned(),
                };
            }
        } else {
            for part in [&mut self.breaks, &mut self.list_opening, &mut self.held] {
                calls.text.push_str(&std::mem::take(part));
            }
        }
        calls
    }

    /// The texts that a call begins with behind other text.
    fn openings(&self) -> &'static [&'static str] {
        match self.format {
            ToolFormat::Hermes => &["<tool_call>"],
            // The outer tag is often left out.
            ToolFormat::Xml => &["<tool_call>", "<function="],
            ToolFormat::Llama => &["<|python_tag|>"],
            ToolFormat::Mistral | ToolFormat::MistralNamed => &["[TOOL_CALLS]"],
            ToolFormat::Json => &[],
        }
    }

    fn tell(&mut self, calls: &mut Calls, text: &str) {
        self.has_text |= !text.is_empty();
        calls.text.push_str(text);
    }

    /// One step forward; false when nothing more can be said about what is held.
    fn step(&mut self, calls: &mut Calls) -> bool {
        match self.state {
            State::Off => {
                calls.text.push_str(&std::mem::take(&mut self.held));
                false
            }
            State::Begin => {
                let begin = self.held.trim_start();
                let bare = matches!(self.format, ToolFormat::Llama | ToolFormat::Json);
                if begin.is_empty() {
                    return false;
                }
                if bare && begin.starts_with('{') {
                    self.state = State::Call;
                } else if self.format == ToolFormat::Json && begin.starts_with('[') {
                    let list = self.held.len() - begin.len() + 1;
                    self.open_list(list);
                } else {
                    self.state = State::Text;
                }
                true
            }
            State::Text => self.text(calls),
            State::Call => match self.call() {
                Read::Unfinished => false,
                Read::Done(Some(call), length) => {
                    self.held.drain(..length);
                    self.breaks.clear();
                    calls.calls.push(call);
                    self.state = State::After;
                    true
                }
                Read::Done(None, length) => {
                    self.open_list(length);
                    true
                }
                Read::Wrong => {
                    // The opening is text, and what follows it is looked at again.
                    let openings = self.openings();
                    let opening = openings.iter().find(|text| self.held.starts_with(**text));
                    let length = match opening {
                        Some(opening) => opening.len(),
                        None => self.held.len() - self.held.trim_start().len() + 1,
                    };
                    let breaks = std::mem::take(&mut self.breaks);
                    self.tell(calls, &breaks);
                    let opening: String = self.held.drain(..length).collect();
                    self.tell(calls, &opening);
                    self.state = State::Text;
                    true
                }
            },
            State::List => self.list(calls),
            State::After => self.after(calls),
        }
    }

    /// Begins a list whose opening is so many bytes of what is held.
    fn open_list(&mut self, length: usize) {
        let breaks = std::mem::take(&mut self.breaks);
        let opening: String = self.held.drain(..length).collect();
        self.list_opening = breaks + &opening;
        self.state = State::List;
    }

    fn text(&mut self, calls: &mut Calls) -> bool {
        let openings = self.openings();
        let first = openings
            .iter()
            .filter_map(|text| self.held.find(text))
            .min();
        if let Some(at) = first {
            let text: String = self.held.drain(..at).collect();
            let (text, breaks) = text.split_at(text.trim_end_matches('\n').len());
            self.breaks = breaks.to_owned();
            self.tell(calls, text);
            self.state = State::Call;
            return true;
        }
        let tails = openings.iter().map(|text| partial(&self.held, text));
        let Some(tail) = tails.max() else {
            calls.text.push_str(&std::mem::take(&mut self.held));
            return false;
        };
        let certain = self.held.len() - tail;
        let certain = self.held[..certain].trim_end_matches('\n').len();
        let text: String = self.held.drain(..certain).collect();
        self.tell(calls, &text);
        false
    }

    /// The text that may close a call.
    fn closing(&self) -> &'static str {
        match self.format {
            ToolFormat::Hermes | ToolFormat::Xml => "</tool_call>",
            _ => "",
        }
    }

    /// What is held behind a call, without what separates calls.
    fn behind_call(&self) -> &str {
        let is_llama = self.format == ToolFormat::Llama;
        let separates = |c: char| c.is_ascii_whitespace() || (is_llama && ";,".contains(c));
        self.held.trim_start_matches(separates)
    }

    /// What stands between calls and behind the last one.
    fn after(&mut self, calls: &mut Calls) -> bool {
        let next = self.behind_call();
        let closing = self.closing();
        if next.is_empty() {
            return false;
        }
        if !closing.is_empty() && next.starts_with(closing) {
            self.held = next[closing.len()..].to_owned();
            return true;
        }
        let openings = self.openings();
        let is_begun = |text: &str| text.starts_with(next) && text != next;
        if is_begun(closing) || openings.iter().any(|text| is_begun(text)) {
            return false;
        }
        let is_bare = self.format == ToolFormat::Llama && next.starts_with('{');
        let is_call = is_bare || openings.iter().any(|text| next.starts_with(text));
        self.held = next.to_owned();
        self.state = if is_bare { State::Call } else { State::Text };
        if self.has_text && !is_call {
            calls.text.push('\n');
        }
        true
    }

    /// Reads a call from its opening on; `None` for the opening of a list of calls.
    fn call(&self) -> Read<Option<ToolCall>> {
        match self.format {
            ToolFormat::Hermes | ToolFormat::Xml => self.tagged(),
            ToolFormat::Llama | ToolFormat::Json => {
                let body = self
                    .held
                    .strip_prefix("<|python_tag|>")
                    .unwrap_or(&self.held);
                let before = self.held.len() - body.len();
                found(json_call(body, &self.tools), before)
            }
            ToolFormat::Mistral | ToolFormat::MistralNamed => self.mistral(),
        }
    }

    fn tagged(&self) -> Read<Option<ToolCall>> {
        let body = self.held.strip_prefix("<tool_call>").unwrap_or(&self.held);
        let read = match self.format {
            ToolFormat::Xml => xml::read(body, &self.tools),
            _ => json_call(body, &self.tools),
        };
        found(read, self.held.len() - body.len())
    }

    fn mistral(&self) -> Read<Option<ToolCall>> {
        const OPENING: &str = "[TOOL_CALLS]";
        let inner = self.held[OPENING.len()..].trim_start();
        if inner.is_empty() {
            return Read::Unfinished;
        }
        if let Some(list) = inner.strip_prefix('[') {
            return Read::Done(None, self.held.len() - list.len());
        }
        // A name, and between it and its arguments maybe an id and a tag.
        let brace = inner.find('{');
        let head = &inner[..brace.unwrap_or(inner.len())];
        let name = head.split('[').next().unwrap_or(head).trim_end_matches(' ');
        let tags = &head[name.len()..];
        let is_other = name.contains('\n') || tags.contains(OPENING);
        let Some(brace) = brace else {
            let is_begun = self.tools.iter().any(|tool| tool.name.starts_with(name));
            return match is_begun && !is_other {
                true => Read::Unfinished,
                false => Read::Wrong,
            };
        };
        let id = tags.split_once("[CALL_ID]").map(|(_, id)| id);
        let id = id.map(|id| id.split('[').next().unwrap_or(id));
        let expected = match id {
            Some(id) => format!("[CALL_ID]{id}"),
            None => String::new(),
        };
        let rest = tags.trim_start().strip_prefix(&*expected);
        let rest = rest.map(|rest| rest.strip_prefix("[ARGS]").unwrap_or(rest).trim());
        let is_tool = self.tools.iter().any(|tool| tool.name == name);
        if is_other || !is_tool || rest != Some("") {
            return Read::Wrong;
        }
        match json_value(&inner[brace..]) {
            Read::Unfinished => Read::Unfinished,
            Read::Wrong => Read::Wrong,
            Read::Done(arguments, length) => {
                let call = ToolCall {
                    id: id_or_new(id),
                    name: name.to_owned(),
                    arguments: arguments.get().to_owned(),
                };
                Read::Done(Some(call), self.held.len() - inner.len() + brace + length)
            }
        }
    }

    fn list(&mut self, calls: &mut Calls) -> bool {
        let next = self
            .held
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if next.is_empty() {
            return false;
        }
        let skipped = self.held.len() - next.len();
        if next.starts_with(']') && self.list_opening.is_empty() {
            self.held.drain(..=skipped);
            self.state = State::After;
            return true;
        }
        match json_call(next, &self.tools) {
            Read::Unfinished => false,
            Read::Done(call, length) => {
                calls.calls.push(call);
                self.held.drain(..skipped + length);
                self.list_opening.clear();
                true
            }
            Read::Wrong => {
                // Whatever it is, it is told as it stands.
                let opening = std::mem::take(&mut self.list_opening);
                self.tell(calls, &opening);
                self.state = State::Text;
                true
            }
        }
    }
}

fn found(read: Read<ToolCall>, before: usize) -> Read<Option<ToolCall>> {
    match read {
        Read::Done(call, length) => Read::Done(Some(call), before + length),
        Read::Unfinished => Read::Unfinished,
        Read::Wrong => Read::Wrong,
    }
}

/// A call as models write it in JSON. Some write the arguments as a text that holds JSON.
#[derive(Deserialize)]
struct JsonCall<'a> {
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

/// Reads `{"name": …, "arguments": {…}}` from the beginning of a text.
fn json_call(text: &str, tools: &[Tool]) -> Read<ToolCall> {
    let begin = text.trim_start();
    if begin.is_empty() {
        return Read::Unfinished;
    }
    if !begin.starts_with('{') {
        return Read::Wrong;
    }
    let (raw, length) = match json_value(begin) {
        Read::Done(raw, length) => (raw, length),
        Read::Unfinished => return Read::Unfinished,
        Read::Wrong => return Read::Wrong,
    };
    let Ok(call) = serde_json::from_str::<JsonCall>(raw.get()) else {
        return Read::Wrong;
    };
    let Some(arguments) = arguments(call.arguments.or(call.parameters).map(RawValue::get)) else {
        return Read::Wrong;
    };
    if !tools.iter().any(|tool| tool.name == call.name) {
        return Read::Wrong;
    }
    let call = ToolCall {
        id: id_or_new(call.id.map(|id| id.get().trim_matches('"'))),
        name: call.name,
        arguments,
    };
    Read::Done(call, text.len() - begin.len() + length)
}

/// Arguments as a JSON object; `None` when they are something else.
fn arguments(raw: Option<&str>) -> Option<String> {
    let Some(raw) = raw.filter(|raw| *raw != "null") else {
        return Some("{}".to_owned());
    };
    if raw.starts_with('{') {
        return Some(raw.to_owned());
    }
    let text: String = serde_json::from_str(raw).ok()?;
    if text.trim().is_empty() {
        return Some("{}".to_owned());
    }
    let inner: &RawValue = serde_json::from_str(text.trim()).ok()?;
    inner.get().starts_with('{').then(|| inner.get().to_owned())
}

fn id_or_new(id: Option<&str>) -> String {
    match id.map(str::trim) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => new_id(),
    }
}

/// One JSON value at the beginning of a text.
fn json_value(text: &str) -> Read<&RawValue> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) => Read::Done(value, values.byte_offset()),
        Some(Err(error)) if error.is_eof() || is_unfinished_number(text) => Read::Unfinished,
        Some(Err(_)) => Read::Wrong,
        None => Read::Unfinished,
    }
}

/// Whether a text ends in the middle of a number, such as `1.`, which the reader of JSON takes for an error.
fn is_unfinished_number(text: &str) -> bool {
    if !text.ends_with(['-', '+', '.', 'e', 'E']) {
        return false;
    }
    let more = format!("{text}0");
    let mut values = serde_json::Deserializer::from_str(&more).into_iter::<&RawValue>();
    matches!(values.next(), Some(Err(error)) if error.is_eof())
}

/// Length in bytes of the longest proper beginning of `tag` that `text` ends with.
fn partial(text: &str, tag: &str) -> usize {
    let lengths = tag.char_indices().map(|(index, _)| index).rev();
    let fits = |length: &usize| text.ends_with(&tag[..*length]);
    lengths.filter(|n| *n > 0).find(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<Tool> {
        let tool = |name: &str, parameters| Tool {
            name: name.to_owned(),
            description: String::new(),
            parameters,
        };
        vec![
            tool(
                "weather",
                json!({"type": "object", "properties": {
                    "city": {"type": "string"}, "days": {"type": "integer"},
                    "exact": {"type": ["boolean", "null"]}, "tags": {"type": "array"},
                    "unit": {"enum": ["C", "1"]}, "any": {},
                    "place": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "string"}]},
                }, "$defs": {"place": {"type": "object"}}}),
            ),
            tool("add.up", json!({"type": "object", "properties": {}})),
        ]
    }

    type Outcome = (String, Vec<(String, String)>);

    fn run<'a>(format: ToolFormat, pieces: impl Iterator<Item = &'a str>) -> Outcome {
        let mut parser = ToolParser::new(format, &tools());
        let (mut text, mut all) = (String::new(), Vec::new());
        let mut take = |calls: Calls| {
            text.push_str(&calls.text);
            all.extend(calls.calls.into_iter().map(|call| {
                assert!(call.id.len() >= 2, "{call:?}");
                (call.name, call.arguments)
            }));
        };
        for piece in pieces {
            take(parser.push(piece));
        }
        take(parser.finish());
        (text, all)
    }

    /// However it is cut, an answer becomes the same text and calls.
    fn assert_becomes(format: ToolFormat, answer: &str, text: &str, calls: &[(&str, &str)]) {
        let calls: Vec<(String, String)> = calls
            .iter()
            .map(|(name, arguments)| ((*name).to_owned(), (*arguments).to_owned()))
            .collect();
        let expected = (text.to_owned(), calls);
        assert_eq!(run(format, [answer].into_iter()), expected, "{answer:?}");
        let ends = answer.char_indices().map(|(i, c)| i + c.len_utf8());
        let single: Vec<&str> = answer
            .char_indices()
            .map(|(i, c)| &answer[i..i + c.len_utf8()])
            .collect();
        assert_eq!(
            run(format, single.into_iter()),
            expected,
            "{answer:?} by characters"
        );
        for end in ends {
            let pieces = [&answer[..end], &answer[end..]];
            assert_eq!(run(format, pieces.into_iter()), expected, "{pieces:?}");
        }
    }

    const CALL: (&str, &str) = ("weather", "{\"city\": \"Röm\", \"days\": 1.0e2}");
    const EMPTY: (&str, &str) = ("add.up", "{}");

    #[test]
    fn hermes() {
        let is = |answer: &str, text: &str, calls: &[(&str, &str)]| {
            assert_becomes(ToolFormat::Hermes, answer, text, calls);
        };
        let one = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Röm\", \"days\": 1.0e2}}\n</tool_call>";
        let other = "<tool_call>{\"arguments\": {}, \"name\": \"add.up\"}</tool_call>";
        is(one, "", &[CALL]);
        is(
            &format!("Let me see.\n\n{one}\n{other}"),
            "Let me see.",
            &[CALL, EMPTY],
        );
        is(
            &format!("{one} {other}\nDone <b>"),
            "Done <b>",
            &[CALL, EMPTY],
        );
        is(&format!("A\n{one}\nB"), "A\nB", &[CALL]);
        is(one.strip_suffix("\n</tool_call>").unwrap(), "", &[CALL]);
        is(one.strip_suffix("_call>").unwrap(), "", &[CALL]);
        is("no call at all < <tool", "no call at all < <tool", &[]);
        // Arguments that are a text, null or missing.
        is(
            "<tool_call>{\"name\": \"add.up\", \"arguments\": \"{\\\"a\\\": [1]}\"}",
            "",
            &[("add.up", "{\"a\": [1]}")],
        );
        is(
            "<tool_call>{\"name\": \"add.up\", \"parameters\": null}</tool_call>",
            "",
            &[EMPTY],
        );
        is(
            "<tool_call>{\"name\": \"add.up\"}</tool_call>",
            "",
            &[EMPTY],
        );
        // A closing tag inside of a text is part of it.
        is(
            "<tool_call>{\"name\": \"add.up\", \"arguments\": {\"x\": \"</tool_call>}\"}}</tool_call>",
            "",
            &[("add.up", "{\"x\": \"</tool_call>}\"}")],
        );
        // What is malformed, unknown or cut is text, and what follows it is read.
        for wrong in [
            "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": }}</tool_call>",
            "<tool_call>{\"name\": \"weather\", \"arguments\": {\"a\": 1}</tool_call>",
            "<tool_call>{\"name\": \"weather\", \"arguments\": [1]}</tool_call>",
            "<tool_call>{\"name\": \"other\", \"arguments\": {}}</tool_call>",
            "<tool_call>{\"nom\": \"weather\"}</tool_call>",
            "<tool_call>weather()</tool_call>",
            "<tool_call></tool_call>",
        ] {
            is(wrong, wrong, &[]);
            is(
                &format!("A\n{wrong}\n{one}"),
                &format!("A\n{wrong}"),
                &[CALL],
            );
        }
        let cut = &one[..one.len() - 20];
        is(&format!("A\n{cut}"), &format!("A\n{cut}"), &[]);
        is("<tool_call>", "<tool_call>", &[]);
    }

    #[test]
    fn xml() {
        let is = |answer: &str, text: &str, calls: &[(&str, &str)]| {
            assert_becomes(ToolFormat::Xml, answer, text, calls);
        };
        let one = "<tool_call>\n<function=weather>\n<parameter=city>\n\nNew\nYork 5\n\n</parameter>\n\
            <parameter=days>\n3\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=tags>\n[\"a\", {}]\n\
            </parameter>\n<parameter=unit>1</parameter>\n<parameter=any>\n7\n</parameter>\n<parameter=place>{\"x\": 1}\
            </parameter>\n</function>\n</tool_call>";
        let arguments = "{\"city\":\"\\nNew\\nYork 5\\n\",\"days\":3,\"exact\":true,\"tags\":[\"a\",{}],\
            \"unit\":\"1\",\"any\":7,\"place\":{\"x\":1}}";
        is(one, "", &[("weather", arguments)]);
        let bare = "<function=add.up>\n</function>";
        is(
            "<function=weather><parameter=city>a</parameter> b\n</parameter>\n</function>",
            "",
            &[("weather", "{\"city\":\"a</parameter> b\"}")],
        );
        is(
            &format!("Yes\n{one}\n{bare}"),
            "Yes",
            &[("weather", arguments), EMPTY],
        );
        is(bare, "", &[EMPTY]);
        // A number where the schema wants a text, and a text where it wants a number.
        is(
            "<function=weather><parameter=city>12</parameter><parameter=days>two</parameter></function></tool_call>",
            "",
            &[("weather", "{\"city\":\"12\",\"days\":\"two\"}")],
        );
        for wrong in [
            "<tool_call>\n<function=other>\n</function>\n</tool_call>",
            "<tool_call>\n<function=weather>\n<city>x</city>\n</function>\n</tool_call>",
            "<tool_call>\n{\"name\": \"add.up\"}\n</tool_call>",
            "<function=weather\n>",
        ] {
            is(wrong, wrong, &[]);
            is(&format!("{wrong}\n{bare}"), wrong, &[EMPTY]);
        }
        let cut = &one[..one.len() - 30];
        is(cut, cut, &[]);
    }

    #[test]
    fn llama() {
        let is = |answer: &str, text: &str, calls: &[(&str, &str)]| {
            assert_becomes(ToolFormat::Llama, answer, text, calls);
        };
        let one = "{\"name\": \"weather\", \"parameters\": {\"city\": \"Röm\", \"days\": 1.0e2}}";
        let other = "{\"type\": \"function\", \"name\": \"add.up\", \"arguments\": {}}";
        is(one, "", &[CALL]);
        is(&format!(" \n{one}; {other}\n"), "", &[CALL, EMPTY]);
        is(&format!("<|python_tag|>{one};{other}"), "", &[CALL, EMPTY]);
        is(&format!("I look.<|python_tag|>{one}"), "I look.", &[CALL]);
        is(&format!("{one} Well."), "Well.", &[CALL]);
        for wrong in [
            "{\"name\": \"Bob\", \"age\": 3}",
            "{\"city\": 1}",
            "{x} or {\"name\": \"add.up\"}",
            "{\"name\": \"weather\", \"parameters\": {\"a\"",
            "<|python_tag|>weather.call(city=1)",
        ] {
            is(wrong, wrong, &[]);
        }
    }

    #[test]
    fn mistral() {
        for format in [ToolFormat::Mistral, ToolFormat::MistralNamed] {
            let is = |answer: &str, text: &str, calls: &[(&str, &str)]| {
                assert_becomes(format, answer, text, calls);
            };
            let one = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Röm\", \"days\": 1.0e2}, \"id\": \"abcDEF123\"}";
            let other = "{\"name\": \"add.up\", \"arguments\": {}}";
            is(&format!("[TOOL_CALLS][{one}]"), "", &[CALL]);
            is(
                &format!("[TOOL_CALLS] [ {one},\n{other} ]\n"),
                "",
                &[CALL, EMPTY],
            );
            is(
                &format!("Hm.[TOOL_CALLS][{other}] So."),
                "Hm.\nSo.",
                &[EMPTY],
            );
            is("[TOOL_CALLS]add.up[ARGS]{}", "", &[EMPTY]);
            is(
                "[TOOL_CALLS]add.up[CALL_ID]123456789[ARGS]{}[TOOL_CALLS]weather{\"city\": 1}",
                "",
                &[EMPTY, ("weather", "{\"city\": 1}")],
            );
            for wrong in [
                "[TOOL_CALLS][{\"name\": \"other\"}]",
                "[TOOL_CALLS][]",
                "[TOOL_CALLS]other[ARGS]{}",
                "[TOOL_CALLS]weather\n{}",
                "[TOOL_CALLS]weather[ARGS]{\"a\"",
                "[TOOL_CALLS][{\"name\": \"wea",
                "[TOOL_CALLS]weath",
                "[TOOL_CALLS][ARGS]{}",
            ] {
                is(wrong, wrong, &[]);
            }
            is(&format!("[TOOL_CALLS][{other}, {{]"), ", {]", &[EMPTY]);
            is("Hm.\n\n[TOOL_CALLS] [1", "Hm.\n\n[TOOL_CALLS] [1", &[]);
            is("[TOOL_CALLS]add.up[ARGS]\n{}", "", &[EMPTY]);
            is(
                "[TOOL_CALLS]weather[ARGS]oops [TOOL_CALLS]add.up[ARGS]{}",
                "[TOOL_CALLS]weather[ARGS]oops ",
                &[EMPTY],
            );
        }
    }

    #[test]
    fn json_objects() {
        let is = |answer: &str, text: &str, calls: &[(&str, &str)]| {
            assert_becomes(ToolFormat::Json, answer, text, calls);
        };
        let one = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Röm\", \"days\": 1.0e2}}";
        is(one, "", &[CALL]);
        is(
            &format!("\n[{one}, {{\"name\": \"add.up\"}}]"),
            "",
            &[CALL, EMPTY],
        );
        is(
            "{\"name\": \"add.up\", \"arguments\": \"\", \"parameters\": 1, \"id\": 17}",
            "",
            &[EMPTY],
        );
        for text in [
            "\n [1,2]",
            "[1, 2]",
            "{\"a\": 1}",
            "words {\"name\": \"add.up\"}",
            "[",
            "{",
            " ",
        ] {
            is(text, text, &[]);
        }
    }

    #[test]
    fn without_tools_all_is_text() {
        let mut parser = ToolParser::new(ToolFormat::Hermes, &[]);
        assert!(!parser.is_tag("<tool_call>"));
        let text = "<tool_call>{\"name\": \"weather\"}</tool_call>";
        assert_eq!(parser.push(text).text, text);
    }
}
