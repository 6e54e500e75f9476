//! A rendered conversation to tokens, with what users wrote kept as text.

use serde_json::{Map, Value};

use super::{ChatTemplate, Message};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Characters that are never exchanged between programs, so that texts hardly ever contain them.
const NONCHARACTERS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// Renders and encodes a conversation.
///
/// A message that contains the text of a special token, say `<|im_end|>`, must not end its turn
/// with it, nor may a role, a tool call or a variable. Rendered texts cannot tell who wrote what, so a
/// mark goes into each such text before rendering. What carries the mark afterwards is no special token; the
/// mark goes before the text is cut into words, so that everything else is cut as if it had never been there.
pub(crate) fn encode_chat(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    more: &Map<String, Value>,
) -> Result<Vec<u32>> {
    let spellings = Spellings::of(tokenizer);
    let mut is_dangerous = false;
    let mut taken = Vec::new();
    for_each_text(messages, more, &mut |text| {
        is_dangerous |= spellings.places(text).next().is_some();
        taken.extend(text.chars().filter(|c| NONCHARACTERS.contains(c)));
    });
    if !is_dangerous {
        let prompt = template.render(messages, true, more)?;
        return tokenizer.encode(&prompt, false);
    }
    let mark = NONCHARACTERS
        .into_iter()
        .find(|c| !taken.contains(c))
        .ok_or_else(|| {
            Error::argument(
                "messages",
                "the texts contain all of Unicode's noncharacters",
            )
        })?;
    let marked = |text: &str| spellings.mark(text, mark);
    let messages: Vec<Message> = messages
        .iter()
        .map(|message| Message {
            role: marked(&message.role),
            content: message.content.as_deref().map(marked),
            more: marked_map(&message.more, &marked),
        })
        .collect();
    let (names, more): (Map<_, _>, Map<_, _>) =
        more.clone().into_iter().partition(|(key, _)| is_name(key));
    let mut more = marked_map(&more, &marked);
    more.extend(names);
    let prompt = template.render(&messages, true, &more)?;
    tokenizer.encode_marked(&prompt, mark)
}

/// Whether a variable names a special token, as `bos_token` does.
fn is_name(variable: &str) -> bool {
    variable.ends_with("_token")
}

/// All texts that did not come with the model.
fn for_each_text(messages: &[Message], more: &Map<String, Value>, take: &mut dyn FnMut(&str)) {
    fn of_value(value: &Value, take: &mut dyn FnMut(&str)) {
        match value {
            Value::String(text) => take(text),
            Value::Array(list) => list.iter().for_each(|value| of_value(value, take)),
            Value::Object(map) => of_map(map, take),
            _ => {}
        }
    }
    fn of_map(map: &Map<String, Value>, take: &mut dyn FnMut(&str)) {
        for (key, value) in map {
            take(key);
            of_value(value, take);
        }
    }
    for message in messages {
        take(&message.role);
        message.content.as_deref().into_iter().for_each(&mut *take);
        of_map(&message.more, take);
    }
    for (key, value) in more.iter().filter(|(key, _)| !is_name(key)) {
        take(key);
        of_value(value, take);
    }
}

fn marked_map(map: &Map<String, Value>, marked: &dyn Fn(&str) -> String) -> Map<String, Value> {
    fn of(value: &Value, marked: &dyn Fn(&str) -> String) -> Value {
        match value {
            Value::String(text) => marked(text).into(),
            Value::Array(list) => list.iter().map(|value| of(value, marked)).collect(),
            Value::Object(map) => marked_map(map, marked).into(),
            other => other.clone(),
        }
    }
    map.iter()
        .map(|(key, value)| (marked(key), of(value, marked)))
        .collect()
}

/// How special tokens are written.
struct Spellings<'a> {
    texts: Vec<&'a [u8]>,
    /// The bytes that they begin with, in either case.
    first: [bool; 256],
}

impl<'a> Spellings<'a> {
    fn of(tokenizer: &'a Tokenizer) -> Self {
        let texts: Vec<&[u8]> = tokenizer
            .special()
            .iter()
            .map(|(text, _)| text.as_bytes())
            .collect();
        let mut first = [false; 256];
        for byte in texts.iter().filter_map(|text| text.first()) {
            first[usize::from(byte.to_ascii_lowercase())] = true;
            first[usize::from(byte.to_ascii_uppercase())] = true;
        }
        Self { texts, first }
    }

    /// Where in `text` a special token's spelling begins: in any case, since templates may change it, and at
    /// the end of the text also with its beginning alone, since more may follow.
    fn places(&self, text: &str) -> impl Iterator<Item = usize> {
        let bytes = text.as_bytes();
        (0..bytes.len()).filter(move |at| {
            let rest = &bytes[*at..];
            self.first[usize::from(rest[0])]
                && self.texts.iter().any(|spelling| {
                    let length = spelling.len().min(rest.len());
                    rest[..length].eq_ignore_ascii_case(&spelling[..length])
                })
        })
    }

    /// Puts `mark` behind the first character of every spelling in `text`.
    fn mark(&self, text: &str, mark: char) -> String {
        let mut marked = String::with_capacity(text.len() + 8);
        let mut rest = 0;
        for place in self.places(text) {
            let Some(first) = text.get(place..).and_then(|tail| tail.chars().next()) else {
                continue;
            };
            let behind = place + first.len_utf8();
            marked.push_str(&text[rest..behind]);
            marked.push(mark);
            rest = behind;
        }
        marked.push_str(&text[rest..]);
        marked
    }
}
