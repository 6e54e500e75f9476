//! Work that may recurse deeply over something from outside, on threads with stacks of known size.
//!
//! A caller's thread may have any stack, a quarter of a megabyte in a JVM for instance, and nothing
//! can catch what happens when it overflows. Parsers and interpreters of files therefore run here, and
//! the sizes of what they read are limited so that their recursion fits.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};

/// Bytes of such a stack. They are reserved, and become memory only as far as they are used.
const STACK_SIZE: usize = 256 << 20;

/// Runs `work` on a thread of its own and waits for it. Panics go on to the caller.
///
/// # Errors
/// [`Error::Compute`] if the system gives no thread.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        builder()
            .spawn_scoped(scope, work)
            .map_err(|e| no_thread(&e))?
            .join()
            .map_or_else(|panic| resume_unwind(panic), Ok)
    })
}

/// Like [`run`], but gives up after `limit` with `None`. The thread is left to itself then, so this is
/// for work that nothing else can stop, and not for calling it again.
pub(crate) fn run_within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>> {
    let (sender, receiver) = mpsc::sync_channel::<std::result::Result<T, Box<dyn Any + Send>>>(1);
    builder()
        .spawn(move || {
            // Nobody listens any more when it took too long.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        })
        .map_err(|e| no_thread(&e))?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(result)) => Ok(Some(result)),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Ok(None),
    }
}

fn builder() -> thread::Builder {
    thread::Builder::new()
        .name("candle4j-deep".into())
        .stack_size(STACK_SIZE)
}

fn no_thread(error: &std::io::Error) -> Error {
    Error::Compute(format!("the system gives no thread: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(n: u64) -> u64 {
        // Not a loop: what is pushed must stay until the inner call is back.
        let here = std::hint::black_box([n; 16]);
        if n == 0 {
            0
        } else {
            depth(n - 1) + here[0] - n + 1
        }
    }

    #[test]
    fn deep_recursion_fits_and_results_and_panics_come_back() {
        assert_eq!(run(|| depth(500_000)).unwrap(), 500_000);
        let panic = catch_unwind(|| run(|| panic!("inside")));
        assert!(panic.is_err());
        let limit = Duration::from_secs(60);
        assert_eq!(run_within(limit, || 7).unwrap(), Some(7));
        assert!(catch_unwind(|| run_within(limit, || panic!("inside"))).is_err());
    }

    #[test]
    fn work_that_takes_too_long_is_given_up() {
        let (release, wait) = mpsc::channel::<()>();
        let result = run_within(Duration::from_millis(10), move || wait.recv().is_err());
        assert_eq!(result.unwrap(), None);
        drop(release);
    }
}
