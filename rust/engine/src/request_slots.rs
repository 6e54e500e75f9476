//! How many requests a model takes at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Stop;
use crate::error::{Error, Result};

/// How often one that waits for a place looks whether it is to stop.
const POLL: Duration = Duration::from_millis(20);

/// The places of a model. A request has one from its beginning to its end.
#[derive(Debug)]
pub(crate) struct RequestSlots {
    limit: usize,
    taken: Mutex<usize>,
    given_back: Condvar,
    waiting: AtomicUsize,
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place, given back when it is dropped.
pub(crate) struct Place<'a>(&'a RequestSlots);

impl RequestSlots {
    /// So many places.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Mutex::new(0),
            given_back: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Requests that have a place, and those that wait for one.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (*self.lock(), self.waiting.load(Ordering::Relaxed))
    }

    /// Takes a place, and waits for one if `wait`.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when there is none, [`Error::Cancelled`] when `stop` has a reason before there is.
    pub(crate) fn take(&self, wait: bool, stop: &Stop) -> Result<Place<'_>> {
        let mut taken = self.lock();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        while *taken >= self.limit {
            if !wait {
                return Err(Error::QueueFull { limit: self.limit });
            }
            if stop.reason().is_some() {
                return Err(Error::Cancelled);
            }
            let waited = self.given_back.wait_timeout(taken, POLL);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken += 1;
        Ok(Place(self))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cancel::Cancel;

    #[test]
    fn s5_a_full_queue_says_so_or_lets_wait() {
        let places = RequestSlots::new(2);
        let never = Stop::default();
        let first = places.take(false, &never).unwrap();
        let _second = places.take(false, &never).unwrap();
        let refused = places.take(false, &never).err();
        assert_eq!(refused, Some(Error::QueueFull { limit: 2 }));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| places.take(true, &Stop::default()).map(drop));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished());
            drop(first);
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
        let _first = places.take(false, &never).unwrap();
        let cancel = Cancel::default();
        cancel.cancel(1);
        let cancelled = places.take(true, &Stop::new(&cancel, 1, None)).err();
        assert_eq!(cancelled, Some(Error::Cancelled));
        let soon = Instant::now() + Duration::from_millis(30);
        let late = places.take(true, &Stop::new(&cancel, 2, Some(soon))).err();
        assert_eq!(late, Some(Error::Cancelled));
    }
}
