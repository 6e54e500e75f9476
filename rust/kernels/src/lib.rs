//! What a language model spends its time with, on the vector instructions of the CPU: products of
//! matrices with rows of floating point numbers, and attention.
//!
//! This crate is where the `unsafe` code of the kernels lives; what it offers is safe.
//!
//! - A [`PackedMatrix`] holds quantised weights in the order in which the kernels read them; what is
//!   multiplied is rounded to 16 bits first.
//! - A [`FloatMatrix`] does so with weights of 32 or 16 bits, and nothing is rounded.
//! - A [`KvCache`] holds the keys and values of a sequence, over which [`attend`] lets queries look.
//! - [`rms_norm`], [`swiglu`] and others go through rows number by number.
//! - [`numbers`] are functions that compilers turn into vector instructions.
//!
//! The kernels share one team of threads, see [`for_each_part`].
//!
//! A result depends on its own row of numbers and its own row of weights alone, to the last bit: not on
//! how many rows are multiplied together, nor on the number of threads.

use std::sync::OnceLock;

mod attention;
mod dispatch;
mod element;
mod elementwise;
mod floats;
mod format;
mod lanes;
mod matrix;
pub mod numbers;
mod product;
mod rows;
mod team;
mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{KV_PAGE, KvCache, KvMemory, KvPage, Queries, Strided, attend};
pub use elementwise::{are_finite, place_of_greatest, rms_norm, swiglu};
pub use floats::FloatMatrix;
pub use matrix::PackedMatrix;
pub use team::{MAX_THREADS, for_each_part, set_threads, threads};
pub use weights::WeightMatrix;

/// Numbers that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Rows of a matrix that are multiplied at once, one for each 32-bit lane of 512 bits.
pub(crate) const LANES: usize = 16;

/// The vector instructions that the kernels run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instructions {
    /// Tiles for many rows, and for few what comes next.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// 512 bits, and sums of two products of 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Instructions {
    /// The best that this processor has, if there are kernels for any.
    pub fn detect() -> Option<Self> {
        static BEST: OnceLock<Option<Instructions>> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().into_iter().next())
    }

    /// Whether this processor has them; what every processor has is `None`.
    pub(crate) fn usable(instructions: Option<Self>) -> bool {
        instructions.is_none_or(|wanted| Self::all().contains(&wanted))
    }

    /// All that this processor has, the best first.
    pub fn all() -> Vec<Self> {
        [
            #[cfg(target_arch = "x86_64")]
            (Self::Amx, x86::amx_available()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512Vnni, x86::avx512_available()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, x86::avx2_available()),
        ]
        .into_iter()
        .filter_map(|(instructions, available): (Self, bool)| available.then_some(instructions))
        .collect()
    }
}
