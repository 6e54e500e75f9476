//! `c4j_tokenizer`: text to tokens and back.

use std::path::Path;
use std::sync::Arc;

use candle4j_engine::tokenizer::Tokenizer;

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::error::{c4j_error, c4j_status};
use crate::handle::{self, Handle, borrow, give};
use crate::model::c4j_model;
use crate::text::{slice, text};

/// A tokenizer. Any thread may use it, several at once.
#[allow(non_camel_case_types)]
pub struct c4j_tokenizer {
    tokenizer: Arc<Tokenizer>,
}

impl Handle for c4j_tokenizer {
    const NAME: &'static str = "tokenizer";
}

fn handle_of(tokenizer: Arc<Tokenizer>) -> *mut c4j_tokenizer {
    give(c4j_tokenizer { tokenizer })
}

/// The tokenizer of a model. `*out` becomes a handle that the caller ends with
/// `c4j_tokenizer_free`; the model may be freed before.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_tokenizer_of(
    model: *const c4j_model,
    out: *mut *mut c4j_tokenizer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            out.write(handle_of(borrow(model)?.model.tokenizer().clone()));
            Ok(())
        })
    }
}

/// Reads a tokenizer from a `tokenizer.json`, without a model. `path` is UTF-8. `*out` becomes a
/// handle that the caller ends with `c4j_tokenizer_free`.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_tokenizer_load(
    path: *const u8,
    path_len: u64,
    out: *mut *mut c4j_tokenizer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let path = text("path", path, path_len)?;
            out.write(handle_of(Arc::new(Tokenizer::open(Path::new(path))?)));
            Ok(())
        })
    }
}

/// Encodes UTF-8 text; `*out` becomes the token ids. Special tokens in the text are taken for what
/// they mean. With `add_special` other than 0, those that the tokenizer puts around every text are
/// added.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_tokenizer_encode(
    tokenizer: *const c4j_tokenizer,
    string: *const u8,
    string_len: u64,
    add_special: i32,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let tokenizer = borrow(tokenizer)?;
            let string = text("string", string, string_len)?;
            let ids = tokenizer.tokenizer.encode(string, add_special != 0)?;
            out.write(c4j_buffer::of_ids(&ids));
            Ok(())
        })
    }
}

/// Decodes `count` token ids; `*out` becomes the text. With `skip_special` other than 0, special
/// tokens leave no text.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_tokenizer_decode(
    tokenizer: *const c4j_tokenizer,
    ids: *const u32,
    count: u64,
    skip_special: i32,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let tokenizer = borrow(tokenizer)?;
            let ids = slice("ids", ids, count)?;
            let text = tokenizer.tokenizer.decode(ids, skip_special != 0)?;
            out.write(c4j_buffer::new(text.into_bytes()));
            Ok(())
        })
    }
}

/// Ends a tokenizer handle. Does nothing for null.
///
/// # Safety
/// `tokenizer` is null, or came from this library, was not freed yet, and no call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_tokenizer_free(tokenizer: *mut c4j_tokenizer) {
    // SAFETY: as the caller promises.
    unsafe { handle::free(tokenizer) }
}
