//! Status codes and error objects.

use candle4j_engine::error as engine;
use candle4j_hub::error as hub;
use serde_json::Value;

use crate::buffer::c4j_buffer;

/// The outcome of a call: `C4J_OK`, or one of the other `C4J_` codes. The numbers never change
/// their meaning.
#[allow(non_camel_case_types)]
pub type c4j_status = i32;

/// Success.
pub const C4J_OK: i32 = 0;
/// An argument is outside what the function accepts.
pub const C4J_INVALID_ARGUMENT: i32 = 1;
/// A panic was caught; a session that it happened in can only be freed.
pub const C4J_PANIC: i32 = 2;
/// The session was damaged by an earlier panic and can only be freed.
pub const C4J_POISONED: i32 = 3;
/// Another call on the same session is under way.
pub const C4J_BUSY: i32 = 4;
/// The caller asked to stop.
pub const C4J_CANCELLED: i32 = 5;
/// A callback answered that it failed.
pub const C4J_CALLBACK_FAILED: i32 = 6;
/// Not done by this version or this build.
pub const C4J_NOT_SUPPORTED: i32 = 7;
/// Reading or writing a file failed.
pub const C4J_IO: i32 = 8;
/// The model's files contradict each other, are damaged, or lack something.
pub const C4J_INVALID_MODEL: i32 = 20;
/// The model is well formed, but would not be computed rightly.
pub const C4J_UNSUPPORTED_MODEL: i32 = 21;
/// NaN or infinity in weights or logits.
pub const C4J_NUMERIC: i32 = 22;
/// It would not fit into memory.
pub const C4J_OUT_OF_MEMORY: i32 = 23;
/// Prompt and answer exceed the context.
pub const C4J_CONTEXT_FULL: i32 = 24;
/// The device is not there, or this build cannot use it.
pub const C4J_DEVICE_UNAVAILABLE: i32 = 25;
/// The tokenizer cannot encode or decode.
pub const C4J_TOKENIZER: i32 = 26;
/// There is no chat template, or it cannot render these messages.
pub const C4J_CHAT_TEMPLATE: i32 = 27;
/// The forward pass failed.
pub const C4J_COMPUTE: i32 = 28;
/// As many requests as the model takes at a time are under way or wait.
pub const C4J_QUEUE_FULL: i32 = 29;
/// The Hub has no such repository.
pub const C4J_MODEL_NOT_FOUND: i32 = 40;
/// The repository has no such revision.
pub const C4J_REVISION_NOT_FOUND: i32 = 41;
/// The repository lacks a file.
pub const C4J_FILE_NOT_FOUND: i32 = 42;
/// Access to the repository must be asked for first.
pub const C4J_GATED_MODEL: i32 = 43;
/// The Hub wants a token, or refuses the one it got.
pub const C4J_UNAUTHORIZED: i32 = 44;
/// The model is not in the cache, and the Hub may not be asked.
pub const C4J_MODEL_NOT_CACHED: i32 = 45;
/// Downloaded bytes do not have the promised hash or size.
pub const C4J_CHECKSUM: i32 = 46;
/// No room left where the cache lies.
pub const C4J_DISK_FULL: i32 = 47;
/// The Hub cannot be reached or does not answer rightly.
pub const C4J_HUB_UNAVAILABLE: i32 = 48;

/// The result type of the calls behind this border.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error of either crate behind this border.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    /// Of the engine, or of this crate.
    Engine(engine::Error),
    /// Of the Hub client.
    Hub(hub::Error),
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        Error::Engine(error)
    }
}

impl From<hub::Error> for Error {
    fn from(error: hub::Error) -> Self {
        Error::Hub(error)
    }
}

impl Error {
    /// An argument that is not accepted.
    pub(crate) fn argument(name: impl Into<String>, reason: impl Into<String>) -> Self {
        engine::Error::argument(name, reason).into()
    }

    /// The status of a call that ends with it.
    pub(crate) fn status(&self) -> c4j_status {
        match self {
            Error::Engine(error) => error.code() as c4j_status,
            Error::Hub(error) => error.code() as c4j_status,
        }
    }

    fn message(&self) -> String {
        match self {
            Error::Engine(error) => error.to_string(),
            Error::Hub(error) => error.to_string(),
        }
    }

    fn detail(&self) -> Value {
        match self {
            Error::Engine(error) => error.detail(),
            Error::Hub(error) => error.detail(),
        }
    }
}

/// What went wrong in a call. The caller owns it and gives it to `c4j_error_free` once.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct c4j_error {
    /// The status that the call returned.
    pub code: i32,
    /// One line for people: what is wrong, and what was expected. Never contains a secret.
    pub message: c4j_buffer,
    /// The things that the message names, as a JSON object.
    pub detail: c4j_buffer,
}

impl c4j_error {
    pub(crate) fn boxed(error: &Error) -> *mut c4j_error {
        Box::into_raw(Box::new(c4j_error {
            code: error.status(),
            message: c4j_buffer::new(error.message().into_bytes()),
            detail: c4j_buffer::new(error.detail().to_string().into_bytes()),
        }))
    }
}

/// Frees an error. Does nothing for null. Any thread may call it.
///
/// # Safety
/// `error` is null, or came from a function of this library and was not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_error_free(error: *mut c4j_error) {
    if !error.is_null() {
        // SAFETY: it came from `boxed`, as the caller promises.
        let mut error = unsafe { Box::from_raw(error) };
        // SAFETY: both were made by `boxed` and are freed here only.
        unsafe {
            error.message.free();
            error.detail.free();
        }
    }
}

/// The header's numbers are those of the crates behind it: matches of all codes, so that a new one does not compile until
/// it stands here.
const _: () = {
    const fn of_engine(code: engine::Code) -> i32 {
        use engine::Code;
        match code {
            Code::InvalidArgument => C4J_INVALID_ARGUMENT,
            Code::Panic => C4J_PANIC,
            Code::Poisoned => C4J_POISONED,
            Code::Busy => C4J_BUSY,
            Code::Cancelled => C4J_CANCELLED,
            Code::CallbackFailed => C4J_CALLBACK_FAILED,
            Code::NotSupported => C4J_NOT_SUPPORTED,
            Code::Io => C4J_IO,
            Code::InvalidModel => C4J_INVALID_MODEL,
            Code::UnsupportedModel => C4J_UNSUPPORTED_MODEL,
            Code::Numeric => C4J_NUMERIC,
            Code::OutOfMemory => C4J_OUT_OF_MEMORY,
            Code::ContextFull => C4J_CONTEXT_FULL,
            Code::DeviceUnavailable => C4J_DEVICE_UNAVAILABLE,
            Code::Tokenizer => C4J_TOKENIZER,
            Code::ChatTemplate => C4J_CHAT_TEMPLATE,
            Code::Compute => C4J_COMPUTE,
            Code::QueueFull => C4J_QUEUE_FULL,
        }
    }
    const fn of_hub(code: hub::Code) -> i32 {
        use hub::Code;
        match code {
            Code::InvalidArgument => C4J_INVALID_ARGUMENT,
            Code::Panic => C4J_PANIC,
            Code::Cancelled => C4J_CANCELLED,
            Code::CallbackFailed => C4J_CALLBACK_FAILED,
            Code::Io => C4J_IO,
            Code::InvalidModel => C4J_INVALID_MODEL,
            Code::ModelNotFound => C4J_MODEL_NOT_FOUND,
            Code::RevisionNotFound => C4J_REVISION_NOT_FOUND,
            Code::FileNotFound => C4J_FILE_NOT_FOUND,
            Code::GatedModel => C4J_GATED_MODEL,
            Code::Unauthorized => C4J_UNAUTHORIZED,
            Code::ModelNotCached => C4J_MODEL_NOT_CACHED,
            Code::Checksum => C4J_CHECKSUM,
            Code::DiskFull => C4J_DISK_FULL,
            Code::HubUnavailable => C4J_HUB_UNAVAILABLE,
        }
    }
    let mut index = 0;
    while index < engine::Code::ALL.len() {
        let code = engine::Code::ALL[index];
        assert!(of_engine(code) == code as i32);
        index += 1;
    }
    let mut index = 0;
    while index < hub::Code::ALL.len() {
        let code = hub::Code::ALL[index];
        assert!(of_hub(code) == code as i32);
        index += 1;
    }
};
/// A failure that is one of several results, as JSON.
pub(crate) fn failure(error: &engine::Error) -> serde_json::Value {
    serde_json::json!({ "error": {
        "code": error.code() as i32,
        "message": error.to_string(),
        "detail": error.detail(),
    }})
}
