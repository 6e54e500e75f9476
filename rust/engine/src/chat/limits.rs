//! What a template may cost. It is a program out of a file: it may loop, double its strings, or nest
//! its values, and whatever walks a value recurses as deep as the value is nested.
//!
//! minijinja counts steps, bytes and items (its *fuel*). Three things it leaves to us: the size of the
//! template, since its compiler recurses over long expressions; values that are put into a namespace,
//! the only place where loops can build nested or circular ones; and methods of Python's that multiply
//! the length of a string.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// Most bytes of a template. With the stack of [`crate::deep`], any nesting of that length compiles.
/// Published templates have up to some 30,000.
pub(super) const MOST_SOURCE: usize = 256 << 10;

/// Most words and signs of one tag. The compiler folds what is constant, in a time that grows with the
/// square of their number. Published templates have up to some hundred.
const MOST_TOKENS: usize = 8192;

/// Fuel of a rendering whose messages are empty: steps, and one for each 64 bytes.
const LEAST_FUEL: u64 = 2_000_000;

/// Further fuel for each byte of the messages and variables.
const FUEL_A_BYTE: u64 = 4;

/// Deepest nesting of what a namespace holds. JSON that comes in may be nested 128 deep.
const DEEPEST: usize = 200;

/// Values inside a namespace's value that are looked at for one fuel.
const VALUES_A_FUEL: usize = 16;

/// Bytes for one fuel, as minijinja counts them.
pub(super) const BYTES_A_FUEL: usize = 64;

/// Most characters that one number in a format string may ask for.
const WIDEST_FIELD: usize = 10_000;

/// What templates call [`bounded`] by, which only [`guard_namespaces`] writes.
pub(super) const BOUNDED: &str = "candle4j_bounded";

/// Fuel for rendering messages and variables of so many bytes.
pub(super) fn fuel(bytes: usize) -> u64 {
    LEAST_FUEL.saturating_add(FUEL_A_BYTE.saturating_mul(bytes as u64))
}

/// Puts a call of [`bounded`] around each value that a template assigns to an attribute of a
/// namespace: `{% set ns.x = value %}`. Lines stay where they are. A template that cannot be read is
/// returned as it is, for the parser to say what is wrong.
///
/// # Errors
/// For a tag of too many words and signs.
pub(super) fn guard_namespaces(source: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
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
        let [(Token::Ident("set"), _), statement @ ..] = tag.as_slice() else {
            continue;
        };
        if let Some((start, end)) = assigned_value(statement) {
            guarded.push_str(&source[copied..start]);
            guarded.push_str(&format!(" {BOUNDED}(("));
            guarded.push_str(&source[start..end]);
            guarded.push_str("))");
            copied = end;
        }
    }
    guarded.push_str(&source[copied..]);
    Ok(guarded)
}

/// First byte and end of the value in `a.b = value`, or `a, b.c = values`.
fn assigned_value(statement: &[(Token, Span)]) -> Option<(usize, usize)> {
    let target = statement
        .iter()
        .position(|(token, _)| matches!(token, Token::Assign | Token::Pipe))?;
    let (assign, value) = statement.split_at(target + 1);
    let is_attribute = assign.iter().any(|(token, _)| matches!(token, Token::Dot));
    match (assign.last(), value.last()) {
        (Some((Token::Assign, sign)), Some((_, last))) if is_attribute => {
            Some((sign.end_offset as usize, last.end_offset as usize))
        }
        _ => None,
    }
}

/// Returns `value`, unless it is nested too deeply or holds a namespace, by which it could come to hold
/// itself.
pub(super) fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    let mut open = vec![(value.clone(), 0)];
    let mut seen = 0usize;
    while let Some((value, depth)) = open.pop() {
        seen += 1;
        if seen.is_multiple_of(VALUES_A_FUEL) {
            state.consume_fuel(1)?;
        }
        let Some(object) = value.as_object() else {
            continue;
        };
        if object.type_name().ends_with("::Namespace") {
            return Err(refused("a namespace cannot hold a namespace"));
        }
        let inner: Vec<Value> = match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.collect(),
            ValueKind::Map => value
                .try_iter()?
                .filter_map(|key| value.get_item(&key).ok())
                .collect(),
            _ => continue,
        };
        if depth == DEEPEST && !inner.is_empty() {
            return Err(refused(format!(
                "a namespace's value is nested deeper than {DEEPEST} levels"
            )));
        }
        state.consume_fuel((inner.len() / VALUES_A_FUEL) as u64)?;
        open.extend(inner.into_iter().map(|value| (value, depth + 1)));
    }
    Ok(value)
}

/// Python's methods, those that multiply the length of their string within the fuel.
pub(super) fn method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let text_of = |index: usize| args.get(index).and_then(Value::as_str);
        match method {
            "join" => {
                let [list] = args else {
                    return Err(ErrorKind::MissingArgument.into());
                };
                // The filter counts what it joins.
                return state.apply_filter("join", &[list.clone(), value.clone()]);
            }
            "replace" => {
                if let (Some(old), Some(new)) = (text_of(0), text_of(1)) {
                    pay(state, text.matches(old).count(), new.len())?;
                }
            }
            "split" => {
                let pieces = match text_of(0) {
                    Some(separator) if !separator.is_empty() => text.matches(separator).count(),
                    _ => text.split_whitespace().count(),
                };
                pay(state, pieces, size_of::<Value>())?;
            }
            "splitlines" => pay(state, text.matches('\n').count(), size_of::<Value>())?,
            "format" => check_format(text, args)?,
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// Pays for `count` things of so many bytes before they are made.
fn pay(state: &State, count: usize, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((count.saturating_mul(bytes) / BYTES_A_FUEL) as u64)
}

/// Refuses fields of `str.format` that are wider than anything a prompt needs.
fn check_format(format: &str, args: &[Value]) -> Result<(), Error> {
    let written = format
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(usize::MAX));
    // A width may be an argument itself: `{:{}}`.
    let given = args
        .iter()
        .filter(|_| format.contains(":{"))
        .filter_map(Value::as_usize);
    match written.chain(given).max() {
        Some(width) if width > WIDEST_FIELD => Err(refused(format!(
            "format: {width} characters; at most {WIDEST_FIELD} fit a field"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assignments_to_attributes_are_guarded() {
        let guard = |source| guard_namespaces(source, &SyntaxConfig::default()).unwrap();
        for source in [
            "{% set x = 1 %}",
            "{%- set ns = namespace(a=1) -%}{{ ns.a }}",
            "{% set ns.x %}block{% endset %}",
            "{% set ns.x | replace('a', b=1) %}block{% endset %}",
            "{% raw %}{% set ns.x = 1 %}{% endraw %}",
            "{# {% set ns.x = 1 %} #}",
            "{% set ns.x = %}",
            "{% set ns.x = 'unfinished",
            "{% if ns.x == 1 %}{% endif %}",
        ] {
            assert_eq!(guard(source), source);
        }
        assert_eq!(
            guard("a\n{%- set ns.x = [1,\n2] -%}\nb{% set a, n.b = 1, '%}' %}{{ n.b }}"),
            "a\n{%- set ns.x = candle4j_bounded(( [1,\n2])) -%}\nb{% set a, n.b = \
             candle4j_bounded(( 1, '%}')) %}{{ n.b }}"
        );
    }
}
