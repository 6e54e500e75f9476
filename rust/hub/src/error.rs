//! The error type of the Hub client.
//!
//! Each variant is one stable [`Code`] of the C ABI, and each code is one exception class in Java. A
//! message names the thing that is wrong and what was expected, and never contains a token or another
//! secret.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

/// The result type of the Hub client.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong with the Hub. Fields that messages explain in words are not part of
/// [`detail`](Error::detail).
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the messages name every field")]
pub enum Error {
    /// An argument is outside what the function accepts.
    #[error("{argument}: {reason}")]
    InvalidArgument {
        argument: String,
        #[serde(skip)]
        reason: String,
    },
    /// A panic was caught on the operation's thread.
    #[error("internal error (a panic was caught): {0}")]
    Panic(String),
    /// The listener asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The listener failed; its own error is the interesting one.
    #[error("the callback failed")]
    CallbackFailed,
    /// Reading or writing a file failed.
    #[error("{path}: {reason}")]
    Io {
        path: String,
        #[serde(skip)]
        reason: String,
    },
    /// A file of the model is not what it should be.
    #[error("{file}: {reason}")]
    InvalidFile {
        file: String,
        #[serde(skip)]
        reason: String,
    },
    /// The Hub has no such repository, or hides it from this token.
    #[error("model {id} not found on {endpoint} (or it is private and the token does not open it)")]
    ModelNotFound {
        id: String,
        #[serde(skip)]
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("model {id} has no revision {revision}")]
    RevisionNotFound { id: String, revision: String },
    /// The repository lacks a file that is needed.
    #[error("model {id} has no file {file}")]
    FileNotFound { id: String, file: String },
    /// Access to the repository must be asked for on a page of the Hub.
    #[error("model {id} is gated: ask for access at {url} and set HF_TOKEN")]
    GatedModel { id: String, url: String },
    /// The Hub wants a token, or refuses the one it got.
    #[error("the Hub refused access to {id}: {reason}")]
    Unauthorized {
        id: String,
        #[serde(skip)]
        reason: String,
    },
    /// Something of the model is not in the cache, and the Hub is not asked for it.
    #[error("model {id} is not in the cache {cache}: missing {missing}")]
    ModelNotCached {
        id: String,
        #[serde(skip)]
        cache: String,
        missing: String,
    },
    /// Downloaded bytes do not have the hash or size that the Hub promised.
    #[error("{file}: expected {expected}, got {got}")]
    Checksum {
        file: String,
        expected: String,
        got: String,
    },
    /// The disk at `path` has `available` bytes, and `needed` are still to be written.
    #[error("{path}: no space: {needed} bytes are needed, {available} are free")]
    DiskFull {
        path: String,
        needed: u64,
        available: u64,
    },
    /// The Hub, or a host that it redirected to, cannot be reached, does not answer in time, or
    /// answers nonsense.
    #[error("{endpoint}: {reason}")]
    HubUnavailable {
        endpoint: String,
        #[serde(skip)]
        reason: String,
    },
}

macro_rules! codes {
    ($($code:ident = $number:literal: $variant:pat,)*) => {
        /// The stable number of a kind of failure, as it crosses the C ABI.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Code {
            $(#[doc = concat!("See [`Error`]: ", stringify!($code), ".")] $code = $number,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$code),*];
        }

        impl Error {
            /// The stable number of this kind of failure.
            pub fn code(&self) -> Code {
                match self {
                    $($variant => Code::$code,)*
                }
            }
        }
    };
}

codes! {
    InvalidArgument = 1: Error::InvalidArgument { .. },
    Panic = 2: Error::Panic(_),
    Cancelled = 5: Error::Cancelled,
    CallbackFailed = 6: Error::CallbackFailed,
    Io = 8: Error::Io { .. },
    InvalidModel = 20: Error::InvalidFile { .. },
    ModelNotFound = 40: Error::ModelNotFound { .. },
    RevisionNotFound = 41: Error::RevisionNotFound { .. },
    FileNotFound = 42: Error::FileNotFound { .. },
    GatedModel = 43: Error::GatedModel { .. },
    Unauthorized = 44: Error::Unauthorized { .. },
    ModelNotCached = 45: Error::ModelNotCached { .. },
    Checksum = 46: Error::Checksum { .. },
    DiskFull = 47: Error::DiskFull { .. },
    HubUnavailable = 48: Error::HubUnavailable { .. },
}

impl Error {
    /// The named things of the message as a JSON object, empty when there are none.
    pub fn detail(&self) -> Value {
        let fields = serde_json::to_value(self).unwrap_or_default();
        if fields.is_object() {
            fields
        } else {
            json!({})
        }
    }

    pub(crate) fn argument(argument: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::InvalidArgument {
            argument: argument.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn io(path: impl AsRef<Path>, error: &io::Error) -> Self {
        Error::Io {
            path: path.as_ref().display().to_string(),
            reason: error.to_string(),
        }
    }

    /// The error for a write at `path` that failed with `needed` bytes still to be written.
    pub(crate) fn write(path: &Path, needed: u64, error: &io::Error) -> Self {
        let available = match error.kind() {
            io::ErrorKind::StorageFull => {
                fs4::available_space(path.parent().unwrap_or(path)).unwrap_or(0)
            }
            // A quota leaves less than the disk has.
            io::ErrorKind::QuotaExceeded => 0,
            _ => return Error::io(path, error),
        };
        Error::DiskFull {
            path: path.display().to_string(),
            needed,
            available,
        }
    }
}
