//! What a long operation reports while it runs, and how a listener ends it.

use std::ops::ControlFlow;

use serde::Serialize;

use crate::error::Error;

/// What an operation is doing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking the Hub which commit and which files there are.
    #[default]
    Resolve,
    /// Receiving bytes.
    Download,
    /// Hashing files on disk.
    Verify,
}

/// One report. Byte counts of a file start at 0, never fall, and end at `total`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// The file that this report is about, relative to the repository; empty for none.
    pub file: String,
    /// Bytes of `file` that are done, those found on disk included.
    pub bytes: u64,
    /// Size of `file`; `None` without a file.
    pub total: Option<u64>,
    /// Bytes of all files together that are done.
    pub overall_bytes: u64,
    /// Size of all files together; `None` before they are known.
    pub overall_total: Option<u64>,
    /// Files that are complete.
    pub files_done: usize,
    /// Files in all.
    pub files_total: usize,
}

/// Why a listener ends an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// It was asked to stop: the operation ends with [`Error::Cancelled`].
    Stop,
    /// The listener itself failed: the operation ends with [`Error::CallbackFailed`].
    Failed,
}

impl From<Interrupt> for Error {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Stop => Error::Cancelled,
            Interrupt::Failed => Error::CallbackFailed,
        }
    }
}

/// A listener. It runs on the thread that called the operation, at least four times a second, so that
/// it can end the operation soon also when nothing moves.
pub type Listener<'a> = dyn FnMut(&Progress) -> ControlFlow<Interrupt> + 'a;
