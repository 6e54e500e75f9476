//! What the functions have in common that load something from a folder or a file, and that describe it.

use std::ffi::c_void;
use std::ops::ControlFlow;
use std::path::Path;

use candle4j_engine::cancel::Interrupt;
use candle4j_engine::error as engine;
use candle4j_engine::loader::LoadListener;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::{ProgressCallback, c4j_progress_fn};
use crate::error::{c4j_error, c4j_status};
use crate::handle::{Handle, borrow, give};
use crate::text::{json, json_buffer, text};

/// The arguments of a function that loads, but for where it puts the handle and its error.
pub(crate) struct Arguments {
    pub(crate) path: *const u8,
    pub(crate) path_len: u64,
    pub(crate) options: *const u8,
    pub(crate) options_len: u64,
    pub(crate) on_progress: c4j_progress_fn,
    pub(crate) user_data: *mut c_void,
}

/// Loads what `make` makes of a path and options.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
pub(crate) unsafe fn load<T: Handle, O: DeserializeOwned>(
    arguments: Arguments,
    out: *mut *mut T,
    error: *mut *mut c4j_error,
    make: impl FnOnce(&Path, &O, &mut LoadListener) -> engine::Result<T>,
) -> c4j_status {
    let Arguments {
        path,
        path_len,
        options,
        options_len,
        on_progress,
        user_data,
    } = arguments;
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let path = text("path", path, path_len)?;
            let options: O = json("options", options, options_len)?;
            let callback = ProgressCallback {
                function: on_progress,
                user_data,
            };
            let made = make(Path::new(path), &options, &mut |progress| {
                callback
                    .call(&progress)
                    .unwrap_or(ControlFlow::Break(Interrupt::Failed))
            })?;
            out.write(give(made));
            Ok(())
        })
    }
}

/// Writes what `info` says of a handle, as JSON.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
pub(crate) unsafe fn describe<T: Handle, I: Serialize>(
    handle: *const T,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
    info: impl FnOnce(&T) -> I,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            out.write(json_buffer(&info(borrow(handle)?))?);
            Ok(())
        })
    }
}
