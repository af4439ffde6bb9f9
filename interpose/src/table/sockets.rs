//! Rows of the socket calls.
//!
//! Invariant: data only. Options whose value points to further memory have rows of their own in
//! `sockopt.rs`.

use super::words::*;

/// Sockets.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(41, "socket", Sync, &[Int, Int, Int]),
    call(53, "socketpair", Sync, &[Int, Int, Int, writes(8)]),
    call(42, "connect", Sync, &[Fd, reads_arg32(2), Int]).waits(),
    call(43, "accept", Sync, &[Fd, fills_at(2), updates(4)]).waits(),
    call(288, "accept4", Sync, &[Fd, fills_at(2), updates(4), Int]).waits(),
    call(49, "bind", Sync, &[Fd, reads_arg32(2), Int]),
    call(50, "listen", Sync, &[Fd, Int]),
    call(51, "getsockname", First, &[Fd, fills_at(2), updates(4)]),
    call(52, "getpeername", First, &[Fd, fills_at(2), updates(4)]),
    call(48, "shutdown", Sync, &[Fd, Int]),
    call(44, "sendto", Sync, &[Fd, reads_arg(2), Int, Int, reads_arg32(5), Int]).waits(),
    call(45, "recvfrom", Sync, &[Fd, fills(2), Int, Int, fills_at(5), updates(4)]).waits()
        .note("With MSG_TRUNC the result may be larger than the buffer."),
    call(46, "sendmsg", Sync, &[Fd, MsgIn, Int]).waits(),
    call(47, "recvmsg", Sync, &[Fd, MsgOut, Int]).waits(),
    call(307, "sendmmsg", Sync, &[Fd, MmsgIn(2), Int, Int]).waits(),
    call(299, "recvmmsg", Sync, &[Fd, MmsgOut(2), Int, Int, updates(16)]).waits()
        .note("The rest of the timeout is written back."),
    call(54, "setsockopt", Sync, &[Fd, Int, Int, reads_arg32(4), Int]),
    call(55, "getsockopt", Sync, &[Fd, Int, Int, fills_at(4), updates(4)])
        .note("Sync, not First: SO_ERROR clears what it reports, SO_PEERPIDFD makes a descriptor."),
];
