//! Threads and the machine's abilities.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use candle4j_kernels::{Instructions, LimitError, MAX_THREADS};
use serde::Serialize;

use crate::error::{Error, Result};

/// What the library runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeInfo {
    /// Version of the library.
    pub version: &'static str,
    /// Version of Candle.
    pub candle: &'static str,
    /// The platform that it was built for.
    pub target: String,
    /// Threads that a forward pass uses on the CPU.
    pub threads: usize,
    /// Instruction sets beyond the platform's baseline that the processor has.
    pub instruction_sets: Vec<&'static str>,
    /// The instruction set whose kernels compute, as [`limit_instructions`] calls it.
    pub instructions: &'static str,
    /// The device that `auto` means.
    pub default_device: &'static str,
    /// Devices that this build can use.
    pub devices: Vec<&'static str>,
}

/// Names that threads are counted under, in Candle and in the libraries below it.
const THREAD_VARIABLES: [&str; 2] = ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"];

/// Whether the number of threads is that of the caller or of the environment, as far as these say one.
static CONFIGURED: AtomicBool = AtomicBool::new(false);

/// The number of threads that a forward pass uses: what [`set_threads`] said, else
/// `CANDLE_NUM_THREADS`, else `RAYON_NUM_THREADS`, else the processors that this process may use
/// (its affinity and its control group's quota counted).
///
/// # Errors
/// [`Error::InvalidArgument`] that names the variable, when it holds no number from 1 to 1024.
pub fn threads() -> Result<usize> {
    if !CONFIGURED.load(Ordering::Relaxed) {
        let asked_for = THREAD_VARIABLES
            .iter()
            .map(|name| from_environment(name))
            .find_map(Result::transpose)
            .transpose()?;
        if let Some(count) = asked_for
            && !CONFIGURED.swap(true, Ordering::Relaxed)
        {
            candle4j_kernels::set_threads(count);
        }
    }
    Ok(candle4j_kernels::threads())
}

/// The number of threads that an environment variable names, if it is set.
fn from_environment(name: &str) -> Result<Option<usize>> {
    let Some(text) = std::env::var_os(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| text.trim().parse().ok()) {
        Some(count) if (1..=MAX_THREADS).contains(&count) => Ok(Some(count)),
        // Rayon's own word for its default.
        Some(0) if name == "RAYON_NUM_THREADS" => Ok(None),
        _ => Err(Error::argument(
            name,
            format!("expected a number of threads from 1 to {MAX_THREADS}, got {text:?}"),
        )),
    }
}

/// Changes the number of threads, from the next operation of a forward pass on. Candle's own threads, which
/// the `candle` engine uses, are as many as the environment says, else as many as the machine has cores.
///
/// # Errors
/// [`Error::InvalidArgument`] for less than 1 or more than 1024.
pub fn set_threads(count: usize) -> Result<()> {
    if count == 0 || count > MAX_THREADS {
        return Err(Error::argument(
            "threads",
            format!("expected 1 to {MAX_THREADS}, got {count}"),
        ));
    }
    CONFIGURED.store(true, Ordering::Relaxed);
    candle4j_kernels::set_threads(count);
    Ok(())
}

/// The variable that [`instructions`] reads.
const INSTRUCTIONS: &str = "CANDLE4J_INSTRUCTIONS";

/// Limits the instruction sets that kernels use in the whole process, by name: `amx`, `avx512bf16`, `avx512vnni`, `avxvnni` and
/// `avx2` on x86-64, `neon-i8mm`, `neon-dotprod` and `neon` on AArch64, `portable` on both. It allows what is named and those
/// behind it. Once a model has been loaded, the choice stays.
///
/// # Errors
/// [`Error::InvalidArgument`] for a name that is none, and for one that would change what is in use.
pub fn limit_instructions(name: &str) -> Result<()> {
    limit_as("instructions", name)
}

fn limit_as(argument: &str, name: &str) -> Result<()> {
    Instructions::limit(name).map_err(|error| {
        let known: Vec<&str> = Instructions::limits().collect();
        let known = known.join(", ");
        let reason = match error {
            LimitError::InUse(used) => {
                format!("got {name:?}, but models of this process use {used} already")
            }
            LimitError::OtherProcessor => {
                format!("expected one of {known} on this kind of processor, got {name:?}")
            }
            LimitError::Unknown => format!("expected one of {known}, got {name:?}"),
        };
        Error::argument(argument, reason)
    })
}

/// The instruction set whose kernels compute: the best that the processor has within what [`limit_instructions`] said, else
/// `CANDLE4J_INSTRUCTIONS`.
///
/// # Errors
/// [`Error::InvalidArgument`] that names the variable.
pub fn instructions() -> Result<&'static str> {
    static READ: Mutex<bool> = Mutex::new(false);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if !*read {
        if let Some(name) = std::env::var_os(INSTRUCTIONS).filter(|name| !name.is_empty()) {
            limit_as(INSTRUCTIONS, name.to_string_lossy().trim())?;
        }
        *read = true;
    }
    Ok(Instructions::in_use())
}

/// Workers when neither the caller nor `CANDLE_NUM_PARALLEL` says how many.
const DEFAULT_WORKERS: usize = 4;

/// The most workers: more sessions than that only wait for each other.
const MOST_WORKERS: usize = 1024;

/// Sequences of one forward pass when nobody says how many: more than bring anything.
const MAX_BATCH_SIZE: usize = 64;

/// The number of workers that `CANDLE_NUM_PARALLEL` asks for.
pub fn default_workers() -> Result<usize> {
    Ok(parallel_from_environment()?.unwrap_or(DEFAULT_WORKERS))
}

/// The most sequences that one forward pass takes: what `CANDLE_NUM_PARALLEL` asks for, else more
/// than bring anything.
pub(crate) fn max_batch_size() -> Result<usize> {
    Ok(parallel_from_environment()?.unwrap_or(MAX_BATCH_SIZE))
}

fn parallel_from_environment() -> Result<Option<usize>> {
    const NAME: &str = "CANDLE_NUM_PARALLEL";
    match std::env::var_os(NAME).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.to_string_lossy().trim().parse() {
            Ok(n) => check_workers(NAME, n).map(Some),
            Err(_) => Err(Error::argument(
                NAME,
                format!("expected 1 to {MOST_WORKERS}, got {text:?}"),
            )),
        },
    }
}

/// Checks a number of workers that `name` says.
///
/// # Errors
/// [`Error::InvalidArgument`] for less than 1 or more than 1024.
pub fn check_workers(name: &str, count: usize) -> Result<usize> {
    if (1..=MOST_WORKERS).contains(&count) {
        Ok(count)
    } else {
        Err(Error::argument(
            name,
            format!("expected 1 to {MOST_WORKERS}, got {count}"),
        ))
    }
}

/// Starts the pool that reads weights with [`threads`] threads, and limits instructions. Every way into a model comes through
/// here.
///
/// # Errors
/// As [`threads`], [`instructions`] and [`limit_instructions`].
pub(crate) fn start(limit: Option<&str>) -> Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    let count = threads()?;
    instructions()?;
    limit.map_or(Ok(()), limit_instructions)?;
    STARTED.get_or_init(|| {
        // Fails only when the program that this library is part of made the pool already, which is
        // then its choice.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("candle4j-{index}"))
            .build_global();
    });
    Ok(())
}

/// Version of the library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The platform that the library was built for, such as `linux-x86_64`.
pub fn target() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Describes library and machine.
///
/// # Errors
/// As [`threads`].
pub fn info() -> Result<RuntimeInfo> {
    let mut devices = vec!["cpu"];
    if cfg!(feature = "metal") {
        devices.push("metal");
    }
    if cfg!(feature = "cuda") {
        devices.push("cuda");
    }
    Ok(RuntimeInfo {
        version: VERSION,
        candle: "0.11.1",
        target: target(),
        threads: threads()?,
        instruction_sets: instruction_sets(),
        instructions: instructions()?,
        default_device: if cfg!(all(target_os = "macos", feature = "metal")) {
            "metal"
        } else {
            "cpu"
        },
        devices,
    })
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let mut sets = Vec::new();
    macro_rules! detect {
        ($($name:tt),*) => {
            $(if std::arch::is_x86_feature_detected!($name) {
                sets.push($name);
            })*
        };
    }
    detect!(
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512vnni",
        "avx512bf16"
    );
    sets
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    let mut sets = Vec::new();
    macro_rules! detect {
        ($($name:tt),*) => {
            $(if std::arch::is_aarch64_feature_detected!($name) {
                sets.push($name);
            })*
        };
    }
    detect!("neon", "fp16", "dotprod", "i8mm", "bf16");
    sets
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}
