//! Rollback while a child of vfork(2) runs in the memory of its parent (posix_spawn(3), too).
//!
//! ```text
//!   parent  ── checkpoint ── … ── vfork ┄┄┄┄┄┄┄ held ┄┄┄┄┄┄┄┄ behind it: a checkpoint
//!   child                           └── calls ── exec or exit ──┘
//! ```
//!
//! Neither can be made anew without the other. So both end, the parent is made of its checkpoint, bears the
//! child again at the same call, and the child is given its calls from the first on.
//!
//! Invariant: while the child has its parent's memory its calls are kept from the first on, or nothing is
//! gone back to; what it has written there is the parent's when that goes on, with a checkpoint.

use super::Dispatcher;
use super::process::{clone_args, is_fork};
use crate::arena::{Replica, job, rolling, rstate, want};

impl Dispatcher {
    /// The parent and the child of a vfork, one of which task `t` is, as long as the child has not executed a
    /// program or ended.
    fn vfork_of(&self, t: usize) -> Option<(usize, usize)> {
        let lends = |c: &usize| {
            let x = self.arena.task(*c);
            x.used == 2 && x.vfork_parent as usize == t + 1
        };
        let (parent, child) = match (0..self.tasks()).find(lends) {
            Some(child) => (t, child),
            None => ((self.arena.task(t).vfork_parent as usize).checked_sub(1)?, t),
        };
        let lives = |t: usize| {
            let x = self.arena.task(t);
            x.used == 2 && x.dying == 0 && x.exiting == 0 && x.group == 0
        };
        (lives(parent) && lives(child)).then_some((parent, child))
    }

    /// Whose checkpoints a task goes back to, and the child that it lends its memory to, if that goes with it.
    pub(super) fn goes_back_with(&self, t: usize) -> (usize, Option<usize>) {
        // A child that has just executed a program has its own.
        let own = |t: usize| self.places().any(|p| self.is_usable(t, p));
        match self.vfork_of(t) {
            Some((parent, child)) if t == parent || !own(child) => {
                let from_birth = self.is_kept_from_birth(child) && own(parent);
                if from_birth { (parent, Some(child)) } else { (t, None) }
            }
            _ => (t, None),
        }
    }

    /// Whether the calls of a vfork child are there from the first on, and can be given again.
    fn is_kept_from_birth(&self, child: usize) -> bool {
        let task = self.arena.task(child);
        task.vfork_parent != 0 && task.tail == 0 && task.recovery.from == 0
    }

    /// Whether the calls of a task are to be kept from the first on, though no replica is so far behind.
    pub(super) fn keeps_from_birth(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let kept = self.settings.checkpoints.is_some() && self.is_kept_from_birth(t);
        kept && task.head < self.arena.entries() / 2 && task.data_head < self.arena.data_len() / 2
    }

    /// The child of a vfork is to be made again with its parent: its replicas have ended, and its calls are
    /// compared with those that come.
    pub(super) fn unbear(&mut self, child: usize) {
        self.compare_from(child, 0);
        let wanted = self.wanted_replicas();
        let task = self.arena.task(child);
        task.lost_cpu = task.shown_cpu;
        for (r, x) in task.replicas[..task.n as usize].iter_mut().enumerate() {
            let state = if wanted & (1 << r) == 0 { rstate::DEAD } else { rstate::EXPECTED };
            *x = Replica { state, class: 255, ..bytemuck::Zeroable::zeroed() };
        }
        let recovery = &mut task.recovery;
        (recovery.resume, recovery.resumed_from, recovery.rolling) =
            (task.head, 1, rolling::REPLAY);
    }

    /// Whether a task is a vfork child that its parent is yet to bear again.
    pub(super) fn is_unborn(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        task.vfork_parent != 0 && task.recovery.rolling == rolling::REPLAY
    }

    /// A replica that is made to pass call `seq` once more bears the child that it made there, if that still
    /// has its memory. Whether it does.
    pub(super) fn bears_vfork_again(&mut self, t: usize, r: usize, seq: u64) -> bool {
        let e = *self.arena.entry(t, seq);
        let Some(child) = (e.child as usize).checked_sub(1) else { return false };
        let c = self.arena.task(child);
        let holds = c.used == 2 && c.ordinal == e.child_ordinal && c.vfork_parent as usize == t + 1;
        if !holds || self.group_of(t).is_some() {
            return false;
        }
        if e.inside != 0 {
            self.write_inside(t, self.arena.task(t).replicas[r].pid, &e);
        }
        let [flags, stack, ptid, ctid, tls] = clone_args(e.nr, &e.args);
        let mut job = self.job_for(t, r, job::FORK);
        (job.ret, job.hold, job.child_task) = (e.ret, 1, child as u32);
        job.args = [flags, stack, ptid, ctid, tls, 0];
        self.behind |= !self.ask(job);
        true
    }

    /// A vfork child no longer has its parent's memory, in which it may have written: nothing from before
    /// is of use to the parent.
    pub(super) fn note_written_by_child(&mut self, p: usize, child: usize) {
        let task = self.arena.task(p);
        if self.settings.checkpoints.is_none() || task.group != 0 {
            return;
        }
        let bore = |s: &u64| self.arena.entry(p, *s).child as usize == child + 1;
        let Some(seq) = (task.head.saturating_sub(1)..=task.head).find(bore) else { return };
        self.arena.entry(p, seq).once = 1;
        if seq < task.head {
            self.passes(p, seq);
            task.recovery.wanted = want::CALL;
        }
    }

    /// Whether a task that is rolled back waits for its parent to bear a replica of it.
    pub(super) fn awaits_birth(&mut self, t: usize) -> bool {
        let n = self.arena.task(t).n as usize;
        let Some(p) = (self.arena.task(t).vfork_parent as usize).checked_sub(1) else {
            return false;
        };
        let parent_is_back = self.arena.task(p).recovery.rolling == rolling::NO;
        let mut waits = false;
        for r in 0..n {
            if self.arena.task(t).replicas[r].state != rstate::EXPECTED {
                continue;
            }
            if parent_is_back && !self.has_job(t, r) {
                self.arena.task(t).replicas[r].state = rstate::DEAD; // its parent's replica is gone
            } else {
                waits = true;
            }
        }
        waits
    }

    /// Whether a call that makes a task can be made again in the replay.
    pub(super) fn is_born_again(&self, t: usize) -> bool {
        let e = self.arena.entry(t, self.arena.task(t).head);
        let Some(child) = (e.child as usize).checked_sub(1) else { return false };
        // That of a vfork is as long as it has its parent's memory.
        let holds = self.arena.task(child).vfork_parent as usize == t + 1;
        is_fork(e.nr) && (self.group_of(t).is_some() || holds)
    }
}
