//! Commands of fcntl(2).
//!
//! Invariant: data only, ascending; every command of the kernel. Record locks belong to the
//! outside, which holds the descriptors and the process number.

use super::words::*;

/// Commands of fcntl.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(0, "fcntl F_DUPFD", Sync, &[Fd, Int, Int]),
    call(1, "fcntl F_GETFD", First, &[Fd, Int, Addr]),
    call(2, "fcntl F_SETFD", Sync, &[Fd, Int, Int]),
    call(3, "fcntl F_GETFL", First, &[Fd, Int, Addr]),
    call(4, "fcntl F_SETFL", Sync, &[Fd, Int, Int]),
    call(5, "fcntl F_GETLK", Sync, &[Fd, Int, updates(32)]),
    call(6, "fcntl F_SETLK", Sync, &[Fd, Int, reads(32)]),
    call(7, "fcntl F_SETLKW", Sync, &[Fd, Int, reads(32)]).waits(),
    call(8, "fcntl F_SETOWN", Sync, &[Fd, Int, Int]),
    call(9, "fcntl F_GETOWN", First, &[Fd, Int, Addr]),
    call(10, "fcntl F_SETSIG", Sync, &[Fd, Int, Int]),
    call(11, "fcntl F_GETSIG", First, &[Fd, Int, Addr]),
    call(15, "fcntl F_SETOWN_EX", Sync, &[Fd, Int, reads(8)]),
    call(16, "fcntl F_GETOWN_EX", First, &[Fd, Int, writes(8)]),
    call(17, "fcntl F_GETOWNER_UIDS", First, &[Fd, Int, writes(8)]),
    call(36, "fcntl F_OFD_GETLK", Sync, &[Fd, Int, updates(32)]),
    call(37, "fcntl F_OFD_SETLK", Sync, &[Fd, Int, reads(32)]),
    call(38, "fcntl F_OFD_SETLKW", Sync, &[Fd, Int, reads(32)]).waits(),
    call(1024, "fcntl F_SETLEASE", Sync, &[Fd, Int, Int]),
    call(1025, "fcntl F_GETLEASE", First, &[Fd, Int, Addr]),
    call(1026, "fcntl F_NOTIFY", Sync, &[Fd, Int, Int]),
    call(1027, "fcntl F_DUPFD_QUERY", First, &[Fd, Int, Fd]),
    call(1028, "fcntl F_CREATED_QUERY", First, &[Fd, Int, Addr]),
    call(1030, "fcntl F_DUPFD_CLOEXEC", Sync, &[Fd, Int, Int]),
    call(1031, "fcntl F_SETPIPE_SZ", Sync, &[Fd, Int, Int]),
    call(1032, "fcntl F_GETPIPE_SZ", First, &[Fd, Int, Addr]),
    call(1033, "fcntl F_ADD_SEALS", Sync, &[Fd, Int, Int]),
    call(1034, "fcntl F_GET_SEALS", First, &[Fd, Int, Addr]),
    call(1035, "fcntl F_GET_RW_HINT", First, &[Fd, Int, writes(8)]),
    call(1036, "fcntl F_SET_RW_HINT", Sync, &[Fd, Int, reads(8)]),
    call(1037, "fcntl F_GET_FILE_RW_HINT", First, &[Fd, Int, writes(8)]),
    call(1038, "fcntl F_SET_FILE_RW_HINT", Sync, &[Fd, Int, reads(8)]),
];

const _: () = super::choice::ascending(ROWS);
