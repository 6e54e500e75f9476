//! The C ABI over the engine: check arguments, catch panics, convert, call the engine, nothing else.
//!
//! `include/candle4j.h` is made from this crate; its introduction holds the rules that every
//! function keeps to.

#![deny(unsafe_op_in_unsafe_fn)]

mod boundary;
mod buffer;
mod callback;
mod embedder;
mod error;
mod handle;
mod hub;
mod loading;
mod model;
mod reranker;
mod runtime;
mod session;
mod text;
mod tokenizer;

pub use buffer::*;
pub use callback::*;
pub use embedder::*;
pub use error::*;
pub use hub::*;
pub use model::*;
pub use reranker::*;
pub use runtime::*;
pub use session::*;
pub use tokenizer::*;

/// Keeps freed memory for the next tensor instead of giving it back to the system, which a forward
/// pass of many temporaries spends a good part of its time on otherwise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
