//! The instruction sets that there are kernels for, and which of them this processor has.

use std::sync::OnceLock;

/// An instruction set with kernels of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instructions {
    /// AMX tiles for products with several rows, AVX-512 for everything else.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Instructions {
    /// The best instruction set of this processor; `None` if there are no kernels for any.
    pub fn detect() -> Option<Self> {
        static BEST: OnceLock<Option<Instructions>> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().into_iter().next())
    }

    /// Whether this processor has them; what every processor has is `None`.
    pub(crate) fn usable(instructions: Option<Self>) -> bool {
        instructions.is_none_or(|wanted| Self::all().contains(&wanted))
    }

    /// All instruction sets that this processor has, best first.
    pub fn all() -> Vec<Self> {
        [
            #[cfg(target_arch = "x86_64")]
            (Self::Amx, x86::has_amx()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512Vnni, x86::has_avx512()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, x86::has_avx2()),
        ]
        .into_iter()
        .filter_map(|(instructions, available): (Self, bool)| available.then_some(instructions))
        .collect()
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{has_avx2, has_avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    /// Whether this processor has what the AVX-512 kernels use.
    pub(crate) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni")
            && has_avx2()
    }

    /// Whether this processor has what the AVX2 kernels use.
    pub(crate) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    }

    /// Whether the processor has AMX, and this process may use it. Linux saves the tiles of those threads
    /// only whose process asked for them.
    pub(super) fn has_amx() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| has_avx512() && has_tiles() && request_tiles())
    }

    fn has_tiles() -> bool {
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        if __cpuid(0).eax < 7 {
            return false;
        }
        __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8
    }

    #[cfg(target_os = "linux")]
    fn request_tiles() -> bool {
        /// `ARCH_REQ_XCOMP_PERM`, and the number of the state component of tile data.
        const REQUEST: libc::c_ulong = 0x1023;
        const TILE_DATA: libc::c_ulong = 18;
        // SAFETY: the call takes two numbers, and refuses what it does not know.
        unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    fn request_tiles() -> bool {
        false
    }
}
