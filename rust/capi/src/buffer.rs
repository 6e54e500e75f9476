//! Bytes that Rust made and C frees.

/// Bytes that a function returned: UTF-8 text (not terminated), or token ids as 32-bit unsigned
/// integers or floating point numbers of 32 bits in the machine's byte order.
///
/// The caller provides the struct, a function fills it on success, and the caller gives it to
/// `c4j_buffer_free` once. Its fields are not to be changed in between.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct c4j_buffer {
    /// The first byte. Not null, also when `len` is 0.
    pub data: *mut u8,
    /// Number of bytes.
    pub len: u64,
    /// For `c4j_buffer_free` only.
    pub capacity: u64,
}

impl c4j_buffer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Self {
            data: bytes.as_mut_ptr(),
            len: bytes.len() as u64,
            capacity: bytes.capacity() as u64,
        }
    }

    pub(crate) fn of_ids(ids: &[u32]) -> Self {
        Self::new(ids.iter().flat_map(|id| id.to_ne_bytes()).collect())
    }

    /// # Safety
    /// The fields are those that `new` wrote, and the bytes were not freed yet.
    pub(crate) unsafe fn free(&mut self) {
        if !self.data.is_null() {
            // SAFETY: pointer, length and capacity come from a Vec, as the caller promises.
            drop(unsafe {
                Vec::from_raw_parts(self.data, self.len as usize, self.capacity as usize)
            });
        }
        self.data = std::ptr::null_mut();
        self.len = 0;
        self.capacity = 0;
    }
}

/// Frees the bytes of a buffer that a function filled, and empties it.
///
/// Does nothing for null and for an emptied buffer. Any thread may call it.
///
/// # Safety
/// `buffer` is null, or points to a buffer that a function of this library filled or that is
/// zeroed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_buffer_free(buffer: *mut c4j_buffer) {
    // SAFETY: the caller promises that it is null or valid.
    if let Some(buffer) = unsafe { buffer.as_mut() } {
        // SAFETY: it was filled by this library and is emptied as it is freed.
        unsafe { buffer.free() };
    }
}
