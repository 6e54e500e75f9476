//! `c4j_hub`: models from the Hugging Face Hub, and the cache of what was fetched.

use std::ffi::c_void;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use candle4j_engine::cancel::Interrupt;
use candle4j_hub::progress::{Interrupt as HubInterrupt, Progress};
use candle4j_hub::{
    CachedModel, Hub, HubOptions, ModelId, Removed, Snapshot, SnapshotFile, Token, Verdict,
    Verified,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::{ProgressCallback, c4j_progress_fn};
use crate::error::{Result, c4j_error, c4j_status};
use crate::handle::{self, Handle, borrow, give};
use crate::text::{json, json_buffer, text};

/// A Hub and its cache. Any thread may use it, several at once, and so may several processes.
#[allow(non_camel_case_types)]
pub struct c4j_hub {
    hub: Hub,
}

impl Handle for c4j_hub {
    const NAME: &'static str = "hub";
}

/// What differs from the environment's settings.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    endpoint: Option<String>,
    cache: Option<PathBuf>,
    token: Option<String>,
    offline: Option<bool>,
    concurrency: Option<usize>,
}

/// Prepares a Hub. Nothing is read or asked yet.
///
/// The environment is read as Python's huggingface_hub reads it: `HF_ENDPOINT`, `HF_HOME`,
/// `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and others. `options` is a JSON
/// object of what differs from that: `endpoint`, `cache`, `token`, `offline`, `concurrency`. `*out`
/// becomes a handle that the caller ends with `c4j_hub_free`.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_hub_new(
    options: *const u8,
    options_len: u64,
    out: *mut *mut c4j_hub,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let changes: Options = json("options", options, options_len)?;
            let mut options = HubOptions::from_env()?;
            if let Some(endpoint) = changes.endpoint {
                options.endpoint = endpoint;
            }
            if let Some(cache) = changes.cache {
                options.cache = cache;
            }
            if let Some(token) = changes.token {
                options.token = Some(Token::new(&token)?);
            }
            if let Some(offline) = changes.offline {
                options.offline = offline;
            }
            if let Some(concurrency) = changes.concurrency {
                options.concurrency = concurrency;
            }
            out.write(give(c4j_hub {
                hub: Hub::new(options)?,
            }));
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FetchRequest {
    id: String,
    #[serde(default)]
    update: bool,
}

/// Fetches what loading a model needs, from the cache or else from the Hub.
///
/// `request` is a JSON object of `id` (`owner/name`, with `@revision` and `:QUANTISATION` behind it
/// if need be) and `update` (ask the Hub whether the revision moved on, also when the cache has
/// all). `progress` may be null. `*out` becomes a JSON object of `folder`, `commit`, `files` (each
/// `name` and `size`) and `gguf` (the file to open instead of the folder, or null).
///
/// Blocks, but never for long without a progress callback, whose answer `C4J_STOP` ends the call as
/// `C4J_CANCELLED`; what was fetched until then is kept.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_hub_fetch(
    hub: *const c4j_hub,
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
            let hub = &borrow(hub)?.hub;
            let request: FetchRequest = json("request", request, request_len)?;
            let id: ModelId = request.id.parse()?;
            let callback = ProgressCallback {
                function: progress,
                user_data,
            };
            let snapshot = listening(&callback, |listener| {
                if request.update {
                    hub.pull(&id, listener)
                } else {
                    hub.fetch(&id, listener)
                }
            })?;
            out.write(json_buffer(&snapshot_json(&snapshot))?);
            Ok(())
        })
    }
}

/// Lists the models in the cache: `*out` becomes a JSON array of objects of `id`, `folder`,
/// `size_on_disk`, `last_used` (seconds since 1970, or null) and `revisions` (each `commit`,
/// `refs`, `size`, `files`).
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_hub_list(
    hub: *const c4j_hub,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let models = borrow(hub)?.hub.list()?;
            let models: Vec<Value> = models.iter().map(model_json).collect();
            out.write(json_buffer(&models)?);
            Ok(())
        })
    }
}

/// Removes a model from the cache, or one revision of it when `id` names one. `*out` becomes a JSON
/// object of `bytes` (that the disk has back), `files` and `commits`.
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_hub_remove(
    hub: *const c4j_hub,
    id: *const u8,
    id_len: u64,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let hub = &borrow(hub)?.hub;
            let id: ModelId = text("id", id, id_len)?.parse()?;
            let Removed {
                bytes,
                files,
                commits,
            } = hub.remove(&id)?;
            out.write(json_buffer(
                &json!({ "bytes": bytes, "files": files, "commits": commits }),
            )?);
            Ok(())
        })
    }
}

/// Hashes what the cache holds of a model once more, without any request. `*out` becomes a JSON
/// object of `commit`, `intact` and `files` (each `name`, `size`, `verdict` (`intact`, `corrupt`,
/// `missing`, `unknown`), `expected` and `got`).
///
/// # Safety
/// Pointers are null or valid as the header's introduction says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_hub_verify(
    hub: *const c4j_hub,
    id: *const u8,
    id_len: u64,
    progress: c4j_progress_fn,
    user_data: *mut c_void,
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            let hub = &borrow(hub)?.hub;
            let id: ModelId = text("id", id, id_len)?.parse()?;
            let callback = ProgressCallback {
                function: progress,
                user_data,
            };
            let verified = listening(&callback, |listener| hub.verify(&id, listener))?;
            out.write(json_buffer(&verified_json(&verified))?);
            Ok(())
        })
    }
}

/// Ends a Hub. Does nothing for null.
///
/// # Safety
/// `hub` is null, or came from `c4j_hub_new`, was not freed yet, and no call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_hub_free(hub: *mut c4j_hub) {
    // SAFETY: as the caller promises.
    unsafe { handle::free(hub) }
}

/// Runs an operation that reports to a C callback.
fn listening<T>(
    callback: &ProgressCallback,
    operation: impl FnOnce(
        &mut dyn FnMut(&Progress) -> ControlFlow<HubInterrupt>,
    ) -> candle4j_hub::error::Result<T>,
) -> Result<T> {
    let mut failure = None;
    let result = operation(&mut |progress| match callback.call(progress) {
        Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
        Ok(ControlFlow::Break(Interrupt::Stop)) => ControlFlow::Break(HubInterrupt::Stop),
        Ok(ControlFlow::Break(Interrupt::Failed)) => ControlFlow::Break(HubInterrupt::Failed),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(HubInterrupt::Failed)
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(result?),
    }
}

fn files_json(files: &[SnapshotFile]) -> Value {
    files
        .iter()
        .map(|file| json!({ "name": file.name, "size": file.size }))
        .collect()
}

fn snapshot_json(snapshot: &Snapshot) -> Value {
    json!({
        "folder": snapshot.folder,
        "commit": snapshot.commit,
        "files": files_json(&snapshot.files),
        "gguf": snapshot.gguf,
    })
}

fn model_json(model: &CachedModel) -> Value {
    let revisions: Vec<Value> = model
        .revisions
        .iter()
        .map(|revision| {
            json!({
                "commit": revision.commit,
                "refs": revision.refs,
                "size": revision.size,
                "files": files_json(&revision.files),
            })
        })
        .collect();
    json!({
        "id": model.id.to_string(),
        "folder": model.folder,
        "size_on_disk": model.size_on_disk,
        "last_used": model.last_used.and_then(seconds),
        "revisions": revisions,
    })
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs())
}

fn verified_json(verified: &Verified) -> Value {
    let files: Vec<Value> = verified
        .files
        .iter()
        .map(|file| {
            let (verdict, expected, got) = match &file.verdict {
                Verdict::Intact => ("intact", None, None),
                Verdict::Corrupt { expected, got } => ("corrupt", Some(expected), Some(got)),
                Verdict::Missing => ("missing", None, None),
                Verdict::Unknown => ("unknown", None, None),
            };
            json!({
                "name": file.name,
                "size": file.size,
                "verdict": verdict,
                "expected": expected,
                "got": got,
            })
        })
        .collect();
    json!({
        "commit": verified.commit,
        "intact": verified.is_intact(),
        "files": files,
    })
}
