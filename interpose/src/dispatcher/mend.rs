//! Repair of groups: when nothing of one runs in any replica, one of them is copied with all its
//! processes and threads.
//!
//! Invariant: as long as a group is short of replicas and can be repaired, no turn is added to its
//! order but those that nothing may come before, so that the moment comes. What are to be copies count as
//! dead until all of them are there.

use chameleon_proto::event::Reason;

use super::Dispatcher;
use crate::arena::{Job, commit, is_live, job, phase, rstate};

/// From a repair that failed to the next try, in nanoseconds: meanwhile the group goes on as it is.
const PAUSE_NS: u64 = 100_000_000;

impl Dispatcher {
    /// Whether a group has lost replicas that can be made again.
    pub(super) fn is_short(&self, g: usize) -> bool {
        let group = self.arena.group(g);
        let first = self.members(g).next().is_some_and(|t| self.votes_of(t).first);
        self.wanted_replicas() & !group.alive != 0
            && group.alive != 0
            && (!first || self.to.is_some())
            && self.now >= group.next_repair
            && self.members(g).all(|t| {
                let x = self.arena.task(t);
                let may_be = self.may_be_copied(t) && x.exec_pending == 0 && x.dying == 0;
                x.used != 2 || may_be
            })
    }

    /// Whether a turn of a group comes before its repair: one that was promised, or that of a thread
    /// which ends, because a copy would have neither the thread nor what its end writes.
    pub(super) fn has_to_go_first(&self, g: usize) -> bool {
        let ends = |t: usize| self.arena.task(t).exiting != 0 && self.is_ready(t);
        self.promised(g).is_some() || self.members(g).any(ends)
    }

    /// The threads of a group that are copied in its repair.
    pub(super) fn threads_of(&self, g: usize) -> Vec<usize> {
        let there = |t: &usize| self.arena.task(*t).used == 2 && self.arena.task(*t).exiting == 0;
        self.members(g).filter(there).collect()
    }

    /// One of the threads of each process.
    fn one_of_each(&self, threads: &[usize]) -> Vec<usize> {
        let leader = |t: usize| self.arena.task(t).leader;
        let first = |t: &usize| threads.iter().find(|o| leader(**o) == leader(*t)) == Some(t);
        threads.iter().copied().filter(first).collect()
    }

    /// Has the tracer copy a replica of a group in which nothing runs, if every thread of one waits
    /// at a call that is known.
    pub(super) fn repair_group(&mut self, g: usize) {
        let threads = self.threads_of(g);
        let Some(&first) = threads.first() else { return };
        let alive: Vec<usize> = self.alive(g).collect();
        let waits = alive.iter().all(|r| self.all_wait(g, *r));
        let wanted = self.wanted_replicas();
        let ending = threads.iter().any(|t| self.still_taken(*t) & wanted != 0);
        if !waits || ending || threads.iter().any(|t| self.is_changing_shared(*t)) {
            self.behind = true;
            return;
        }
        let processes = self.one_of_each(&threads);
        let verify = self.settings.verify_donor;
        let sound = alive
            .iter()
            .copied()
            .find(|r| !verify || processes.iter().all(|t| self.is_sound(*t, *r)));
        let Some(donor) = sound else { return self.put_repair_off(g) };
        let missing = self.wanted_replicas() & !self.arena.group(g).alive;
        // Those of a process that crashed by itself are not to blame: it has ended.
        let members: Vec<usize> =
            self.members(g).filter(|t| self.arena.task(*t).used == 2).collect();
        self.blame_crashed(&members);
        let mut job: Job = self.job_for(first, donor, job::REPAIR_THREADS);
        job.copies = missing;
        job.child_task = g as u32;
        let group = self.arena.group(g);
        group.returning |= missing | 1 << donor;
        group.making = missing;
        self.ballots_of_donor(g, donor, missing);
        for t in threads {
            for r in (0..32).filter(|r| missing & (1 << r) != 0) {
                self.arena.task(t).replicas[r].state = rstate::EXPECTED;
                commit();
            }
        }
        if !self.ask(job) {
            self.none_made(g, missing);
        }
    }

    /// The copies of a group that were to be made are not to come; it goes on without for a while.
    pub(super) fn none_made(&mut self, g: usize, copies: u32) {
        let all: Vec<usize> = self.members(g).collect();
        all.into_iter().for_each(|t| self.not_made(t, copies));
        self.put_repair_off(g);
        commit();
        self.arena.group(g).making = 0;
        self.goes_on_with_any(g);
    }

    /// A group's copies were awaited while its last replica died: if none is there, that is decided now.
    fn goes_on_with_any(&mut self, g: usize) {
        if self.arena.group(g).alive != 0 || self.is_rolling_group(g) {
            return;
        }
        let lives = |t: &usize| self.arena.task(*t).used == 2 && self.arena.task(*t).dying == 0;
        let all: Vec<usize> = self.members(g).filter(lives).collect();
        let died =
            all.iter().find(|t| self.arena.task(**t).replicas.iter().any(|x| x.died_by != 0));
        if let Some(t) = died.or(all.first()).copied() {
            self.dies_with_replicas(t);
        }
    }

    fn put_repair_off(&mut self, g: usize) {
        self.arena.group(g).next_repair = self.now + PAUSE_NS;
        self.behind = true;
    }

    /// Since when a replica that runs has been waited for, if it is told by `since` that it has been:
    /// one that was copied, or is a copy, first has to come back to its call.
    pub(super) fn late_since(&self, t: usize, r: usize, since: u64) -> Option<u64> {
        let Some(g) = self.group_of(t) else { return Some(since) };
        let group = self.arena.group(g);
        let returns = group.returning & (1 << r) != 0;
        let began = self.arena.task(t).replicas[r].since();
        let since = if returns { since.max(began) } else { since };
        (group.making == 0).then_some(since)
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
        for r in (0..usize::from(self.seats)).filter(|r| copies & (1 << r) != 0) {
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
        let (g, donor) = (j.child_task as usize, j.replica as usize);
        if j.copies >> self.seats != 0 {
            return self.group_froze(j);
        }
        if self.is_rolling_group(g) {
            // What there was is being ended.
            self.arena.group(g).making = 0;
            return;
        }
        if j.error != 0 {
            return self.none_made(g, j.copies);
        }
        let threads = self.threads_of(g);
        let of = |r: usize| threads.iter().map(move |t| (*t, r));
        for r in (0..usize::from(self.seats)).filter(|r| j.copies & (1 << r) != 0) {
            // It may have been lost again before this was known; a predecessor may have come to here.
            let whole = of(r).all(|(t, r)| is_live(&self.arena.task(t).replicas[r]));
            if !whole || self.arena.group(g).alive & (1 << r) != 0 {
                continue;
            }
            for t in self.one_of_each(&threads) {
                self.say_repaired(t, r, j);
            }
            let group = self.arena.group(g);
            group.passed[r] = group.passed[donor];
            group.running[r] = 0;
            commit();
            group.alive |= 1 << r;
        }
        for (t, r) in (0..usize::from(self.seats)).flat_map(of) {
            if (j.copies | 1 << donor) & (1 << r) != 0 {
                self.arena.task(t).replicas[r].arrived = self.now;
            }
        }
        commit();
        self.arena.group(g).making = 0;
        self.goes_on_with_any(g);
    }
}
