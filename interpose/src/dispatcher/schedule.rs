//! Threads in lockstep: in each replica one thread of a group runs at a time, in an order that is
//! decided once for all.
//!
//! ```text
//!  decided calls ──► ready ──pick──► log: (task, call), (task, call) …
//!                                     │ each replica goes through it at its own pace:
//!                                     └► the next one's answer, once the last one's thread stands
//!                                        at a call that has been compared
//! ```
//!
//! Invariant: a thread runs only between its answer and its next call, and no other thread of the
//! same replica meanwhile; so all replicas have the same memory whenever they are at the same item.

use chameleon_policy::schedule::{self, Ready};

use super::Dispatcher;
use crate::arena::{Group, JOBS, Turn, commit, is_live, job, phase, rstate};

impl Dispatcher {
    /// The group of a task, by its founder.
    pub(super) fn group_of(&self, t: usize) -> Option<usize> {
        (self.arena.task(t).group as usize).checked_sub(1)
    }

    /// The tasks of a group.
    pub(super) fn members(&self, g: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.tasks()).filter(move |o| {
            let x = self.arena.task(*o);
            x.used != 0 && x.group as usize == g + 1
        })
    }

    /// The replicas of a group that have not been lost.
    pub(super) fn alive(&self, g: usize) -> impl Iterator<Item = usize> + use<> {
        let (n, alive) = (usize::from(self.seats), self.arena.group(g).alive);
        (0..n).filter(move |r| alive & (1 << r) != 0)
    }

    /// Whether the record of a group is in a task's slot.
    pub(super) fn keeps_group(&self, slot: usize) -> bool {
        self.members(slot).next().is_some()
    }

    /// The groups that there are.
    pub(super) fn groups(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.tasks())
            .filter(|t| self.arena.task(*t).used != 0)
            .filter_map(|t| self.group_of(t))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Where the record of a group of task `t` can be: in the slot of its process, if no group that it
    /// has left is kept there.
    pub(super) fn place_for_group(&self, t: usize) -> Option<usize> {
        let leader = self.arena.task(t).leader as usize;
        let all = std::iter::once(leader).chain(0..crate::arena::MAX_TASKS);
        all.into_iter().find(|g| !self.keeps_group(*g))
    }

    /// Makes a group of one: all replicas of the task stand at the call at its head, which makes
    /// the second.
    pub(super) fn found_group(&mut self, t: usize) {
        if self.group_of(t).is_some() {
            return;
        }
        let Some(g) = self.place_for_group(t) else { return };
        let group = self.arena.group(g);
        *group = Group { last: t as u32 + 1, ..bytemuck::Zeroable::zeroed() };
        let task = self.arena.task(t);
        for (r, x) in task.replicas[..task.n as usize].iter().enumerate() {
            group.running[r] = t as u32 + 1;
            group.alive |= u32::from(is_live(x)) << r;
        }
        task.released = task.head;
        self.bring_calls_along(t, g);
        commit();
        self.arena.task(t).group = g as u32 + 1;
    }

    /// A task whose head has moved on is ready.
    pub(super) fn became_ready(&mut self, t: usize) {
        if let Some(g) = self.group_of(t) {
            let group = self.arena.group(g);
            group.order += 1;
            self.arena.task(t).ready = group.order;
        }
    }

    pub(super) fn is_ready(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        task.used == 2 && task.head > task.released
    }

    /// Has a task go on next, before any other of its group.
    pub(super) fn goes_next(&mut self, t: usize) {
        if let Some(g) = self.group_of(t) {
            self.arena.group(g).next = t as u32 + 1;
        }
    }

    /// The task that was promised to go on next, once its call is decided.
    pub(super) fn promised(&self, g: usize) -> Option<usize> {
        let t = (self.arena.group(g).next as usize).checked_sub(1)?;
        self.is_ready(t).then_some(t)
    }

    /// Has the others of its group go before a task (sched_yield(2)).
    pub(super) fn yields(&mut self, t: usize) {
        if let Some(g) = self.group_of(t) {
            self.arena.group(g).streak = schedule::STREAK;
        }
    }

    /// Whether replica `r` of a task waits at a call that has been compared with the others'.
    pub(super) fn has_been_compared(&self, t: usize, r: usize) -> bool {
        let task = self.arena.task(t);
        let replica = &task.replicas[r];
        match replica.seq.cmp(&task.head) {
            std::cmp::Ordering::Less => self.arena.entry(t, replica.seq).votes & (1 << r) != 0,
            std::cmp::Ordering::Equal => {
                let e = self.arena.entry(t, task.head);
                let voted = task.phase == phase::WORK && e.votes & (1 << r) != 0;
                e.open != 0 && e.seq == task.head && (replica.class == 0 || voted)
            }
            std::cmp::Ordering::Greater => false,
        }
    }

    /// Whether every thread of a group waits at a known call in replica `r`.
    pub(super) fn all_wait(&self, g: usize, r: usize) -> bool {
        // In one that is made to go through the log again some have not begun yet or not ended yet.
        let again = self.is_rolling_group(g);
        self.members(g).all(|t| {
            let x = self.arena.task(t);
            let there = x.replicas[r].state == rstate::PARKED && self.has_been_compared(t, r);
            let counts = match again {
                true => is_live(&x.replicas[r]) && x.replicas[r].state != rstate::EXPECTED,
                false => x.used == 2 && x.exiting == 0,
            };
            !counts || there
        })
    }

    /// Whether nothing of a group runs in replica `r`.
    pub(super) fn is_idle(&mut self, g: usize, r: usize) -> bool {
        if self.arena.group(g).crashed & (1 << r) != 0 {
            return false; // its other processes stand until it is known what that was
        }
        if self.arena.group(g).returning & (1 << r) != 0 {
            if !self.all_wait(g, r) {
                return false;
            }
            self.arena.group(g).returning &= !(1 << r);
        }
        let Some(t) = (self.arena.group(g).running[r] as usize).checked_sub(1) else { return true };
        let task = self.arena.task(t);
        if task.used == 0 || task.group as usize != g + 1 {
            return true;
        }
        let x = task.replicas[r];
        match x.state {
            rstate::DEAD | rstate::NONE => true,
            rstate::PARKED => self.has_been_compared(t, r),
            // Behind its last call.
            rstate::RUNNING if task.exiting != 0 && x.seq >= task.head => self.has_ended(t, r),
            _ => false,
        }
    }

    /// The order goes on as far as it can. A task that waited to be alone and now is, to be driven.
    pub(super) fn schedule(&mut self, g: usize) -> Option<usize> {
        if !self.rolls_group_on(g) {
            return None;
        }
        loop {
            let group = self.arena.group(g);
            if group.making != 0 || group.preempting != 0 {
                return None; // the tracer says when that is over
            }
            let (mut at_end, mut quiet, mut skipped) = (false, true, false);
            for r in self.alive(g) {
                if !self.is_idle(g, r) {
                    quiet = false;
                    continue;
                }
                let group = self.arena.group(g);
                if group.passed[r] == group.head {
                    at_end = true;
                    continue;
                }
                quiet = false;
                self.take_turn(g, r);
                let group = self.arena.group(g);
                skipped |= group.passed[r] == group.head && self.is_idle(g, r);
            }
            if skipped {
                continue;
            }
            if !at_end {
                self.behind |= self.is_wanted(g);
                return None;
            }
            if self.is_short(g) && !self.has_to_go_first(g) {
                if quiet {
                    self.repair_group(g);
                }
                return None;
            }
            if self.group_is_to_change(g) && !self.has_to_go_first(g) {
                if quiet && self.group_reaches_mode(g) {
                    continue;
                }
                return None;
            }
            if self.freezes_group(g) && !self.has_to_go_first(g) {
                if quiet {
                    self.freeze_group(g);
                    // It may have been put off.
                    if self.arena.group(g).making == 0 && !self.freezes_group(g) {
                        continue;
                    }
                }
                return None;
            }
            if self.unites(g) && self.promised(g).is_none() {
                return None;
            }
            let group = self.arena.group(g);
            if group.alone != 0 && self.promised(g).is_none() {
                let waits = group.alone as usize - 1;
                if !quiet {
                    return None;
                }
                group.alone = 0;
                return Some(waits);
            }
            let t = self.next_of(g)?;
            self.append(g, t);
        }
    }

    /// Gives replica `r` the next item of the log, if its thread has come that far.
    pub(super) fn take_turn(&mut self, g: usize, r: usize) {
        let again = self.is_rolling_group(g);
        let group = self.arena.group(g);
        let (t, seq) = loop {
            if group.passed[r] == group.head {
                return;
            }
            let Turn { task: t, seq, ordinal } = *self.arena.log(g, group.passed[r]);
            let x = self.arena.task(t as usize);
            let there = x.used == 2 || again && x.used != 0;
            if there && x.group as usize == g + 1 && x.ordinal == ordinal {
                break (t as usize, seq);
            }
            group.passed[r] += 1; // it has ended meanwhile
        };
        let task = self.arena.task(t);
        let replica = &task.replicas[r];
        let waits = replica.state == rstate::PARKED && replica.seq == seq && seq < task.head;
        if !waits || !self.has_been_compared(t, r) {
            return;
        }
        if again && self.arena.entry(t, seq).child != 0 {
            self.bears_again(t, r, seq);
        } else {
            self.answer(t, r, seq);
        }
        if self.arena.task(t).replicas[r].state != rstate::PARKED {
            let group = self.arena.group(g);
            group.running[r] = t as u32 + 1;
            commit();
            group.passed[r] += 1;
        }
    }

    /// The task that goes on next, if that can be said.
    fn next_of(&mut self, g: usize) -> Option<usize> {
        let group = self.arena.group(g);
        let slowest = self.alive(g).map(|r| group.passed[r]).min()?;
        if group.head - slowest >= self.arena.log_len() - 1 {
            self.behind = true;
            return None;
        }
        if let Some(t) = self.promised(g) {
            return Some(t);
        }
        group.next = 0;
        let last = (group.last as usize).checked_sub(1);
        if let Some(t) = last {
            let task = self.arena.task(t);
            let there = task.used == 2 && task.group as usize == g + 1 && task.exiting == 0;
            if self.is_ready(t) {
                if schedule::goes_on(group.streak) {
                    return Some(t);
                }
            } else if there && task.phase == phase::COLLECT {
                return None; // its call is about to be decided
            }
        }
        let ready = self.members(g).filter(|t| self.is_ready(*t));
        let ready = ready.map(|t| Ready { thread: t, since: self.arena.task(t).ready });
        schedule::pick(ready, last)
    }

    fn append(&mut self, g: usize, t: usize) {
        let seq = self.arena.task(t).released;
        let group = self.arena.group(g);
        let ordinal = self.arena.task(t).ordinal;
        *self.arena.log(g, group.head) = Turn { seq, task: t as u32, ordinal };
        group.streak = if group.last == t as u32 + 1 { group.streak.saturating_add(1) } else { 0 };
        group.last = t as u32 + 1;
        (group.attempts, group.next_attempt) = (0, 0);
        commit();
        group.head += 1;
        commit();
        self.not_to_be_replayed(g, t, seq);
        self.arena.task(t).released = seq + 1;
        if group.next == t as u32 + 1 {
            commit();
            group.next = 0;
        }
    }

    /// Whether a task may do at once what must find all replicas at the same item, with nothing
    /// running: else it is called again when that is so.
    fn is_alone(&mut self, t: usize) -> bool {
        let Some(g) = self.group_of(t) else { return true };
        let promised = self.promised(g).is_some_and(|o| o != t);
        // What is being copied stands still, and is not to be answered.
        let copied = self.arena.group(g).making != 0;
        let quiet = !promised
            && !copied
            && self.alive(g).all(|r| {
                let group = self.arena.group(g);
                group.passed[r] == group.head && self.is_idle(g, r)
            });
        if !quiet {
            self.arena.group(g).alone = t as u32 + 1;
        }
        quiet
    }

    /// The tracer answers the call at a task's head in every replica: that is its turn, once it is
    /// alone (or was, to a predecessor that began this). False as long as it is not.
    pub(super) fn turn_by_tracer(&mut self, t: usize) -> bool {
        let Some(g) = self.group_of(t) else { return true };
        if self.arena.task(t).released <= self.arena.task(t).head {
            if !self.is_alone(t) {
                return false;
            }
            self.append(g, t);
        }
        true
    }

    /// The tracer has been asked to answer replica `r` of a task in its turn.
    pub(super) fn answered_by_tracer(&mut self, t: usize, r: usize) {
        let Some(g) = self.group_of(t) else { return };
        let group = self.arena.group(g);
        group.running[r] = t as u32 + 1;
        commit();
        group.passed[r] = group.head;
    }

    /// Replica `r` of a task is about to be lost: a successor that finds this sees to the others of
    /// its group.
    pub(super) fn loses(&mut self, t: usize, r: usize) {
        if let Some(g) = self.group_of(t) {
            self.arena.group(g).losing |= 1 << r;
            commit();
        }
    }

    /// Replica `r` of a task is lost, and with it those of all tasks of its group: they are one
    /// process. The task that ran in it, which is what its death, if it has died, is about.
    pub(super) fn group_lost(&mut self, t: usize, r: usize) -> usize {
        let Some(g) = self.group_of(t) else { return t };
        self.loses(t, r);
        let own = self.arena.task(t).leader;
        let all: Vec<usize> = self.members(g).collect();
        let (mut others, live) = (all.clone(), is_live);
        others.retain(|o| {
            let x = self.arena.task(*o);
            x.leader != own && x.leader as usize == *o && live(&x.replicas[r])
        });
        let lost = self.are_dead(t, r, &all);
        others.into_iter().for_each(|o| self.kill_replica(o, r));
        let group = self.arena.group(g);
        group.alive &= !(1 << r);
        group.crashed &= !(1 << r);
        commit();
        group.losing &= !(1 << r);
        lost
    }

    /// Replica `r` of these tasks, among which is `t`, is dead. The task that ran in it.
    pub(super) fn are_dead(&mut self, t: usize, r: usize, all: &[usize]) -> usize {
        let Some(g) = self.group_of(t) else { return t };
        let group = self.arena.group(g);
        let ran = (group.running[r] as usize).checked_sub(1).filter(|x| {
            let x = self.arena.task(*x);
            let parked = x.replicas[r].state == rstate::PARKED;
            x.used == 2 && x.group as usize == g + 1 && !parked
        });
        let lost = ran.filter(|x| all.contains(x)).unwrap_or(t);
        let died_by = all.iter().map(|o| self.arena.task(*o).replicas[r].died_by).max();
        self.arena.task(lost).replicas[r].died_by = died_by.unwrap_or(0);
        for &o in all {
            let replica = &mut self.arena.task(o).replicas[r];
            if replica.state != rstate::NONE {
                replica.state = rstate::DEAD;
                replica.note_loss(self.now);
            }
            if o != lost {
                replica.died_by = 0;
            }
        }
        lost
    }

    /// After a takeover: what of a group follows from its log, from where its replicas are and from
    /// what the tracer has been asked.
    pub(super) fn settle_group(&mut self, g: usize) {
        let about = |kind: u32| {
            let jobs = (0..JOBS).map(|i| self.arena.job(i));
            jobs.filter(move |j| j.state != 0 && j.kind == kind && j.child_task as usize == g)
        };
        let group = self.arena.group(g);
        group.making = about(job::REPAIR_THREADS).fold(0, |all, j| all | j.copies);
        group.preempting = about(job::AGREE).next().is_some().into();
        // The place of the oldest one may hold the next, which does not count yet.
        let kept = group.head.saturating_sub(self.arena.log_len() - 1);
        for item in kept.max(group.first)..group.head {
            let Turn { task, seq, ordinal } = *self.arena.log(g, item);
            let x = self.arena.task(task as usize);
            if x.used != 0 && x.group as usize == g + 1 && x.ordinal == ordinal {
                x.released = x.released.max(seq + 1);
            }
        }
        for r in 0..usize::from(self.seats) {
            self.settle_crash(g, r);
            let first = self.members(g).next();
            if let Some(t) = first.filter(|_| group.losing & (1 << r) != 0) {
                let t = self.group_lost(t, r);
                self.note_loss(t);
            }
            while group.passed[r] < group.head {
                let Turn { task, seq, ordinal } = *self.arena.log(g, group.passed[r]);
                let same = self.arena.task(task as usize).ordinal == ordinal;
                let x = &self.arena.task(task as usize).replicas[r];
                let gone = same && (x.seq > seq || x.seq == seq && x.state == rstate::JOB);
                if !gone {
                    break;
                }
                group.running[r] = task + 1;
                group.passed[r] += 1;
            }
        }
    }
}
