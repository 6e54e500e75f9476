//! The memory that the keys and values of one model may take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use candle4j_kernels::KvMemory;

use super::cache::SequenceCache;

/// A limit for the caches of all sequences, and those that can be given up for it.
#[derive(Debug)]
pub(crate) struct KvBudget {
    memory: Arc<KvMemory>,
    limit: usize,
    /// Sequences in a call, which give memory back when it ends.
    busy: AtomicUsize,
    /// Caches of sequences that compute nothing, the one that rests longest first.
    resting: Mutex<Vec<Weak<Resting>>>,
}

/// Where the cache of a sequence is while it computes nothing. Empty when it was given up.
pub(crate) type Resting = Mutex<Option<SequenceCache>>;

impl KvBudget {
    /// A budget of so many bytes for the caches that are counted in `memory`.
    pub(crate) fn new(limit: usize, memory: Arc<KvMemory>) -> Self {
        Self {
            memory,
            limit,
            busy: AtomicUsize::new(0),
            resting: Mutex::default(),
        }
    }

    /// Sequences in a call.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Bytes that may be used.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are used.
    pub(crate) fn used(&self) -> usize {
        self.memory.used()
    }

    /// Puts a cache where it can be given up.
    pub(super) fn rest(&self, cache: SequenceCache) -> Arc<Resting> {
        let place = Arc::new(Mutex::new(Some(cache)));
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|place| place.strong_count() > 0);
        resting.push(Arc::downgrade(&place));
        place
    }

    /// Whether so many more bytes fit, maybe after resting caches were given up.
    pub(super) fn make_room(&self, more: usize) -> bool {
        if self.fits(more) {
            return true;
        }
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|place| {
            if self.fits(more) {
                return true;
            }
            let Some(place) = place.upgrade() else {
                return false;
            };
            // A sequence that looks at its cache just now keeps it.
            let cache = place.try_lock().map(|mut cache| cache.take());
            cache.is_err()
        });
        self.fits(more)
    }

    fn fits(&self, more: usize) -> bool {
        self.used().saturating_add(more) <= self.limit
    }
}

/// A sequence in a call, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<KvBudget>);

impl Busy {
    /// Counts a sequence.
    pub(super) fn new(budget: &Arc<KvBudget>) -> Self {
        budget.busy.fetch_add(1, Ordering::Relaxed);
        Self(budget.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
