//! Work on parts of slices by several threads.

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
    barrier_pool().execute_chunked(parts.len(), |range| {
        for part in &parts[range] {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
            part.into_iter().for_each(&work);
        }
    });
}
