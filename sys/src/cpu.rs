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

/// Has the calling process give way to others (sched(7), SCHED_BATCH; nice(2)).
pub fn leave_to_others() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: a whole sched_param to read; the rest are numbers.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &param);
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}
