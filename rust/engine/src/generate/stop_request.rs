//! What ends a generation from outside: a cancel, or the end of its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::FinishReason;

/// A request to stop, which any thread may make.
///
/// Calls are numbered by the caller. Cancelling a number cancels that call and all before it, also
/// when the request comes before the call began or after it ended, so that a late request never
/// hits the call that follows.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    cancelled_up_to: Arc<AtomicU64>,
}

impl Cancel {
    /// Cancels all calls with numbers up to `call`.
    pub fn cancel(&self, call: u64) {
        self.cancelled_up_to.fetch_max(call, Ordering::Relaxed);
    }

    /// Whether the call of this number (counted from 1) was cancelled.
    pub fn is_cancelled(&self, call: u64) -> bool {
        call != 0 && self.cancelled_up_to.load(Ordering::Relaxed) >= call
    }
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
    pub fn reason(&self) -> Option<FinishReason> {
        if self.cancel.is_cancelled(self.call) {
            Some(FinishReason::Cancelled)
        } else if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            Some(FinishReason::Timeout)
        } else {
            None
        }
    }
}
