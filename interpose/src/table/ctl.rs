//! Commands of shmctl(2), semctl(2), msgctl(2) and quotactl(2), and other choices by number.
//!
//! Invariant: data only, ascending.

use super::words::*;

/// Why all semaphores at once are refused.
const ALL: &str =
    "The size of its array is the set's, which neither the arguments nor the memory say.";

/// Commands of shmctl.
#[rustfmt::skip]
pub(super) const SHM: &[Entry] = &[
    call(0, "shmctl IPC_RMID", Sync, &[Int, Int, Addr]),
    call(1, "shmctl IPC_SET", Sync, &[Int, Int, reads(112)]),
    call(2, "shmctl IPC_STAT", First, &[Int, Int, writes(112)]),
    call(3, "shmctl IPC_INFO", First, &[Int, Int, writes(72)]),
    call(11, "shmctl SHM_LOCK", Sync, &[Int, Int, Addr]),
    call(12, "shmctl SHM_UNLOCK", Sync, &[Int, Int, Addr]),
    call(13, "shmctl SHM_STAT", First, &[Int, Int, writes(112)]),
    call(14, "shmctl SHM_INFO", First, &[Int, Int, writes(48)]),
    call(15, "shmctl SHM_STAT_ANY", First, &[Int, Int, writes(112)]),
];

/// Commands of semctl.
#[rustfmt::skip]
pub(super) const SEM: &[Entry] = &[
    call(0, "semctl IPC_RMID", Sync, &[Int, Int, Int, Addr]),
    call(1, "semctl IPC_SET", Sync, &[Int, Int, Int, reads(104)]),
    call(2, "semctl IPC_STAT", First, &[Int, Int, Int, writes(104)]),
    call(3, "semctl IPC_INFO", First, &[Int, Int, Int, writes(40)]),
    call(11, "semctl GETPID", Sync, &[Int, Int, Int, Addr]),
    call(12, "semctl GETVAL", Sync, &[Int, Int, Int, Addr]),
    call(13, "semctl GETALL", Refused, &[Int, Int, Int, Addr]).error(libc::EINVAL).note(ALL),
    call(14, "semctl GETNCNT", Sync, &[Int, Int, Int, Addr]),
    call(15, "semctl GETZCNT", Sync, &[Int, Int, Int, Addr]),
    call(16, "semctl SETVAL", Sync, &[Int, Int, Int, Int]),
    call(17, "semctl SETALL", Refused, &[Int, Int, Int, Addr]).error(libc::EINVAL).note(ALL),
    call(18, "semctl SEM_STAT", First, &[Int, Int, Int, writes(104)]),
    call(19, "semctl SEM_INFO", First, &[Int, Int, Int, writes(40)]),
    call(20, "semctl SEM_STAT_ANY", First, &[Int, Int, Int, writes(104)]),
];

/// Commands of msgctl.
#[rustfmt::skip]
pub(super) const MSG: &[Entry] = &[
    call(0, "msgctl IPC_RMID", Sync, &[Int, Int, Addr]),
    call(1, "msgctl IPC_SET", Sync, &[Int, Int, reads(120)]),
    call(2, "msgctl IPC_STAT", First, &[Int, Int, writes(120)]),
    call(3, "msgctl IPC_INFO", First, &[Int, Int, writes(32)]),
    call(11, "msgctl MSG_STAT", First, &[Int, Int, writes(120)]),
    call(12, "msgctl MSG_INFO", First, &[Int, Int, writes(32)]),
    call(13, "msgctl MSG_STAT_ANY", First, &[Int, Int, writes(120)]),
];

/// Commands of quotactl, without the type in their low byte.
#[rustfmt::skip]
pub(super) const QUOTA: &[Entry] = &[
    call(0x80_0001, "quotactl Q_SYNC", Sync, &[Int, Path, Int, Addr]),
    call(0x80_0002, "quotactl Q_QUOTAON", Sync, &[Int, Path, Int, Path]),
    call(0x80_0003, "quotactl Q_QUOTAOFF", Sync, &[Int, Path, Int, Addr]),
    call(0x80_0004, "quotactl Q_GETFMT", First, &[Int, Path, Int, writes(4)]),
    call(0x80_0005, "quotactl Q_GETINFO", First, &[Int, Path, Int, writes(24)]),
    call(0x80_0006, "quotactl Q_SETINFO", Sync, &[Int, Path, Int, reads(24)]),
    call(0x80_0007, "quotactl Q_GETQUOTA", First, &[Int, Path, Int, writes(72)]),
    call(0x80_0008, "quotactl Q_SETQUOTA", Sync, &[Int, Path, Int, reads(72)]),
    call(0x80_0009, "quotactl Q_GETNEXTQUOTA", First, &[Int, Path, Int, writes(72)]),
];

/// Commands of quotactl_fd, likewise.
#[rustfmt::skip]
pub(super) const QUOTA_FD: &[Entry] = &[
    call(0x80_0001, "quotactl_fd Q_SYNC", Sync, &[Fd, Int, Int, Addr]),
    call(0x80_0002, "quotactl_fd Q_QUOTAON", Sync, &[Fd, Int, Int, Path]),
    call(0x80_0003, "quotactl_fd Q_QUOTAOFF", Sync, &[Fd, Int, Int, Addr]),
    call(0x80_0004, "quotactl_fd Q_GETFMT", First, &[Fd, Int, Int, writes(4)]),
    call(0x80_0005, "quotactl_fd Q_GETINFO", First, &[Fd, Int, Int, writes(24)]),
    call(0x80_0006, "quotactl_fd Q_SETINFO", Sync, &[Fd, Int, Int, reads(24)]),
    call(0x80_0007, "quotactl_fd Q_GETQUOTA", First, &[Fd, Int, Int, writes(72)]),
    call(0x80_0008, "quotactl_fd Q_SETQUOTA", Sync, &[Fd, Int, Int, reads(72)]),
    call(0x80_0009, "quotactl_fd Q_GETNEXTQUOTA", First, &[Fd, Int, Int, writes(72)]),
];

/// Commands of fsconfig whose value is not a null pointer.
#[rustfmt::skip]
pub(super) const FSCONFIG: &[Entry] = &[
    call(1, "fsconfig FSCONFIG_SET_STRING", Sync, &[Fd, Int, Str, Str, Int]),
    call(2, "fsconfig FSCONFIG_SET_BINARY", Sync, &[Fd, Int, Str, reads_arg32(4), Int]),
    call(3, "fsconfig FSCONFIG_SET_PATH", Sync, &[Fd, Int, Str, Path, DirFd]),
    call(4, "fsconfig FSCONFIG_SET_PATH_EMPTY", Sync, &[Fd, Int, Str, Path, DirFd]),
    call(5, "fsconfig FSCONFIG_SET_FD", Sync, &[Fd, Int, Str, Addr, Fd]),
];

/// Types of syslog(2) that read the kernel's messages: 2 waits for one.
#[rustfmt::skip]
pub(super) const SYSLOG: &[Entry] = &[
    call(2, "syslog SYSLOG_ACTION_READ", Sync, &[Int, fills32(2), Int]).waits(),
    call(3, "syslog SYSLOG_ACTION_READ_ALL", Sync, &[Int, fills32(2), Int]),
    call(4, "syslog SYSLOG_ACTION_READ_CLEAR", Sync, &[Int, fills32(2), Int]),
];

const _: () = {
    super::choice::ascending(SHM);
    super::choice::ascending(SEM);
    super::choice::ascending(MSG);
    super::choice::ascending(QUOTA);
    super::choice::ascending(QUOTA_FD);
    super::choice::ascending(FSCONFIG);
    super::choice::ascending(SYSLOG);
};
