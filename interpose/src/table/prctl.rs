//! Options of prctl(2).
//!
//! Invariant: data only, ascending. Names, deaths and adoption belong to the outside; what shapes
//! the execution of the image belongs to the replicas too. Options for other processors answer as
//! this kernel does: not known.

use super::words::*;

/// Why an option of the replica's own memory is not there.
const IMAGE: &str =
    "Concerns addresses of the replica, which the outside does not have; as a kernel without it.";

/// Options of prctl.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(1, "prctl PR_SET_PDEATHSIG", Sync, &[Int, Int]).note("The parent is the outside's."),
    call(2, "prctl PR_GET_PDEATHSIG", First, &[Int, writes(4)]),
    call(3, "prctl PR_GET_DUMPABLE", First, &[Int]),
    call(4, "prctl PR_SET_DUMPABLE", Sync, &[Int, Int])
        .note("A replica stays dumpable, or it could not be repaired."),
    call(7, "prctl PR_GET_KEEPCAPS", First, &[Int]),
    call(8, "prctl PR_SET_KEEPCAPS", Mirror, &[Int, Int]),
    call(13, "prctl PR_GET_TIMING", First, &[Int]),
    call(14, "prctl PR_SET_TIMING", Sync, &[Int, Int]),
    call(15, "prctl PR_SET_NAME", Mirror, &[Int, Str]),
    call(16, "prctl PR_GET_NAME", First, &[Int, writes(16)]),
    call(21, "prctl PR_GET_SECCOMP", Nosys, &[Int]).error(libc::EINVAL)
        .note("The filter of a replica is not the program's: as a kernel without seccomp."),
    call(22, "prctl PR_SET_SECCOMP", Refused, &[Int, Int, Addr]).error(libc::EINVAL)
        .note("As seccomp: the program is told that the kernel has none, and runs without."),
    call(23, "prctl PR_CAPBSET_READ", First, &[Int, Int]),
    call(24, "prctl PR_CAPBSET_DROP", Mirror, &[Int, Int]),
    call(25, "prctl PR_GET_TSC", First, &[Int, writes(4)]),
    call(26, "prctl PR_SET_TSC", Refused, &[Int, Int]).error(libc::EINVAL)
        .note("The time stamp counter is trapped already, to be read once for all replicas. A single replica reads it itself, and this call is its own."),
    call(27, "prctl PR_GET_SECUREBITS", First, &[Int]),
    call(28, "prctl PR_SET_SECUREBITS", Mirror, &[Int, Int]),
    call(29, "prctl PR_SET_TIMERSLACK", Sync, &[Int, Int]),
    call(30, "prctl PR_GET_TIMERSLACK", First, &[Int]),
    call(31, "prctl PR_TASK_PERF_EVENTS_DISABLE", Nosys, &[Int]).error(libc::EINVAL)
        .note("There are no counters: see perf_event_open."),
    call(32, "prctl PR_TASK_PERF_EVENTS_ENABLE", Nosys, &[Int]).error(libc::EINVAL)
        .note("There are no counters: see perf_event_open."),
    call(33, "prctl PR_MCE_KILL", Mirror, &[Int, Int, Int, Int, Int]),
    call(34, "prctl PR_MCE_KILL_GET", First, &[Int, Int, Int, Int, Int]),
    call(35, "prctl PR_SET_MM", Refused, &[Int, Int, Addr, Int]).error(libc::EINVAL).note(IMAGE),
    call(36, "prctl PR_SET_CHILD_SUBREAPER", Sync, &[Int, Int]),
    call(37, "prctl PR_GET_CHILD_SUBREAPER", First, &[Int, writes(4)]),
    call(38, "prctl PR_SET_NO_NEW_PRIVS", Mirror, &[Int, Int, Int, Int, Int]),
    call(39, "prctl PR_GET_NO_NEW_PRIVS", First, &[Int, Int, Int, Int, Int]),
    call(40, "prctl PR_GET_TID_ADDRESS", Nosys, &[Int, Addr]).error(libc::EINVAL).note(IMAGE),
    call(41, "prctl PR_SET_THP_DISABLE", Mirror, &[Int, Int, Int, Int, Int]),
    call(42, "prctl PR_GET_THP_DISABLE", First, &[Int, Int, Int, Int, Int]),
    call(52, "prctl PR_GET_SPECULATION_CTRL", First, &[Int, Int, Int, Int, Int]),
    call(53, "prctl PR_SET_SPECULATION_CTRL", Mirror, &[Int, Int, Int, Int, Int]),
    call(57, "prctl PR_SET_IO_FLUSHER", Sync, &[Int, Int, Int, Int, Int]),
    call(58, "prctl PR_GET_IO_FLUSHER", First, &[Int, Int, Int, Int, Int]),
    call(59, "prctl PR_SET_SYSCALL_USER_DISPATCH", Refused, &[Int, Int, Addr, Int, Addr]).error(libc::EINVAL)
        .note("Would take calls away before they are trapped."),
    call(62, "prctl PR_SCHED_CORE", Nosys, &[Int, Int, Int, Int, Addr]).error(libc::EINVAL)
        .note("Where replicas run is decided by the placement; as a kernel without it."),
    call(65, "prctl PR_SET_MDWE", Mirror, &[Int, Int, Int, Int, Int]),
    call(66, "prctl PR_GET_MDWE", First, &[Int, Int, Int, Int, Int]),
    call(67, "prctl PR_SET_MEMORY_MERGE", Mirror, &[Int, Int, Int, Int, Int]),
    call(68, "prctl PR_GET_MEMORY_MERGE", First, &[Int, Int, Int, Int, Int]),
    call(77, "prctl PR_TIMER_CREATE_RESTORE_IDS", Nosys, &[Int, Int]).error(libc::EINVAL)
        .note("Would have timer_create read what it otherwise writes."),
    call(78, "prctl PR_FUTEX_HASH", Nosys, &[Int, Int, Int]).error(libc::EINVAL)
        .note("The outside has no threads of the program's; as a kernel without it."),
    call(0x4155_5856, "prctl PR_GET_AUXV", Nosys, &[Int, Addr, Int, Int, Int]).error(libc::EINVAL).note(IMAGE),
    call(0x5356_4d41, "prctl PR_SET_VMA", Nosys, &[Int, Int, Addr, Int, Addr]).error(libc::EINVAL).note(IMAGE),
    call(0x5961_6d61, "prctl PR_SET_PTRACER", Sync, &[Int, Int]),
];

const _: () = super::choice::ascending(ROWS);

/// PR_CAP_AMBIENT, whose first argument says what to do: `PR_CAP_AMBIENT_IS_SET` (1) only asks.
#[rustfmt::skip]
pub(super) const AMBIENT: &[Entry] = &[
    call(1, "prctl PR_CAP_AMBIENT_IS_SET", First, &[Int, Int, Int, Int, Int]),
    call(2, "prctl PR_CAP_AMBIENT_RAISE", Mirror, &[Int, Int, Int, Int, Int]),
    call(3, "prctl PR_CAP_AMBIENT_LOWER", Mirror, &[Int, Int, Int, Int, Int]),
    call(4, "prctl PR_CAP_AMBIENT_CLEAR_ALL", Mirror, &[Int, Int, Int, Int, Int]),
];

const _: () = super::choice::ascending(AMBIENT);

/// `PR_CAP_AMBIENT`.
pub(super) const CAP_AMBIENT: u32 = 47;
