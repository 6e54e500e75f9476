//! Memory of weights.

use std::mem::{ManuallyDrop, MaybeUninit};

use bytemuck::Zeroable;

/// Smaller memory has no huge page of its own.
#[cfg(target_os = "linux")]
const LEAST: usize = 4 << 20;

/// Memory that threads fill part by part, so that each gets the pages that it fills, instead of one all of them. It lies
/// on huge pages where the system gives them: these are faster to get, and every product reads all weights.
pub(crate) struct Unfilled<T>(Vec<MaybeUninit<T>>);

impl<T: Zeroable> Unfilled<T> {
    /// Room for `len` elements.
    pub(crate) fn new(len: usize) -> Self {
        let mut elements = Vec::with_capacity(len);
        // SAFETY: there is room for as many, and they need hold nothing.
        unsafe { elements.set_len(len) };
        #[cfg(target_os = "linux")]
        advise_huge_pages(&elements);
        Self(elements)
    }

    /// Its parts of `size` elements, at least one, and one of fewer at the end.
    pub(crate) fn parts(&mut self, size: usize) -> impl Iterator<Item = UnfilledPart<'_, T>> {
        self.0.chunks_mut(size).map(UnfilledPart)
    }

    /// What was filled.
    ///
    /// # Safety
    /// All elements were [zeroed](UnfilledPart::zero).
    pub(crate) unsafe fn filled(self) -> Vec<T> {
        let mut elements = ManuallyDrop::new(self.0);
        let (len, capacity) = (elements.len(), elements.capacity());
        // SAFETY: it is the same memory, and the caller promises that it holds numbers.
        unsafe { Vec::from_raw_parts(elements.as_mut_ptr().cast(), len, capacity) }
    }
}

/// A part of memory for one thread.
pub(crate) struct UnfilledPart<'a, T>(&'a mut [MaybeUninit<T>]);

impl<T> Default for UnfilledPart<'_, T> {
    fn default() -> Self {
        Self(&mut [])
    }
}

impl<'a, T: Zeroable> UnfilledPart<'a, T> {
    /// Fills it with zeros.
    pub(crate) fn zero(self) -> &'a mut [T] {
        let start = self.0.as_mut_ptr();
        // SAFETY: the memory is there, its elements may be zero, and hold numbers then.
        unsafe {
            start.write_bytes(0, self.0.len());
            std::slice::from_raw_parts_mut(start.cast(), self.0.len())
        }
    }
}

#[cfg(target_os = "linux")]
fn advise_huge_pages<T>(elements: &[T]) {
    /// Of the smallest pages there are; larger ones begin at multiples of it too.
    const PAGE: usize = 4096;
    if size_of_val(elements) < LEAST {
        return;
    }
    let range = elements.as_ptr_range();
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
    fn parts_of_any_size_are_zero_and_become_one() {
        for len in [0, 1, 1000, (5 << 20) + 3] {
            let mut unfilled = Unfilled::<u32>::new(len);
            for (index, part) in unfilled.parts(300).enumerate() {
                let part = part.zero();
                assert!(part.iter().all(|number| *number == 0));
                part.fill(index as u32);
            }
            // SAFETY: all parts were zeroed.
            let numbers = unsafe { unfilled.filled() };
            assert_eq!(numbers.len(), len);
            let expected = (0..len).map(|index| index as u32 / 300);
            assert!(numbers.into_iter().eq(expected));
        }
    }
}
