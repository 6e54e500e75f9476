//! Work that is compiled for each set of instructions.

use crate::Instructions;
use crate::lanes::{Lanes, Portable};

/// Something to be done with vector instructions, whichever they are.
pub(crate) trait Vectorised {
    /// Does it; `#[inline(always)]`, as everything that uses `L`.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    unsafe fn run<L: Lanes>(self);
}

/// Does work with instructions that this processor has, or with those that every processor has.
///
/// # Panics
/// When the processor does not have them.
pub(crate) fn dispatch<W: Vectorised>(instructions: Option<Instructions>, work: W) {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Amx | Instructions::Avx512Vnni) => {
            assert!(crate::x86::avx512_available());
            // SAFETY: the processor has them.
            unsafe { x86::run_512(work) }
        }
        #[cfg(target_arch = "x86_64")]
        Some(Instructions::Avx2) => {
            assert!(crate::x86::avx2_available());
            // SAFETY: the processor has them.
            unsafe { x86::run_256(work) }
        }
        // SAFETY: every processor has them.
        None => unsafe { work.run::<Portable>() },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m512;

    use super::Vectorised;
    use crate::x86::Two;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    pub(super) fn run_512(work: impl Vectorised) {
        // SAFETY: this function has the instructions.
        unsafe { work.run::<__m512>() }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn run_256(work: impl Vectorised) {
        // SAFETY: this function has the instructions.
        unsafe { work.run::<Two>() }
    }
}
