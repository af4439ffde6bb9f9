//! Rollback of a group: all its replicas are made anew of one of its checkpoints, with all processes and
//! threads, and go through its log once more.
//!
//! ```text
//!  failure ──► CLEAR ──► THAW ──► REPLAY: each turn of the log again, ballots compared ──► go on
//!              what is left ends   threads born and ended since are born and end again
//! ```
//!
//! Invariant: nothing is decided and no turn is added for any task of the group until every replica that
//! is left has passed the last item of the log, and all threads stand at the calls at which they stood.

use chameleon_policy::checkpoint::{Decision, Failure, failure};
use chameleon_sys::process;

use super::Dispatcher;
use super::process::{OUTSIDE, REPLICAS, clone_args, is_fork};
use crate::arena::{JOBS, Job, Replica, Turn, commit, is_live, job, phase, rolling, rstate};

/// A replica that is not there.
fn blank(state: u32) -> Replica {
    Replica { state, class: 255, ..bytemuck::Zeroable::zeroed() }
}

impl Dispatcher {
    /// Whether a group is being rolled back.
    pub(super) fn is_rolling_group(&self, g: usize) -> bool {
        self.settings.checkpoints.is_some() && self.arena.group(g).recovery.rolling != rolling::NO
    }

    /// Whether a task is being rolled back, perhaps with its group.
    pub(super) fn is_rolling(&self, t: usize) -> bool {
        match self.group_of(t) {
            Some(g) => self.is_rolling_group(g),
            None => self.arena.task(t).recovery.rolling != rolling::NO,
        }
    }

    /// The same as for a single task: whether a group is rolled back instead of ending.
    pub(super) fn group_recovers(&mut self, g: usize, t: usize, kind: u32, signal: u32) -> bool {
        let Some(c) = self.settings.checkpoints else { return false };
        let ends = |o: usize| self.arena.task(o).used == 2 && self.arena.task(o).dying != 0;
        if self.arena.task(t).used != 2 || self.members(g).any(ends) {
            return false;
        }
        let group = self.arena.group(g);
        if matches!(group.recovery.rolling, rolling::CLEAR | rolling::THAW) {
            return true; // it shows when they have been made
        }
        let replicas = &self.arena.task(t).replicas[..self.arena.task(t).n as usize];
        let dead = |x: &&Replica| x.state == rstate::DEAD && x.died_by == signal;
        let pc = match kind {
            failure::CRASH => replicas.iter().find(dead).map_or(0, |x| x.ip),
            _ => 0,
        };
        let recovery = &mut group.recovery;
        let from = if recovery.failures.count == 0 { 0 } else { recovery.resumed_from };
        let mut history = recovery.failures.history();
        history.note(Failure { seq: group.head, pc, from, kind, signal });
        recovery.failures = history.into();
        recovery.forget_performed(kind);
        let usable = self.usable_group(g);
        let items: Vec<u64> = usable.iter().map(|p| group.passed[*p]).collect();
        match history.decide(&items, c.retries) {
            Decision::RollBack { checkpoint } => {
                let place = usable[checkpoint];
                recovery.failed_at = self.now;
                (recovery.used, recovery.resumed_from) = (place as u32, items[checkpoint] + 1);
                commit();
                recovery.rolling = rolling::CLEAR;
                self.clear_group(g);
                true
            }
            Decision::GiveUp(verdict) => {
                self.say_verdict(t, verdict);
                false
            }
        }
    }

    /// Ends what there is of a group's replicas, and puts its records back to where they are made anew.
    fn clear_group(&mut self, g: usize) {
        let n = usize::from(self.seats);
        let place = self.arena.group(g).recovery.used as usize;
        let all: Vec<usize> = self.members(g).collect();
        for &t in &all {
            for r in 0..n {
                let x = &mut self.arena.task(t).replicas[r];
                let live = is_live(x) && x.pid != 0;
                // To a successor its death must not look like the program's own.
                (x.state, x.died_by) = (rstate::DEAD, 0);
                commit();
                // One of a process is enough, but which one is there is not known.
                if live {
                    process::kill(x.pid, libc::SIGKILL);
                }
            }
        }
        self.take_last_turn_back(g);
        for &t in &all {
            self.put_entries_back(t, place);
            self.begins_in_mode(t);
            self.arena.task(t).lost_cpu = self.arena.task(t).shown_cpu;
            for x in &mut self.arena.task(t).replicas[..n] {
                *x = blank(rstate::DEAD);
            }
        }
        let group = self.arena.group(g);
        (group.alive, group.crashed, group.losing, group.returning) = (0, 0, 0, 0);
        group.running = [0; _];
        (group.recovery.resume, group.recovery.taken_back) = (group.head, 0);
        commit();
        group.recovery.rolling = rolling::THAW;
        self.rolls_group_on(g);
    }

    /// A fork that was under way when the replicas ended has its turn in the log and is not decided: it is
    /// begun again.
    fn take_last_turn_back(&mut self, g: usize) {
        let group = self.arena.group(g);
        let Some(last) = group.head.checked_sub(1) else { return };
        let Turn { task: t, seq, ordinal } = *self.arena.log(g, last);
        let task = self.arena.task(t as usize);
        let same = task.used == 2 && task.group as usize == g + 1 && task.ordinal == ordinal;
        if !same || seq != task.head {
            return;
        }
        group.head = last;
        task.released = seq;
        let forks = is_fork(self.arena.entry(t as usize, seq).nr);
        if task.phase == phase::WORK && task.step == REPLICAS && forks {
            task.step = OUTSIDE;
        }
    }

    /// Whether a task has been made outside and its replicas are yet to be, when those of its parent are
    /// back.
    fn is_to_be_born(&self, t: usize) -> bool {
        self.members(self.group_of(t).unwrap_or(t)).any(|p| {
            let parent = self.arena.task(p);
            let forks = parent.used == 2 && parent.phase == phase::WORK && parent.step == OUTSIDE;
            forks
                && parent.kept as usize == t
                && is_fork(self.arena.entry(p, parent.head).nr)
                && self.arena.task(t).used == 2
        })
    }

    /// The tracer has nothing to do any more with what there was: what it has made meanwhile ends, and
    /// those are blank that have begun since the checkpoint.
    fn make_unborn(&mut self, g: usize, place: usize) {
        let all: Vec<usize> = self.members(g).collect();
        for t in all {
            let born = self.arena.task(t).replicas[place].state == rstate::FROZEN;
            let state = match self.is_to_be_born(t) {
                _ if born => rstate::EXPECTED,
                true => rstate::EXPECTED,
                false => rstate::NONE,
            };
            let wanted = self.wanted_replicas();
            let seats = usize::from(self.seats);
            for (r, x) in self.arena.task(t).replicas[..seats].iter_mut().enumerate() {
                if is_live(x) && x.pid != 0 {
                    process::kill(x.pid, libc::SIGKILL);
                }
                let state = if wanted & (1 << r) == 0 { rstate::DEAD } else { state };
                *x = blank(state);
            }
        }
    }

    /// The entries of a task from the checkpoint on are to be compared with new ballots.
    fn put_entries_back(&mut self, t: usize, place: usize) {
        let first = self.call_of_checkpoint(t, place);
        let born = self.arena.task(t).replicas[place].state == rstate::FROZEN;
        let task = self.arena.task(t);
        let (head, k) = (task.head, u32::from(self.votes_of(t).k));
        let all = (1u32 << task.n) - 1;
        for s in first..=head {
            let e = self.arena.entry(t, s);
            if e.seq != s || e.open == 0 {
                continue;
            }
            // What was only believed still is.
            let believed = e.provisional != 0 && e.votes.count_ones() < k;
            e.provisional = believed.into();
            e.votes &= !all;
            if s == first && born && (s < head || task.phase == phase::WORK) {
                e.votes |= all; // that of the checkpoint's was compared
            }
        }
        if task.used == 2 && task.phase == phase::COLLECT {
            let e = self.arena.entry(t, head);
            if e.open != 0 && e.seq == head && e.ring_done == 0 {
                task.data_head = e.data;
                e.open = 0;
                self.arena.drop_long(t, head);
            }
        }
    }

    /// Goes on with the recovery of a group; false as long as it is not over.
    pub(super) fn rolls_group_on(&mut self, g: usize) -> bool {
        if !self.is_rolling_group(g) {
            return true;
        }
        match self.arena.group(g).recovery.rolling {
            rolling::CLEAR => self.clear_group(g),
            rolling::THAW => self.thaw_group(g),
            _ => self.replay_group(g),
        }
        !self.is_rolling_group(g)
    }

    fn thaw_group(&mut self, g: usize) {
        let asked = (0..JOBS).map(|i| self.arena.job(i)).any(|j| {
            let of_group = j.child_task as usize == g && self.group_of(j.task as usize) == Some(g);
            let makes = matches!(j.kind, job::THAW | job::REPAIR_THREADS | job::AGREE) && of_group
                || j.kind == job::FORK && self.group_of(j.task as usize) == Some(g);
            j.state != 0 && makes
        });
        if asked {
            return;
        }
        let place = self.arena.group(g).recovery.used as usize;
        let frozen = |t: &usize| self.arena.task(*t).replicas[place].state == rstate::FROZEN;
        let all: Vec<usize> = self.members(g).filter(frozen).collect();
        let Some(&first) = all.first() else {
            self.arena.group(g).recovery.rolling = rolling::REPLAY; // it has been ended
            return self.replay_group(g);
        };
        let mut job: Job = self.job_for(first, place, job::THAW);
        job.copies = self.wanted_replicas();
        job.child_task = g as u32;
        self.make_unborn(g, place);
        self.behind |= !self.ask(job);
    }

    /// The tracer has made the replicas of a group's checkpoint, or failed to.
    pub(super) fn group_thawed(&mut self, g: usize, j: &Job) {
        let place = j.replica as usize;
        if self.arena.group(g).recovery.rolling != rolling::THAW {
            return;
        }
        let frozen = |t: &usize| self.arena.task(*t).replicas[place].state == rstate::FROZEN;
        let all: Vec<usize> = self.members(g).filter(frozen).collect();
        if j.error != 0 {
            for &t in &all {
                for x in &mut self.arena.task(t).replicas[..usize::from(self.seats)] {
                    x.state = rstate::DEAD;
                }
            }
            self.forget_checkpoint_of_group(g, place);
        }
        for r in (0..usize::from(self.seats)).filter(|r| j.copies & (1 << r) != 0) {
            let there = |t: &usize| {
                let x = &self.arena.task(*t).replicas[r];
                is_live(x) && x.state != rstate::EXPECTED
            };
            let whole = j.error == 0 && all.iter().all(there);
            for &t in &all {
                let x = &mut self.arena.task(t).replicas[r];
                x.arrived = self.now;
                if !whole {
                    x.state = rstate::DEAD;
                    if x.pid != 0 && j.error == 0 {
                        process::kill(x.pid, libc::SIGKILL);
                    }
                }
            }
            let group = self.arena.group(g);
            if whole {
                group.passed[r] = group.passed[place];
                group.running[r] = 0;
                group.returning |= 1 << r;
                group.alive |= 1 << r;
            }
        }
        commit();
        self.arena.group(g).recovery.rolling = rolling::REPLAY;
    }

    /// Gives the replicas of a group the turns that they have had before, as far as they have come.
    fn replay_group(&mut self, g: usize) {
        let replays = |d: &Self| {
            matches!(d.arena.group(g).recovery.rolling, rolling::REPLAY | rolling::RETURN)
        };
        loop {
            let all: Vec<usize> = self.members(g).collect();
            for t in all {
                self.compare_again(t);
                if !replays(self) {
                    return;
                }
            }
            let mut went_on = false;
            for r in self.alive(g) {
                let before = self.arena.group(g).passed[r];
                if self.is_idle(g, r) {
                    self.take_turn(g, r);
                }
                went_on |= self.arena.group(g).passed[r] != before;
            }
            if !went_on {
                break;
            }
        }
        if self.arena.group(g).alive == 0 {
            let t = self.members(g).find(|t| self.arena.task(*t).used == 2);
            if !t.is_some_and(|t| self.group_recovers(g, t, failure::REPLAY, 0)) {
                self.arena.group(g).recovery.rolling = rolling::NO;
                self.give_up();
            }
        } else if self.stands_as_before(g) && self.outside_has_masks(g) {
            self.group_is_back(g);
        }
    }

    /// Compares what has come of a task whose group is rolled back. What was not decided is collected, so
    /// that the turns of others go on, and decided when all are back.
    fn compare_again(&mut self, t: usize) {
        let (_, here) = self.masks(t);
        let task = self.arena.task(t);
        if task.used == 2 && task.phase == phase::COLLECT && task.exec_pending == 0 && here != 0 {
            let e = self.arena.entry(t, task.head);
            if e.open != 0 && e.seq == task.head || self.open(t, here) {
                let (_, here) = self.masks(t);
                self.classify(t, here);
            }
        }
        self.feed(t);
    }

    /// Whether every replica of a group has passed its log and every thread stands where it stood.
    fn stands_as_before(&mut self, g: usize) -> bool {
        let group = self.arena.group(g);
        let alive: Vec<usize> = self.alive(g).collect();
        if alive.iter().any(|r| group.passed[*r] != group.head) {
            return false;
        }
        self.members(g).all(|t| {
            let task = self.arena.task(t);
            task.used != 2
                || task.exiting != 0
                || self.is_to_be_born(t)
                || alive.iter().all(|r| {
                    let x = &task.replicas[*r];
                    let computes = group.running[*r] == t as u32 + 1
                        && x.state == rstate::RUNNING
                        && x.seq == task.head
                        && task.phase == phase::COLLECT;
                    let gone = x.state == rstate::DEAD && self.another_executes(t);
                    computes || gone || x.state == rstate::PARKED && self.has_been_compared(t, *r)
                })
        })
    }

    fn outside_has_masks(&mut self, g: usize) -> bool {
        let all: Vec<usize> = self.members(g).filter(|t| self.arena.task(*t).used == 2).collect();
        all.into_iter().all(|t| self.outside_has_mask(t))
    }

    fn group_is_back(&mut self, g: usize) {
        let group = self.arena.group(g);
        let of_image = group.recovery.rolling == rolling::RETURN;
        group.recovery.rolling = rolling::NO;
        (group.attempts, group.next_attempt, group.next_freeze) = (0, 0, 0);
        group.progressed_at = self.now;
        self.arena.header().rollbacks += u64::from(!of_image);
        let first = self.members(g).find(|t| self.arena.task(*t).used == 2);
        if let Some(t) = first.filter(|_| !of_image) {
            self.say_rolled_back(t);
        }
        // Whatever its tasks waited for is looked at.
        chameleon_sys::raw::ring_bell(chameleon_sys::executor::bell_fd());
    }

    /// What was only believed has been found wrong in the replay: from there on it is decided anew.
    pub(super) fn replay_ends_at(&mut self, t: usize) {
        if let Some(g) = self.group_of(t).filter(|g| self.is_rolling_group(*g)) {
            self.group_is_back(g);
        }
    }

    /// A replica makes a task of its group again, as in the call `seq` of `t` that it stands at.
    pub(super) fn bears_again(&mut self, t: usize, r: usize, seq: u64) {
        let e = *self.arena.entry(t, seq);
        let child = e.child as usize - 1;
        let x = self.arena.task(child);
        if x.used == 0 || x.ordinal != e.child_ordinal {
            self.lose(t, r, chameleon_proto::event::Reason::Late);
            return;
        }
        let pid = self.arena.task(t).replicas[r].pid;
        if e.inside != 0 {
            self.write_inside(t, pid, &e);
        }
        let [flags, stack, ptid, ctid, tls] = clone_args(e.nr, &e.args);
        x.replicas[r] = Replica { arrived: self.now, ..blank(rstate::EXPECTED) };
        let mut job = self.job_for(t, r, job::FORK);
        job.ret = e.ret;
        job.args = [flags, stack, ptid, ctid, tls, 1];
        job.child_task = child as u32;
        if !self.ask(job) {
            self.arena.task(child).replicas[r].state = rstate::NONE;
            self.behind = true;
        }
    }

    /// A group of which nothing but computing is seen for longer than the user says has failed.
    pub(super) fn check_progress_of(&mut self, g: usize, limit: u64) {
        let group = self.arena.group(g);
        let Some(t) = (group.last as usize).checked_sub(1) else { return };
        let task = self.arena.task(t);
        let stuck = |r: usize| {
            let x = &task.replicas[r];
            let since = x.since().max(group.progressed_at);
            group.running[r] == t as u32 + 1
                && x.state == rstate::RUNNING
                && self.now.saturating_sub(since) > limit
        };
        // One that does not stop is not preempted either.
        let free = group.making == 0 && !self.is_rolling_group(g);
        let ends = task.used != 2 || task.exiting != 0;
        if !free || ends || group.alive == 0 || !self.alive(g).all(stuck) {
            return;
        }
        self.livelocks(t);
    }
}
