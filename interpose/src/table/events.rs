//! Rows of the calls that wait for readiness, and of the descriptors made for it.
//!
//! Invariant: data only. None of the waits is restarted after a handler (signal(7)).

use super::words::*;

/// An `fd_set` of select(2).
const SET: Arg = InOut(Len::FdSet(0));

/// Events of epoll_wait(2): `struct epoll_event` is packed, 12 bytes.
const EVENTS: Arg = Out { cap: Len::Times32(2, 12), used: Len::RetTimes(12) };

/// Waiting for events.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(7, "poll", Sync, &[InOut(Len::Times32(1, 8)), Int, Int]).retracted().sleeps(),
    call(271, "ppoll", own(Special::MaskedWait), &[InOut(Len::Times32(1, 8)), Int, updates(16), reads(8), Int]).retracted().sleeps()
        .note("The rest of the timeout is written back, also when a signal came; a read-only timeout is left alone."),
    call(23, "select", Sync, &[Int, SET, SET, SET, updates(16)]).retracted().sleeps()
        .note("The kernel looks no further than the table of descriptors reaches: the marshaller does the same, so that a set smaller than argument 0 says is not run over."),
    call(270, "pselect6", own(Special::MaskedWait), &[Int, SET, SET, SET, updates(16), Addr]).retracted().sleeps()
        .note("The last argument points to a pointer to the mask and its size (8); the handler reads both. Sets and timeout as in select and ppoll."),
    call(213, "epoll_create", Sync, &[Int]),
    call(291, "epoll_create1", Sync, &[Int]),
    call(233, "epoll_ctl", Sync, &[Fd, Int, Fd, reads(12)]),
    call(232, "epoll_wait", Sync, &[Fd, EVENTS, Int, Int]).sleeps(),
    call(281, "epoll_pwait", own(Special::MaskedWait), &[Fd, EVENTS, Int, Int, reads(8), Int]).sleeps(),
    call(441, "epoll_pwait2", own(Special::MaskedWait), &[Fd, EVENTS, Int, reads(16), reads(8), Int]).sleeps(),
    call(214, "epoll_ctl_old", Nosys, &[]).note("Never implemented on x86-64."),
    call(215, "epoll_wait_old", Nosys, &[]).note("Never implemented on x86-64."),
    call(284, "eventfd", Sync, &[Int]),
    call(290, "eventfd2", Sync, &[Int, Int]),
    call(282, "signalfd", Sync, &[Fd, reads(8), Int])
        .note("The signals of the program arrive at the outside, which holds the descriptor."),
    call(289, "signalfd4", Sync, &[Fd, reads(8), Int, Int]).note("See signalfd."),
    call(283, "timerfd_create", Sync, &[Int, Int]),
    call(286, "timerfd_settime", Sync, &[Fd, Int, reads(32), writes(32)]),
    call(287, "timerfd_gettime", First, &[Fd, writes(32)]),
    call(253, "inotify_init", Sync, &[]),
    call(294, "inotify_init1", Sync, &[Int]),
    call(254, "inotify_add_watch", Sync, &[Fd, Path, Int]),
    call(255, "inotify_rm_watch", Sync, &[Fd, Int]),
    call(300, "fanotify_init", Sync, &[Int, Int]),
    call(301, "fanotify_mark", Sync, &[Fd, Int, Int, DirFd, Path]),
];
