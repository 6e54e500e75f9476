//! Callbacks: the only thing that comes back up through the border by itself.

use std::ffi::c_void;
use std::ops::ControlFlow;

use candle4j_engine::cancel::Interrupt;
use candle4j_engine::session::Token;
use serde::Serialize;

use crate::error::Result;
use crate::text::json_bytes;

/// A callback's answer: go on.
pub const C4J_CONTINUE: i32 = 0;
/// A callback's answer: stop.
pub const C4J_STOP: i32 = 1;
/// A callback's answer: it failed itself; the call ends with `C4J_CALLBACK_FAILED`.
pub const C4J_FAILED: i32 = 2;

/// A token and the natural logarithm of its probability.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct c4j_token_logprob {
    /// The token.
    pub id: u32,
    /// The logarithm.
    pub logprob: f32,
}

/// A generated token. It and what it points to are valid during the call only.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct c4j_token {
    /// The text that became certain with it: UTF-8, `text_len` bytes, often none.
    pub text: *const u8,
    /// Bytes of `text`.
    pub text_len: u64,
    /// What became certain with it of what the model thinks before its answer, as `text`.
    pub reasoning: *const u8,
    /// Bytes of `reasoning`.
    pub reasoning_len: u64,
    /// The calls of tools that it completes, a JSON array of objects with `id`, `name` and `arguments` (a text that
    /// is a JSON object); `tool_calls_len` bytes, none when there are none.
    pub tool_calls: *const u8,
    /// Bytes of `tool_calls`.
    pub tool_calls_len: u64,
    /// The most probable tokens in its place, best first, as many as were asked for.
    pub top: *const c4j_token_logprob,
    /// Entries of `top`.
    pub top_len: u64,
    /// The token.
    pub id: u32,
    /// The natural logarithm of its probability; NaN where log-probabilities were not asked for.
    pub logprob: f32,
    /// `C4J_TEXT`, `C4J_REASONING` or `C4J_TOOL_CALL`.
    pub kind: i32,
}

/// A token of an answer.
pub const C4J_TEXT: i32 = 0;
/// A token of what the model thinks before its answer.
pub const C4J_REASONING: i32 = 1;
/// A token of a call of a tool, as far as is known.
pub const C4J_TOOL_CALL: i32 = 2;

/// Told of each generated token, with `user_data` as it was given. Answers `C4J_CONTINUE`, `C4J_STOP`
/// or `C4J_FAILED`. It runs on the thread that called the function.
#[allow(non_camel_case_types)]
pub type c4j_token_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, token: *const c4j_token) -> i32>;

/// Told how far a long call is, by a JSON object of `len` bytes that is valid during the call only.
/// It also runs, several times a second, while nothing moves. Answers as `c4j_token_fn` does, and
/// runs on the thread that called the function.
#[allow(non_camel_case_types)]
pub type c4j_progress_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, json: *const u8, len: u64) -> i32>;

/// A token callback with its user data.
pub(crate) struct TokenCallback {
    pub(crate) function: c4j_token_fn,
    pub(crate) user_data: *mut c_void,
}

impl TokenCallback {
    pub(crate) fn call(&self, token: Token) -> ControlFlow<Interrupt> {
        let Some(function) = self.function else {
            return ControlFlow::Continue(());
        };
        let top: Vec<c4j_token_logprob> = token
            .logprob
            .iter()
            .flat_map(|chosen| &chosen.top)
            .map(|top| c4j_token_logprob {
                id: top.id,
                logprob: top.logprob,
            })
            .collect();
        let calls = match token.tool_calls {
            [] => Vec::new(),
            // What cannot be written is no reason to go on as if nothing were called.
            calls => match json_bytes(&calls) {
                Ok(json) => json,
                Err(_) => return ControlFlow::Break(Interrupt::Failed),
            },
        };
        let token = c4j_token {
            tool_calls: calls.as_ptr(),
            tool_calls_len: calls.len() as u64,
            text: token.text.as_ptr(),
            text_len: token.text.len() as u64,
            reasoning: token.reasoning.as_ptr(),
            reasoning_len: token.reasoning.len() as u64,
            top: top.as_ptr(),
            top_len: top.len() as u64,
            id: token.id,
            logprob: token.logprob.map_or(f32::NAN, |chosen| chosen.logprob),
            kind: match token {
                Token {
                    is_reasoning: true, ..
                } => C4J_REASONING,
                Token {
                    is_tool_call: true, ..
                } => C4J_TOOL_CALL,
                _ => C4J_TEXT,
            },
        };
        // SAFETY: the caller of the ABI gave function and data for each other, and what the token
        // points to lives until the function returns.
        flow(unsafe { function(self.user_data, &token) })
    }
}

/// A progress callback with its user data.
pub(crate) struct ProgressCallback {
    pub(crate) function: c4j_progress_fn,
    pub(crate) user_data: *mut c_void,
}

impl ProgressCallback {
    pub(crate) fn call(&self, event: &impl Serialize) -> Result<ControlFlow<Interrupt>> {
        let Some(function) = self.function else {
            return Ok(ControlFlow::Continue(()));
        };
        let json = json_bytes(event)?;
        // SAFETY: as for the token callback.
        let answer = unsafe { function(self.user_data, json.as_ptr(), json.len() as u64) };
        Ok(flow(answer))
    }
}

fn flow(answer: i32) -> ControlFlow<Interrupt> {
    match answer {
        C4J_CONTINUE => ControlFlow::Continue(()),
        C4J_STOP => ControlFlow::Break(Interrupt::Stop),
        _ => ControlFlow::Break(Interrupt::Failed),
    }
}
