//! Version, build and machine.

use candle4j_engine::runtime;
use serde_json::{Map, Value, json};

use crate::boundary::{Out, guard};
use crate::buffer::c4j_buffer;
use crate::callback::{c4j_token, c4j_token_logprob};
use crate::error::{Error, c4j_error, c4j_status};
use crate::text::json_buffer;

/// The ABI that this header describes.
pub const C4J_ABI_VERSION: u32 = 3;

/// The ABI of the loaded library. It must equal the header's `C4J_ABI_VERSION`; check it before
/// any other call.
#[unsafe(no_mangle)]
pub extern "C" fn c4j_abi_version() -> u32 {
    C4J_ABI_VERSION
}

/// How the library was built, as JSON: `abi`, `version`, `target`, `features`, and under `structs`
/// the `size`, `align` and field `offsets` of each struct of this header.
///
/// # Safety
/// `out` and `error` are null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_build_info(
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            out.write(json_buffer(&json!({
                "abi": C4J_ABI_VERSION,
                "version": runtime::VERSION,
                "target": runtime::target(),
                "features": features(),
                "structs": structs(),
            }))?);
            Ok(())
        })
    }
}

/// What the library runs on, as JSON: versions, threads, instruction sets and devices.
///
/// `C4J_INVALID_ARGUMENT` when `CANDLE_NUM_THREADS` or `RAYON_NUM_THREADS` hold no number from 1 to 1024, or
/// `CANDLE4J_INSTRUCTIONS` no instruction set of this kind of processor.
///
/// # Safety
/// `out` and `error` are null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_runtime_info(
    out: *mut c4j_buffer,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let out = Out::new("out", out)?;
            out.write(json_buffer(&runtime::info()?)?);
            Ok(())
        })
    }
}

/// Changes the number of threads of a forward pass on the CPU, 1 to 1024, also while models compute. Candle's
/// own threads, which the `candle` engine uses, are as many as `CANDLE_NUM_THREADS` says.
///
/// # Safety
/// `error` is null or valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn c4j_runtime_set_threads(
    count: u32,
    error: *mut *mut c4j_error,
) -> c4j_status {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            let count = usize::try_from(count)
                .map_err(|_| Error::argument("count", format!("{count} is too large")))?;
            Ok(runtime::set_threads(count)?)
        })
    }
}

/// Bytes of stack that the calling thread has left below this call, or `UINT64_MAX` where the system
/// does not tell. A JVM keeps some of them for itself. Functions of this library need up to 64 KiB on
/// the calling thread, and what their callbacks need; work that recurses over files or templates runs
/// on threads of the library's own.
#[unsafe(no_mangle)]
pub extern "C" fn c4j_stack_remaining() -> u64 {
    stacker::remaining_stack().map_or(u64::MAX, |bytes| bytes as u64)
}

fn features() -> Vec<&'static str> {
    let mut features = Vec::new();
    if cfg!(feature = "metal") {
        features.push("metal");
    }
    if cfg!(feature = "cuda") {
        features.push("cuda");
    }
    features
}

/// Size, alignment and offsets, as the compiler laid the structs out.
fn structs() -> Value {
    macro_rules! layout {
        ($type:ty, $($field:ident),+) => {{
            let mut offsets = Map::new();
            $(offsets.insert(
                stringify!($field).into(),
                std::mem::offset_of!($type, $field).into(),
            );)+
            json!({
                "size": size_of::<$type>(),
                "align": align_of::<$type>(),
                "offsets": offsets,
            })
        }};
    }
    json!({
        "c4j_buffer": layout!(c4j_buffer, data, len, capacity),
        "c4j_error": layout!(c4j_error, code, message, detail),
        "c4j_token": layout!(
            c4j_token, text, text_len, reasoning, reasoning_len, tool_calls, tool_calls_len, top, top_len, id, logprob, kind
        ),
        "c4j_token_logprob": layout!(c4j_token_logprob, id, logprob),
    })
}
