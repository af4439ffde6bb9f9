//! CPUs a process may run on (sched_setaffinity(2)).
//!
//! Invariant: a mask is 1024 bits, as `cpu_set_t`; a process that is gone is no error.

/// The CPUs that `pid` (0: the caller) may run on.
pub fn allowed(pid: u32) -> [u64; 16] {
    let mut mask = [0u64; 16];
    // SAFETY: 128 writable bytes, the size said.
    unsafe { libc::sched_getaffinity(pid as i32, 128, mask.as_mut_ptr().cast()) };
    mask
}

/// Lets `pid` (0: the caller) run on the CPUs of `mask` only.
pub fn set(pid: u32, mask: &[u64; 16]) {
    // SAFETY: 128 readable bytes, the size said.
    unsafe { libc::sched_setaffinity(pid as i32, 128, mask.as_ptr().cast()) };
}

/// The CPU the caller runs on now.
pub fn current() -> u16 {
    // SAFETY: takes nothing, touches no memory.
    unsafe { libc::sched_getcpu().max(0) as u16 }
}
