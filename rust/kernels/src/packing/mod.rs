//! Weights and activations in the order in which the micro-kernels read them.

mod activations;
mod groups;
mod matrix;
mod tiles;

#[cfg(target_arch = "x86_64")]
pub(crate) use activations::{
    ACTIVATION_MAX, ActivationBlock, EmptyTilePart, ROUND_MAGIC, inverse_scale,
};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use activations::{ActivationBlock8, BYTE_ROWS, split_blocks};
pub(crate) use activations::{ActivationTile, QuantizedActivations, quantize_blocks};
pub(crate) use groups::{copy_rows, read_groups};
pub use matrix::PackedMatrix;
pub(crate) use matrix::{F16x16, PackedLine, RowGroup};
pub(crate) use tiles::tiles;
