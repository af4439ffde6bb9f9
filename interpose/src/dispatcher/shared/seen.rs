//! What the maps of the replicas at the head show.
//!
//! Invariant: a replica may be killed at any moment, and then its map is empty. What was found counts only if one of
//! those that were asked is still there.

use chameleon_sys::{notify, shadow};

use super::Dispatcher;
use crate::arena::{commit, phase, rstate};
use crate::dispatcher::work::Outcome;
use crate::maps;

/// Mappings begin at multiples of this, so that most can grow where they are.
const GRAIN: u64 = 2 << 20;

impl Dispatcher {
    /// Something of a replica that stands at the head with the decided ballot. One may have been killed
    /// while it waits; of its map nothing is left then.
    pub(super) fn of_a_winner<T>(&self, t: usize, read: impl Fn(u32) -> T) -> Option<T> {
        let task = self.arena.task(t);
        let votes = self.arena.entry(t, task.head).votes;
        let replicas = task.replicas[..task.n as usize].iter().enumerate();
        let winners = replicas.filter(|(r, x)| votes & (1 << r) != 0 && x.state == rstate::PARKED);
        let mut read = winners.map(|(_, x)| (read(x.pid), x));
        read.find(|(_, x)| notify::is_waiting(x.listener as i32, x.id)).map(|(found, _)| found)
    }

    /// What was found in the maps of replicas, if one of those that it was asked of is still there. What was not found
    /// in one that was killed meanwhile is not the program's: the call is collected again.
    pub(in crate::dispatcher) fn as_seen(&mut self, t: usize, outcome: Outcome) -> Outcome {
        let found = matches!(outcome, Outcome::Value(_) | Outcome::Remap | Outcome::Continue);
        if !found || self.arena.task(t).step != 0 || self.of_a_winner(t, |_| ()).is_some() {
            return outcome;
        }
        self.arena.task(t).phase = phase::COLLECT;
        commit();
        Outcome::Wait
    }

    /// Where `len` bytes are free in the replicas at the head, among the addresses for this.
    pub(super) fn free_place(&self, t: usize, len: u64) -> Option<u64> {
        let mut at = shadow::ADDRESSES.start;
        for r in self.of_a_winner(t, |pid| maps::within(pid, shadow::ADDRESSES))? {
            if r.start >= at + len {
                break;
            }
            at = at.max(r.end.next_multiple_of(GRAIN));
        }
        (at.saturating_add(len) <= shadow::ADDRESSES.end).then_some(at)
    }
}
