//! Repair of replicas with threads: when nothing of a group runs in any replica, one of them is
//! copied with all its threads.
//!
//! Invariant: as long as a group is short of replicas and can be repaired, no turn is added to its
//! order, so that the moment comes.

use chameleon_proto::event::Reason;

use super::Dispatcher;
use crate::arena::{Job, job, phase, rstate};

impl Dispatcher {
    /// Whether a group has lost replicas that can be made again.
    pub(super) fn is_short(&self, g: usize) -> bool {
        let group = self.arena.group(g);
        let all = (1u32 << self.settings.mode.n) - 1;
        group.alive != all
            && group.alive != 0
            && !self.settings.mode.first
            && self.members(g).all(|t| {
                let x = self.arena.task(t);
                let may_be = self.may_be_copied(t) && x.exec_pending == 0 && x.dying == 0;
                x.used != 2 || may_be
            })
    }

    /// Has the tracer copy a replica of a group in which nothing runs, if every thread of one waits
    /// at a call that is known.
    pub(super) fn repair_group(&mut self, g: usize) {
        let threads: Vec<usize> = self
            .members(g)
            .filter(|t| self.arena.task(*t).used == 2 && self.arena.task(*t).exiting == 0)
            .collect();
        let Some(&first) = threads.first() else { return };
        let alive: Vec<usize> = self.alive(g).collect();
        if !alive.iter().all(|r| self.all_wait(g, *r)) {
            self.behind = true;
            return;
        }
        let sound =
            alive.iter().copied().find(|r| !self.settings.verify_donor || self.is_sound(first, *r));
        let Some(donor) = sound else { return };
        let all = (1u32 << self.settings.mode.n) - 1;
        let missing = all & !self.arena.group(g).alive;
        self.blame_crashed(&threads);
        let mut job: Job = self.job_for(first, donor, job::REPAIR_THREADS);
        job.copies = missing;
        job.child_task = g as u32;
        let group = self.arena.group(g);
        group.returning |= missing | 1 << donor;
        group.making = missing;
        self.ballots_of_donor(g, donor, missing);
        if !self.ask(job) {
            self.arena.group(g).making = 0;
            self.behind = true;
            return;
        }
        for t in threads {
            for r in (0..32).filter(|r| missing & (1 << r) != 0) {
                self.arena.task(t).replicas[r].state = rstate::EXPECTED;
            }
        }
    }

    /// Says which replicas crashed where the others went on.
    fn blame_crashed(&mut self, threads: &[usize]) {
        for &t in threads {
            for r in 0..self.arena.task(t).n as usize {
                let replica = &mut self.arena.task(t).replicas[r];
                let signal = std::mem::take(&mut replica.died_by);
                if replica.state == rstate::DEAD && signal != 0 && signal != libc::SIGKILL as u32 {
                    self.say_outvoted(t, r, Reason::Crash, Some(signal as u8));
                }
            }
        }
    }

    /// What the donor's ballots were is the copies': the memory that they were of may have changed.
    fn ballots_of_donor(&self, g: usize, donor: usize, copies: u32) {
        for t in self.members(g).filter(|t| self.arena.task(*t).used == 2) {
            let x = self.arena.task(t);
            let seq = x.replicas[donor].seq;
            if seq < x.head || x.phase == phase::WORK && seq == x.head {
                self.arena.entry(t, seq).votes |= copies;
            }
        }
    }

    /// Copies of a replica in which one thread computed are there in the place of the others.
    pub(super) fn copies_join(&mut self, t: usize, g: usize, donor: usize, copies: u32) {
        self.ballots_of_donor(g, donor, copies);
        let now = self.now;
        let group = self.arena.group(g);
        group.returning |= copies | 1 << donor;
        for r in (0..usize::from(self.settings.mode.n)).filter(|r| copies & (1 << r) != 0) {
            group.passed[r] = group.passed[donor];
            group.running[r] = t as u32 + 1;
        }
        let all: Vec<usize> = self.members(g).collect();
        for o in all {
            let x = self.arena.task(o);
            for r in (0..x.n as usize).filter(|r| copies & (1 << r) != 0) {
                x.replicas[r].arrived = now;
            }
        }
    }

    /// The tracer has made the copies, or failed to.
    pub(super) fn group_repaired(&mut self, j: &Job) {
        let g = j.child_task as usize;
        let made = j.copies;
        let group = self.arena.group(g);
        group.making = 0;
        let all: Vec<usize> = self.members(g).collect();
        if j.error != 0 {
            return all.into_iter().for_each(|t| self.not_made(t, made));
        }
        for r in (0..usize::from(self.settings.mode.n)).filter(|r| made & (1 << r) != 0) {
            let group = self.arena.group(g);
            group.passed[r] = group.passed[j.replica as usize];
            group.running[r] = 0;
            group.alive |= 1 << r;
            self.say_repaired(j.task as usize, r, j);
        }
        for t in all {
            for r in (0..usize::from(self.settings.mode.n)).filter(|r| made & (1 << r) != 0) {
                self.arena.task(t).replicas[r].arrived = self.now;
            }
        }
    }
}
