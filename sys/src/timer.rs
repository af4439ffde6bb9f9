//! Timers on the CPU clock of another process (timer_create(2)), whose expiry is read from a
//! signalfd.
//!
//! Invariant: a timer is deleted when its [`CpuTimer`] is dropped; it belongs to the process that
//! made it and ends with it. Used by the dispatcher for ITIMER_VIRTUAL and ITIMER_PROF.

use crate::process;
use crate::raw;
use crate::{Error, Result};

/// What a clock counts of a process (include/linux/posix-timers_types.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// User and system time: CPUCLOCK_PROF.
    All,
    /// User time: CPUCLOCK_VIRT.
    User,
}

/// The signal that timers send to this process; blocked, and read from [`signals`].
const SIGNAL: i32 = 40;

/// A timer, disarmed at first.
#[derive(Debug)]
pub struct CpuTimer {
    id: i32,
}

/// Where expiries are read from; once for each process.
pub fn signals() -> Result<i32> {
    process::signal_fd(1 << (SIGNAL - 1))
}

/// The tokens of timers that have expired since the last look.
pub fn expired(signals: i32) -> impl Iterator<Item = u32> {
    /// Offset of `ssi_int` in `struct signalfd_siginfo`.
    const VALUE: usize = 44;
    std::iter::from_fn(move || {
        let mut info = [0u8; 128];
        let whole = crate::fd::read_at(signals, &mut info, None) == info.len() as isize;
        let value = [info[VALUE], info[VALUE + 1], info[VALUE + 2], info[VALUE + 3]];
        whole.then(|| u32::from_ne_bytes(value))
    })
}

/// The clock of process `pid` (clock_getcpuclockid(3)).
fn clock(pid: u32, counts: Counts) -> i32 {
    (!(pid as i32) << 3)
        | match counts {
            Counts::All => 0,
            Counts::User => 1,
        }
}

/// What the clock of process `pid` shows, in nanoseconds; 0 when it is gone.
pub fn cpu_clock_ns(pid: u32, counts: Counts) -> u64 {
    raw::clock_ns(clock(pid, counts))
}

impl CpuTimer {
    /// A timer on the clock of process `pid` that says `token` when it expires.
    pub fn new(pid: u32, counts: Counts, token: u32) -> Result<Self> {
        let mut id = 0i32;
        // SAFETY: an all-zero sigevent is a valid value; it is read and `id` written in the call.
        let ret = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_value.sival_ptr = token as usize as *mut libc::c_void;
            event.sigev_signo = SIGNAL;
            event.sigev_notify = libc::SIGEV_SIGNAL;
            raw::syscall(
                libc::SYS_timer_create,
                [clock(pid, counts) as u64, &raw const event as u64, &raw mut id as u64, 0, 0, 0],
            )
        };
        match ret {
            0 => Ok(Self { id }),
            _ => Err(Error {
                operation: "timer_create on a CPU clock",
                errno: crate::Errno::from_raw(-ret as i32),
            }),
        }
    }

    /// Has it expire when its clock shows `due`, and every `interval` from then on (0: once);
    /// nanoseconds.
    pub fn set(&self, due: u64, interval: u64) {
        let spec = libc::itimerspec { it_interval: time(interval), it_value: time(due) };
        // SAFETY: a whole itimerspec to read; the old value is not asked for.
        unsafe {
            raw::syscall(
                libc::SYS_timer_settime,
                [self.id as u64, libc::TIMER_ABSTIME as u64, &raw const spec as u64, 0, 0, 0],
            );
        }
    }

    /// Nanoseconds until it expires, 0 if it will not.
    pub fn left(&self) -> u64 {
        let mut spec = libc::itimerspec { it_interval: time(0), it_value: time(0) };
        // SAFETY: a whole itimerspec to write to.
        unsafe {
            raw::syscall(
                libc::SYS_timer_gettime,
                [self.id as u64, &raw mut spec as u64, 0, 0, 0, 0],
            );
        }
        spec.it_value.tv_sec as u64 * 1_000_000_000 + spec.it_value.tv_nsec as u64
    }
}

impl Drop for CpuTimer {
    fn drop(&mut self) {
        // SAFETY: a plain number.
        unsafe { raw::syscall(libc::SYS_timer_delete, [self.id as u64, 0, 0, 0, 0, 0]) };
    }
}

fn time(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// PR_TIMER_CREATE_RESTORE_IDS (Linux 6.15): timer_create(2) reads the number that it otherwise chooses.
const RESTORE_IDS: u64 = 77;

/// When something expires, in nanoseconds: at a time of its clock, or else in so many.
pub type When = std::result::Result<u64, u64>;

/// Makes a timer of the calling process with a number (timer_create(2)); `event` is its struct sigevent. It
/// expires at a time of its clock, or in so many nanoseconds, 0 for never, and from then on every so many.
///
/// # Errors
/// Of timer_create(2); `EEXIST` if the number cannot be had.
pub fn create_as(number: i32, clock: i32, event: &[u32; 16], when: When, every: u64) -> Result<()> {
    let failed = |errno| Error { operation: "timer_create", errno };
    let named = raw::prctl(RESTORE_IDS, 1, 0, 0, 0) == 0;
    let mut id = number;
    let made = loop {
        // SAFETY: a whole sigevent is read, and `id` is read and written.
        let ret = unsafe {
            let at = [&raw const *event as u64, &raw mut id as u64];
            raw::syscall(libc::SYS_timer_create, [clock as u64, at[0], at[1], 0, 0, 0])
        };
        match ret {
            0 if id == number => break Ok(()),
            0 => {
                // The kernel counts on: those before it are given back.
                delete(id);
                if id > number {
                    break Err(failed(crate::Errno::EEXIST));
                }
            }
            _ => break Err(failed(crate::Errno::from_raw(-ret as i32))),
        }
    };
    if named {
        raw::prctl(RESTORE_IDS, 0, 0, 0, 0);
    }
    made?;
    let (value, flags) = match when {
        Ok(due) => (due, libc::TIMER_ABSTIME as u64),
        Err(left) => (left, 0),
    };
    let spec = libc::itimerspec { it_interval: time(every), it_value: time(value) };
    // SAFETY: a whole itimerspec to read; the old value is not asked for.
    let ret = unsafe {
        let at = &raw const spec as u64;
        raw::syscall(libc::SYS_timer_settime, [number as u64, flags, at, 0, 0, 0])
    };
    crate::error::check("timer_settime", ret).map(drop)
}

/// Deletes a timer of the calling process by its number, if there is one (timer_delete(2)).
pub fn delete(number: i32) {
    // SAFETY: a number only; the kernel knows which timers there are.
    unsafe { raw::syscall(libc::SYS_timer_delete, [number as u64, 0, 0, 0, 0, 0]) };
}
