//! Llama and Qwen models on Candle: the engine below candle4j.
//!
//! It loads models, generates text, keeps sessions, and fetches models from the Hugging Face Hub.
//! It is plain Rust that never heard of Java or C; the crate `candle4j-capi` puts a C ABI over it.
#![forbid(unsafe_code)]

mod candle;
pub mod chat;
mod deep;
pub mod device;
pub mod error;
mod files;
mod fused;
pub mod generate;
mod gguf;
pub mod hub;
pub mod memory;
pub mod model;
pub mod pool;
pub mod progress;
pub mod runtime;
pub mod session;
pub mod tokenizer;
