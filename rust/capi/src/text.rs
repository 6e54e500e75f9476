//! Text and JSON across the border.

use candle4j_engine::error as engine;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::buffer::c4j_buffer;
use crate::error::{Error, Result};

/// The bytes that a pointer and a length stand for.
///
/// # Safety
/// `data` is null, or valid for reading `len` elements as long as the result lives.
pub(crate) unsafe fn slice<'a, T>(name: &str, data: *const T, len: u64) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Error::argument(name, "expected a pointer, got null"));
    }
    let fits = usize::try_from(len).ok().filter(|n| {
        n.checked_mul(size_of::<T>())
            .is_some_and(|n| n <= isize::MAX as usize)
    });
    let Some(len) = fits else {
        return Err(Error::argument(
            name,
            format!("a length of {len} cannot be"),
        ));
    };
    // SAFETY: not null, a length that can be, and valid as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Text that must be UTF-8.
///
/// # Safety
/// As for [`slice`].
pub(crate) unsafe fn text<'a>(name: &str, data: *const u8, len: u64) -> Result<&'a str> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice(name, data, len) }?;
    std::str::from_utf8(bytes).map_err(|e| Error::argument(name, format!("not UTF-8: {e}")))
}

/// A JSON document; keys that nobody knows are refused by the types that it is read into.
///
/// # Safety
/// As for [`slice`].
pub(crate) unsafe fn json<T: DeserializeOwned>(name: &str, data: *const u8, len: u64) -> Result<T> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice(name, data, len) }?;
    serde_json::from_slice(bytes).map_err(|e| {
        let message = e.to_string();
        // The caller never sees the document, so where in it something stands says nothing.
        let reason = message.split(" at line ").next().unwrap_or(&message);
        let reason = match reason {
            "recursion limit exceeded" => "values are nested deeper than 127 levels",
            "number out of range" => "a number in it is too large",
            other => other,
        };
        Error::argument(name, reason)
    })
}

/// A value as JSON bytes.
pub(crate) fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| engine::Error::Compute(format!("result as JSON: {e}")).into())
}

/// A value as a JSON buffer for C.
pub(crate) fn json_buffer(value: &impl Serialize) -> Result<c4j_buffer> {
    json_bytes(value).map(c4j_buffer::new)
}
