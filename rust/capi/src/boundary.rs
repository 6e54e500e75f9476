//! The one way in: every export runs inside [`guard`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle4j_engine::error::{self as engine, panic_message};

use crate::error::{C4J_OK, Error, Result, c4j_error, c4j_status};

/// Runs `call`, turning its error, or its panic, into a status and an error object.
///
/// Nothing unwinds out of it, which would end the process.
///
/// # Safety
/// `error` is null or points to a place for a pointer.
pub(crate) unsafe fn guard(
    error: *mut *mut c4j_error,
    call: impl FnOnce() -> Result<()>,
) -> c4j_status {
    let outcome = catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(engine::Error::Panic(panic_message(panic.as_ref())).into()));
    match outcome {
        Ok(()) => C4J_OK,
        Err(failure) => {
            let status = failure.status();
            if !error.is_null() {
                // SAFETY: not null, and the caller promises that it is a place for a pointer.
                unsafe { error.write(c4j_error::boxed(&failure)) };
            }
            status
        }
    }
}

/// A place that a result is written to, checked to be there before the work begins.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `place` is null or valid for writing a `T` until the result is written.
    pub(crate) unsafe fn new(name: &str, place: *mut T) -> Result<Self> {
        if place.is_null() {
            return Err(Error::argument(name, "expected a pointer, got null"));
        }
        Ok(Self(place))
    }

    pub(crate) fn write(self, value: T) {
        // SAFETY: `new` was promised a valid place.
        unsafe { self.0.write(value) }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;
    use crate::error::{C4J_IO, C4J_PANIC, c4j_error_free};

    fn run(call: impl FnOnce() -> Result<()>) -> (c4j_status, String) {
        let mut error = null_mut();
        // SAFETY: `error` is a place for a pointer, and what is written there is freed once.
        unsafe {
            let status = guard(&mut error, call);
            if error.is_null() {
                return (status, String::new());
            }
            let message = &(*error).message;
            let text = std::slice::from_raw_parts(message.data, message.len as usize).to_vec();
            c4j_error_free(error);
            (status, String::from_utf8(text).unwrap())
        }
    }

    #[test]
    fn panics_become_a_status_with_their_message() {
        let (status, message) = run(|| panic!("injected {}", 7));
        assert_eq!(status, C4J_PANIC);
        assert!(message.contains("injected 7"), "{message}");
        let (status, _) = run(|| std::panic::panic_any(7));
        assert_eq!(status, C4J_PANIC);
    }

    #[test]
    fn errors_keep_their_code_and_success_writes_none() {
        let failure = engine::Error::io("/some/file", &std::io::Error::other("broken"));
        let (status, message) = run(|| Err(failure.into()));
        assert_eq!((status, message.as_str()), (C4J_IO, "/some/file: broken"));
        assert_eq!(run(|| Ok(())), (C4J_OK, String::new()));
    }

    #[test]
    fn no_place_for_the_error_is_fine() {
        // SAFETY: null is allowed.
        let status = unsafe { guard(null_mut(), || panic!("injected")) };
        assert_eq!(status, C4J_PANIC);
    }
}
