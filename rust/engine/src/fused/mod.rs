//! The `fused` engine: one decoder-only transformer, described by a
//! [`DecoderConfig`](crate::model::decoder_config::DecoderConfig), on Candle's tensors.
//!
//! Where Candle's ready-made models are one file an architecture with limits of its own, this is one
//! model for all of them. From the outside in:
//!
//! - [`FusedSequence`] is one sequence with its KV cache, behind the engine's own trait;
//! - [`Scheduler`] lets the sequences that are being generated share their forward passes, `pace` says how
//!   much of their prompts goes into one, `prefix` what they share of each other's caches, and `budget` how
//!   much memory these may take;
//! - [`Decoder`] is the weights, and the forward pass of any number of sequences at once: the rows of
//!   all of them go through each matrix together, and only the attention takes them one by one;
//! - `attention`, `feed_forward`, `rotary`, `cache`: its parts;
//! - [`Linear`](linear::Linear) is a linear layer, and [`Weights`](weights::Weights) its matrix in the order
//!   of whatever kernel is fastest for its format;
//! - [`TensorSource`] is where the weights come from.
//!
//! "Fused" are the projections that read the same rows: queries, keys and values are one matrix,
//! and so are gate and up.

mod attention;
mod budget;
mod cache;
mod decoder;
mod feed_forward;
mod linear;
mod matrix;
mod norm;
mod pace;
mod prefix;
mod rotary;
mod rows;
mod scheduler;
mod sequence;
mod softmax;
mod source;
mod weights;

pub(crate) use decoder::Decoder;
pub(crate) use matrix::{Matrix, quantised_bytes, quantised_matrix};
pub(crate) use scheduler::Scheduler;
pub(crate) use sequence::FusedSequence;
pub(crate) use source::{FolderSource, TensorSource, kept_type, quantised_type, unreadable};
