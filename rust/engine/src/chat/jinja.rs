//! Jinja as transformers sets it up: whitespace trimmed around blocks, loop controls, Python's methods
//! on strings, lists and dictionaries, `raise_exception`, `strftime_now`, and a `tojson` that leaves
//! characters as they are.

use std::fmt::Write as _;
use std::io;

use minijinja::machinery::Token;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde::Serialize;

use super::{limits, methods};

/// Bytes of JSON for one fuel: writing them takes longer than copying.
const JSON_A_FUEL: usize = limits::BYTES_A_FUEL / 16;

/// Most spaces of one level of indented JSON.
const WIDEST_INDENT: usize = 100;

/// An environment with one template of that name.
pub(super) fn environment(name: &'static str, source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let guard = limits::Guard::new();
    // As Jinja does, which knows one kind of line.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = guard.apply(&source, &syntax)?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(methods::call);
    environment.set_recursion_limit(limits::RECURSION);
    environment.add_function(guard.bounded.clone(), limits::bounded);
    environment.add_function(guard.counted.clone(), limits::counted);
    // A block of text that goes through filters takes them as its last.
    environment.add_filter(guard.bounded, limits::bounded);
    environment.add_filter(guard.counted, limits::counted);
    environment.add_function(guard.iterated, limits::iterated);
    environment.set_formatter(print);
    environment.add_test("iterable", is_iterable);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    environment.add_template_owned(name, source)?;
    Ok(environment)
}

/// The texts that a template has in quotes, none of them empty.
pub(super) fn texts(source: &str) -> Vec<String> {
    let syntax = SyntaxConfig::default();
    let mut texts: Vec<String> = minijinja::machinery::tokenize(source, false, syntax)
        .map_while(Result::ok)
        .filter_map(|(token, _)| match token {
            Token::Str(text) => Some(text.to_owned()),
            Token::String(text) => Some(text.to_string()),
            _ => None,
        })
        .filter(|text| !text.is_empty())
        .collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Prints a value; numbers with a fraction as Python does.
fn print(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let is_float = value.kind() == ValueKind::Number && !value.is_integer();
    match f64::try_from(value.clone()) {
        Ok(x) if is_float => output.write_str(&python_float(x)).map_err(Error::from),
        _ => minijinja::escape_formatter(output, state, value),
    }
}

/// Whether Python goes through a value one by one, which it does not with none.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(limits::refused(message))
}

/// Today, in the way that templates ask for it; local time is not known here, so it is UTC.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut text = String::new();
    write!(text, "{}", chrono::Utc::now().format(format)).map_err(|_| {
        let format: String = format.chars().take(100).collect();
        limits::refused(format!("strftime_now: {format:?} is no format of a time"))
    })?;
    Ok(text)
}

/// JSON as Python writes it: `, ` and `: ` between things unless `indent` or `separators` say otherwise,
/// and nothing escaped for HTML.
fn to_json(state: &State, value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let ensure_ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    kwargs.assert_all_used()?;
    if let Some(width) = indent
        && width > WIDEST_INDENT
    {
        return Err(limits::refused(format!(
            "tojson: an indent of {width}; at most {WIDEST_INDENT} are written"
        )));
    }
    if ensure_ascii == Some(true) || sort_keys == Some(true) {
        return Err(limits::refused(
            "tojson: ensure_ascii and sort_keys are known as false only",
        ));
    }
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",", ": "),
        None => (", ", ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(limits::refused("tojson: expected two separators")),
    };
    let formatter = PythonFormatter {
        item,
        key,
        indent,
        depth: 0,
        has_value: false,
    };
    write_json(state, value, formatter).map(Value::from_safe_string)
}

fn write_json(
    state: &State,
    value: &Value,
    formatter: impl serde_json::ser::Formatter,
) -> Result<String, Error> {
    let mut writer = FuelWriter {
        state,
        bytes: Vec::new(),
        unpaid: 0,
        empty: false,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut writer, formatter);
    let written = value.serialize(&mut serializer);
    if writer.empty {
        return Err(ErrorKind::OutOfFuel.into());
    }
    written.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    Ok(String::from_utf8_lossy(&writer.bytes).into_owned())
}

/// Pays for bytes while they are written: a value may hold another many times.
struct FuelWriter<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    bytes: Vec<u8>,
    unpaid: usize,
    empty: bool,
}

impl io::Write for FuelWriter<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unpaid += bytes.len();
        let fuel = self.unpaid / JSON_A_FUEL;
        if fuel > 0 {
            self.unpaid %= JSON_A_FUEL;
            if self.state.consume_fuel(fuel as u64).is_err() {
                self.empty = true;
                return Err(io::Error::other("out of fuel"));
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Separators, lines and numbers as Python's `json` has them.
struct PythonFormatter<'a> {
    item: &'a str,
    key: &'a str,
    /// Spaces of a level, where each value stands on a line of its own.
    indent: Option<usize>,
    depth: usize,
    /// Whether the list or object that ends has something in it.
    has_value: bool,
}

impl PythonFormatter<'_> {
    fn line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let Some(width) = self.indent else {
            return Ok(());
        };
        writer.write_all(b"\n")?;
        writer.write_all(" ".repeat(width * self.depth).as_bytes())
    }

    fn begin<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.line(writer)?;
        }
        self.has_value = true;
        writer.write_all(bracket)
    }

    fn next<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.item.as_bytes())?;
        }
        self.line(writer)
    }
}

impl serde_json::ser::Formatter for PythonFormatter<'_> {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, x: f64) -> io::Result<()> {
        writer.write_all(python_float(x).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.key.as_bytes())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

/// The shortest digits that give the number again, with an exponent below 1e-4 and from 1e16 on.
fn python_float(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    let scientific = format!("{x:e}");
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if x.is_infinite() || (-4..16).contains(&power) {
        format!("{x:?}")
    } else {
        let sign = if power < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", power.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_printed_as_python_prints_them() {
        for (x, printed) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e16, "1e+16"),
            (1e100, "1e+100"),
            (-1e-320, "-1e-320"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(python_float(x), printed);
        }
    }
}
