//! The error type of the Hub client.
//!
//! Each variant is one stable [`Code`] of the C ABI, and each code is one exception class in Java.
//! A message names the thing that is wrong and what was expected; it never contains a token or any
//! other secret. [`Error::detail`] repeats the named things in a form that a program can read.

use serde_json::{Value, json};

/// The result type of the Hub client.
pub type Result<T> = std::result::Result<T, Error>;

/// The stable number of a kind of failure, as it crosses the C ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// An argument is outside what the function accepts.
    InvalidArgument = 1,
    /// A panic was caught at the border; the handle that it happened in is poisoned.
    Panic = 2,
    /// The caller, or a callback, asked to stop.
    Cancelled = 5,
    /// A callback answered that it failed itself; its own error is the interesting one.
    CallbackFailed = 6,
    /// Reading or writing a file failed.
    Io = 8,
    /// The model's files contradict each other, are damaged, or lack something.
    InvalidModel = 20,
    /// The Hub has no such repository, or hides it from this token.
    ModelNotFound = 40,
    /// The repository has no such branch, tag or commit.
    RevisionNotFound = 41,
    /// The repository lacks a file that is needed.
    FileNotFound = 42,
    /// Access to the repository must be asked for first.
    GatedModel = 43,
    /// The Hub wants a token, or refuses the one it got.
    Unauthorized = 44,
    /// The model is not in the cache, and the Hub is not asked.
    ModelNotCached = 45,
    /// Downloaded bytes do not have the promised hash or size.
    Checksum = 46,
    /// No room left where the cache lies.
    DiskFull = 47,
    /// The Hub cannot be reached, does not answer in time, or answers nonsense.
    HubUnavailable = 48,
}

impl Code {
    /// All of them.
    pub const ALL: &[Code] = &[
        Code::InvalidArgument,
        Code::Panic,
        Code::Cancelled,
        Code::CallbackFailed,
        Code::Io,
        Code::InvalidModel,
        Code::ModelNotFound,
        Code::RevisionNotFound,
        Code::FileNotFound,
        Code::GatedModel,
        Code::Unauthorized,
        Code::ModelNotCached,
        Code::Checksum,
        Code::DiskFull,
        Code::HubUnavailable,
    ];
}

/// Everything that can go wrong with the Hub.
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
    /// See [`Code::Cancelled`].
    #[error("cancelled")]
    Cancelled,
    /// See [`Code::CallbackFailed`].
    #[error("the callback failed")]
    CallbackFailed,
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
    /// See [`Code::ModelNotFound`].
    #[error("model {id} not found on {endpoint} (or it is private and the token does not open it)")]
    ModelNotFound {
        /// The repository.
        id: String,
        /// The Hub that was asked.
        endpoint: String,
    },
    /// See [`Code::RevisionNotFound`].
    #[error("model {id} has no revision {revision}")]
    RevisionNotFound {
        /// The repository.
        id: String,
        /// The branch, tag or commit that was asked for.
        revision: String,
    },
    /// See [`Code::FileNotFound`].
    #[error("model {id} has no file {file}")]
    FileNotFound {
        /// The repository.
        id: String,
        /// The file, or what kind of file was looked for.
        file: String,
    },
    /// See [`Code::GatedModel`].
    #[error("model {id} is gated: ask for access at {url} and set HF_TOKEN")]
    GatedModel {
        /// The repository.
        id: String,
        /// The page where access is asked for.
        url: String,
    },
    /// See [`Code::Unauthorized`].
    #[error("the Hub refused access to {id}: {reason}")]
    Unauthorized {
        /// The repository.
        id: String,
        /// Whether a token was missing or refused.
        reason: String,
    },
    /// See [`Code::ModelNotCached`].
    #[error("model {id} is not in the cache {cache}: missing {missing}")]
    ModelNotCached {
        /// The repository, with its revision.
        id: String,
        /// The cache folder.
        cache: String,
        /// What is missing, and why the Hub is not asked for it.
        missing: String,
    },
    /// See [`Code::Checksum`].
    #[error("{file}: expected {expected}, got {got}")]
    Checksum {
        /// The file.
        file: String,
        /// The promised hash or size.
        expected: String,
        /// What arrived.
        got: String,
    },
    /// See [`Code::DiskFull`].
    #[error("{path}: no space: {needed} bytes are needed, {available} are free")]
    DiskFull {
        /// Where the bytes were to go.
        path: String,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// See [`Code::HubUnavailable`].
    #[error("{endpoint}: {reason}")]
    HubUnavailable {
        /// The Hub, or the host it redirected to.
        endpoint: String,
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// The stable number of this kind of failure.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidArgument { .. } => Code::InvalidArgument,
            Error::Panic(_) => Code::Panic,
            Error::Cancelled => Code::Cancelled,
            Error::CallbackFailed => Code::CallbackFailed,
            Error::Io { .. } => Code::Io,
            Error::InvalidFile { .. } => Code::InvalidModel,
            Error::ModelNotFound { .. } => Code::ModelNotFound,
            Error::RevisionNotFound { .. } => Code::RevisionNotFound,
            Error::FileNotFound { .. } => Code::FileNotFound,
            Error::GatedModel { .. } => Code::GatedModel,
            Error::Unauthorized { .. } => Code::Unauthorized,
            Error::ModelNotCached { .. } => Code::ModelNotCached,
            Error::Checksum { .. } => Code::Checksum,
            Error::DiskFull { .. } => Code::DiskFull,
            Error::HubUnavailable { .. } => Code::HubUnavailable,
        }
    }

    /// The named things of the message as a JSON object, empty when there are none.
    pub fn detail(&self) -> Value {
        match self {
            Error::InvalidArgument { name, .. } => json!({ "argument": name }),
            Error::Io { path, .. } => json!({ "path": path }),
            Error::InvalidFile { file, .. } => json!({ "file": file }),
            Error::ModelNotFound { id, .. } | Error::Unauthorized { id, .. } => json!({ "id": id }),
            Error::RevisionNotFound { id, revision } => json!({ "id": id, "revision": revision }),
            Error::FileNotFound { id, file } => json!({ "id": id, "file": file }),
            Error::GatedModel { id, url } => json!({ "id": id, "url": url }),
            Error::ModelNotCached { id, missing, .. } => json!({ "id": id, "missing": missing }),
            Error::Checksum {
                file,
                expected,
                got,
            } => json!({ "file": file, "expected": expected, "got": got }),
            Error::DiskFull {
                path,
                needed,
                available,
            } => json!({ "path": path, "needed": needed, "available": available }),
            Error::HubUnavailable { endpoint, .. } => json!({ "endpoint": endpoint }),
            Error::Panic(_) | Error::Cancelled | Error::CallbackFailed => json!({}),
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
