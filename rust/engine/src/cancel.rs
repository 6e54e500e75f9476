//! What ends a generation from outside: a cancel, the end of its time, or a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::error::Error;

/// A request to stop, which any thread may make.
///
/// Calls are numbered by the caller. Cancelling a number cancels that call and no other, also when the
/// request comes before the call began. Only the number that was cancelled last counts, but for [`Cancel::ALL`],
/// which cancels all calls from then on.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    cancelled: Arc<AtomicU64>,
}

impl Cancel {
    /// In place of a number: all calls, now and later.
    pub const ALL: u64 = u64::MAX;

    /// Cancels the call of this number.
    pub fn cancel(&self, call: u64) {
        let unless_all = |cancelled| (cancelled != Self::ALL).then_some(call);
        // Fails where all are cancelled already.
        let _ = self
            .cancelled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, unless_all);
    }

    /// Whether the call of this number (counted from 1) was cancelled.
    pub fn is_cancelled(&self, call: u64) -> bool {
        let cancelled = self.cancelled.load(Ordering::Relaxed);
        call != 0 && (cancelled == call || cancelled == Self::ALL)
    }
}

/// Why a call is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody cancelled it.
    Cancelled,
    /// Its time is over.
    Timeout,
}

/// What may stop one call. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    cancel: Cancel,
    call: u64,
    deadline: Option<Instant>,
}

impl Stop {
    /// The call of this number, which ends at `deadline` if there is one.
    pub fn new(cancel: &Cancel, call: u64, deadline: Option<Instant>) -> Self {
        Self {
            cancel: cancel.clone(),
            call,
            deadline,
        }
    }

    /// Why the call is to stop, if it is.
    pub fn reason(&self) -> Option<StopReason> {
        if self.cancel.is_cancelled(self.call) {
            Some(StopReason::Cancelled)
        } else if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            Some(StopReason::Timeout)
        } else {
            None
        }
    }
}

/// Why a listener ends an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// It was asked to stop: the operation ends as cancelled.
    Stop,
    /// The listener itself failed.
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
