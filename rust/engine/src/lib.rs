//! Llama and Qwen models on Candle: the engine below candle4j.
//!
//! It loads models, generates text and keeps sessions.
//! It is plain Rust that never heard of Java or C; the crate `candle4j-capi` puts a C ABI over it.
//!
//! # Layers
//! Each layer imports only from those below it:
//!
//! | layer | contents |
//! |---|---|
//! | [`batch`], [`session`], `cached_sequence` | many prompts; sessions and what they have in their caches |
//! | [`embedding`] | vectors and scores of texts |
//! | [`model`], `request_slots` | a loaded model with its tokenizer and template |
//! | [`tools`] | what a model may call, and how its calls are read |
//! | [`generate`], [`chat`] | sampling loop, penalties, stop texts, constraints; templates, thoughts |
//! | [`loader`] | a checkpoint and options become an engine |
//! | [`engines`] | [`engines::CandleModel`] and its two implementations, `fused` and `candle` |
//! | [`formats`] | checkpoints: folders of safetensors, GGUF files |
//! | [`architectures`] | one file a family: keys of `config.json` and GGUF → description |
//! | [`description`] | what a decoder is, as data; names of tensors |
//! | [`tokenizer`] | texts ↔ tokens |
//! | [`cancel`], [`device`], [`error`], [`metrics`], [`runtime`], `files`, `memory`, `stack` | what all use |
#![forbid(unsafe_code)]

pub mod architectures;
pub mod batch;
mod cached_sequence;
pub mod cancel;
pub mod chat;
pub mod description;
pub mod device;
pub mod embedding;
pub mod engines;
pub mod error;
mod files;
pub mod formats;
pub mod generate;
pub mod loader;
pub mod memory;
pub mod metrics;
pub mod model;
mod request_slots;
pub mod runtime;
pub mod session;
mod stack;
pub mod tokenizer;
pub mod tools;
