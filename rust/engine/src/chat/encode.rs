//! A rendered conversation to tokens, with what users wrote kept as text.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::{ChatTemplate, Message};
use crate::error::{Error, Result};
use crate::tokenizer::{Masks, Tokenizer};

/// Renders and encodes a conversation.
///
/// A message that contains the text of a special token, say `<|im_end|>`, must not end its turn
/// with it, nor may a role, a tool call or a variable. Rendered texts cannot tell who wrote what, so before
/// rendering the first characters of such texts are replaced by others, which stand for them until special
/// tokens were found. Everything else is cut into words as if nothing had been replaced.
///
/// A template may look at what it renders, so what it makes of the replaced texts must be what it makes of
/// the texts as they are. The most is replaced of which that holds: all characters that special tokens
/// begin with; else those that begin none of the template's own texts; else all but the special tokens that
/// the template looks for, such as the end of a thought that it takes out.
pub(crate) fn encode_chat(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    more: &Map<String, Value>,
) -> Result<Vec<u32>> {
    let plain = template.render(messages, true, more)?;
    let spellings = Spellings::of(tokenizer);
    let mut all = HashSet::new();
    let mut taken = HashSet::new();
    for_each_text(messages, more, &mut |text| {
        all.extend(text.chars().filter(|c| spellings.begins(*c)));
        taken.extend(text.chars().filter(|c| Masks::NONCHARACTERS.contains(c)));
    });
    if all.is_empty() {
        return tokenizer.encode(&plain, false);
    }
    let masks = Masks::new(&all, &taken).or_else(|| {
        // There are so many kinds of special tokens that only those that are there can be heeded.
        let mut there = HashSet::new();
        for_each_text(messages, more, &mut |text| {
            let starts = text.char_indices();
            there.extend(
                starts
                    .filter(|(place, _)| spellings.is_special(&text[*place..]))
                    .map(|(_, c)| c),
            );
        });
        Masks::new(&there, &taken)
    });
    let masks = masks.ok_or_else(|| {
        Error::argument(
            "messages",
            "the texts contain all of Unicode's noncharacters",
        )
    })?;
    let rendered = |is_masked: &dyn Fn(&str) -> bool| -> Result<Option<String>> {
        let masked = |text: &str| spellings.mask(text, &masks, is_masked);
        // What a template makes of other texts may be an error, and is then not what it should be.
        let text = match render_masked(template, messages, more, &masked) {
            Ok(text) => text,
            Err(_) => return Ok(None),
        };
        Ok((masks.restored(&text) == plain).then_some(text))
    };
    if let Some(text) = rendered(&|_| true)? {
        return tokenizer.encode_masked(&text, &masks);
    }
    let own: Vec<&str> = template.texts().iter().map(String::as_str).collect();
    let begins_own = |rest: &str| own.iter().any(|text| rest.starts_with(text));
    let outside = |rest: &str| spellings.is_special(rest) || !begins_own(rest);
    if let Some(text) = rendered(&outside)? {
        return tokenizer.encode_masked(&text, &masks);
    }
    let mut spelled = BTreeSet::new();
    for_each_text(messages, more, &mut |text| {
        spelled.extend(spellings.of_text(text))
    });
    if spelled.is_empty() {
        // There is nothing to take for a special token.
        return tokenizer.encode(&plain, false);
    }
    // The special tokens that the template looks for are what it takes them for.
    let mut looked_for: Vec<&str> = Vec::new();
    for special in spelled.iter().copied() {
        if rendered(&|rest| rest.starts_with(special))?.is_none() {
            looked_for.push(special);
        }
    }
    let others = |rest: &str| {
        let is_looked_for = looked_for.iter().any(|text| rest.starts_with(text));
        !is_looked_for && outside(rest)
    };
    match rendered(&others)? {
        Some(text) => tokenizer.encode_masked(&text, &masks),
        None => Err(Error::ChatTemplate(format!(
            "the template looks at texts in such a way that special tokens in them cannot be told from its own: \
             the messages or variables contain {}",
            Vec::from_iter(spelled).join(", ")
        ))),
    }
}

fn render_masked(
    template: &ChatTemplate,
    messages: &[Message],
    more: &Map<String, Value>,
    masked: &dyn Fn(&str) -> String,
) -> Result<String> {
    let messages: Vec<Message> = messages
        .iter()
        .map(|message| Message {
            role: masked(&message.role),
            content: message.content.as_deref().map(masked),
            more: masked_map(&message.more, masked),
        })
        .collect();
    let (names, more): (Map<_, _>, Map<_, _>) =
        more.clone().into_iter().partition(|(key, _)| is_name(key));
    let mut more = masked_map(&more, masked);
    more.extend(names);
    template.render(&messages, true, &more)
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

fn masked_map(map: &Map<String, Value>, masked: &dyn Fn(&str) -> String) -> Map<String, Value> {
    fn of(value: &Value, masked: &dyn Fn(&str) -> String) -> Value {
        match value {
            Value::String(text) => masked(text).into(),
            Value::Array(list) => list.iter().map(|value| of(value, masked)).collect(),
            Value::Object(map) => masked_map(map, masked).into(),
            other => other.clone(),
        }
    }
    map.iter()
        .map(|(key, value)| (masked(key), of(value, masked)))
        .collect()
}

/// How special tokens are written.
struct Spellings<'a> {
    texts: Vec<&'a str>,
    first: HashSet<char>,
}

impl<'a> Spellings<'a> {
    fn of(tokenizer: &'a Tokenizer) -> Self {
        let texts: Vec<&str> = tokenizer
            .special()
            .iter()
            .map(|(t, _)| t.as_str())
            .collect();
        let first = texts.iter().filter_map(|text| text.chars().next());
        Self {
            first: first.collect(),
            texts,
        }
    }

    /// Whether a special token may begin with a character, in either case or as a wide form that
    /// normalization makes the same.
    fn begins(&self, c: char) -> bool {
        const WIDE: std::ops::RangeInclusive<char> = '\u{FF01}'..='\u{FF5E}';
        let narrow = match WIDE.contains(&c) {
            true => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
            false => c,
        };
        self.first.contains(&narrow)
            || self.first.contains(&narrow.to_ascii_lowercase())
            || self.first.contains(&narrow.to_ascii_uppercase())
    }

    /// The special tokens that a text contains, as they are written.
    fn of_text<'b>(&'b self, text: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        let all = self.texts.iter().copied();
        all.filter(move |special| text.contains(special))
    }

    /// Whether a text begins with a special token, in any case.
    fn is_special(&self, text: &str) -> bool {
        self.texts.iter().any(|special| {
            text.as_bytes()
                .get(..special.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(special.as_bytes()))
        })
    }

    /// A text with the characters masked that special tokens begin with, where `is_masked` says so of the
    /// text from there on.
    fn mask(&self, text: &str, masks: &Masks, is_masked: &dyn Fn(&str) -> bool) -> String {
        text.char_indices()
            .map(|(place, c)| match masks.of(c) {
                Some(mask) if is_masked(&text[place..]) => mask,
                _ => c,
            })
            .collect()
    }
}
