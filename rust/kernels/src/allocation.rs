//! Memory of weights.

use bytemuck::Zeroable;
use bytemuck::allocation::zeroed_vec;

/// Smaller memory has no huge page of its own.
#[cfg(target_os = "linux")]
const LEAST: usize = 4 << 20;

/// Zeros, on huge pages where the system gives them: those are faster to get, and every product reads all weights.
pub(crate) fn zeroed<T: Zeroable>(len: usize) -> Vec<T> {
    let numbers = zeroed_vec(len);
    #[cfg(target_os = "linux")]
    advise_huge_pages(&numbers);
    numbers
}

#[cfg(target_os = "linux")]
fn advise_huge_pages<T>(numbers: &[T]) {
    /// Of the smallest pages there are; larger ones begin at multiples of it too.
    const PAGE: usize = 4096;
    if size_of_val(numbers) < LEAST {
        return;
    }
    let range = numbers.as_ptr_range();
    let (start, end) = (range.start.cast::<u8>(), range.end.cast::<u8>());
    let first = start.wrapping_add(start.align_offset(PAGE));
    let len = end.addr().saturating_sub(first.addr()) / PAGE * PAGE;
    // SAFETY: it is memory of this process and keeps what it holds; a system that knows no such advice refuses it.
    unsafe {
        libc::madvise(first.cast_mut().cast(), len, libc::MADV_HUGEPAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_any_size_is_zero() {
        for len in [0, 1, 1000, (1 << 20) - 1, (5 << 20) + 3] {
            let numbers: Vec<u32> = zeroed(len);
            assert_eq!(numbers.len(), len);
            assert!(numbers.iter().all(|number| *number == 0));
        }
    }
}
