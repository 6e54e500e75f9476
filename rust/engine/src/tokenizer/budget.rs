//! How much one encoding or decoding may produce, and how long it may take.
//!
//! A tokenizer is a program out of a file: replacements that double a text, thirty of them behind one
//! another, would fill any memory, and regular expressions can take a time that grows faster than the
//! text. The traits of the tokenizers library have no place for a limit, so it is kept by the thread
//! that encodes or decodes. What exceeds it is kept as well, since the library drops the errors of
//! normalizers.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Bytes that a text may grow to for each of its own. Unicode's widest decomposition takes eleven.
const GROWTH: usize = 32;

/// Bytes that even a short text may grow by.
const LEAST_GROWTH: usize = 1 << 16;

/// Time that even a short text may take.
const LEAST_TIME: Duration = Duration::from_secs(5);

/// Bytes for each of which a text may take a second more, many times slower than any real tokenizer.
const BYTES_A_SECOND: usize = 50_000;

struct Budget {
    /// Bytes by which texts may still grow.
    growth: usize,
    deadline: Instant,
    time: Duration,
    /// What was exceeded. Everything fails from then on.
    exceeded: Option<String>,
}

thread_local! {
    static CURRENT: RefCell<Option<Budget>> = const { RefCell::new(None) };
}

/// What a step of a tokenizer fails with.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a text of so many bytes may take.
pub(super) fn time(bytes: usize) -> Duration {
    LEAST_TIME + Duration::from_secs((bytes / BYTES_A_SECOND) as u64)
}

/// What exceeding the time is called.
pub(super) fn too_slow(time: Duration) -> String {
    format!("the text takes longer than {} seconds", time.as_secs())
}

/// Runs `work` with the budget of a text of so many bytes.
///
/// # Errors
/// What was exceeded, if anything, whatever `work` made of that.
pub(super) fn with<T>(bytes: usize, work: impl FnOnce() -> T) -> Result<T, String> {
    struct Restore(Option<Budget>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(|current| *current = self.0.take());
        }
    }
    let time = time(bytes);
    let budget = Budget {
        growth: bytes.saturating_mul(GROWTH).saturating_add(LEAST_GROWTH),
        deadline: Instant::now() + time,
        time,
        exceeded: None,
    };
    let _restore = Restore(CURRENT.with_borrow_mut(|current| current.replace(budget)));
    let result = work();
    match CURRENT.with_borrow_mut(|current| current.as_mut()?.exceeded.take()) {
        Some(exceeded) => Err(exceeded),
        None => Ok(result),
    }
}

/// Pays for a text that grows from `before` bytes to `after`.
pub(super) fn grow(before: usize, after: usize) -> Result<(), Failure> {
    charge(
        |budget| match budget.growth.checked_sub(after.saturating_sub(before)) {
            Some(rest) => {
                budget.growth = rest;
                Ok(())
            }
            None => Err(format!(
                "the text grows from {before} to {after} bytes, more than a tokenizer may make of it"
            )),
        },
    )
}

/// Fails when the time is over.
pub(super) fn check_time() -> Result<(), Failure> {
    charge(|budget| {
        if Instant::now() > budget.deadline {
            Err(too_slow(budget.time))
        } else {
            Ok(())
        }
    })
}

fn charge(pay: impl FnOnce(&mut Budget) -> Result<(), String>) -> Result<(), Failure> {
    CURRENT.with_borrow_mut(|current| {
        let Some(budget) = current else {
            return Ok(());
        };
        if budget.exceeded.is_none() {
            budget.exceeded = pay(budget).err();
        }
        match &budget.exceeded {
            None => Ok(()),
            Some(exceeded) => Err(exceeded.clone().into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_paid_for_once_and_inner_budgets_end_with_their_work() {
        grow(0, usize::MAX).unwrap();
        let exceeded = with(1000, || {
            let all = 1000 * GROWTH + LEAST_GROWTH;
            grow(1000, 1000 + all - 1).unwrap();
            with(0, || grow(0, LEAST_GROWTH + 1).unwrap_err()).unwrap_err();
            grow(5, 6).unwrap();
            grow(6, 5).unwrap();
            grow(5, 6).unwrap_err();
            check_time().unwrap_err();
        })
        .unwrap_err();
        assert!(exceeded.contains("from 5 to 6 bytes"), "{exceeded}");
        assert_eq!(with(0, || 7), Ok(7));
        grow(0, usize::MAX).unwrap();
    }
}
