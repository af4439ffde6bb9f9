//! Rows of the calls on clocks, timers, sleeping and scheduling.
//!
//! Invariant: data only. CPU time is that of the replicas; wall time is read once by the outside.

use super::words::*;

/// Why a scheduling class is given to the outside alone.
const CLASS: &str =
    "Only the outside: real-time replicas could keep the processor from the one that votes.";

/// Time and scheduling.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(201, "time", First, &[writes(8)]),
    call(96, "gettimeofday", First, &[writes(16), writes(8)]),
    call(164, "settimeofday", Sync, &[reads(16), reads(8)]),
    call(228, "clock_gettime", First, &[Int, writes(16)]).note("CPU clocks are CpuTime: see resolve."),
    call(227, "clock_settime", Sync, &[Int, reads(16)]),
    call(229, "clock_getres", First, &[Int, writes(16)]),
    call(230, "clock_nanosleep", Sync, &[Int, Int, reads(16), touches(16)]).retracted().sleeps()
        .note("What remains is written when a signal ends it."),
    call(35, "nanosleep", Sync, &[reads(16), touches(16)]).retracted().sleeps()
        .note("What remains is written when a signal ends it."),
    call(159, "adjtimex", Sync, &[updates(208)]),
    call(305, "clock_adjtime", Sync, &[Int, updates(208)]),
    call(100, "times", own(Special::CpuTime), &[writes(32)]),
    call(98, "getrusage", own(Special::CpuTime), &[Int, writes(144)]),
    call(37, "alarm", Sync, &[Int]),
    call(36, "getitimer", First, &[Int, writes(32)]),
    call(38, "setitimer", Sync, &[Int, reads(32), writes(32)]).note("Timers of CPU time are CpuTimer: see resolve."),
    call(222, "timer_create", Sync, &[Int, reads(64), writes(4)]).note("Timers of CPU time are refused: see resolve."),
    call(223, "timer_settime", Sync, &[Int, Int, reads(32), writes(32)]),
    call(224, "timer_gettime", First, &[Int, writes(32)]),
    call(225, "timer_getoverrun", First, &[Int]),
    call(226, "timer_delete", Sync, &[Int]),
    call(24, "sched_yield", own(Special::Thread), &[]).retracted().note("Changes nothing but who runs next: with several replicas the dispatcher decides it for all."),
    call(309, "getcpu", First, &[writes(4), writes(4), Addr]),
    call(140, "getpriority", First, &[Int, Int]),
    call(141, "setpriority", Sync, &[Int, Int, Int]).note("The caller's own is Mirror: see resolve."),
    call(142, "sched_setparam", Sync, &[Int, reads(4)]).note(CLASS),
    call(143, "sched_getparam", First, &[Int, writes(4)]),
    call(144, "sched_setscheduler", Sync, &[Int, Int, reads(4)]).note(CLASS),
    call(145, "sched_getscheduler", First, &[Int]),
    call(146, "sched_get_priority_max", First, &[Int]),
    call(147, "sched_get_priority_min", First, &[Int]),
    call(148, "sched_rr_get_interval", First, &[Int, writes(16)]),
    call(203, "sched_setaffinity", Sync, &[Int, Int, reads_arg32(1)])
        .note("Where replicas run is decided by the placement, not by the program."),
    call(204, "sched_getaffinity", First, &[Int, Int, fills32(1)]),
    call(314, "sched_setattr", Sync, &[Int, In(Len::Inside(Inside::SchedAttr(1))), Int]).note(CLASS),
    call(315, "sched_getattr", First, &[Int, InOut(Len::Arg32(2)), Int, Int])
        .note("Newer kernels clear what they do not know, older ones leave it."),
    call(251, "ioprio_set", Sync, &[Int, Int, Int]).note("Input and output are the outside's."),
    call(252, "ioprio_get", First, &[Int, Int]),
];
