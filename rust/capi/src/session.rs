//! `c4j_session`: one sequence's KV cache.

use std::ffi::c_void;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, TryLockError};

use candle4j_engine::cancel::Cancel;
use candle4j_engine::error as engine;
use candle4j_engine::session::{GenerateRequest, Session};
use serde::Deserialize;

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::{TokenCallback, c4j_token_fn};
use crate::error::{Result, c4j_error, c4j_status};
use crate::handle::{self, Handle, borrow, borrow_damaged, give, poisoning};
use crate::model::c4j_model;
use crate::text::{json, json_buffer};

/// A session. One call at a time runs on it; a second one gets `C4J_BUSY`, also when it is made
/// from a callback. `c4j_session_cancel` is the exception.
#[allow(non_camel_case_types)]
pub struct c4j_session {
    session: Mutex<Session>,
    cancel: Cancel,
    poisoned: AtomicBool,
}

impl Handle for c4j_session {
    const NAME: &'static str = "session";

    fn poisoned(&self) -> Option<&AtomicBool> {
        Some(&self.poisoned)
    }
}

impl c4j_session {
    fn new(session: Session) -> Self {
        Self {
            cancel: session.cancel(),
            session: Mutex::new(session),
            poisoned: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Session>> {
        match self.session.try_lock() {
            Ok(session) => Ok(session),
            Err(TryLockError::WouldBlock) => Err(engine::Error::Busy(Self::NAME).into()),
            Err(TryLockError::Poisoned(_)) => Err(engine::Error::Poisoned(Self::NAME).into()),
        }
    }
}

/// Starts a session with an empty KV cache. `*out` becomes a session that the caller ends with
/// `c4j_session_free`; the model may be freed before.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_new(
    model: *const c4j_model,
    out: *mut *mut c4j_session,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let session = Session::new(borrow(model)?.model.clone());
            out.write(give(c4j_session::new(session)));
            Ok(())
        })
    }
}

/// Starts a session that goes on from where another is: its KV cache is copied, and nothing in it
/// computed again (by the `fused` engine; by `candle`, it starts empty). `*out` becomes a session that
/// the caller ends with `c4j_session_free`. `C4J_BUSY` while a call on the other is under way.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_fork(
    session: *const c4j_session,
    out: *mut *mut c4j_session,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let handle = borrow(session)?;
            let fork = poisoning(handle, || -> Result<_> { Ok(handle.lock()?.fork()?) })?;
            out.write(give(c4j_session::new(fork)));
            Ok(())
        })
    }
}

/// Generates.
///
/// `request` is a JSON object: `prompt` is `{"text": {"text", "raw"}}`, `{"tokens": […]}` or
/// `{"chat": {"messages": […], "variables": {…}}}`; `options` holds `max_tokens`, `min_tokens`,
/// `temperature`, `top_k`, `top_p`, `min_p`, `typical_p`, `top_n_sigma`, `repeat_penalty`,
/// `repeat_window`, `presence_penalty`, `frequency_penalty`, `dry_multiplier`, `dry_base`,
/// `dry_allowed_length`, `dry_breakers`, `no_repeat_ngram_size`, `seed`, `stop`, `ignore_eos`, `logit_bias` (numbers by
/// token ids), `logprobs` (how many of the most probable tokens to tell beside each new one), `timeout_ms`, `prompt_lookup` (true by default), `thinking` (`"on"`, `"off"` or `{"budget": tokens}`; `C4J_INVALID_ARGUMENT`
/// where the chat template has no choice) and `wait_when_full`
/// (instead of `C4J_QUEUE_FULL`), all optional; `call` is a number by which `c4j_session_cancel` can stop it; with `prepare` true, the prompt
/// is only taken into the KV cache, where a later call whose prompt begins like it finds it; with
/// `turn` true, it is a turn of a conversation: calls without it leave the keys and values of turns alone, and it
/// is `C4J_CONTEXT_FULL` unless the context has room behind the prompt for `max_tokens`, or a quarter of the context if
/// that is less.
///
/// `constraint` lets the answer follow a grammar, thoughts before it excepted: `{"json_schema": {…}}`, `{"regex": "…"}`,
/// `{"lark": "…"}` (a grammar in Lark's notation, as llguidance reads it) or `{"one_of": ["…"]}`. What is not supported of
/// one is `C4J_INVALID_ARGUMENT`, which names it.
///
/// `tools` is what the model may call: an array of objects with `name`, `description` and `parameters` (a JSON schema), told
/// in the way of its chat template; `tool_choice` is `"auto"`, `"required"`, `"none"` or `{"name": "…"}`. Calls are valid by
/// their schemas, the first one from its beginning on. `tools` and a `constraint` other than a schema exclude each other.
///
/// `on_token` may be null. Blocks until the answer is complete, and `*out` becomes a JSON object of
/// `text`, `reasoning` (what the model thought before, where it did), `tool_calls` (where there are some: `id`, `name` and `arguments`, a text that is a JSON object), `token_ids`, `finish_reason` (`STOP`, `TOOL_CALLS`, `LENGTH`, `CONTEXT_FULL`, `STOP_STRING`,
/// `CANCELLED`, `TIMEOUT`),
/// `prompt_tokens`, `cached_tokens`, `seed`, `wait_ms` (until the model had a place for the call), `prefill_ms` and `decode_ms`, and where `logprobs` were
/// asked for, `logprobs`: for each new token `id`, `logprob` and `top`, as in `c4j_session_score`; `warnings`
/// lists what of the model's own file was not honoured, where there is something.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_generate(
    session: *const c4j_session,
    request: *const u8,
    request_len: u64,
    on_token: c4j_token_fn,
    user_data: *mut c_void,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let handle = borrow(session)?;
            let request: GenerateRequest = json("request", request, request_len)?;
            let callback = TokenCallback {
                function: on_token,
                user_data,
            };
            let generation = poisoning(handle, || -> Result<_> {
                let mut session = handle.lock()?;
                Ok(session.generate(&request, &mut |token| callback.call(token))?)
            })?;
            out.write(json_buffer(&generation)?);
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreRequest {
    #[serde(default)]
    call: u64,
    tokens: Vec<u32>,
    #[serde(default)]
    top: usize,
}

/// Computes log-probabilities of given tokens. `request` is a JSON object of `tokens`, `top`
/// and, to cancel it by, `call`; `*out` becomes a JSON object of `logprobs` (of each token from the second on, given those
/// before it) and `top` (objects of `id` and `logprob`: the most probable tokens behind the last,
/// best first). Natural logarithms.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_score(
    session: *const c4j_session,
    request: *const u8,
    request_len: u64,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let handle = borrow(session)?;
            let request: ScoreRequest = json("request", request, request_len)?;
            let score = poisoning(handle, || -> Result<_> {
                let mut session = handle.lock()?;
                Ok(session.score(request.call, &request.tokens, request.top)?)
            })?;
            out.write(json_buffer(&score)?);
            Ok(())
        })
    }
}

/// Empties the KV cache.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_clear(
    session: *const c4j_session,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let handle = borrow(session)?;
            poisoning(handle, || {
                handle.lock()?.clear();
                Ok(())
            })
        })
    }
}

/// Cancels the call whose request carries the number `call`, whether it runs already or is yet to begin.
/// Calls with other numbers go on. Only the number that was cancelled last counts; `UINT64_MAX` cancels
/// all calls that have a number, from now on. Any thread may call it, also while another is inside a call
/// on the session. The call under way ends soon, between two tokens or two chunks of its prompt, with the
/// finish reason `CANCELLED`. Works on a session that answers `C4J_POISONED` too.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_cancel(
    session: *const c4j_session,
    call: u64,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            borrow_damaged(session)?.cancel.cancel(call);
            Ok(())
        })
    }
}

/// Ends a session. Does nothing for null.
///
/// # Safety
/// `session` is null, or came from `c4j_session_new`, was not freed yet, and no call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_session_free(session: *mut c4j_session) {
    // SAFETY: as the caller promises.
    unsafe { handle::free(session) }
}
