//! The one error type of the engine.
//!
//! Each variant is one stable [`Code`] of the C ABI, and each code is one exception class in Java.
//! A message names the thing that is wrong and what was expected; it never contains a token or any
//! other secret. [`Error::detail`] repeats the named things in a form that a program can read.

use serde_json::{Value, json};

/// The engine's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// The stable number of a kind of failure, as it crosses the C ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// An argument is outside what the function accepts.
    InvalidArgument = 1,
    /// A panic was caught at the border; the handle that it happened in is poisoned.
    Panic = 2,
    /// The handle was poisoned by an earlier panic and can only be freed.
    Poisoned = 3,
    /// Another call on the same session is under way.
    Busy = 4,
    /// The caller, or a callback, asked to stop.
    Cancelled = 5,
    /// A callback answered that it failed itself; its own error is the interesting one.
    CallbackFailed = 6,
    /// Something that this version does not do yet, or that this build lacks.
    NotSupported = 7,
    /// Reading or writing a file failed.
    Io = 8,
    /// The model's files contradict each other, are damaged, or lack something.
    InvalidModel = 20,
    /// The model is well formed, but would not be computed rightly.
    UnsupportedModel = 21,
    /// NaN or infinity in weights or logits.
    Numeric = 22,
    /// The model or its cache would not fit into memory.
    OutOfMemory = 23,
    /// The prompt, or prompt and answer, exceed the context.
    ContextFull = 24,
    /// The device is not there, or this build cannot use it.
    DeviceUnavailable = 25,
    /// The tokenizer cannot encode or decode.
    Tokenizer = 26,
    /// The model has no chat template, or the template cannot render these messages.
    ChatTemplate = 27,
    /// The forward pass failed for a reason that is neither the caller's nor the numbers'.
    Compute = 28,
    /// As many requests as the model takes at a time are under way or wait.
    QueueFull = 29,
}

impl Code {
    /// All of them.
    pub const ALL: &[Code] = &[
        Code::InvalidArgument,
        Code::Panic,
        Code::Poisoned,
        Code::Busy,
        Code::Cancelled,
        Code::CallbackFailed,
        Code::NotSupported,
        Code::Io,
        Code::InvalidModel,
        Code::UnsupportedModel,
        Code::Numeric,
        Code::OutOfMemory,
        Code::ContextFull,
        Code::DeviceUnavailable,
        Code::Tokenizer,
        Code::ChatTemplate,
        Code::Compute,
        Code::QueueFull,
    ];
}

/// Everything that can go wrong in the engine.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// See [`Code::InvalidArgument`].
    #[error("{name}: {reason}")]
    InvalidArgument {
        /// The argument's name.
        name: String,
        /// What it was and what was expected.
        reason: String,
    },
    /// See [`Code::Panic`].
    #[error("internal error (a panic was caught): {0}")]
    Panic(String),
    /// See [`Code::Poisoned`].
    #[error("this {0} was damaged by an earlier internal error and can only be closed")]
    Poisoned(&'static str),
    /// See [`Code::Busy`].
    #[error("another call on this {0} is under way")]
    Busy(&'static str),
    /// See [`Code::Cancelled`].
    #[error("cancelled")]
    Cancelled,
    /// See [`Code::CallbackFailed`].
    #[error("the callback failed")]
    CallbackFailed,
    /// See [`Code::NotSupported`].
    #[error("{0}")]
    NotSupported(String),
    /// See [`Code::Io`].
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// See [`Code::InvalidModel`]. A whole file is wrong.
    #[error("{file}: {reason}")]
    InvalidFile {
        /// The file, relative to the model's folder where it lies in it.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// See [`Code::InvalidModel`]. A key of the configuration has an impossible value.
    #[error("{file}: {key} = {value}: {reason}")]
    InvalidConfig {
        /// The file that holds the key.
        file: String,
        /// The key.
        key: String,
        /// Its value as JSON text.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// See [`Code::InvalidModel`]. A tensor is missing or not what the configuration says.
    #[error("{}tensor {tensor}: expected {expected}, got {got}", prefix(file))]
    InvalidTensor {
        /// The file that the tensor is in, or was looked for in; empty where that is not known yet.
        file: String,
        /// The tensor's name in the file.
        tensor: String,
        /// Shape or type that the configuration asks for.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// See [`Code::UnsupportedModel`].
    #[error("{}{key} = {value}: {reason}", prefix(file))]
    UnsupportedModel {
        /// The file that holds the key; empty where that is not known yet.
        file: String,
        /// The configuration key.
        key: String,
        /// Its value as JSON text.
        value: String,
        /// Why the model is refused.
        reason: String,
    },
    /// See [`Code::Numeric`].
    #[error("{place}: {what}")]
    Numeric {
        /// Where the numbers went wrong, as closely as it is known.
        place: String,
        /// What was found.
        what: String,
    },
    /// See [`Code::OutOfMemory`].
    #[error("{what} needs {needed} bytes of memory, but only {available} are available")]
    OutOfMemory {
        /// What was about to be loaded or allocated.
        what: String,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// See [`Code::ContextFull`].
    #[error("{needed} tokens do not fit into the context of {limit}")]
    ContextFull {
        /// Tokens that were to be in the context.
        needed: usize,
        /// Tokens that the context holds.
        limit: usize,
    },
    /// See [`Code::DeviceUnavailable`].
    #[error("device {device}: {reason}")]
    DeviceUnavailable {
        /// The device that was asked for.
        device: String,
        /// Why it cannot be had.
        reason: String,
    },
    /// See [`Code::Tokenizer`].
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// See [`Code::ChatTemplate`].
    #[error("chat template: {0}")]
    ChatTemplate(String),
    /// See [`Code::QueueFull`].
    #[error("the model has {limit} requests under way or waiting, and takes no more at a time")]
    QueueFull {
        /// The most at a time.
        limit: usize,
    },
    /// See [`Code::Compute`].
    #[error("the forward pass failed: {0}")]
    Compute(String),
}

/// The name of a file in front of a message, where it is known.
fn prefix(file: &str) -> String {
    if file.is_empty() {
        String::new()
    } else {
        format!("{file}: ")
    }
}

impl Error {
    /// Names the files of a model in an error that does not name one yet: `settings` for keys, `weights`
    /// for tensors.
    pub(crate) fn in_files(mut self, settings: &str, weights: &str) -> Self {
        match &mut self {
            Error::UnsupportedModel { file, .. } if file.is_empty() => file.push_str(settings),
            Error::InvalidTensor { file, .. } if file.is_empty() => file.push_str(weights),
            _ => {}
        }
        self
    }

    /// The stable number of this kind of failure.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidArgument { .. } => Code::InvalidArgument,
            Error::Panic(_) => Code::Panic,
            Error::Poisoned(_) => Code::Poisoned,
            Error::Busy(_) => Code::Busy,
            Error::Cancelled => Code::Cancelled,
            Error::CallbackFailed => Code::CallbackFailed,
            Error::NotSupported(_) => Code::NotSupported,
            Error::Io { .. } => Code::Io,
            Error::InvalidFile { .. }
            | Error::InvalidConfig { .. }
            | Error::InvalidTensor { .. } => Code::InvalidModel,
            Error::UnsupportedModel { .. } => Code::UnsupportedModel,
            Error::Numeric { .. } => Code::Numeric,
            Error::OutOfMemory { .. } => Code::OutOfMemory,
            Error::ContextFull { .. } => Code::ContextFull,
            Error::DeviceUnavailable { .. } => Code::DeviceUnavailable,
            Error::Tokenizer(_) => Code::Tokenizer,
            Error::ChatTemplate(_) => Code::ChatTemplate,
            Error::Compute(_) => Code::Compute,
            Error::QueueFull { .. } => Code::QueueFull,
        }
    }

    /// The named things of the message as a JSON object, empty when there are none.
    pub fn detail(&self) -> Value {
        match self {
            Error::InvalidArgument { name, .. } => json!({ "argument": name }),
            Error::Io { path, .. } => json!({ "path": path }),
            Error::InvalidFile { file, .. } => json!({ "file": file }),
            Error::InvalidConfig {
                file, key, value, ..
            } => json!({ "file": file, "key": key, "value": value }),
            Error::InvalidTensor {
                file,
                tensor,
                expected,
                got,
            } => {
                json!({ "file": file, "tensor": tensor, "expected": expected, "got": got })
            }
            Error::UnsupportedModel {
                file, key, value, ..
            } => json!({ "file": file, "key": key, "value": value }),
            Error::Numeric { place, .. } => json!({ "place": place }),
            Error::OutOfMemory {
                needed, available, ..
            } => json!({ "needed": needed, "available": available }),
            Error::ContextFull { needed, limit } => json!({ "needed": needed, "limit": limit }),
            Error::DeviceUnavailable { device, .. } => json!({ "device": device }),
            Error::Panic(_)
            | Error::Poisoned(_)
            | Error::Busy(_)
            | Error::Cancelled
            | Error::CallbackFailed
            | Error::NotSupported(_)
            | Error::Tokenizer(_)
            | Error::ChatTemplate(_)
            | Error::Compute(_) => json!({}),
            Error::QueueFull { limit } => json!({ "limit": limit }),
        }
    }

    /// An [`Error::InvalidArgument`].
    pub fn argument(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::InvalidArgument {
            name: name.into(),
            reason: reason.into(),
        }
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        Error::Io {
            path: path.as_ref().display().to_string(),
            reason: error.to_string(),
        }
    }
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

/// An error of Candle while it computes.
pub(crate) fn candle_error(error: &candle_core::Error) -> Error {
    Error::Compute(error.to_string())
}
