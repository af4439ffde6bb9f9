//! Rows of the signal calls.
//!
//! Invariant: data only. Signals reach the outside; handlers and masks live in the replicas.

use super::words::*;

/// Signals.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(13, "rt_sigaction", own(Special::SigAction), &[Int, reads(32), writes(32), Int]).retracted(),
    call(14, "rt_sigprocmask", own(Special::SigMask), &[Int, reads(8), writes(8), Int]).retracted(),
    call(15, "rt_sigreturn", own(Special::SigReturn), &[]),
    call(130, "rt_sigsuspend", own(Special::MaskedWait), &[reads(8), Int]).sleeps(),
    call(34, "pause", own(Special::MaskedWait), &[]).sleeps(),
    call(127, "rt_sigpending", Sync, &[Out { cap: Len::Arg(1), used: Len::Arg(1) }, Int]).retracted()
        .note("A size above 8 is refused by the kernel."),
    call(128, "rt_sigtimedwait", Sync, &[reads(8), writes(128), reads(16), Int]).sleeps(),
    call(129, "rt_sigqueueinfo", Sync, &[Int, Int, reads(128)]),
    call(297, "rt_tgsigqueueinfo", Sync, &[Int, Int, Int, reads(128)]),
    call(62, "kill", Sync, &[Int, Int]),
    call(200, "tkill", Sync, &[Int, Int]),
    call(234, "tgkill", Sync, &[Int, Int, Int]),
    call(131, "sigaltstack", Native, &[Addr, Addr]),
    call(219, "restart_syscall", Native, &[])
        .note("Only the kernel makes it, to go on with a native call after a stop."),
];
