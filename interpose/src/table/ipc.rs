//! Rows of System V and POSIX message queues, semaphores, shared memory, and of keys.
//!
//! Invariant: data only. The objects are the machine's and exist once; mappings of shared memory
//! are the handler's. Requests of the `ctl` calls stand in `ctl.rs`.

use super::words::*;

/// Interprocess communication and keys.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(29, "shmget", Sync, &[Int, Int, Int]),
    call(30, "shmat", own(Special::SharedMemory), &[Int, Addr, Int])
        .note("The outside attaches the segment; each of several replicas maps a copy of its own."),
    call(67, "shmdt", own(Special::SharedMemory), &[Addr]),
    call(31, "shmctl", Refused, &[Int, Int, Addr]).error(libc::EINVAL).note("Each command has a row of its own."),
    call(64, "semget", Sync, &[Int, Int, Int]),
    call(65, "semop", Sync, &[Int, In(Len::Times32(2, 6)), Int]).sleeps(),
    call(220, "semtimedop", Sync, &[Int, In(Len::Times32(2, 6)), Int, reads(16)]).sleeps(),
    call(66, "semctl", Refused, &[Int, Int, Int, Addr]).error(libc::EINVAL).note("Each command has a row of its own."),
    call(68, "msgget", Sync, &[Int, Int]),
    call(69, "msgsnd", Sync, &[Int, In(Len::ArgPlus(2, 8)), Int, Int]).sleeps(),
    call(70, "msgrcv", Sync, &[Int, Out { cap: Len::ArgPlus(2, 8), used: Len::RetPlus(8) }, Int, Int, Int]).sleeps(),
    call(71, "msgctl", Refused, &[Int, Int, Addr]).error(libc::EINVAL).note("Each command has a row of its own."),
    call(240, "mq_open", Sync, &[Str, Int, Int, reads(64)]),
    call(241, "mq_unlink", Sync, &[Str]),
    call(242, "mq_timedsend", Sync, &[Fd, reads_arg(2), Int, Int, reads(16)]).waits(),
    call(243, "mq_timedreceive", Sync, &[Fd, fills(2), Int, writes(4), reads(16)]).waits(),
    call(244, "mq_notify", Sync, &[Fd, reads(64)])
        .note("SIGEV_THREAD, whose value points to a cookie, needs a thread and fails with EFAULT."),
    call(245, "mq_getsetattr", Sync, &[Fd, reads(64), writes(64)]),
    call(248, "add_key", Sync, &[Str, Str, reads_arg(3), Int, Int]),
    call(249, "request_key", Sync, &[Str, Str, Str, Int]).waits(),
    call(250, "keyctl", Refused, &[Int, Addr, Addr, Addr, Addr]).error(libc::EOPNOTSUPP)
        .note("Each operation has a row of its own."),
];
