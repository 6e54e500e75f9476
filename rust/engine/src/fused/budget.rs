//! The memory that the keys and values of one model may take.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use candle4j_kernels::KvMemory;

use super::cache::SequenceCache;

/// A limit for the caches of all sequences, and those that can be given up for it.
#[derive(Debug)]
pub(crate) struct KvBudget {
    pub(super) memory: Arc<KvMemory>,
    limit: usize,
    /// Caches of sequences that compute nothing, the one that rests longest first.
    resting: Mutex<Vec<Weak<Resting>>>,
}

/// Where the cache of a sequence is while it computes nothing. Empty when it was given up.
pub(crate) type Resting = Mutex<Option<SequenceCache>>;

impl KvBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            memory: Arc::default(),
            limit,
            resting: Mutex::default(),
        }
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
        let mut given_up = 0;
        for place in resting.iter() {
            given_up += 1;
            let cache = place.upgrade().and_then(|place| {
                // A sequence that takes its cache back keeps it.
                place.try_lock().ok().and_then(|mut cache| cache.take())
            });
            drop(cache);
            if self.fits(more) {
                break;
            }
        }
        resting.drain(..given_up);
        self.fits(more)
    }

    fn fits(&self, more: usize) -> bool {
        self.used().saturating_add(more) <= self.limit
    }
}
