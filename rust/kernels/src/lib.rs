//! CPU kernels for language models: matrix products, attention and element-wise operations on vector
//! instructions.
//!
//! All `unsafe` arithmetic of the project lives here; the public interface is safe.
//!
//! - [`PackedMatrix`]: quantized weights, packed in the order in which the micro-kernels read them.
//!   Activations are rounded to 16 bits before the product.
//! - [`FloatMatrix`]: weights in F32, F16 or BF16; products are computed in F32 without rounding.
//! - [`RoundedMatrix`]: weights and activations as integers of 16 bits, a scale a row.
//! - [`KvCache`] holds keys and values of one layer in pages; [`attend`] computes attention over it.
//! - [`delta_rule`] and [`short_conv`] compute recurrent layers.
//! - [`rms_norm`], [`swiglu`], [`argmax`] and others work on single rows.
//!
//! All kernels share one thread team, see [`for_each_part`].
//!
//! Results are bitwise independent of the batch size and of the number of threads: each result depends on its
//! own row of activations and its own row of weights alone.
//!
//! # Layers
//! Each module imports only from those below it:
//!
//! | module | contents |
//! |---|---|
//! | `recurrent`, `state_space` | recurrent layers |
//! | `attention`, `products`, `elementwise` | what the engine calls; choice of the kernel |
//! | `dispatch` | compiles generic code for each instruction set |
//! | `x86/{avx2,avx512,amx}`, `arm/dotprod`, `portable` | micro-kernels and vectors of one instruction set, or of none |
//! | `packing`, `output` | packed weights, quantized activations, results |
//! | `formats` | GGML's quantization blocks |
//! | `simd` | 16-lane vectors, element types, math on slices |
//! | `allocation`, `instructions`, `team` | memory of weights; what the processor has; the threads |

mod allocation;
#[cfg(target_arch = "aarch64")]
mod arm;
mod attention;
mod dispatch;
mod elementwise;
mod formats;
mod instructions;
mod output;
mod packing;
mod portable;
mod products;
mod recurrent;
mod simd;
mod state_space;
mod team;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{
    DistanceBias, KV_PAGE, KvCache, KvClaim, KvMemory, KvPage, Queries, Strided, attend,
};
pub use elementwise::{
    Activation, activate, are_finite, argmax, clamped_swiglu, layer_norm, rms_norm, swiglu,
};
pub use formats::PackedType;
pub use instructions::{Instructions, LimitError};
pub use packing::PackedMatrix;
pub use products::{FloatMatrix, RoundedMatrix, WeightMatrix};
pub use recurrent::{DeltaHead, delta_rule, delta_state_len, short_conv};
pub use state_space::{StateSpaceHead, state_space, state_space_len};
pub use team::{MAX_THREADS, for_each_part, set_threads, threads};
