//! Handles: Rust values that C holds by pointer.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use candle4j_engine::error as engine;

use crate::error::{Error, Result};

/// A type whose values C owns: it gets the pointer from [`give`], lends it to functions, which
/// [`borrow`] it, and ends it by [`free`].
pub(crate) trait Handle: Sized + Sync {
    /// What messages call it.
    const NAME: &'static str;

    /// Set once a call on the handle has panicked, where a panic can damage what is behind it.
    fn poisoned(&self) -> Option<&AtomicBool> {
        None
    }
}

/// Hands a value over to C.
pub(crate) fn give<T: Handle>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Lends a handle to a call. Any number of calls may run at once: the value is only shared, and
/// what must not run at once locks itself.
///
/// # Safety
/// `handle` is null or came from [`give`], and is not freed before the call returns.
pub(crate) unsafe fn borrow<'a, T: Handle>(handle: *const T) -> Result<&'a T> {
    // SAFETY: as the caller promises.
    let value = unsafe { borrow_damaged(handle) }?;
    let poisoned = value.poisoned();
    if poisoned.is_some_and(|poisoned| poisoned.load(Ordering::Acquire)) {
        return Err(engine::Error::Poisoned(T::NAME).into());
    }
    Ok(value)
}

/// Like [`borrow`], but lends a handle that a panic has damaged too, for what a panic cannot damage.
///
/// # Safety
/// As for [`borrow`].
pub(crate) unsafe fn borrow_damaged<'a, T: Handle>(handle: *const T) -> Result<&'a T> {
    // SAFETY: as the caller promises.
    unsafe { handle.as_ref() }
        .ok_or_else(|| Error::argument(T::NAME, "expected a handle, got null"))
}

/// Takes a value back and drops it; null is nothing. A panic in a destructor is swallowed, since
/// there is nobody to tell.
///
/// # Safety
/// `handle` is null or came from [`give`] and is not used again.
pub(crate) unsafe fn free<T: Handle>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: it came from `give`, as the caller promises.
        let value = unsafe { Box::from_raw(handle) };
        let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
    }
}

/// Runs a call that changes what is behind the handle; a panic in it poisons the handle and goes on
/// to the boundary.
pub(crate) fn poisoning<T: Handle, R>(handle: &T, call: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        if let Some(poisoned) = handle.poisoned() {
            poisoned.store(true, Ordering::Release);
        }
        resume_unwind(panic)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter {
        drops: &'static std::sync::atomic::AtomicUsize,
        poisoned: AtomicBool,
    }

    impl Handle for Counter {
        const NAME: &'static str = "counter";

        fn poisoned(&self) -> Option<&AtomicBool> {
            Some(&self.poisoned)
        }
    }

    impl Drop for Counter {
        fn drop(&mut self) {
            self.drops.fetch_add(1, Ordering::Relaxed);
            if self.poisoned.load(Ordering::Relaxed) {
                panic!("a destructor that panics");
            }
        }
    }

    #[test]
    fn a_panic_poisons_the_handle_which_can_still_be_freed() {
        static DROPS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let pointer = give(Counter {
            drops: &DROPS,
            poisoned: AtomicBool::new(false),
        });
        // SAFETY: the handle was given just now and is freed once, at the end.
        unsafe {
            let handle = borrow(pointer).unwrap();
            assert_eq!(poisoning(handle, || 7), 7);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                poisoning(handle, || panic!("injected"))
            }));
            assert!(panic.is_err());
            assert_eq!(
                borrow(pointer).err(),
                Some(engine::Error::Poisoned("counter").into())
            );
            // What a panic cannot damage, such as cancelling, still works.
            assert!(borrow_damaged(pointer).is_ok());
            free(pointer);
        }
        assert_eq!(DROPS.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn null_is_refused_by_name_and_freed_without_harm() {
        // SAFETY: null is allowed in both.
        unsafe {
            let refused = borrow::<Counter>(std::ptr::null()).err();
            assert!(
                matches!(&refused, Some(Error::Engine(engine::Error::InvalidArgument { name, .. })) if name == "counter")
            );
            free::<Counter>(std::ptr::null_mut());
        }
    }
}
