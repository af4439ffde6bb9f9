//! What is looked at now and then while somebody is behind or checkpoints are taken: replicas that are late,
//! that compute without end, and what is due by time.
//!
//! Invariant: nothing here decides a call; a replica is late only if others have waited for it.

use chameleon_proto::event::Reason;
use chameleon_sys::{cpu, fd};

use super::Dispatcher;
use crate::arena::rstate;

/// A replica that others wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptBack {
    /// Since when they do.
    since: u64,
    /// How long it had waited for a processor when that was first seen.
    waited: u64,
    looked_at: u64,
}

impl Dispatcher {
    /// Looks for replicas that others have waited for too long.
    pub(super) fn check_late(&mut self) {
        self.behind = false;
        let now = self.now;
        self.looked_at = now;
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if t == 0 && task.used == 3 && task.ending == 1 {
                self.behind = true;
                self.push_root_out();
                continue;
            }
            if task.used != 2 {
                continue;
            }
            for r in 0..task.n as usize {
                let x = task.replicas[r];
                if x.state != rstate::RUNNING || self.is_rolling(t) {
                    continue;
                }
                let since = if x.seq < task.head {
                    self.arena.entry(t, x.seq).decided_at
                } else {
                    task.quorum_at
                };
                if since == 0 {
                    continue;
                }
                let Some(since) = self.late_since(t, r, since) else { continue };
                self.behind = true;
                // Replicas that share CPUs finish a long computation far apart: a late one is
                // granted half of what it took the others, if that is more than the timeout.
                let computing = since.saturating_sub(x.since());
                let limit = (self.timeout.current().as_nanos() as u64).max(computing / 2);
                let kept = self.kept_from_running(x.pid, since);
                let came = fd::has_input(x.listener as i32); // perhaps this one, and it is to be received
                if now.saturating_sub(since + kept) > limit && !came {
                    self.lose(t, r, Reason::Late);
                }
            }
            self.drive(t);
            if self.arena.task(t).used == 2
                && !(self.arena.task(t).group != 0 && self.is_rolling(t))
            {
                if self.arena.task(t).group != 0 {
                    self.blame_crashes(t);
                }
                self.flush_running(t);
                self.preempt_computing(t);
                self.check_progress(t);
                self.freeze_computing(t);
                self.freeze_waiting(t);
                self.grow_at_rest(t);
            }
        }
        for g in self.groups() {
            self.preempt_group(g);
            if self.settings.checkpoints.is_some() {
                self.look_at_ended(g);
                self.drive_group(g);
            }
        }
        self.sweep_threads();
        self.keep_within_budget();
        self.kept_back.retain(|_, kept| kept.looked_at == now);
    }

    /// How long a replica has waited for a processor since others wait for it, in nanoseconds: as far as is known,
    /// which is from the first look on. On a machine with much to do that is not its fault.
    fn kept_from_running(&mut self, pid: u32, since: u64) -> u64 {
        let (waited, looked_at) = (cpu::waited_ns(pid), self.now);
        let new = KeptBack { since, waited, looked_at };
        let kept = self.kept_back.entry(pid).or_insert(new);
        if kept.since != since {
            *kept = new;
        }
        kept.looked_at = looked_at;
        waited.saturating_sub(kept.waited)
    }
}
