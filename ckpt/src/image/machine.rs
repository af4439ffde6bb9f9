//! What an image says of the machine it was written on.
//!
//! Invariant: plain data. Compared by `preflight`.

use serde::{Deserialize, Serialize};

/// A machine, as far as a program can have come to depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release, for example `6.18.3-amd64` (uname(2)).
    pub kernel: String,
    /// The architecture (uname(2), `machine`).
    pub arch: String,
    /// The CPU's maker (proc_cpuinfo(5), `vendor_id`).
    pub cpu_vendor: String,
    /// The CPU's name (`model name`).
    pub cpu_model: String,
    /// What the CPU can do (`flags`), sorted.
    pub cpu_features: Vec<String>,
    /// Bytes of a page (sysconf(3), _SC_PAGESIZE).
    pub page_size: u32,
}

/// Clocks that count from the boot (clock_gettime(2)), in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// CLOCK_BOOTTIME.
    pub boottime_ns: u64,
}
