//! Micro-kernels for x86-64, a folder an instruction set.

pub(crate) mod amx;
pub(crate) mod avx2;
pub(crate) mod avx512;
