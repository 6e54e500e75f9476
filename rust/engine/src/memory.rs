//! How much memory may still be used.

use crate::error::{Error, Result};

/// Bytes that can be allocated without swapping and without exceeding the control group that the
/// process runs in (a container's limit); `None` where the system does not say.
pub fn available() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let machine = Some(system.available_memory()).filter(|bytes| *bytes > 0);
    let group = system.cgroup_limits().map(|limits| limits.free_memory);
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// Refuses what would not fit, before anything is allocated: a failed allocation cannot be caught,
/// and the kernel's way out is to kill the process.
pub fn ensure(what: &str, needed: u64) -> Result<()> {
    match available() {
        Some(available) if needed > available => Err(Error::OutOfMemory {
            what: what.into(),
            needed,
            available,
        }),
        _ => Ok(()),
    }
}
