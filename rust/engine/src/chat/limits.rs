//! What a template may cost. It is a program out of a file: it may loop, double its strings, or nest
//! its values, and whatever walks a value recurses as deep as the value is nested.
//!
//! minijinja counts steps, bytes and items (its *fuel*). Three things it leaves to us: the size of the
//! template, since its compiler recurses over long expressions; values that hold others many times, or
//! themselves by way of a namespace; and methods of Python's that multiply the length of a string.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Most bytes of a template. With the stack of [`crate::stack`], any nesting of that length compiles.
/// Published templates have up to some 30,000.
pub(super) const MOST_SOURCE: usize = 256 << 10;

/// Most words and signs of one tag. The compiler folds what is constant, in a time that grows with the
/// square of their number. Published templates have up to some hundred.
const MOST_TOKENS: usize = 8192;

/// Fuel of a rendering whose messages are empty: steps, and one for each 64 bytes.
const LEAST_FUEL: u64 = 2_000_000;

/// Further fuel for each byte of the messages and variables.
const FUEL_A_BYTE: u64 = 4;

/// Deepest nesting of a value that gets a name. JSON that comes in may be nested 128 deep.
const DEEPEST: usize = 200;

/// Values inside such a value that are looked at for one fuel.
const VALUES_A_FUEL: usize = 16;

/// Bytes for one fuel, as minijinja counts them.
pub(super) const BYTES_A_FUEL: usize = 64;

/// Most of minijinja's recursion: some thirty calls of macros inside one another.
pub(super) const RECURSION: usize = 200;

/// Fuel for rendering messages and variables of so many bytes.
pub(super) fn fuel(bytes: usize) -> u64 {
    LEAST_FUEL.saturating_add(FUEL_A_BYTE.saturating_mul(bytes as u64))
}

/// The names by which a template calls the two checks of values. Nobody can guess them, so no variable or
/// macro takes their place.
pub(super) struct Guard {
    /// Calls [`bounded`].
    pub bounded: String,
    /// Calls [`counted`].
    pub counted: String,
    /// Calls [`iterated`].
    pub iterated: String,
}

impl Guard {
    pub(super) fn new() -> Self {
        let secret: u64 = rand::random();
        Self {
            bounded: format!("bounded_{secret:016x}"),
            counted: format!("counted_{secret:016x}"),
            iterated: format!("iterated_{secret:016x}"),
        }
    }

    /// Puts a check around each value that a template gives a name to: those assigned to an attribute of
    /// a namespace (`{% set ns.x = value %}`) are [`bounded`], those of `set` and `with` otherwise
    /// [`counted`], those of `for` [`iterated`]. Lines stay where they are. A template that cannot be read is
    /// returned as it is, for the parser to say what is wrong.
    ///
    /// # Errors
    /// For a tag of too many words and signs.
    pub(super) fn apply(&self, source: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
        let mut guarded = String::with_capacity(source.len());
        let mut copied = 0;
        let mut tokens = tokenize(source, false, syntax.clone()).map_while(Result::ok);
        while let Some((token, span)) = tokens.next() {
            if !matches!(token, Token::BlockStart | Token::VariableStart) {
                continue;
            }
            let tag: Vec<_> = tokens
                .by_ref()
                .take_while(|(token, _)| !matches!(token, Token::BlockEnd | Token::VariableEnd))
                .take(MOST_TOKENS + 1)
                .collect();
            if tag.len() > MOST_TOKENS {
                return Err(refused(format!(
                    "a tag has more than {MOST_TOKENS} words and signs (line {})",
                    span.start_line
                )));
            }
            for Change { from, to, text } in self.changes(&tag) {
                guarded.push_str(&source[copied..from]);
                guarded.push_str(&text);
                copied = to;
            }
        }
        guarded.push_str(&source[copied..]);
        Ok(guarded)
    }

    /// What is to be changed in a tag, in the order of the places.
    fn changes(&self, tag: &[(Token, Span)]) -> Vec<Change> {
        let [(Token::Ident(keyword), span), tag @ ..] = tag else {
            return Vec::new();
        };
        match *keyword {
            // Marks what the assistant says, for training; what is inside stands for itself.
            "generation" => vec![Change::instead(span, "if true")],
            "endgeneration" => vec![Change::instead(span, "endif")],
            "set" => match first(tag, |token| matches!(token, Token::Assign | Token::Pipe)) {
                Some(sign) => {
                    let is_attribute = tag[..sign].iter().any(|(t, _)| matches!(t, Token::Dot));
                    let check = match is_attribute {
                        true => &self.bounded,
                        false => &self.counted,
                    };
                    match tag[sign].0 {
                        Token::Assign => around(check, &tag[sign..]),
                        // A block of text through filters.
                        _ => {
                            let end = tag.last().map(|(_, last)| Change::behind(last, check));
                            Vec::from_iter(end)
                        }
                    }
                }
                None => Vec::new(),
            },
            "for" => {
                let Some(start) = first(tag, |token| matches!(token, Token::Ident("in"))) else {
                    return Vec::new();
                };
                let iterated = &tag[start..];
                let end = first(iterated, |token| {
                    matches!(token, Token::Ident("if" | "recursive"))
                });
                around(&self.iterated, &iterated[..end.unwrap_or(iterated.len())])
            }
            "with" => {
                let mut changes = Vec::new();
                let mut rest = tag;
                while let Some(sign) = first(rest, |token| matches!(token, Token::Assign)) {
                    rest = &rest[sign..];
                    let end = first(rest, |token| matches!(token, Token::Comma));
                    let (value, others) = rest.split_at(end.unwrap_or(rest.len()));
                    changes.extend(around(&self.counted, value));
                    rest = others;
                }
                changes
            }
            _ => Vec::new(),
        }
    }
}

/// A text that comes into a template in the place of another, which may be empty.
struct Change {
    from: usize,
    to: usize,
    text: String,
}

impl Change {
    fn instead(span: &Span, text: &str) -> Self {
        Self {
            from: span.start_offset as usize,
            to: span.end_offset as usize,
            text: text.into(),
        }
    }

    fn at(place: u32, text: String) -> Self {
        Self {
            from: place as usize,
            to: place as usize,
            text,
        }
    }

    /// A filter behind a tag's last word.
    fn behind(last: &Span, filter: &str) -> Self {
        Self::at(last.end_offset, format!(" | {filter}"))
    }
}

/// A call around what stands behind the first token.
fn around(check: &str, tokens: &[(Token, Span)]) -> Vec<Change> {
    match tokens {
        [(_, sign), .., (_, last)] => vec![
            Change::at(sign.end_offset, format!(" {check}((")),
            Change::at(last.end_offset, "))".into()),
        ],
        _ => Vec::new(),
    }
}

/// The first token of a kind that stands outside of any brackets.
fn first(tokens: &[(Token, Span)], is_it: impl Fn(&Token) -> bool) -> Option<usize> {
    let mut depth = 0usize;
    tokens.iter().position(|(token, _)| {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        depth == 0 && is_it(token)
    })
}

/// Returns `value`, unless it is nested too deeply or holds a namespace, by which it could come to hold
/// itself. Views of other values become lists and maps of what they show now, since those change.
pub(super) fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    plain(state, value, true)
}

/// Like [`bounded`], but namespaces may be held, and a loop stays what it is (`{% set outer = loop %}`). A
/// value that holds another many times is paid for as often, since whatever walks it later is not counted.
pub(super) fn counted(state: &State, value: Value) -> Result<Value, Error> {
    plain(state, value, false)
}

/// Like [`counted`], for what a loop goes through, which Python does not do with none.
pub(super) fn iterated(state: &State, value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(refused("none cannot be gone through one by one"));
    }
    counted(state, value)
}

fn plain(state: &State, value: Value, refuses_namespaces: bool) -> Result<Value, Error> {
    let mut walk = Walk {
        state,
        seen: 0,
        refuses_namespaces,
    };
    Ok(walk.replacement(&value, 0)?.unwrap_or(value))
}

/// A walk through a value and all that it holds.
struct Walk<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    seen: usize,
    refuses_namespaces: bool,
}

impl Walk<'_, '_, '_> {
    /// What a value is to be replaced by, if it or something that it holds is a view.
    fn replacement(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        self.seen += 1;
        if self.seen.is_multiple_of(VALUES_A_FUEL) {
            self.state.consume_fuel(1)?;
        }
        let Some(object) = value.as_object() else {
            return Ok(None);
        };
        if object.type_name().ends_with("::Namespace") {
            return match self.refuses_namespaces {
                true => Err(refused("a namespace cannot hold a namespace")),
                // What it holds was bounded.
                false => Ok(None),
            };
        }
        // Printed by its name, and called: a map of its attributes would not do.
        if object.type_name().ends_with("::Macro") {
            return Ok(None);
        }
        if depth == DEEPEST {
            return Err(refused(format!(
                "a value is nested deeper than {DEEPEST} levels"
            )));
        }
        let is_list = object.downcast_ref::<Vec<Value>>().is_some();
        let is_tuple = object.downcast_ref::<Tuple>().is_some();
        let is_map = object.type_name().contains("Map<minijinja::value::Value");
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                let (items, replaced) = self.replacements(value.try_iter()?, depth)?;
                Ok(match is_tuple {
                    _ if (is_list || is_tuple) && !replaced => None,
                    true => Some(Value::from(Tuple::from(items))),
                    false => Some(Value::from(items)),
                })
            }
            ValueKind::Map => {
                let keys: Vec<Value> = value.try_iter()?.collect();
                let held = keys.iter().map(|key| value.get_item(key));
                let held = held.collect::<Result<Vec<Value>, Error>>()?;
                let (held, replaced) = self.replacements(held.into_iter(), depth)?;
                let stays = match is_map {
                    true => !replaced,
                    // A loop, or a view that nothing can put into itself here.
                    false => !self.refuses_namespaces,
                };
                Ok((!stays).then(|| keys.into_iter().zip(held).collect()))
            }
            _ => Ok(None),
        }
    }

    /// The values that another holds, and whether one of them was replaced.
    fn replacements(
        &mut self,
        items: impl Iterator<Item = Value>,
        depth: usize,
    ) -> Result<(Vec<Value>, bool), Error> {
        let mut replaced = false;
        let items = items
            .map(|item| {
                let replacement = self.replacement(&item, depth + 1)?;
                replaced |= replacement.is_some();
                Ok(replacement.unwrap_or(item))
            })
            .collect::<Result<Vec<Value>, Error>>()?;
        Ok((items, replaced))
    }
}

pub(super) fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_get_a_name_are_guarded() {
        let guard = Guard {
            bounded: "B".into(),
            counted: "C".into(),
            iterated: "I".into(),
        };
        for source in [
            "{%- set ns %}block{% endset %}{{ ns.a }}",
            "{% raw %}{% set ns.x = 1 %}{% endraw %}",
            "{# {% set ns.x = 1 %} #}",
            "{% set ns.x = %}",
            "{% set ns.x = 'unfinished",
            "{% if ns.x == 1 %}{% endif %}{% for x in %}",
        ] {
            assert_eq!(
                guard.apply(source, &SyntaxConfig::default()).unwrap(),
                source
            );
        }
        for (source, expected) in [
            (
                "a\n{%- set ns.x = [1,\n2] -%}\nb",
                "a\n{%- set ns.x = B(( [1,\n2])) -%}\nb",
            ),
            (
                "{% set a, n.b = 1, '%}' %}",
                "{% set a, n.b = B(( 1, '%}')) %}",
            ),
            (
                "{% set x = a if b else c %}",
                "{% set x = C(( a if b else c)) %}",
            ),
            (
                "{% set n.x | default(n, x=1) %}",
                "{% set n.x | default(n, x=1) | B %}",
            ),
            ("{% set x | trim %}", "{% set x | trim | C %}"),
            (
                "{% for k, v in d.items() if k %}",
                "{% for k, v in I(( d.items())) if k %}",
            ),
            (
                "{% for a in (b in c) recursive %}",
                "{% for a in I(( (b in c))) recursive %}",
            ),
            (
                "{% with a=[b, c], d = f(e=1) %}",
                "{% with a= C(([b, c])), d = C(( f(e=1))) %}",
            ),
        ] {
            let guarded = guard.apply(source, &SyntaxConfig::default()).unwrap();
            assert_eq!(guarded.replace("  ", " "), expected.replace("  ", " "));
        }
    }
}
