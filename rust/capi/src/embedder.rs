//! `c4j_embedder`: a model that turns texts into vectors.

use std::ffi::c_void;

use candle4j_engine::embedding::{EmbedRequest, Embedder, Embedding, TextOptions};
use candle4j_engine::error as engine;
use serde_json::{Value, json};

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::c4j_progress_fn;
use crate::error::{c4j_error, c4j_status, failure};
use crate::handle::{self, Handle, borrow};
use crate::loading::{Arguments, describe, load};
use crate::text::{json, json_buffer};

/// A loaded model for embeddings. Any thread may use it, several at once: their texts go through it together.
#[allow(non_camel_case_types)]
pub struct c4j_embedder {
    embedder: Embedder,
}

impl Handle for c4j_embedder {
    const NAME: &'static str = "embedder";
}

/// Loads a model for embeddings: a folder as sentence-transformers and transformers have it, or a GGUF file.
///
/// `path` is its path in UTF-8. `options` is a JSON object with, both optional, `quantize` (`q8_0`, `q6_k`, `q5_k`, `q4_k`,
/// `q4_0`, for folders) and `max_tokens` (of a text; what the files say when left out). `on_progress` is as for
/// `c4j_model_load`. On success `*out` is an embedder that the caller ends with `c4j_embedder_free`.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_embedder_load(
    path: *const u8,
    path_len: u64,
    options: *const u8,
    options_len: u64,
    on_progress: c4j_progress_fn,
    user_data: *mut c_void,
    out: *mut *mut c4j_embedder,
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
                Embedder::load_watched(path, options, listener)
                    .map(|embedder| c4j_embedder { embedder })
            },
        )
    }
}

/// Describes an embedder, as JSON: architecture, precision, dimensions, pooling, similarity, prompts and so on.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_embedder_describe(
    embedder: *const c4j_embedder,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe { describe(embedder, out, error, |embedder| embedder.embedder.info()) }
}

/// Makes vectors of texts.
///
/// `request` is a JSON object: `texts`, or `tokens` (lists of token ids, to which nothing is added); `prompt`, which is put
/// before each text: `"default"`, `"query"`, `"document"`, `{"named": "…"}` or `{"text": "…"}`; `normalize` (whether vectors
/// get the length 1; true), `truncate` (whether the end of a text that is too long is left out, and it is no error; true),
/// `dimensions` (how many numbers are kept of each vector) and `call`, a number by which `c4j_embedder_cancel` can stop it.
///
/// `*vectors` becomes the vectors as 32-bit floating point numbers in the machine's byte order, in the order of the texts, and
/// `*out` a JSON object of `dimensions` and `results`, one a text: `{"tokens", "left_out"}`, the tokens that were read and
/// those that did not fit, or `{"error": {"code", "message", "detail"}}`, for a text that has no vector. One text's failure
/// touches no other.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_embedder_embed(
    embedder: *const c4j_embedder,
    request: *const u8,
    request_len: u64,
    vectors: *mut c4j_buffer,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let vectors = Out::new("vectors", vectors)?;
            let out = Out::new("out", out)?;
            let embedder = &borrow(embedder)?.embedder;
            let request: EmbedRequest = json("request", request, request_len)?;
            let embeddings = embedder.embed(&request)?;
            let numbers = embeddings.iter().flatten().flat_map(|e| &e.vector);
            let bytes: Vec<u8> = numbers.flat_map(|number| number.to_ne_bytes()).collect();
            let results: Vec<Value> = embeddings.iter().map(result).collect();
            let first = embeddings.iter().flatten().next();
            out.write(json_buffer(&json!({
                "dimensions": first.map_or(0, |embedding| embedding.vector.len()),
                "results": results,
            }))?);
            vectors.write(c4j_buffer::new(bytes));
            Ok(())
        })
    }
}

fn result(embedding: &engine::Result<Embedding>) -> Value {
    match embedding {
        Ok(embedding) => json!({
            "tokens": embedding.tokens,
            "left_out": embedding.left_out,
        }),
        Err(error) => failure(error),
    }
}

/// Cancels the call whose request carries the number `call`, as `c4j_session_cancel` does.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_embedder_cancel(
    embedder: *const c4j_embedder,
    call: u64,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            borrow(embedder)?.embedder.cancel(call);
            Ok(())
        })
    }
}

/// Ends an embedder. Does nothing for null.
///
/// # Safety
/// `embedder` is null, or came from `c4j_embedder_load`, was not freed yet, and no call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_embedder_free(embedder: *mut c4j_embedder) {
    // SAFETY: as the caller promises.
    unsafe { handle::free(embedder) }
}
