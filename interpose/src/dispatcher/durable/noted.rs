//! What the program has said that nobody else is told of: noted as its calls are decided. Some of it is in an image,
//! and of the rest there is none.
//!
//! Invariant: a fork and an exec keep of it what the kernel keeps; a successor knows it.

use crate::arena::{Entry, Noted};
use crate::dispatcher::Dispatcher;

/// Bits of [`Noted::refused`], and why there is no image then.
const DUMPABLE: u64 = 1;
const KEEP_CAPS: u64 = 1 << 1;
const SECURE_BITS: u64 = 1 << 2;
const FLUSHER: u64 = 1 << 3;
const MEMORY_FAULTS: u64 = 1 << 4;
const WRITE_EXEC: u64 = 1 << 5;
const MERGE: u64 = 1 << 6;
const SPECULATION: u64 = 1 << 7;
const KEYS: u64 = 1 << 8;
const NOTIFY: u64 = 1 << 9;
const MULTICAST: u64 = 1 << 10;
const FILTER: u64 = 1 << 11;
const LOCK_FUTURE: u64 = 1 << 12;
const SEGMENTS: u64 = 1 << 13;
const PROTECTION: u64 = 1 << 14;
const SEALS: u64 = 1 << 15;
const TUNNEL: u64 = 1 << 16;
const LABELS: u64 = 1 << 17;
const PACKETS: u64 = 1 << 18;

const WHY: &[(u64, &str)] = &[
    (DUMPABLE, "it is not to be looked into (prctl(2), PR_SET_DUMPABLE)"),
    (KEEP_CAPS, "it keeps its capabilities over a change of user (prctl(2), PR_SET_KEEPCAPS)"),
    (SECURE_BITS, "it has changed what root means to it (prctl(2), PR_SET_SECUREBITS)"),
    (FLUSHER, "it writes for a file system (prctl(2), PR_SET_IO_FLUSHER)"),
    (MEMORY_FAULTS, "it has said how it is told of broken memory (prctl(2), PR_MCE_KILL)"),
    (WRITE_EXEC, "it may not make memory executable (prctl(2), PR_SET_MDWE)"),
    (MERGE, "it has its memory merged with others' (prctl(2), PR_SET_MEMORY_MERGE)"),
    (SPECULATION, "it has said what the CPU may guess (prctl(2), PR_SET_SPECULATION_CTRL)"),
    (KEYS, "it has used keys of the kernel (keyrings(7))"),
    (NOTIFY, "it watches a directory (fcntl(2), F_NOTIFY)"),
    (MULTICAST, "it has joined a group of receivers (ip(7), IP_ADD_MEMBERSHIP)"),
    (FILTER, "a socket of it has a filter (socket(7), SO_ATTACH_FILTER)"),
    (LOCK_FUTURE, "it locks the memory that it will map (mlockall(2), MCL_FUTURE)"),
    (SEGMENTS, "it has segments of its own (modify_ldt(2))"),
    (PROTECTION, "it has keys for its memory (pkeys(7))"),
    (SEALS, "it has sealed memory (mseal(2))"),
    (TUNNEL, "a socket of it has a protocol on top (TCP_ULP, TCP_MD5SIG, UDP_ENCAP)"),
    (LABELS, "it has set security attributes (lsm_set_self_attr(2))"),
    (PACKETS, "it has made a pipe of packets (pipe2(2), O_DIRECT)"),
];

/// What goes with the memory that an exec replaces, or that it sets back (prctl(2), execve(2)).
const ENDED_BY_EXEC: u64 =
    DUMPABLE | KEEP_CAPS | WRITE_EXEC | LOCK_FUTURE | SEGMENTS | PROTECTION | SEALS;
/// What a child does not have (fork(2)).
const NOT_INHERITED: u64 = LOCK_FUTURE;

/// lsm_set_self_attr(2); the libc crate lacks it.
const LSM_SET_SELF_ATTR: i64 = 460;
/// prctl(2); the libc crate lacks some.
const PR_SET_IO_FLUSHER: i32 = 57;
const PR_SET_MDWE: i32 = 65;
const PR_SET_MEMORY_MERGE: i32 = 67;

/// Which bit a call that succeeded sets, or takes away if it went back to what is at first.
fn said(e: &Entry) -> Option<(u64, bool)> {
    let arg = |i: usize| e.args[i] as i32;
    let prctl = |bit| Some((bit, arg(1) != 0));
    match i64::from(e.nr) {
        libc::SYS_prctl => match arg(0) {
            libc::PR_SET_DUMPABLE => Some((DUMPABLE, arg(1) != 1)),
            libc::PR_SET_KEEPCAPS => prctl(KEEP_CAPS),
            libc::PR_SET_SECUREBITS => prctl(SECURE_BITS),
            PR_SET_IO_FLUSHER => prctl(FLUSHER),
            libc::PR_MCE_KILL => prctl(MEMORY_FAULTS),
            PR_SET_MDWE => prctl(WRITE_EXEC),
            PR_SET_MEMORY_MERGE => prctl(MERGE),
            libc::PR_SET_SPECULATION_CTRL => Some((SPECULATION, true)),
            _ => None,
        },
        libc::SYS_add_key | libc::SYS_request_key => Some((KEYS, true)),
        libc::SYS_keyctl => Some((KEYS, arg(0) != 0)), // KEYCTL_GET_KEYRING_ID
        LSM_SET_SELF_ATTR => Some((LABELS, true)),
        libc::SYS_pipe2 if arg(1) & libc::O_DIRECT != 0 => Some((PACKETS, true)),
        libc::SYS_fcntl if arg(1) == libc::F_NOTIFY && arg(2) != 0 => Some((NOTIFY, true)),
        libc::SYS_setsockopt => match (arg(1), arg(2)) {
            // IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP;
            // IPV6_ADD_MEMBERSHIP, IPV6_JOIN_ANYCAST.
            (libc::IPPROTO_IP, 35 | 39 | 42 | 46) => Some((MULTICAST, true)),
            (libc::IPPROTO_IPV6, 20 | 27 | 42 | 46) => Some((MULTICAST, true)),
            // SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and _EBPF.
            (libc::SOL_SOCKET, 26 | 50 | 51 | 52) => Some((FILTER, true)),
            // TCP_MD5SIG, TCP_ULP, TCP_MD5SIG_EXT; UDP_ENCAP.
            (libc::IPPROTO_TCP, 14 | 31 | 32) | (libc::IPPROTO_UDP, 100) => Some((TUNNEL, true)),
            _ => None,
        },
        libc::SYS_mlockall => Some((LOCK_FUTURE, arg(0) & libc::MCL_FUTURE != 0)),
        libc::SYS_modify_ldt if matches!(arg(0), 1 | 0x11) => Some((SEGMENTS, true)),
        libc::SYS_pkey_alloc if has_keys() => Some((PROTECTION, true)),
        libc::SYS_mseal => Some((SEALS, true)),
        _ => None,
    }
}

/// Whether this CPU has keys for memory (proc_cpuinfo(5), `ospke`): elsewhere none can be had.
fn has_keys() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.split_whitespace().any(|flag| flag == "ospke")
}

impl Noted {
    /// What a child of the process of `leader` has, made by the thread that this is of.
    pub(in crate::dispatcher) fn of_child(&self, leader: &Self) -> Self {
        let refused = leader.refused & !NOT_INHERITED;
        Self { refused, slack: self.slack, ..bytemuck::Zeroable::zeroed() }
    }

    /// The process has executed a program.
    pub(in crate::dispatcher) fn after_exec(&mut self) {
        self.refused &= !ENDED_BY_EXEC;
        self.forget_timers();
    }
}

impl Dispatcher {
    /// The call at the head of task `t` is decided, with `ret`.
    pub(in crate::dispatcher) fn note_said(&mut self, t: usize, ret: i64) {
        if self.durable.is_none() || (-4095..0).contains(&ret) {
            return;
        }
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        let noted = &mut self.arena.task(task.leader as usize).noted;
        match said(&e) {
            Some((bit, true)) => noted.refused |= bit,
            Some((bit, false)) => noted.refused &= !bit,
            None => {}
        }
        match i64::from(e.nr) {
            libc::SYS_timer_settime => {
                noted.note_timer(e.args[0] as i32, e.args[1] as i32 & libc::TIMER_ABSTIME != 0);
            }
            libc::SYS_timer_delete => noted.note_timer(e.args[0] as i32, false),
            libc::SYS_prctl => match e.args[0] as i32 {
                libc::PR_SET_CHILD_SUBREAPER => noted.subreaper = u32::from(e.args[1] != 0),
                libc::PR_SET_PDEATHSIG => task.noted.death = e.args[1] as u32,
                libc::PR_SET_TIMERSLACK => task.noted.slack = e.args[1],
                _ => {}
            },
            _ => {}
        }
    }

    /// What of it stands in the way of an image of the process of task `leader`.
    pub(super) fn said_in_the_way(&self, leader: usize) -> Option<&'static str> {
        let refused = self.arena.task(leader).noted.refused;
        WHY.iter().find(|(bit, _)| refused & bit != 0).map(|(_, why)| *why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_its_words_and_what_is_set_back_is_forgotten() {
        let all = WHY.iter().fold(0, |all, (bit, _)| all | bit);
        assert_eq!(all.count_ones() as usize, WHY.len());
        assert_eq!(all, (PACKETS << 1) - 1);
        let mut e: Entry = bytemuck::Zeroable::zeroed();
        e.nr = libc::SYS_prctl as u32;
        e.args[..2].copy_from_slice(&[libc::PR_SET_DUMPABLE as u64, 0]);
        assert_eq!(said(&e), Some((DUMPABLE, true)));
        e.args[1] = 1;
        assert_eq!(said(&e), Some((DUMPABLE, false)));
    }
}
