//! `c4j_model`: loaded weights, shared by sessions.

use std::ffi::c_void;
use std::sync::Arc;

use candle4j_engine::batch::{self, BatchProgress};
use candle4j_engine::chat::Message;
use candle4j_engine::error as engine;
use candle4j_engine::loader::LoadOptions;
use candle4j_engine::model::Model;
use candle4j_engine::runtime;
use candle4j_engine::session::{GenerateRequest, Generation};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::{ProgressCallback, c4j_progress_fn};
use crate::error::{c4j_error, c4j_status, failure};
use crate::handle::{self, Handle, borrow};
use crate::loading::{Arguments, describe, load};
use crate::text::{json, json_buffer};

/// A loaded model: weights, tokenizer and chat template. Any thread may use it, several at once.
#[allow(non_camel_case_types)]
pub struct c4j_model {
    pub(crate) model: Arc<Model>,
}

impl Handle for c4j_model {
    const NAME: &'static str = "model";
}

/// Loads a model from a folder of files as they are on the Hugging Face Hub, or from a GGUF file.
///
/// `path` is its path in UTF-8. `options` is a JSON object with, all optional, `engine` (`auto`,
/// `candle`, `fused`), `device` (`auto`, `cpu`, `metal`, `cuda`), `precision` (`auto`, `f32`, `f16`,
/// `bf16`), `quantize` (`q8_0`, `q6_k`, `q5_k`, `q4_k`, `q4_0`, for folders), `adapter` (the path of a folder with a LoRA
/// adapter as PEFT saves it, for folders), `context_length`,
/// `latency_target_ms` (how long a forward pass with prompts takes while other sessions decode, about; 50),
/// `kv_cache_bytes` (what the keys and values of all sessions may take; what the machine leaves) and
/// `max_requests` (at a time, those that wait included; 1024), `instructions` (the most that kernels use, in the whole process,
/// such as `avx2`; what the processor has).
/// Blocks while files are read. `on_progress`, which may be null, gets objects of `bytes` and `total`, of weights in
/// memory; when it stops the call, that is `C4J_CANCELLED`. (The `candle` engine reports nothing.) On success `*out` is a
/// model that the caller ends with `c4j_model_free`.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_model_load(
    path: *const u8,
    path_len: u64,
    options: *const u8,
    options_len: u64,
    on_progress: c4j_progress_fn,
    user_data: *mut c_void,
    out: *mut *mut c4j_model,
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
            |path, options: &LoadOptions, listener| {
                let model = Model::load_watched(path, options, listener)?;
                Ok(c4j_model {
                    model: Arc::new(model),
                })
            },
        )
    }
}

/// Describes a model, as JSON: architecture, engine, device, precision, context length, warnings and so on.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_model_describe(
    model: *const c4j_model,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe { describe(model, out, error, |model| model.model.info()) }
}

/// What a model has done since it was loaded, as JSON: counts that only grow (`requests`, `failed`, `rejected`,
/// `prompt_tokens`, `cached_tokens`, `generated_tokens`, `wait_ms`, `prefill_ms`, `decode_ms`; `passes`,
/// `pass_sequences`, `pass_tokens` and `pass_ms` of forward passes, where the engine counts them) and the state of the
/// moment (`active`, `waiting`, `kv_cache_used`, `kv_cache_limit`).
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_model_metrics(
    model: *const c4j_model,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe { describe(model, out, error, |model| model.model.metrics()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenderRequest {
    messages: Vec<Message>,
    #[serde(default)]
    generation_prompt: bool,
    #[serde(default)]
    variables: Map<String, Value>,
}

/// Renders a conversation by the model's chat template. `request` is a JSON object of `messages`
/// (each with `role`, `content` and whatever the template knows), `generation_prompt` and
/// `variables`; `*out` becomes the text.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_model_render_chat(
    model: *const c4j_model,
    request: *const u8,
    request_len: u64,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let model = borrow(model)?;
            let request: RenderRequest = json("request", request, request_len)?;
            let text = model.model.chat_template()?.render(
                &request.messages,
                request.generation_prompt,
                &request.variables,
            )?;
            out.write(c4j_buffer::new(text.into_bytes()));
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRequest {
    requests: Vec<GenerateRequest>,
    #[serde(default)]
    parallel: Option<usize>,
}

/// Generates for many prompts, several at a time over one copy of the weights.
///
/// `request` is a JSON object of `requests`, each as for `c4j_session_generate`, and `parallel`
/// (1 to 1024; `CANDLE_NUM_PARALLEL`, else 4, when left out). `progress` may be null; it gets `done`, `total`,
/// and the `index` of the prompt that was done with its `outcome`, or null for both. `*out` becomes a JSON
/// array in the order of the requests, each an outcome: `{"result": …}` as for `c4j_session_generate`, or `{"error": {"code",
/// "message", "detail"}}`. One prompt's failure touches no other.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_model_generate_all(
    model: *const c4j_model,
    request: *const u8,
    request_len: u64,
    progress: c4j_progress_fn,
    user_data: *mut c_void,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let model = borrow(model)?;
            let batch: BatchRequest = json("request", request, request_len)?;
            let parallel = match batch.parallel {
                Some(n) => runtime::check_workers("parallel", n)?,
                None => runtime::default_workers()?,
            };
            let callback = ProgressCallback {
                function: progress,
                user_data,
            };
            let mut failure = None;
            let results = batch::generate_all(
                &model.model,
                &batch.requests,
                parallel,
                &mut |event: BatchProgress<'_>| {
                    let answer = callback.call(&json!({
                        "done": event.done,
                        "total": event.total,
                        "index": event.last.map(|(index, _)| index),
                        "outcome": event.last.map(|(_, result)| outcome(result)),
                    }));
                    answer.unwrap_or_else(|e| {
                        failure = Some(e);
                        std::ops::ControlFlow::Break(candle4j_engine::cancel::Interrupt::Failed)
                    })
                },
            );
            if let Some(failure) = failure {
                return Err(failure);
            }
            let results: Vec<Value> = results?.iter().map(outcome).collect();
            out.write(json_buffer(&results)?);
            Ok(())
        })
    }
}

fn outcome(result: &engine::Result<Generation>) -> Value {
    match result {
        Ok(generation) => json!({ "result": generation }),
        Err(error) => failure(error),
    }
}

/// Ends a model. Sessions made from it go on: they share the weights, which are freed with the last
/// of them. Does nothing for null.
///
/// # Safety
/// `model` is null, or came from `c4j_model_load`, was not freed yet, and no call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_model_free(model: *mut c4j_model) {
    // SAFETY: as the caller promises.
    unsafe { handle::free(model) }
}
