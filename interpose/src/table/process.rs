//! Rows of the calls that make, end, wait for, and arrange processes.
//!
//! Invariant: data only. Process numbers are those of the outsides.

use super::words::*;

/// Processes.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(56, "clone", own(Special::Fork), &[Int, Addr, Addr, Addr, Addr]),
    call(57, "fork", own(Special::Fork), &[]),
    call(58, "vfork", own(Special::Fork), &[]),
    call(435, "clone3", Nosys, &[Addr, Int])
        .note("Its flags stand in memory, where a filter cannot see them; the C libraries fall back to clone."),
    call(59, "execve", own(Special::Exec), &[Path, Addr, Addr]),
    call(322, "execveat", own(Special::Exec), &[DirFd, Path, Addr, Addr, Int]),
    call(60, "exit", own(Special::Exit), &[Int]),
    call(231, "exit_group", own(Special::Exit), &[Int]),
    call(61, "wait4", Sync, &[Int, Out { cap: Len::Fixed(4), used: Len::IfRet(4) }, Int, Out { cap: Len::Fixed(144), used: Len::IfRet(144) }]).waits(),
    call(247, "waitid", Sync, &[Int, Int, Out { cap: Len::Fixed(128), used: Len::Fixed(28) }, Int, writes(144)]).waits()
        .note("The kernel fills the first 28 bytes of the siginfo; the usage only when a child was found."),
    call(39, "getpid", First, &[]),
    call(186, "gettid", First, &[]),
    call(110, "getppid", First, &[]),
    call(109, "setpgid", Sync, &[Int, Int]),
    call(121, "getpgid", First, &[Int]),
    call(111, "getpgrp", First, &[]),
    call(112, "setsid", Sync, &[]),
    call(124, "getsid", First, &[Int]),
    call(218, "set_tid_address", own(Special::TidAddress), &[Addr]),
    call(273, "set_robust_list", own(Special::Thread), &[Addr, Int])
        .note("Names memory of the replica, which is walked when the thread ends: by the tracer, with several replicas by the dispatcher."),
    call(274, "get_robust_list", Native, &[Int, Addr, Addr])
        .note("Only the caller's own list (0) can be asked for: other numbers are those of outsides."),
    call(202, "futex", own(Special::Thread), &[Addr, Int, Int, Addr, Addr, Int]).waits()
        .note("With several replicas no thread waits in the kernel: the word is part of the ballot, the queue is the dispatcher's. Of a single one it has the queues of locks with an owner. See resolve."),
    call(449, "futex_waitv", own(Special::Thread), &[In(Len::Times32(1, 24)), Int, Int, reads(16), Int]).waits()
        .note("As futex. The words are read when it is decided."),
    call(454, "futex_wake", own(Special::Thread), &[Addr, Int, Int, Int]),
    call(455, "futex_wait", own(Special::Thread), &[reads(4), Int, Int, Int, reads(16), Int]).waits(),
    call(456, "futex_requeue", own(Special::Thread), &[reads(48), Int, Int, Int]),
    call(157, "prctl", Refused, &[Int, Addr, Addr, Addr, Addr]).error(libc::EINVAL)
        .note("Each option has a row of its own."),
    call(434, "pidfd_open", Sync, &[Int, Int]),
    call(424, "pidfd_send_signal", Sync, &[Fd, Int, reads(128), Int]),
    call(438, "pidfd_getfd", Sync, &[Fd, Int, Int]),
    call(312, "kcmp", First, &[Int, Int, Int, Int, Int])
        .note("Compares outsides, which hold the descriptors and the identity."),
    call(101, "ptrace", Refused, &[Int, Int, Addr, Addr])
        .note("A tracer would see one replica, or an outside, instead of the program: debug the program without replication."),
    call(310, "process_vm_readv", Refused, &[Int, Addr, Int, Addr, Int, Int])
        .note("The memory of another process exists N times: see ptrace."),
    call(311, "process_vm_writev", Refused, &[Int, Addr, Int, Addr, Int, Int])
        .note("The memory of another process exists N times: see ptrace."),
    call(440, "process_madvise", Nosys, &[Fd, Addr, Int, Int, Int])
        .note("Advice on the memory of another process, which exists N times; it may be left out."),
    call(448, "process_mrelease", Nosys, &[Fd, Int])
        .note("Hurries the release of a dying process's memory; it may be left out."),
    call(272, "unshare", Refused, &[Int])
        .note("Namespaces and tables of the outside would part from those of its replicas."),
    call(308, "setns", Refused, &[Fd, Int])
        .note("Namespaces and tables of the outside would part from those of its replicas."),
];
