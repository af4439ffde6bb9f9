//! Clocks that count from the boot, set forward for one process and all that it makes (time_namespaces(7)).
//!
//! Invariant: the calling process has one thread. Called by a restart, before anything else is made.

use std::fs;

use crate::error::{Errno, Error, Result, check};
use crate::raw;

/// CLONE_NEWTIME (clone(2)).
const NEW_TIME: u64 = 0x80;

/// Sets CLOCK_MONOTONIC and CLOCK_BOOTTIME forward by so many nanoseconds for the calling process, and what it
/// forks from now on. Whatever waits for a time of them, or tells one, goes by the new ones.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN; `EINVAL` of a kernel without such clocks (before 5.6).
pub fn set_forward(monotonic_ns: u64, boottime_ns: u64) -> Result<()> {
    let failed = |operation| {
        move |error: std::io::Error| Error {
            operation,
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL)),
        }
    };
    // SAFETY: plain numbers; nothing but the clocks of children changes.
    check("unshare(CLONE_NEWTIME)", unsafe {
        raw::syscall(libc::SYS_unshare, [NEW_TIME, 0, 0, 0, 0, 0])
    })?;
    const OFFSETS: &str = "/proc/self/timens_offsets";
    let text = fs::read_to_string(OFFSETS).map_err(failed("reading timens_offsets"))?;
    let line = |name: &str, more: u64| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        let mut words = found.unwrap_or("").split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse::<i128>().ok()).unwrap_or(0);
        let ns = number() * 1_000_000_000 + number() + i128::from(more);
        format!("{name} {} {}\n", ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
    };
    let text = line("monotonic", monotonic_ns) + &line("boottime", boottime_ns);
    fs::write(OFFSETS, text).map_err(failed("writing timens_offsets"))?;
    let clocks = fs::File::open("/proc/self/ns/time_for_children");
    let clocks = clocks.map_err(failed("opening time_for_children"))?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&clocks) as u64;
    // SAFETY: plain numbers.
    let entered = unsafe { raw::syscall(libc::SYS_setns, [number, NEW_TIME, 0, 0, 0, 0]) };
    check("setns(CLONE_NEWTIME)", entered).map(drop)
}
