//! The clocks that count from the boot: of a machine that was started anew they are behind those that the
//! program has seen, and would go back for it.
//!
//! Invariant: a program never sees them go back, or it is said before it is started. Called before anything is
//! made.

use chameleon_ckpt::image::{Clocks, Image};
use chameleon_ckpt::preflight::{Finding, Severity};
use chameleon_sys::{raw, timens};

/// By how much the clocks here are behind those of the image.
fn behind(image: &Image) -> Clocks {
    let left = |then: u64, clock| then.saturating_sub(raw::clock_ns(clock));
    Clocks {
        monotonic_ns: left(image.clocks.monotonic_ns, libc::CLOCK_MONOTONIC),
        boottime_ns: left(image.clocks.boottime_ns, libc::CLOCK_BOOTTIME),
    }
}

/// What there is to say.
pub(super) fn finding(image: &Image) -> Option<Finding> {
    let Clocks { monotonic_ns, boottime_ns } = behind(image);
    let s = monotonic_ns.max(boottime_ns).div_ceil(1_000_000_000);
    (s > 0 && !may_set()).then(|| Finding {
        severity: Severity::Note,
        what: format!(
            "the machine was started anew: for the program CLOCK_MONOTONIC goes back by {s} s, and what \
             waits for a time of that clock waits so much longer"
        ),
        advice: "start it as root, which keeps the clock going on (time_namespaces(7))".to_owned(),
    })
}

/// Whether CAP_SYS_ADMIN (21) is effective (proc_pid_status(5), `CapEff`).
fn may_set() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|m| m >> 21 & 1 == 1)
}

/// Has the clocks of the calling process, and of all that it makes, go on from where the program saw them, if it
/// may do that.
///
/// # Errors
/// It may, and they cannot be set, in words.
pub(super) fn go_on(image: &Image) -> Result<(), String> {
    let Clocks { monotonic_ns, boottime_ns } = behind(image);
    if monotonic_ns.max(boottime_ns) == 0 || !may_set() {
        return Ok(());
    }
    let set = timens::set_forward(monotonic_ns, boottime_ns);
    set.map_err(|e| {
        format!("the machine was started anew, and its clocks cannot be set forward: {e}")
    })
}
