//! Python's methods on strings, lists and dictionaries: those of minijinja's own collection within the
//! fuel, and some of strings that it lacks.

use minijinja::value::{Tuple, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::limits;

/// Most characters that one number in a format string, or a width, may ask for.
const WIDEST_FIELD: usize = 10_000;

/// Python's methods, those that multiply the length of their string within the fuel.
pub(super) fn call(
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
            "removeprefix" | "removesuffix" | "partition" | "rpartition" | "rsplit" | "index"
            | "ljust" | "rjust" | "center" | "zfill" => {
                return string_method(state, text, method, args);
            }
            "splitlines" => pay(state, text.matches('\n').count(), size_of::<Value>())?,
            "format" => {
                check_format(text, args)?;
                let longest = args
                    .iter()
                    .filter_map(|arg| arg.as_str().map(str::len))
                    .max();
                pay(state, text.matches('{').count(), longest.unwrap_or(0))?;
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// Pays for `count` things of so many bytes before they are made.
fn pay(state: &State, count: usize, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((count.saturating_mul(bytes) / limits::BYTES_A_FUEL) as u64)
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
        Some(width) if width > WIDEST_FIELD => Err(limits::refused(format!(
            "format: {width} characters; at most {WIDEST_FIELD} fit a field"
        ))),
        _ => Ok(()),
    }
}

/// The methods that the collection lacks.
fn string_method(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(limits::refused("empty separator"));
            }
            let parts = match method {
                "partition" => text.split_once(separator),
                _ => text.rsplit_once(separator),
            };
            let parts = match parts {
                Some((before, behind)) => [before, separator, behind],
                None if method == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Ok(Value::from(Tuple::from(parts.map(Value::from))))
        }
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            let most = most
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(usize::MAX);
            let mut parts: Vec<&str> = match separator {
                Some("") => return Err(limits::refused("empty separator")),
                Some(separator) => text.rsplitn(most.saturating_add(1), separator).collect(),
                None => words_from_the_end(text, most),
            };
            pay(state, parts.len(), size_of::<Value>())?;
            parts.reverse();
            Ok(parts.into_iter().map(Value::from).collect())
        }
        "index" => {
            let (what,): (&str,) = from_args(args)?;
            match text.find(what) {
                Some(at) => Ok(text[..at].chars().count().into()),
                None => Err(limits::refused("substring not found")),
            }
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = match text.strip_prefix(['+', '-']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            let missing = missing(text, width)?;
            Ok(format!("{sign}{}{digits}", "0".repeat(missing)).into())
        }
        _ => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let fill = fill.unwrap_or(" ");
            if fill.chars().count() != 1 {
                return Err(limits::refused(
                    "the fill character must be one character long",
                ));
            }
            let missing = missing(text, width)?;
            // As in CPython, the odd one stands before an even width's text and behind an odd one's.
            let before = match method {
                "ljust" => 0,
                "rjust" => missing,
                _ => missing / 2 + (missing & width & 1),
            };
            Ok(format!(
                "{}{text}{}",
                fill.repeat(before),
                fill.repeat(missing - before)
            )
            .into())
        }
    }
}

/// Characters that a text lacks to a width.
fn missing(text: &str, width: usize) -> Result<usize, Error> {
    if width > WIDEST_FIELD {
        return Err(limits::refused(format!(
            "{width} characters; at most {WIDEST_FIELD} fit a field"
        )));
    }
    Ok(width.saturating_sub(text.chars().count()))
}

/// Splits at white space, at most so many times, from the end; the last words come first.
fn words_from_the_end(text: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        if words.len() == most {
            words.push(rest);
            break;
        }
        let start = rest
            .char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace())
            .map_or(0, |(index, c)| index + c.len_utf8());
        words.push(&rest[start..]);
        rest = rest[..start].trim_end();
    }
    words
}
