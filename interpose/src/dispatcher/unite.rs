//! Processes that come to share memory by its name, after their fork: from then on they run in one
//! order, as those do that shared it when they were forked (docs/adr/0010).
//!
//! ```text
//!  one maps what others have mapped ──► it waits ──► each of them stands at a call in all replicas
//!                                                     └──► one group ──► it maps
//! ```
//!
//! Invariant: a task is taken into a group, or from one into another, only while nothing of it or of
//! the group runs in any replica and all its ballots have been compared. Those who are waited for are
//! marked; marks that nobody needs any more are taken away, so that nobody is held for ever.

use chameleon_proto::event::Reason;

use super::Dispatcher;
use crate::arena::{Group, Replica, commit, is_live, phase, rstate};

/// How long others are waited for, in nanoseconds. One that computes without calls is preempted, as a
/// thread is; where that cannot be done it is not in the order of the one that maps, and they meet at
/// calls only.
const PATIENCE_NS: u64 = 500_000_000;

impl Dispatcher {
    /// Whether task `t`, which is about to map an object of others, has to wait until it is in one
    /// order with them.
    pub(super) fn must_unite(&mut self, t: usize, object: usize) -> bool {
        if !self.lockstep() {
            return false;
        }
        let all = self.to_unite(t, self.arena.object(object).group);
        let (leader, group) = (self.arena.task(t).leader, self.group_of(t));
        let alone = all.iter().all(|o| self.arena.task(*o).leader == leader);
        if alone || group.is_some() && all.iter().all(|o| self.group_of(*o) == group) {
            return false;
        }
        let task = self.arena.task(t);
        if task.unite_call != task.head + 1 {
            task.unite_until = self.now + PATIENCE_NS;
            commit();
            task.unite_call = task.head + 1;
        }
        for o in &all {
            self.arena.task(*o).unites = 1;
            if self.group_of(*o).is_none() && self.runs_alike(*o) {
                self.found_group(*o); // so that it can be preempted
            }
        }
        self.uniting = true; // marks are to be taken away in any case
        if self.unite(&all) {
            return false;
        }
        let waits = self.now < self.arena.task(t).unite_until;
        if !waits {
            all.iter().for_each(|o| self.arena.task(*o).apart = 1);
        }
        self.behind |= waits;
        waits
    }

    /// The tasks that will share memory when `t` belongs to those of `shares`. The child of a vfork is
    /// not among them: its parent waits for its exec.
    fn to_unite(&self, t: usize, shares: u32) -> Vec<usize> {
        let own = self.arena.task(t);
        let all = (0..self.tasks()).filter(|o| {
            let x = self.arena.task(*o);
            let same = x.shares != 0 && (x.shares == shares || x.shares == own.shares);
            x.used == 2 && x.vfork_parent == 0 && (x.leader == own.leader || same)
        });
        all.collect()
    }

    /// Whether a member of a group is waited for.
    pub(super) fn unites(&self, g: usize) -> bool {
        self.uniting && self.members(g).any(|t| self.arena.task(t).unites != 0)
    }

    /// Whether the replicas of a task that is in no group are not given the answer to call `seq`: all
    /// stand there, and others wait for that. One that can be repaired is before.
    pub(super) fn is_held(&self, t: usize, seq: u64) -> bool {
        let task = self.arena.task(t);
        task.unites != 0
            && seq + 1 == task.head
            && !self.is_to_be_repaired(t)
            && task.replicas[..task.n as usize].iter().all(|x| !is_live(x) || x.seq < task.head)
    }

    /// Whether a task computes in all replicas, behind the same call.
    fn runs_alike(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let runs = |x: &Replica| x.state == rstate::RUNNING && x.seq == task.head && x.deliver == 0;
        let mut live = task.replicas[..task.n as usize].iter().filter(|x| is_live(x));
        task.exec_pending == 0 && task.dying == 0 && !self.is_to_be_repaired(t) && live.all(runs)
    }

    fn is_to_be_repaired(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let wanted = self.wanted_replicas();
        let mut all = task.replicas[..task.n as usize].iter().enumerate();
        let lost = all.any(|(r, x)| wanted & (1 << r) != 0 && !is_live(x));
        lost && self.may_be_copied(t) && !self.votes_of(t).first
    }

    /// Whether a task that is in no group stands at a call in all replicas, which has been compared
    /// in all.
    fn stands(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let (live, _) = self.masks(t);
        let mut all = task.replicas[..task.n as usize].iter().filter(|x| is_live(x));
        let Some(first) = all.clone().next() else { return false };
        let e = self.arena.entry(t, first.seq);
        let decided =
            first.seq + 1 == task.head || first.seq == task.head && task.phase == phase::WORK;
        decided
            && task.exec_pending == 0
            && task.dying == 0
            && !self.is_being_made(t)
            && !self.is_to_be_repaired(t)
            && e.open != 0
            && e.seq == first.seq
            && e.votes & live == live
            && all.all(|x| x.state == rstate::PARKED && x.seq == first.seq)
    }

    /// Whether nothing of a group runs in any replica, and nothing is about to.
    fn is_quiet(&mut self, g: usize) -> bool {
        let group = self.arena.group(g);
        let settled = group.making == 0 && group.preempting == 0 && group.losing == 0;
        settled
            && self.promised(g).is_none()
            && self.alive(g).all(|r| {
                let group = self.arena.group(g);
                group.passed[r] == group.head && self.is_idle(g, r) && self.all_wait(g, r)
            })
    }

    /// Makes one group of tasks, if all of them stand.
    fn unite(&mut self, all: &[usize]) -> bool {
        let mut groups: Vec<usize> = all.iter().filter_map(|t| self.group_of(*t)).collect();
        groups.sort_unstable();
        groups.dedup();
        let apart: Vec<usize> =
            all.iter().copied().filter(|t| self.group_of(*t).is_none()).collect();
        if groups.iter().any(|g| !self.is_quiet(*g)) || apart.iter().any(|t| !self.stands(*t)) {
            return false;
        }
        let own = groups.iter().map(|g| self.arena.group(*g).alive);
        let alive = own.chain(apart.iter().map(|t| self.masks(*t).0)).fold(u32::MAX, |a, b| a & b);
        self.lose_what_others_lack(all, alive);
        let g = match groups.first() {
            Some(g) => *g,
            None => {
                let Some(g) = self.place_for_group(all[0]) else { return false };
                *self.arena.group(g) = Group { alive, ..bytemuck::Zeroable::zeroed() };
                g
            }
        };
        let come: Vec<usize> =
            all.iter().copied().filter(|t| self.group_of(*t) != Some(g)).collect();
        for t in come {
            let task = self.arena.task(t);
            if task.group == 0 {
                let stands = task.replicas[..task.n as usize].iter().find(|x| is_live(x));
                task.released = stands.map_or(task.head, |x| x.seq);
            }
            let group = self.arena.group(g);
            group.order += 1;
            task.ready = group.order;
            if task.group == 0 {
                self.places().for_each(|p| self.forget_checkpoint(t, p));
            }
            commit();
            self.arena.task(t).group = g as u32 + 1;
            commit();
        }
        self.group_has_changed(g);
        true
    }

    /// A replica that one process has lost is lost to all that share its memory.
    fn lose_what_others_lack(&mut self, all: &[usize], alive: u32) {
        for t in all.iter().copied() {
            for r in 0..self.arena.task(t).n as usize {
                if alive & (1 << r) == 0 && is_live(&self.arena.task(t).replicas[r]) {
                    self.lose(t, r, Reason::Divergence);
                }
            }
        }
    }

    /// Those who wait to be one group with others look again; when nobody waits any more, all go on.
    pub(super) fn unite_waiting(&mut self) {
        self.uniting = false;
        let mut waits = false;
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            let call = task.used == 2 && task.phase == phase::WORK;
            if call && task.unite_call == task.head + 1 {
                self.drive_task(t);
                let task = self.arena.task(t);
                waits |= task.used == 2 && task.unite_call == task.head + 1;
            }
        }
        if waits {
            self.uniting = true;
            return;
        }
        for t in 0..self.tasks() {
            self.arena.task(t).unites = 0;
        }
        self.uniting = false;
        for t in 0..self.tasks() {
            self.drive_task(t);
        }
        for g in self.groups() {
            self.drive_group(g);
        }
    }
}
