//! Semaphores, message queues and segments of System V (sysvipc(7)): they stay in the kernel when the program ends, and
//! go on changing after a cut, so that there is no image of a program that has used any.
//!
//! Invariant: what has been used once counts until the program ends; a successor knows it.

use super::Dispatcher;

/// Kinds, as bits in the arena's header, and the calls of each that use one, beside those that only ask.
const KINDS: [(u64, &[i64], &str); 3] = [
    (1, &[libc::SYS_shmget, libc::SYS_shmat], "it has a segment of shared memory (shmget(2))"),
    (
        2,
        &[libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop],
        "it has used semaphores of System V (semget(2))",
    ),
    (
        4,
        &[libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv],
        "it has used a message queue of System V (msgget(2))",
    ),
];

impl Dispatcher {
    /// A call is decided, with `ret`.
    pub(in crate::dispatcher) fn note_ipc(&mut self, nr: u32, ret: i64) {
        let failed = (-4095..0).contains(&ret);
        if self.durable.is_none() || failed {
            return;
        }
        let kind = KINDS.iter().find(|(_, calls, _)| calls.contains(&nr.into()));
        let Some((bit, ..)) = kind.filter(|(bit, ..)| self.arena.header().ipc & bit == 0) else {
            return;
        };
        self.arena.header().ipc |= bit;
        // A restart from an image of before finds them as they are.
        let what = "memory, semaphores or queues of System V were used (sysvipc(7))";
        if let Err(why) = self.log(|log| log.note(what)) {
            self.undo_is_broken(&why);
        }
    }

    /// What of it stands in the way of an image.
    pub(super) fn ipc_in_the_way(&self) -> Option<&'static str> {
        let used = self.arena.header().ipc;
        KINDS.iter().find(|(bit, ..)| used & bit != 0).map(|(.., why)| *why)
    }
}
