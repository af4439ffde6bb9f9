//! Rows of the calls on open descriptors: reading, writing, position, state, copying.
//!
//! Invariant: data only; checked against man-pages section 2 and fs/*.c of the kernel.

use super::words::*;

/// Input and output through descriptors.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(0, "read", own(Special::ReadWrite), &[Fd, fills(2), Int]).retracted().waits()
        .note("A process that reads files often does it inside its replicas from what was read ahead (docs/adr/0008)."),
    call(1, "write", own(Special::ReadWrite), &[Fd, reads_arg(2), Int]).waits()
        .note("A process that writes to files often gathers it inside its replicas (docs/adr/0008)."),
    call(17, "pread64", own(Special::ReadWrite), &[Fd, fills(2), Int, Int]).retracted().waits(),
    call(18, "pwrite64", own(Special::ReadWrite), &[Fd, reads_arg(2), Int, Int]).waits(),
    call(19, "readv", Sync, &[Fd, IovOut(2), Int]).waits(),
    call(20, "writev", Sync, &[Fd, IovIn(2), Int]).waits(),
    call(295, "preadv", Sync, &[Fd, IovOut(2), Int, Int, Int]).waits(),
    call(296, "pwritev", Sync, &[Fd, IovIn(2), Int, Int, Int]).waits(),
    call(327, "preadv2", Sync, &[Fd, IovOut(2), Int, Int, Int, Int]).waits(),
    call(328, "pwritev2", Sync, &[Fd, IovIn(2), Int, Int, Int, Int]).waits(),
    call(8, "lseek", Sync, &[Fd, Int, Int]).retracted(),
    call(3, "close", own(Special::Close), &[Fd]),
    call(436, "close_range", own(Special::Close), &[Int, Int, Int]),
    call(32, "dup", Sync, &[Fd]),
    call(33, "dup2", own(Special::Close), &[Fd, Fd]),
    call(292, "dup3", own(Special::Close), &[Fd, Fd, Int]),
    call(22, "pipe", Sync, &[writes(8)]),
    call(293, "pipe2", Sync, &[writes(8), Int]),
    call(5, "fstat", First, &[Fd, writes(144)]),
    call(138, "fstatfs", First, &[Fd, writes(120)]),
    call(16, "ioctl", Refused, &[Fd, Int, Addr]).error(libc::ENOTTY)
        .note("Each request has a row of its own; an unknown one is refused with its number, because nobody knows its buffers."),
    call(72, "fcntl", Refused, &[Fd, Int, Addr]).error(libc::EINVAL)
        .note("Each command has a row of its own."),
    call(73, "flock", Sync, &[Fd, Int]).waits(),
    call(74, "fsync", Sync, &[Fd]),
    call(75, "fdatasync", Sync, &[Fd]),
    call(306, "syncfs", Sync, &[Fd]),
    call(277, "sync_file_range", Sync, &[Fd, Int, Int, Int]),
    call(77, "ftruncate", Sync, &[Fd, Int]),
    call(285, "fallocate", Sync, &[Fd, Int, Int, Int]),
    call(187, "readahead", Sync, &[Fd, Int, Int]),
    call(221, "fadvise64", Sync, &[Fd, Int, Int, Int]),
    call(451, "cachestat", First, &[Fd, reads(16), writes(40), Int]),
    call(78, "getdents", Sync, &[Fd, fills32(2), Int])
        .note("Moves the position of the directory, which exists once."),
    call(217, "getdents64", Sync, &[Fd, fills32(2), Int])
        .note("Moves the position of the directory, which exists once."),
    call(91, "fchmod", Sync, &[Fd, Int]),
    call(93, "fchown", Sync, &[Fd, Int, Int]),
    call(40, "sendfile", Sync, &[Fd, Fd, updates(8), Int]).waits(),
    call(275, "splice", Sync, &[Fd, updates(8), Fd, updates(8), Int, Int]).waits(),
    call(276, "tee", Sync, &[Fd, Fd, Int, Int]).waits(),
    call(326, "copy_file_range", Sync, &[Fd, updates(8), Fd, updates(8), Int, Int]).waits(),
    call(278, "vmsplice", Sync, &[Fd, IovIn(2), Int, Int]).waits()
        .note("Performed as writev: what a pipe reader gets is what was voted, not the page as it is when it is read."),
    call(319, "memfd_create", Sync, &[Str, Int]),
    call(206, "io_setup", Refused, &[Int, Addr]).error(libc::ENOSYS)
        .note("Asynchronous I/O completes into memory at moments of its own."),
    call(207, "io_destroy", Nosys, &[Addr]).note("No context can exist: see io_setup."),
    call(208, "io_getevents", Nosys, &[Addr, Int, Int, Addr, Addr]).note("No context can exist: see io_setup."),
    call(209, "io_submit", Nosys, &[Addr, Int, Addr]).note("No context can exist: see io_setup."),
    call(210, "io_cancel", Nosys, &[Addr, Addr, Addr]).note("No context can exist: see io_setup."),
    call(333, "io_pgetevents", Nosys, &[Addr, Int, Int, Addr, Addr, Addr]).note("No context can exist: see io_setup."),
    call(425, "io_uring_setup", Nosys, &[Int, Addr])
        .note("Calls through shared rings are not seen by a filter; every program with io_uring has another way."),
    call(426, "io_uring_enter", Nosys, &[Fd, Int, Int, Int, Addr, Int]).note("No ring can exist: see io_uring_setup."),
    call(427, "io_uring_register", Nosys, &[Fd, Int, Addr, Int]).note("No ring can exist: see io_uring_setup."),
];
