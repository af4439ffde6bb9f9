//! The end of an exec: what it does to the outside once the replicas have done it.
//!
//! Invariant: what the kernel took from the replicas is taken from the outside too, before the new
//! program makes its first call: descriptors, dispositions, timers, rights.

use chameleon_sys::executor::slot;
use chameleon_sys::rights::{self, Capabilities};

use super::Dispatcher;
use super::pending::SI_TIMER;
use super::work::process_steps;
use crate::arena::{Action, commit, phase, rstate};
use crate::outside::op;

impl Dispatcher {
    /// All replicas have made their first call after an exec was let through: did it succeed?
    pub(super) fn exec_came_back(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let (mut done, mut not) = (0, 0);
        for r in &task.replicas[..task.n as usize] {
            if r.state == rstate::PARKED && r.seq == task.head {
                if r.execs > task.execs { done += 1 } else { not += 1 }
            }
        }
        task.quorum_at = 0;
        if done <= not {
            task.exec_pending = 0;
            // One that executes it again in a replay calls otherwise if it succeeds then.
            if let Some(g) = self.group_of(t) {
                self.group_has_changed(g);
            }
            return true; // the replicas saw the error themselves
        }
        task.phase = phase::WORK;
        task.step = process_steps::EXEC;
        true
    }

    /// The outside's part of an exec.
    pub(super) fn exec_step(&mut self, t: usize) -> bool {
        if self.arena.task(t).leader as usize != t {
            return self.becomes_first(t);
        }
        if !self.detach_for_exec(t) {
            return false;
        }
        if !self.anybody_came_back(t) {
            self.behind = true; // killed meanwhile: made anew, they come back again
            return false;
        }
        let task = self.arena.task(t);
        if task.step == process_steps::EXEC {
            self.end_other_threads(t);
            if !self.is_last_thread(t) {
                return false;
            }
            self.quick.forget_table(self.arena.task(t).table);
            self.descriptor_slots(self.arena.task(t).leader as usize);
            let len = self.arena.task(t).kept;
            let Some([e, p, i]) = self.rights_after_exec(t) else {
                self.behind = true; // its death is told in a moment
                return false;
            };
            self.request_then(t, op::EXEC, [len, e, p, i, 0, 0], process_steps::EXEC + 1);
            return false;
        }
        if self.taken(t).is_none() {
            return false;
        }
        self.take_signals(t);
        self.forget_timers(t);
        let leader = self.arena.task(t).leader as usize;
        for s in 1..=64 {
            let a = self.arena.action(leader, s);
            let handler = u64::from(a.handler == 1);
            *a = Action { handler, ..bytemuck::Zeroable::zeroed() };
        }
        // execve(2): what was pending stays so, and its handler is gone.
        self.sort_out_defaults(t);
        let at = self.arena.slot(t) + slot::TITLE;
        let task = self.arena.task(t);
        task.name.copy_from_slice(self.arena.region.bytes(at, 16));
        task.lent = [0; 16];
        if let Some(g) = self.group_of(t) {
            self.group_has_changed(g);
        }
        (task.group, task.robust, task.clears) = (0, 0, 0);
        task.inside = bytemuck::Zeroable::zeroed();
        (task.shares, task.unites, task.unforked) = (0, 0, 0);
        task.noted.after_exec();
        // Not counted on: a successor may come here again.
        let replicas = &task.replicas[..task.n as usize];
        let here = replicas.iter().filter(|r| r.state == rstate::PARKED && r.seq == task.head);
        task.execs = here.map(|r| r.execs).max().unwrap_or(task.execs);
        self.release_vfork_parent(t);
        self.image_is_new(t);
        let task = self.arena.task(t);
        task.exec_pending = 0;
        commit();
        task.phase = phase::COLLECT;
        commit();
        task.step = 0;
        true
    }

    /// Whether a replica stands at its first call in the new program.
    fn anybody_came_back(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let mut all = task.replicas[..task.n as usize].iter();
        all.any(|r| r.state == rstate::PARKED && r.seq == task.head)
    }

    /// The capabilities that the kernel has left to the replicas: effective, permitted, inheritable. `None`
    /// if none lives that could be asked.
    fn rights_after_exec(&self, t: usize) -> Option<[u64; 3]> {
        let task = self.arena.task(t);
        let here = task.replicas[..task.n as usize].iter();
        let mut of_each = here
            .filter(|r| r.state == rstate::PARKED && r.seq == task.head)
            .filter_map(|r| rights::of(r.pid));
        let Capabilities { effective, permitted, inheritable } = of_each.next()?;
        Some([effective, permitted, inheritable])
    }

    /// execve(2): timers of timer_create(2) are gone, and what they had sent.
    fn forget_timers(&mut self, t: usize) {
        let mut i = 0;
        while i < self.arena.task(t).pending as usize {
            if self.arena.task(t).signals[i][1] as u32 == SI_TIMER {
                self.drop_pending(t, i);
            } else {
                i += 1;
            }
        }
    }
}
