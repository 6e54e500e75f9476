//! Weights and activations in the order in which the micro-kernels read them.

mod activations;
mod matrix;

pub(crate) use activations::{
    ACTIVATION_MAX, ActivationBlock, Pairs, QuantizedActivations, ROUND_MAGIC, inverse_scale,
    quantize_blocks,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use activations::{ActivationBlock8, TILE_ROWS, split_blocks};
pub use matrix::PackedMatrix;
pub(crate) use matrix::{F16x16, PackedLine, RowGroup};
