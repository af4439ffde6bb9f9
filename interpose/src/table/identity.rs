//! Rows of the calls on users, groups, capabilities, limits and personality.
//!
//! Invariant: data only. What is asked for is answered by the outside; what is changed is changed
//! there and, once it succeeded, in every replica.

use super::words::*;

/// The data of capget(2): its size depends on the version in the header.
const CAPS: Len = Len::Inside(Inside::CapData(0));

/// Identity and limits.
#[rustfmt::skip]
pub(super) const ROWS: &[Entry] = &[
    call(102, "getuid", First, &[]),
    call(104, "getgid", First, &[]),
    call(107, "geteuid", First, &[]),
    call(108, "getegid", First, &[]),
    call(118, "getresuid", First, &[writes(4), writes(4), writes(4)]),
    call(120, "getresgid", First, &[writes(4), writes(4), writes(4)]),
    call(115, "getgroups", First, &[Int, Out { cap: Len::Times32(0, 4), used: Len::RetTimes(4) }]),
    call(105, "setuid", Mirror, &[Int]),
    call(106, "setgid", Mirror, &[Int]),
    call(113, "setreuid", Mirror, &[Int, Int]),
    call(114, "setregid", Mirror, &[Int, Int]),
    call(117, "setresuid", Mirror, &[Int, Int, Int]),
    call(119, "setresgid", Mirror, &[Int, Int, Int]),
    call(122, "setfsuid", Mirror, &[Int]),
    call(123, "setfsgid", Mirror, &[Int]),
    call(116, "setgroups", Mirror, &[Int, In(Len::Times32(0, 4))]),
    call(125, "capget", First, &[touches(8), Out { cap: CAPS, used: CAPS }])
        .note("The header is written when its version is unknown."),
    call(126, "capset", Mirror, &[touches(8), In(CAPS)])
        .note("The header may hold the caller's number, which is the outside's: a replica is given 0."),
    call(97, "getrlimit", First, &[Int, writes(16)]),
    call(160, "setrlimit", Mirror, &[Int, reads(16)]),
    call(302, "prlimit64", Mirror, &[Int, Int, reads(16), writes(16)])
        .note("See resolve: a query is First, another process's limits are Sync."),
    call(135, "personality", Mirror, &[Int])
        .note("Replicas keep ADDR_NO_RANDOMIZE whatever the program asks for."),
];
