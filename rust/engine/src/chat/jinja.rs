//! Jinja as transformers sets it up: whitespace trimmed around blocks, loop controls, Python's methods
//! on strings, lists and dictionaries, `raise_exception`, `strftime_now`, and a `tojson` that leaves
//! characters as they are.

use std::fmt::Write as _;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use serde::Serialize;

use super::limits;

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
    let source = guard.apply(source, &syntax)?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(limits::method);
    environment.set_recursion_limit(limits::RECURSION);
    environment.add_function(guard.bounded.clone(), limits::bounded);
    environment.add_function(guard.counted.clone(), limits::counted);
    // A block of text that goes through filters takes them as its last.
    environment.add_filter(guard.bounded, limits::bounded);
    environment.add_filter(guard.counted, limits::counted);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", to_json);
    environment.add_template_owned(name, source)?;
    Ok(environment)
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

/// JSON as Python writes it: `, ` and `: ` between things unless `indent` says otherwise, and nothing
/// escaped for HTML.
fn to_json(state: &State, value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    // Accepted because templates pass them; they ask for what is done anyway.
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let text = match indent {
        Some(width) if width > WIDEST_INDENT => {
            return Err(limits::refused(format!(
                "tojson: an indent of {width}; at most {WIDEST_INDENT} are written"
            )));
        }
        Some(width) => {
            let spaces = vec![b' '; width];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
            write_json(state, value, formatter)?
        }
        None => write_json(state, value, PythonFormatter)?,
    };
    Ok(Value::from_safe_string(text))
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

/// Python's default separators.
struct PythonFormatter;

impl serde_json::ser::Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
