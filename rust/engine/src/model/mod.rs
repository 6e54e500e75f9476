//! Models: from a folder of files to something that generates.

pub mod architecture;
pub(crate) mod blocks;
mod candle_model;
pub mod config_file;
pub mod decoder_config;
mod engine;
mod generation_config;
mod loader;
pub(crate) mod places;
mod quantise;
pub(crate) mod read_keys;
pub mod rope;
mod shape;
pub mod weights;

mod llama;
mod mistral;
mod qwen2;
mod qwen3;
mod qwen3_moe;

pub use candle_model::{CandleModel, KvMemoryUse, ModelLimits};
pub use engine::Engine;
pub use loader::{LoadOptions, Model, ModelInfo};
pub use quantise::Quantisation;
