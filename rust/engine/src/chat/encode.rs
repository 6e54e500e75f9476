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
/// with it. Rendered texts cannot tell who wrote what, so a mark goes into each such text before
/// rendering; afterwards, what carries the mark is encoded as the characters it consists of.
pub(crate) fn encode_chat(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    more: &Map<String, Value>,
) -> Result<Vec<u32>> {
    let dangerous = |text: &str| tokenizer.special().iter().any(|(t, _)| text.contains(t));
    let texts = || messages.iter().filter_map(|m| m.content.as_deref());
    if !texts().any(dangerous) {
        let prompt = template.render(messages, true, more)?;
        return tokenizer.encode(&prompt, false);
    }
    let mark = NONCHARACTERS
        .into_iter()
        .find(|c| !texts().any(|text| text.contains(*c)))
        .ok_or_else(|| {
            Error::argument(
                "messages",
                "the texts contain all of Unicode's noncharacters",
            )
        })?;
    let marked: Vec<Message> = messages
        .iter()
        .map(|message| Message {
            content: message
                .content
                .as_deref()
                .map(|text| mark_special(tokenizer, text, mark)),
            ..message.clone()
        })
        .collect();
    let prompt = template.render(&marked, true, more)?;
    encode_marked(tokenizer, &prompt, mark)
}

/// Puts `mark` behind the first character of every special token in `text`.
fn mark_special(tokenizer: &Tokenizer, text: &str, mark: char) -> String {
    let mut marked = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (head, tail) = rest.split_at(first.len_utf8());
        marked.push_str(head);
        if tokenizer.special().iter().any(|(t, _)| rest.starts_with(t)) {
            marked.push(mark);
        }
        rest = tail;
    }
    marked
}

/// Encodes `prompt`: special tokens as themselves, everything between them as text without marks.
fn encode_marked(tokenizer: &Tokenizer, prompt: &str, mark: char) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut text = String::new();
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        let special = tokenizer
            .special()
            .iter()
            .find(|(token, _)| rest.starts_with(token.as_str()));
        if let Some((token, id)) = special {
            if !text.is_empty() {
                ids.extend(tokenizer.encode_literal(&text)?);
                text.clear();
            }
            ids.push(*id);
            rest = &rest[token.len()..];
        } else {
            if first != mark {
                text.push(first);
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    if !text.is_empty() {
        ids.extend(tokenizer.encode_literal(&text)?);
    }
    Ok(ids)
}
