//! System calls without libc: no errno, no thread-local storage, no cancellation.
//!
//! Invariant: usable in a process that was forked from anywhere and on any stack, which is where
//! the outside runs. Calls whose arguments are plain numbers are safe; [`syscall`] is not.

use std::arch::asm;

/// Performs a system call with six arguments and returns the kernel's raw answer
/// (a negative errno on failure).
///
/// # Safety
/// The call must not break Rust's rules for memory of this process: pointers among the arguments
/// must be valid for what the call does with them.
#[inline(always)]
pub unsafe fn syscall(nr: i64, a: [u64; 6]) -> isize {
    let ret: isize;
    // SAFETY: the x86-64 syscall ABI: rcx and r11 are clobbered, the rest is kept; the caller
    // vouches for what the call itself does.
    unsafe {
        asm!("syscall",
            inlateout("rax") nr as isize => ret,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

macro_rules! plain {
    ($(#[$m:meta])* $name:ident, $nr:expr $(, $arg:ident)*) => {
        $(#[$m])*
        pub fn $name($($arg: u64),*) -> isize {
            let args: &[u64] = &[$($arg),*];
            let mut six = [0u64; 6];
            six[..args.len()].copy_from_slice(args);
            // SAFETY: every argument of this call is a plain number, it reads and writes no memory.
            unsafe { syscall($nr, six) }
        }
    };
}

plain!(/// getpid(2).
    getpid, libc::SYS_getpid);
plain!(/// getppid(2).
    getppid, libc::SYS_getppid);
plain!(/// gettid(2).
    gettid, libc::SYS_gettid);
plain!(/// kill(2): process, signal.
    kill, libc::SYS_kill, pid, sig);
plain!(/// tgkill(2): process, thread, signal.
    tgkill, libc::SYS_tgkill, tgid, tid, sig);
plain!(/// close(2).
    close, libc::SYS_close, fd);
plain!(/// close_range(2): first, last, flags.
    close_range, libc::SYS_close_range, first, last, flags);
plain!(/// dup3(2): old, new, flags.
    dup3, libc::SYS_dup3, old, new, flags);
plain!(/// lseek(2): descriptor, offset, whence.
    lseek, libc::SYS_lseek, fd, offset, whence);
plain!(/// fcntl(2) with a number as its argument.
    fcntl, libc::SYS_fcntl, fd, cmd, arg);
plain!(/// exit_group(2); does not return in fact.
    exit_group, libc::SYS_exit_group, status);
plain!(/// exit(2) of one thread; does not return in fact.
    exit, libc::SYS_exit, status);
plain!(/// setsid(2).
    setsid, libc::SYS_setsid);
plain!(/// prctl(2) with numbers as its arguments.
    prctl, libc::SYS_prctl, option, a2, a3, a4, a5);
plain!(/// personality(2).
    personality, libc::SYS_personality, persona);
plain!(/// pidfd_open(2): process, flags.
    pidfd_open, libc::SYS_pidfd_open, pid, flags);
plain!(/// pidfd_getfd(2): pidfd, descriptor there, flags.
    pidfd_getfd, libc::SYS_pidfd_getfd, pidfd, fd, flags);

/// Wakes up to `count` waiters of a futex in shared memory (futex(2), FUTEX_WAKE).
pub fn futex_wake(word: &std::sync::atomic::AtomicU32, count: u32) {
    // SAFETY: the reference is a valid, aligned futex word for the whole call; WAKE does not write.
    unsafe {
        syscall(
            libc::SYS_futex,
            [word.as_ptr() as u64, libc::FUTEX_WAKE as u64, u64::from(count), 0, 0, 0],
        );
    }
}

/// Waits while a futex in shared memory holds `value`; also returns when interrupted.
pub fn futex_wait(word: &std::sync::atomic::AtomicU32, value: u32) {
    // SAFETY: the reference is a valid, aligned futex word for the whole call; no timeout pointer.
    unsafe {
        syscall(
            libc::SYS_futex,
            [word.as_ptr() as u64, libc::FUTEX_WAIT as u64, u64::from(value), 0, 0, 0],
        );
    }
}

/// As [`futex_wait`], for some milliseconds (less than a second) at most.
pub fn futex_wait_for(word: &std::sync::atomic::AtomicU32, value: u32, ms: u32) {
    let most = libc::timespec { tv_sec: 0, tv_nsec: i64::from(ms) * 1_000_000 };
    let (at, value) = (word.as_ptr() as u64, u64::from(value));
    // SAFETY: a valid, aligned futex word and a whole timespec for the call.
    unsafe {
        let most = &raw const most as u64;
        syscall(libc::SYS_futex, [at, libc::FUTEX_WAIT as u64, value, most, 0, 0]);
    }
}

/// Adds one to an eventfd (eventfd(2)); never blocks long enough to matter.
pub fn ring_bell(fd: i32) {
    let one = 1u64;
    // SAFETY: eight readable bytes of a local live across the call.
    unsafe { syscall(libc::SYS_write, [fd as u64, &raw const one as u64, 8, 0, 0, 0]) };
}

/// Monotonic time in nanoseconds (clock_gettime(2), CLOCK_MONOTONIC).
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Any clock in nanoseconds; 0 when the clock does not exist (any more).
pub fn clock_ns(clock: i32) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Not libc's: its vDSO reads the time stamp counter, which `avoid_time_stamps` takes away.
    // SAFETY: `t` is a valid timespec to write to.
    let r =
        unsafe { syscall(libc::SYS_clock_gettime, [clock as u64, &raw mut t as u64, 0, 0, 0, 0]) };
    if r == 0 { t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64 } else { 0 }
}

/// The CPU time that process `pid` has used, in nanoseconds (clock_getcpuclockid(3)).
pub fn cpu_time_ns(pid: u32) -> u64 {
    // The kernel's encoding of "CPU clock of a process": the inverted pid and CPUCLOCK_SCHED.
    clock_ns((!(pid as i32) << 3) | 2)
}

/// The seconds of CPU time at which the kernel kills process `pid` (getrlimit(2), RLIMIT_CPU).
pub fn cpu_limit(pid: u32) -> u64 {
    let mut l = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `l` is valid to write to; nothing is set.
    unsafe { libc::prlimit(pid as i32, libc::RLIMIT_CPU, std::ptr::null(), &mut l) };
    l.rlim_max
}

/// Fills `out` with random bytes (getrandom(2)).
pub fn random(out: &mut [u8]) {
    // SAFETY: `out` is writable for its length.
    unsafe {
        syscall(libc::SYS_getrandom, [out.as_mut_ptr() as u64, out.len() as u64, 0, 0, 0, 0])
    };
}

/// How many bytes of addresses this process may have (getrlimit(2), RLIMIT_AS); `u64::MAX` when
/// there is no limit.
pub fn address_space_limit() -> u64 {
    let mut l = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `l` is valid to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut l) };
    l.rlim_cur
}

/// Whether this process may not write files of any size (getrlimit(2), RLIMIT_FSIZE).
pub fn file_size_is_limited() -> bool {
    let mut l = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `l` is valid to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut l) == 0 && l.rlim_cur != libc::RLIM_INFINITY }
}
