//! CPUs a process may run on (sched_setaffinity(2)).
//!
//! Invariant: a mask is 1024 bits, as `cpu_set_t`; a process that is gone is no error.

/// How nice what gives way is (nice(2)): about a tenth of what others get.
const NICE: i32 = 10;

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

/// Has a process that is about to end do so where and when it is in nobody's way: on another CPU than the
/// caller's, of those in `allowed`, if there is one, and as a nice one (setpriority(2)).
pub fn put_behind(pid: u32, allowed: &[u64; 16]) {
    let here = usize::from(current());
    let mut others = *allowed;
    if let Some(word) = others.get_mut(here / 64) {
        *word &= !(1 << (here % 64));
    }
    set(pid, if others == [0; 16] { allowed } else { &others });
    // SAFETY: plain numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, pid, NICE) };
}

/// How long a thread has been ready to run while others had the processors, in nanoseconds
/// (Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat); 0 where the kernel does not say.
pub fn waited_ns(tid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{tid}/schedstat")).unwrap_or_default();
    text.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Has the calling process give way to others (sched(7), SCHED_BATCH; nice(2)).
pub fn leave_to_others() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: a whole sched_param to read; the rest are numbers.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &param);
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}
