//! The row of a call where its arguments decide what its buffers are, or who performs it.
//!
//! Invariant: looks at argument registers only, never at memory; arguments that the kernel takes as
//! `int` are compared by their low half. Called once for every trapped call, before its ballot.

use super::words::*;
use super::{ctl, fcntl, ioctl, keyctl, prctl, row, sockopt};

/// A request that no row describes: the program gets `errno`, the run is told its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The call, for example `"ioctl"`.
    pub what: &'static str,
    /// The request, as the kernel would take it.
    pub request: u64,
    /// What the kernel answers to a request that it does not know: a positive errno.
    pub errno: i32,
}

/// Asserts that a table can be searched.
pub(super) const fn ascending(table: &[Entry]) {
    let mut i = 1;
    while i < table.len() {
        assert!(table[i - 1].nr < table[i].nr, "a table of requests is not in order");
        i += 1;
    }
}

/// The row of `request` in an ascending table.
pub(super) fn find(table: &'static [Entry], request: u32) -> Option<&'static Row> {
    table.binary_search_by_key(&request, |e| e.nr).ok().map(|i| &table[i].row)
}

/// Declares the numbers of calls that are looked at here.
macro_rules! numbers {
    ($($name:ident = $sys:ident;)*) => { $(const $name: u32 = libc::$sys as u32;)* };
}

numbers! {
    IOCTL = SYS_ioctl;
    FCNTL = SYS_fcntl;
    PRCTL = SYS_prctl;
    SHMCTL = SYS_shmctl;
    SEMCTL = SYS_semctl;
    MSGCTL = SYS_msgctl;
    QUOTACTL = SYS_quotactl;
    QUOTACTL_FD = SYS_quotactl_fd;
    KEYCTL = SYS_keyctl;
    FSCONFIG = SYS_fsconfig;
    SYSLOG = SYS_syslog;
    REBOOT = SYS_reboot;
    SETSOCKOPT = SYS_setsockopt;
    GETSOCKOPT = SYS_getsockopt;
    EPOLL_CTL = SYS_epoll_ctl;
    CLOCK_GETTIME = SYS_clock_gettime;
    CLOCK_NANOSLEEP = SYS_clock_nanosleep;
    TIMER_CREATE = SYS_timer_create;
    SETITIMER = SYS_setitimer;
    GETITIMER = SYS_getitimer;
    SETRLIMIT = SYS_setrlimit;
    PRLIMIT64 = SYS_prlimit64;
    SETPRIORITY = SYS_setpriority;
    PERSONALITY = SYS_personality;
    MADVISE = SYS_madvise;
    KCMP = SYS_kcmp;
    NAME_TO_HANDLE_AT = SYS_name_to_handle_at;
    FUTEX = SYS_futex;
}

/// Rows that are chosen by something else than a request number, with what is said on the page.
#[rustfmt::skip]
pub(super) static OTHERS: &[Row] = &[
    call(0, "clock_gettime of a CPU clock", own(Special::CpuTime), &[Int, writes(16)])
        .note("CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, and the clocks of clock_getcpuclockid(3).").row,
    call(0, "clock_nanosleep on a CPU clock", Refused, &[Int, Int, reads(16), touches(16)]).error(libc::EOPNOTSUPP)
        .note("The CPU time of the outside stands still while the replicas compute.").row,
    call(0, "timer_create on a CPU clock", Refused, &[Int, reads(64), writes(4)]).error(libc::EOPNOTSUPP)
        .note("The timer would count the outside's CPU time, and expire at another point in each replica.").row,
    call(0, "setitimer ITIMER_VIRTUAL, ITIMER_PROF", own(Special::CpuTimer), &[Int, reads(32), writes(32)])
        .note("Counts the CPU time of one replica; all take the signal at one call.").row,
    call(0, "setrlimit RLIMIT_NPROC", Sync, &[Int, reads(16)])
        .note("Processes are counted for a user: replicas must not fill the program's share.").row,
    call(0, "prlimit64, query", First, &[Int, Int, Addr, writes(16)]).row,
    call(0, "prlimit64 of another process, or of RLIMIT_NPROC", Sync, &[Int, Int, reads(16), writes(16)])
        .note("A process number is another's even if it is the caller's own: only 0 is mirrored.").row,
    call(0, "setpriority of the caller", Mirror, &[Int, Int, Int]).row,
    call(0, "personality, query", First, &[Int]).row,
    call(0, "madvise MADV_DONTFORK, MADV_WIPEONFORK", Native, &[Addr, Int, Int])
        .note("Trapped to be known of: a copy of a replica has those pages nevertheless.").row,
    call(0, "epoll_ctl EPOLL_CTL_DEL", Sync, &[Fd, Int, Fd, Addr]).row,
    call(0, "kcmp KCMP_EPOLL_TFD", First, &[Int, Int, Int, Int, reads(12)]).row,
    call(0, "reboot LINUX_REBOOT_CMD_RESTART2", Sync, &[Int, Int, Int, Str]).row,
    call(0, "name_to_handle_at with AT_HANDLE_MNT_ID_UNIQUE", Sync,
        &[DirFd, Path, InOutAlways(Len::Inside(Inside::FileHandle(2))), touches(8), Int]).row,
    call(0, "getitimer ITIMER_VIRTUAL, ITIMER_PROF", own(Special::CpuTimer), &[Int, writes(32)]).retracted().row,
    call(0, "futex wait", own(Special::Thread), &[reads(4), Int, Int, Addr, Addr, Int]).waits().row,
    call(0, "futex wait with a timeout", own(Special::Thread), &[reads(4), Int, Int, reads(16), Addr, Int]).sleeps().row,
    call(0, "futex wake", own(Special::Thread), &[Addr, Int, Int, Int, Addr, Int]).row,
    call(0, "futex wake-op", own(Special::Thread), &[Addr, Int, Int, Int, reads(4), Int]).row,
    call(0, "futex requeue", own(Special::Thread), &[reads(4), Int, Int, Int, Addr, Int]).row,
    call(0, "futex lock", own(Special::Thread), &[reads(4), Int, Int, Addr, Addr, Int]).goes_on().row,
    call(0, "futex lock with a timeout", own(Special::Thread), &[reads(4), Int, Int, reads(16), Addr, Int]).goes_on().row,
    call(0, "futex requeue to a lock", own(Special::Thread), &[reads(4), Int, Int, Int, reads(4), Int]).row,
];

/// Indices into [`OTHERS`].
mod other {
    pub(super) const CPU_CLOCK: usize = 0;
    pub(super) const CPU_SLEEP: usize = 1;
    pub(super) const CPU_TIMER: usize = 2;
    pub(super) const CPU_ITIMER: usize = 3;
    pub(super) const NPROC: usize = 4;
    pub(super) const LIMIT_QUERY: usize = 5;
    pub(super) const LIMIT_OTHER: usize = 6;
    pub(super) const OWN_PRIORITY: usize = 7;
    pub(super) const PERSONA_QUERY: usize = 8;
    pub(super) const NO_FORK: usize = 9;
    pub(super) const EPOLL_DEL: usize = 10;
    pub(super) const KCMP_EPOLL: usize = 11;
    pub(super) const RESTART2: usize = 12;
    pub(super) const HANDLE_UNIQUE: usize = 13;
    pub(super) const CPU_ITIMER_QUERY: usize = 14;
    pub(super) const FUTEX_WAIT: usize = 15;
    pub(super) const FUTEX_TIMED: usize = 16;
    pub(super) const FUTEX_WAKE: usize = 17;
    pub(super) const FUTEX_WAKE_OP: usize = 18;
    pub(super) const FUTEX_REQUEUE: usize = 19;
    pub(super) const FUTEX_LOCK: usize = 20;
    pub(super) const FUTEX_TIMED_LOCK: usize = 21;
    pub(super) const FUTEX_REQUEUE_LOCK: usize = 22;
}

/// `MADV_DONTFORK` and `MADV_WIPEONFORK`: the advice (third argument of madvise(2), by its low
/// half) that the trap filter must trap, although madvise is native.
pub const TRAPPED_ADVICE: [u32; 2] = [10, 18];

/// Native calls on the replica's own memory that are trapped where images are written, to be known of.
pub const NOTED_FOR_IMAGES: [i64; 4] =
    [libc::SYS_mlockall, libc::SYS_modify_ldt, libc::SYS_pkey_alloc, libc::SYS_mseal];

/// Operations of futex(2) that a single replica makes itself, as masks and what is left under them: all
/// but those on locks with an owner, whose word holds the number of an outside.
pub const PLAIN_FUTEXES: [(u32, u32); 4] = [(!0x183, 0), (!0x181, 4), (!0x180, 9), (!0x180, 10)];

/// `RLIMIT_NPROC`.
const RLIMIT_NPROC: u32 = 6;

/// `LINUX_REBOOT_CMD_RESTART2`.
const REBOOT_RESTART2: u32 = 0xa1b2_c3d4;

/// `KCMP_EPOLL_TFD`.
const KCMP_EPOLL_TFD: u32 = 7;

/// `AT_HANDLE_MNT_ID_UNIQUE`.
const MNT_ID_UNIQUE: u32 = 1;

/// Whether a clock counts CPU time. A negative one is either made of a process number (its low two
/// bits say profile, virtual or scheduled time) or of a descriptor (low two bits 3), see
/// `include/linux/posix-timers_types.h`.
fn is_cpu_clock(id: u32) -> bool {
    let negative = id >= 0x8000_0000;
    id == 2 || id == 3 || (negative && id & 3 != 3)
}

/// `FUTEX_LOCK_PI2`.
pub const LOCK_PI2: i32 = 13;

/// The row of an operation of futex(2), by its number without flags and whether it has a timeout.
fn futex_row(operation: u32, timed: bool) -> usize {
    match operation as i32 {
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET | libc::FUTEX_REQUEUE => other::FUTEX_WAKE,
        libc::FUTEX_WAKE_OP => other::FUTEX_WAKE_OP,
        libc::FUTEX_CMP_REQUEUE => other::FUTEX_REQUEUE,
        libc::FUTEX_CMP_REQUEUE_PI => other::FUTEX_REQUEUE_LOCK,
        libc::FUTEX_UNLOCK_PI | libc::FUTEX_TRYLOCK_PI => other::FUTEX_WAIT,
        libc::FUTEX_LOCK_PI | LOCK_PI2 | libc::FUTEX_WAIT_REQUEUE_PI => match timed {
            true => other::FUTEX_TIMED_LOCK,
            false => other::FUTEX_LOCK,
        },
        _ if timed => other::FUTEX_TIMED,
        _ => other::FUTEX_WAIT,
    }
}

/// The row for call `nr` with these arguments.
///
/// # Errors
/// [`Unknown`], where the call's buffers depend on a request that no row describes.
pub fn resolve(nr: u32, args: &[u64; 6]) -> Result<&'static Row, Unknown> {
    let low = |i: usize| args[i] as u32;
    let whole = row(nr);
    let in_table = |table, request: u32| {
        find(table, request).ok_or(Unknown {
            what: whole.name,
            request: u64::from(request),
            errno: whole.errno,
        })
    };
    let pick = |choose: bool, index: usize| Ok(if choose { &OTHERS[index] } else { whole });
    match nr {
        IOCTL => {
            let request = low(1);
            ioctl::find(request).ok_or(Unknown {
                what: whole.name,
                request: u64::from(request),
                errno: whole.errno,
            })
        }
        FCNTL => in_table(fcntl::ROWS, low(1)),
        PRCTL if low(0) == prctl::CAP_AMBIENT => in_table(prctl::AMBIENT, low(1)),
        PRCTL => in_table(prctl::ROWS, low(0)),
        SHMCTL => in_table(ctl::SHM, low(1)),
        SEMCTL => in_table(ctl::SEM, low(2)),
        MSGCTL => in_table(ctl::MSG, low(1)),
        QUOTACTL => in_table(ctl::QUOTA, low(0) >> 8),
        QUOTACTL_FD => in_table(ctl::QUOTA_FD, low(1) >> 8),
        KEYCTL => in_table(keyctl::ROWS, low(0)),
        FSCONFIG => Ok(find(ctl::FSCONFIG, low(1)).unwrap_or(whole)),
        SYSLOG => Ok(find(ctl::SYSLOG, low(0)).unwrap_or(whole)),
        SETSOCKOPT => Ok(sockopt::find(sockopt::SET, low(1), low(2)).unwrap_or(whole)),
        GETSOCKOPT if low(1) == sockopt::SCTP => Ok(&sockopt::GET_SCTP),
        GETSOCKOPT => Ok(sockopt::find(sockopt::GET, low(1), low(2)).unwrap_or(whole)),
        CLOCK_GETTIME => pick(is_cpu_clock(low(0)), other::CPU_CLOCK),
        CLOCK_NANOSLEEP => pick(is_cpu_clock(low(0)), other::CPU_SLEEP),
        TIMER_CREATE => pick(is_cpu_clock(low(0)), other::CPU_TIMER),
        SETITIMER => pick(matches!(low(0), 1 | 2), other::CPU_ITIMER),
        GETITIMER => pick(matches!(low(0), 1 | 2), other::CPU_ITIMER_QUERY),
        SETRLIMIT => pick(low(0) == RLIMIT_NPROC, other::NPROC),
        PRLIMIT64 if args[2] == 0 => Ok(&OTHERS[other::LIMIT_QUERY]),
        PRLIMIT64 => pick(low(0) != 0 || low(1) == RLIMIT_NPROC, other::LIMIT_OTHER),
        SETPRIORITY => pick(low(0) == 0 && low(1) == 0, other::OWN_PRIORITY),
        PERSONALITY => pick(low(0) == 0xffff_ffff, other::PERSONA_QUERY),
        MADVISE => pick(TRAPPED_ADVICE.contains(&low(2)), other::NO_FORK),
        EPOLL_CTL => pick(low(1) == libc::EPOLL_CTL_DEL as u32, other::EPOLL_DEL),
        KCMP => pick(low(2) == KCMP_EPOLL_TFD, other::KCMP_EPOLL),
        REBOOT => pick(low(2) == REBOOT_RESTART2, other::RESTART2),
        FUTEX => Ok(&OTHERS[futex_row(low(1) & 0x7f, args[3] != 0)]),
        NAME_TO_HANDLE_AT => pick(low(4) & MNT_ID_UNIQUE != 0, other::HANDLE_UNIQUE),
        _ => Ok(whole),
    }
}
