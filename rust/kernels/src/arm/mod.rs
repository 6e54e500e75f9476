//! Micro-kernels for AArch64. What has none of its own runs portable code, in which the compiler finds NEON.

pub(crate) mod dotprod;
