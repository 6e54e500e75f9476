//! The `fused` engine: one decoder-only transformer, described by a
//! [`ModelDescription`](crate::description::ModelDescription), on Candle's tensors.
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
//! - `layer` is one of its layers, which `layer_loader` puts together of tensors; `attention`, `latent_attention`,
//!   `short_conv`, `delta_net`, `state_space`, `feed_forward` and `rotary` are the parts of layers; `cache` and `kv_state`
//!   are what a sequence and each of its layers keep, with commit and rollback;
//! - [`Linear`](linear::Linear) is a linear layer, and [`PackedWeights`](packed_weights::PackedWeights) its matrix in the order
//!   of whatever kernel is fastest for its format;
//! - [`TensorSource`] is where the weights come from.
//!
//! "Fused" are the projections that read the same rows: queries, keys and values are one matrix,
//! and so are gate and up.

mod attention;
mod budget;
mod cache;
mod cached_attention;
mod decoder;
mod delta_net;
mod feed_forward;
mod kv_state;
mod latent_attention;
mod layer;
mod layer_loader;
mod linear;
mod norm;
mod pace;
pub(crate) mod packed_weights;
mod per_layer;
mod prefix;
mod recurrent;
pub(crate) mod rotary;
pub(crate) mod rows;
mod scheduler;
mod sequence;
mod short_conv;
mod softmax;
mod state_space;
mod steps;
mod texts;

use decoder::Decoder;
use scheduler::Scheduler;
use sequence::FusedSequence;
pub(crate) use texts::DecoderTexts;

use std::sync::Arc;

use crate::description::ModelDescription;
use crate::engines::{CandleModel, ModelLimits};
use crate::error::Result;
use crate::formats::TensorSource;
use crate::memory;
use crate::runtime;

/// Loads a model: an empty sequence over its weights, which makes others.
pub(crate) fn load(
    description: &ModelDescription,
    source: &dyn TensorSource,
    limits: &Arc<ModelLimits>,
) -> Result<Box<dyn CandleModel>> {
    let mut decoder = Decoder::load(description, source)?;
    let left = || memory::available().map(|bytes| bytes / 10 * 8);
    let bytes = limits.kv_cache_limit.or_else(left).unwrap_or(u64::MAX);
    decoder.limit_caches(usize::try_from(bytes).unwrap_or(usize::MAX));
    let scheduler = Scheduler::new(
        Arc::new(decoder),
        runtime::max_batch_size()?,
        limits.latency_target,
    );
    Ok(Box::new(FusedSequence::new(
        Arc::new(scheduler),
        limits.clone(),
    )))
}
