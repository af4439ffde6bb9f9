//! Options of setsockopt(2) and getsockopt(2) whose value is more than the bytes it has.
//!
//! Invariant: data only. Found by level and option; any other option has the row of the call.

use super::words::*;

/// Level, option, and the row.
pub(super) type Choice = (u32, u32, Row);

/// Why a value with a pointer is refused.
const POINTER: &str = "The value points to further memory.";

/// Why zero copy is not offered.
const ZEROCOPY: &str = "The kernel would send from memory that has long been used for the next call; programs copy instead.";

/// Row of an option that is refused.
const fn no(name: &'static str, note: &'static str) -> Row {
    call(0, name, Refused, &[Fd, Int, Int, Addr, Int]).error(libc::ENOPROTOOPT).note(note).row
}

/// Arguments of an option whose value is read before it is written.
const BOTH: &[Arg] = &[Fd, Int, Int, InOut(Len::U32At(4)), updates(4)];

/// Row of such an option.
const fn both(name: &'static str) -> Row {
    call(0, name, Sync, BOTH).row
}

/// Row of an option whose value leads to a program for packets.
const fn filter(name: &'static str) -> Row {
    call(0, name, Sync, &[Fd, Int, Int, Filter, Int]).row
}

/// Options to set.
pub(super) static SET: &[Choice] = &[
    (0, 64, no("setsockopt IPT_SO_SET_REPLACE", POINTER)),
    (0, 96, no("setsockopt ARPT_SO_SET_REPLACE", POINTER)),
    (0, 128, no("setsockopt EBT_SO_SET_ENTRIES", POINTER)),
    (1, 26, filter("setsockopt SO_ATTACH_FILTER")),
    (1, 51, filter("setsockopt SO_ATTACH_REUSEPORT_CBPF")),
    (
        1,
        60,
        call(0, "setsockopt SO_ZEROCOPY", Nosys, &[Fd, Int, Int, Addr, Int])
            .error(libc::EOPNOTSUPP)
            .note(ZEROCOPY)
            .row,
    ),
    (41, 64, no("setsockopt IP6T_SO_SET_REPLACE", POINTER)),
    (263, 22, no("setsockopt PACKET_FANOUT_DATA", POINTER)),
];

/// Options to get.
pub(super) static GET: &[Choice] = &[
    (0, 41, both("getsockopt IP_MSFILTER")),
    (0, 48, both("getsockopt MCAST_MSFILTER")),
    (0, 64, both("getsockopt IPT_SO_GET_INFO")),
    (0, 65, both("getsockopt IPT_SO_GET_ENTRIES")),
    (1, 26, no("getsockopt SO_GET_FILTER", "The length counts instructions, not bytes.")),
    (6, 35, no("getsockopt TCP_ZEROCOPY_RECEIVE", "Would map received pages into the outside.")),
    (41, 48, both("getsockopt MCAST_MSFILTER (IPv6)")),
    (41, 64, both("getsockopt IP6T_SO_GET_INFO")),
    (41, 65, both("getsockopt IP6T_SO_GET_ENTRIES")),
];

/// Any option of SCTP to get: many read the association from the value first.
pub(super) static GET_SCTP: Row = both("getsockopt SOL_SCTP");

/// `SOL_SCTP`.
pub(super) const SCTP: u32 = 132;

/// The row of an option that has one.
pub(super) fn find(table: &'static [Choice], level: u32, option: u32) -> Option<&'static Row> {
    table.iter().find(|c| c.0 == level && c.1 == option).map(|c| &c.2)
}
