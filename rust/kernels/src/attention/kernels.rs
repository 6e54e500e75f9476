//! The kernels, compiled for each set of instructions.

use super::element::Element;
use super::lanes::Portable;
use super::stretch::{Part, fold};
use crate::Instructions;

/// Fills a part.
///
/// # Panics
/// Never for instructions that this processor has, with which alone a cache is made.
pub(super) fn run<E: Element>(instructions: Option<Instructions>, part: Part<E>) {
    // SAFETY: a cache is only made for instructions that the processor has.
    unsafe {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Amx | Instructions::Avx512Vnni) => x86::run_512(part),
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Avx2) => x86::run_256(part),
            None => part.run::<Portable>(),
        }
    }
}

/// Puts parts of a head, each as long as `out`, together in their order.
pub(super) fn join<'a>(
    instructions: Option<Instructions>,
    parts: impl Iterator<Item = &'a [f32]>,
    out: &mut [f32],
) {
    // SAFETY: a cache is only made for instructions that the processor has.
    unsafe {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Amx | Instructions::Avx512Vnni) => x86::join_512(parts, out),
            #[cfg(target_arch = "x86_64")]
            Some(Instructions::Avx2) => x86::join_256(parts, out),
            None => {
                for part in parts {
                    fold::<Portable>(out, part);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m512;

    use super::super::element::Element;
    use super::super::stretch::{Part, fold};
    use crate::x86::Two;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    pub(super) fn run_512<E: Element>(part: Part<E>) {
        // SAFETY: this function has the instructions.
        unsafe { part.run::<__m512>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    pub(super) fn join_512<'a>(parts: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
        for part in parts {
            // SAFETY: this function has the instructions.
            unsafe { fold::<__m512>(out, part) }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn run_256<E: Element>(part: Part<E>) {
        // SAFETY: this function has the instructions.
        unsafe { part.run::<Two>() }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn join_256<'a>(parts: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
        for part in parts {
            // SAFETY: this function has the instructions.
            unsafe { fold::<Two>(out, part) }
        }
    }
}
