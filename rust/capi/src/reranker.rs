//! `c4j_reranker`: a model that scores documents for a query.

use std::ffi::c_void;

use candle4j_engine::embedding::{RerankRequest, Reranker, TextOptions};
use serde_json::{Value, json};

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::c4j_progress_fn;
use crate::error::{c4j_error, c4j_status, failure};
use crate::handle::{self, Handle, borrow};
use crate::loading::{Arguments, describe, load};
use crate::text::{json, json_buffer};

/// A loaded reranker. Any thread may use it, several at once: their documents go through it together.
#[allow(non_camel_case_types)]
pub struct c4j_reranker {
    reranker: Reranker,
}

impl Handle for c4j_reranker {
    const NAME: &'static str = "reranker";
}

/// Loads a reranker: the folder of a classifier over pairs of texts, or of a Qwen3-Reranker.
///
/// `path` is its path in UTF-8. `options` is a JSON object with, both optional, `quantize` (`q8_0`, `q6_k`, `q5_k`, `q4_k`,
/// `q4_0`, for folders) and `max_tokens` (of a pair; what the files say when left out). `on_progress` is as for
/// `c4j_model_load`. On success `*out` is a reranker that the caller ends with `c4j_reranker_free`.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_reranker_load(
    path: *const u8,
    path_len: u64,
    options: *const u8,
    options_len: u64,
    on_progress: c4j_progress_fn,
    user_data: *mut c_void,
    out: *mut *mut c4j_reranker,
    error: *mut *mut c4j_error,
) -> c4j_status {
    let arguments = Arguments {
        path,
        path_len,
        options,
        options_len,
        on_progress,
        user_data,
    };
    // SAFETY: as the caller promises.
    unsafe {
        load(
            arguments,
            out,
            error,
            |path, options: &TextOptions, listener| {
                Reranker::load_watched(path, options, listener)
                    .map(|reranker| c4j_reranker { reranker })
            },
        )
    }
}

/// Describes a reranker, as JSON: architecture, precision, labels, activation and so on.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_reranker_describe(
    reranker: *const c4j_reranker,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe { describe(reranker, out, error, |reranker| reranker.reranker.info()) }
}

/// Scores documents for a query.
///
/// `request` is a JSON object: `query`, `documents`; `instruction`, for decoders that take one; `raw` (whether scores are given
/// without the model's activation; false), `truncate` (whether the end of a pair that is too long is left out, and it is no
/// error; true) and `call`, a number by which `c4j_reranker_cancel` can stop it.
///
/// `*out` becomes a JSON array in the order of the documents: `{"scores", "tokens", "left_out"}`, a score a label, the tokens
/// that were read and those that did not fit, or `{"error": {"code", "message", "detail"}}`. One document's failure touches no
/// other.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_reranker_score(
    reranker: *const c4j_reranker,
    request: *const u8,
    request_len: u64,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let reranker = &borrow(reranker)?.reranker;
            let request: RerankRequest = json("request", request, request_len)?;
            let results: Vec<Value> = reranker
                .score(&request)?
                .iter()
                .map(|scores| match scores {
                    Ok(scores) => json!(scores),
                    Err(error) => failure(error),
                })
                .collect();
            out.write(json_buffer(&results)?);
            Ok(())
        })
    }
}

/// Cancels the call whose request carries the number `call`, as `c4j_session_cancel` does.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_reranker_cancel(
    reranker: *const c4j_reranker,
    call: u64,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            borrow(reranker)?.reranker.cancel(call);
            Ok(())
        })
    }
}

/// Ends a reranker. Does nothing for null.
///
/// # Safety
/// `reranker` is null, or came from `c4j_reranker_load`, was not freed yet, and no call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_reranker_free(reranker: *mut c4j_reranker) {
    // SAFETY: as the caller promises.
    unsafe { handle::free(reranker) }
}
