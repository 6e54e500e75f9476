//! The instruction sets that there are kernels for, and which of them this processor has.

use std::sync::{Mutex, OnceLock, PoisonError};

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
    /// NEON with dot products.
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
}

/// What stands for code without any instruction set of its own.
const PORTABLE: &str = "portable";

/// The names of limits on each kind of processor, those that allow most first. A limit that has no kernels of its own allows
/// those below it.
const X86: [&str; 5] = ["amx", "avx512bf16", "avx512vnni", "avxvnni", "avx2"];
/// See [`X86`].
const ARM: [&str; 3] = ["neon-i8mm", "neon-dotprod", "neon"];

/// Limits of this kind of processor, and of the other.
const LIMITS: (&[&str], &[&str]) = if cfg!(target_arch = "x86_64") {
    (&X86, &ARM)
} else if cfg!(target_arch = "aarch64") {
    (&ARM, &X86)
} else {
    (&[], &[])
};

/// Why instructions were not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitError {
    /// The name is no limit.
    Unknown,
    /// It is one of another kind of processor.
    OtherProcessor,
    /// Others are in use already, those of this name, and what was computed with them stays in memory.
    InUse(&'static str),
}

/// The place in [`LIMITS`] of the best instructions that may be used.
static LIMIT: Mutex<usize> = Mutex::new(0);
/// The best ones, once they were asked for.
static BEST: OnceLock<Option<Instructions>> = OnceLock::new();

impl Instructions {
    /// The best instruction set of this processor within the [limit](Self::limit); `None` if there are no kernels for any.
    pub fn detect() -> Option<Self> {
        *BEST.get_or_init(|| Self::within(*LIMIT.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Limits what [`Self::detect`] finds, in the whole process, to instructions of a name of [`Self::limits`] and those below
    /// it. Once something has been computed, the choice stays.
    ///
    /// # Errors
    /// A name that is none, and a limit that would change what is in use.
    pub fn limit(name: &str) -> Result<(), LimitError> {
        let place = match LIMITS.0.iter().position(|known| *known == name) {
            Some(place) => place,
            None if name == PORTABLE => LIMITS.0.len(),
            None if LIMITS.1.contains(&name) => return Err(LimitError::OtherProcessor),
            None => return Err(LimitError::Unknown),
        };
        let mut limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
        match BEST.get() {
            Some(best) if *best != Self::within(place) => {
                Err(LimitError::InUse(best.map_or(PORTABLE, Self::name)))
            }
            _ => {
                *limit = place;
                Ok(())
            }
        }
    }

    /// The limits of this kind of processor, those that allow most first.
    pub fn limits() -> impl Iterator<Item = &'static str> {
        LIMITS.0.iter().copied().chain([PORTABLE])
    }

    /// The name of what [`Self::detect`] finds, or would now.
    pub fn in_use() -> &'static str {
        let limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
        let best = BEST.get().copied();
        best.unwrap_or_else(|| Self::within(*limit))
            .map_or(PORTABLE, Self::name)
    }

    /// Its name, one of [`Self::limits`].
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => "neon-dotprod",
        }
    }

    /// The best at this place of the limits or behind it.
    fn within(place: usize) -> Option<Self> {
        let allowed = |instructions: &Self| {
            let own = LIMITS
                .0
                .iter()
                .position(|name| *name == instructions.name());
            own >= Some(place)
        };
        Self::all().into_iter().find(allowed)
    }

    /// Whether this processor has them; what every processor has is `None`.
    pub(crate) fn usable(instructions: Option<Self>) -> bool {
        instructions.is_none_or(|wanted| Self::all().contains(&wanted))
    }

    /// All instruction sets that this processor has, best first, whatever the limit.
    pub fn all() -> Vec<Self> {
        [
            #[cfg(target_arch = "x86_64")]
            (Self::Amx, x86::has_amx()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512Vnni, x86::has_avx512()),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx2, x86::has_avx2()),
            #[cfg(target_arch = "aarch64")]
            (Self::NeonDotprod, has_dotprod()),
        ]
        .into_iter()
        .filter_map(|(instructions, available): (Self, bool)| available.then_some(instructions))
        .collect()
    }
}

/// Whether this processor has what the NEON kernels use.
#[cfg(target_arch = "aarch64")]
pub(crate) fn has_dotprod() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
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
