//! Work on parts of slices by several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;

/// Calls `work` with each part, on the threads of Candle's barrier pool if there are several. `work` must
/// not use the pool itself: it would wait for itself.
pub fn for_each_part<T: Send>(parts: Vec<T>, work: impl Fn(T) + Sync) {
    if parts.len() <= 1 {
        parts.into_iter().for_each(work);
        return;
    }
    // A part is one thread's alone, which its lock shows to the compiler.
    let parts: Vec<Mutex<Option<T>>> = parts
        .into_iter()
        .map(|part| Mutex::new(Some(part)))
        .collect();
    share(parts.len(), |range| {
        for part in &parts[range] {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
            part.into_iter().for_each(&work);
        }
    });
}

/// Calls `work` with ranges that make up those below `count`, on all threads: half of what is left for
/// each at first, and less and less, so that no thread waits long for the last.
pub(crate) fn share(count: usize, work: impl Fn(Range<usize>) + Sync) {
    let pool = barrier_pool();
    let threads = pool.n_workers() + 1;
    let next = AtomicUsize::new(0);
    let end = |start: usize| start + (count - start).div_ceil(2 * threads);
    pool.execute(|_| {
        let take = |start| (start < count).then(|| end(start));
        while let Ok(start) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            work(start..end(start));
        }
    });
}
