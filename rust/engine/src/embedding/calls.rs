//! Calls of several threads on one model, each of which can be cancelled by its number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cancel::{Cancel, Stop};

/// Calls that are under way, and those that were cancelled before they began.
#[derive(Debug, Default)]
pub(super) struct Calls {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: HashMap<u64, Cancel>,
    early: VecDeque<u64>,
    all: bool,
}

/// How many calls that have not begun are remembered as cancelled.
const EARLY: usize = 1024;

/// A call that is under way.
pub(super) struct Call<'a> {
    calls: &'a Calls,
    number: u64,
    stop: Stop,
}

impl Calls {
    /// Begins the call of a number; 0 is that of calls that nobody cancels.
    pub(super) fn begin(&self, number: u64) -> Call<'_> {
        let cancel = Cancel::default();
        let mut state = self.state();
        let is_early = state.early.iter().position(|early| *early == number);
        if let Some(place) = is_early {
            state.early.remove(place);
        }
        if state.all || is_early.is_some() {
            cancel.cancel(Cancel::ALL);
        }
        if number != 0 {
            state.running.insert(number, cancel.clone());
        }
        Call {
            calls: self,
            number,
            stop: Stop::new(&cancel, number, None),
        }
    }

    /// Cancels the call of a number, also before it begins; [`Cancel::ALL`] those under way and all later ones.
    pub(super) fn cancel(&self, number: u64) {
        let mut state = self.state();
        if number == Cancel::ALL {
            state.all = true;
            for cancel in state.running.values() {
                cancel.cancel(Cancel::ALL);
            }
        } else if let Some(cancel) = state.running.get(&number) {
            cancel.cancel(Cancel::ALL);
        } else if number != 0 {
            state.early.push_back(number);
            if state.early.len() > EARLY {
                state.early.pop_front();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is never half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// What may stop it.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.state().running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_cancelled_by_its_own_number() {
        let calls = Calls::default();
        let (one, two, none) = (calls.begin(1), calls.begin(2), calls.begin(0));
        calls.cancel(3);
        calls.cancel(2);
        calls.cancel(1);
        assert!(one.stop().reason().is_some() && two.stop().reason().is_some());
        assert!(calls.begin(3).stop().reason().is_some(), "cancelled early");
        assert!(calls.begin(3).stop().reason().is_none(), "once");
        assert!(none.stop().reason().is_none());
        calls.cancel(Cancel::ALL);
        assert!(calls.begin(9).stop().reason().is_some());
    }
}
