//! Generic code, compiled for each instruction set, and the choice between them.

use crate::instructions::Instructions;
#[cfg(target_arch = "x86_64")]
use crate::instructions::{has_avx2, has_avx512};
use crate::simd::{F32x16, Portable};

/// Code that is generic over the vectors of an instruction set.
pub(crate) trait Vectorized {
    /// Runs it. `#[inline(always)]`, as everything that uses `V`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn run<V: F32x16>(self);
}

/// Runs `work` with the given instructions, or portable code for `None`.
///
/// # Panics
/// When the processor does not have them.
pub(crate) fn dispatch<W: Vectorized>(instructions: Option<Instructions>, work: W) {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Amx | Instructions::Avx512Vnni) => {
            assert!(has_avx512());
            // SAFETY: the processor has them.
            unsafe { x86::run_512(work) }
        }
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Avx2) => {
            assert!(has_avx2());
            // SAFETY: the processor has them.
            unsafe { x86::run_256(work) }
        }
        // What the compiler makes of portable code has NEON's vectors.
        #[cfg(target_arch = "aarch64")]
        // SAFETY: every processor has them.
        Some(Instructions::NeonDotprod) => unsafe { work.run::<Portable>() },
        // SAFETY: every processor has them.
        None => unsafe { work.run::<Portable>() },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m512;

    use super::Vectorized;
    use crate::x86::avx2::Avx2x2;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
    pub(super) fn run_512(work: impl Vectorized) {
        // SAFETY: this function has the instructions.
        unsafe { work.run::<__m512>() }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn run_256(work: impl Vectorized) {
        // SAFETY: this function has the instructions.
        unsafe { work.run::<Avx2x2>() }
    }
}
