//! The engine on real checkpoints. One binary, so that Candle is linked once.

mod batch;
mod checkpoint;
mod constraints;
mod embeddings;
mod gguf;
mod gguf_file;
mod golden;
mod hostile_templates;
mod hostile_tokenizers;
mod kv_memory;
mod malformed;
mod multilingual;
mod observing;
mod oracle;
mod precision;
mod prefixes;
mod public_templates;
mod published_files;
mod published_generation;
mod published_keys;
mod published_models;
mod published_tokens;
mod sessions;
mod texts;
mod together;
mod tools;
