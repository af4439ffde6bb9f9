//! When a thread that computes without calls is to be preempted: because others of its group wait, or
//! a signal for it.
//!
//! Invariant: asked for only while that thread runs in every replica behind the same call, so that
//! its calls stay one sequence; tried less and less often, because it stops the program.

use std::sync::atomic::{Ordering, fence};

use chameleon_policy::schedule::Threads;
use chameleon_proto::event::{Event, Stalled, Unvoted};

use super::Dispatcher;
use crate::arena::{JOBS, Job, job, rstate};

/// How long a thread may compute while others wait before it is first preempted.
const PATIENCE_NS: u64 = 60_000_000;
/// Attempts before the state of one replica is taken for all, if that is wanted.
const LIVE_AFTER: u32 = 2;
/// Attempts from one word to people to the next.
const TOLD_EVERY: u32 = 6;
/// The longest pause between two attempts.
const LONGEST_NS: u64 = 2_000_000_000;

impl Dispatcher {
    /// Whether anything waits for the running thread of a group.
    pub(super) fn is_wanted(&self, g: usize) -> bool {
        let group = self.arena.group(g);
        let last = group.last as usize;
        group.alone != 0
            || self.is_short(g)
            || self.unites(g)
            || self.group_is_to_change(g)
            || self.seats == 1 && self.freezes_group(g)
            || self.members(g).any(|t| match t + 1 == last {
                true => self.arena.task(t).used == 2 && self.deliverable(t).is_some(),
                false => self.is_ready(t),
            })
    }

    /// Has the running thread of the group of founder `g` preempted, if it is time.
    pub(super) fn preempt_group(&mut self, g: usize) {
        if self.is_rolling_group(g) || !self.is_wanted(g) {
            return;
        }
        let group = self.arena.group(g);
        let Some(t) = (group.last as usize).checked_sub(1) else { return };
        if group.preempting != 0 || group.making != 0 || self.now < group.next_attempt {
            self.behind = true;
            return;
        }
        let task = self.arena.task(t);
        let (mut since, mut mask) = (0, 0u32);
        for r in self.alive(g) {
            let x = &task.replicas[r];
            // One that is about to take a signal is looked at again: another may wait behind it.
            self.behind |= x.deliver != 0;
            let runs = x.state == rstate::RUNNING && x.seq == task.head && x.deliver == 0;
            if !runs || group.passed[r] != group.head {
                return;
            }
            since = since.max(x.since());
            mask |= 1 << r;
        }
        self.behind = true;
        if self.now.saturating_sub(since) < PATIENCE_NS || task.exiting != 0 || mask == 0 {
            return;
        }
        let first = mask.trailing_zeros() as usize;
        let mut asked: Job = self.job_for(t, first, job::AGREE);
        asked.args[0] = task.head;
        let tried = group.attempts >= LIVE_AFTER || group.unvoted != 0;
        let unvoted = self.settings.threads == Threads::Live && tried;
        let waits = |o: usize| {
            let x = self.arena.task(o);
            let all = (0..x.n as usize).filter(|r| mask & (1 << r) != 0);
            let parked = all.into_iter().all(|r| x.replicas[r].state == rstate::PARKED);
            o == t || x.used != 2 || x.exiting != 0 || parked
        };
        let copied = self.members(g).all(|o| self.may_be_copied(o) && waits(o));
        asked.args[1] = u64::from(unvoted && copied);
        asked.child_task = g as u32;
        asked.copies = mask;
        asked.args[3] = u64::from(if copied { self.freezes_preempted(g, t, first) } else { 0 });
        self.arena.group(g).preempting = u32::from(self.ask(asked));
    }

    /// A thread that was to be preempted has made a call by itself: better so.
    pub(super) fn withdraw_agreement(&mut self, t: usize) {
        let Some(g) = self.group_of(t) else { return };
        if self.arena.group(g).preempting == 0 {
            return;
        }
        fence(Ordering::SeqCst);
        for i in 0..JOBS {
            let j = self.arena.job(i);
            if j.kind == job::AGREE && j.task as usize == t && matches!(j.state, 1 | 3) {
                j.state = 4;
                chameleon_sys::raw::ring_bell(self.settings.tracer_bell);
            }
        }
    }

    /// The tracer has preempted it, or could not.
    pub(super) fn agreed(&mut self, j: &Job) {
        let (t, g) = (j.task as usize, j.child_task as usize);
        self.was_preempted(j);
        let group = self.arena.group(g);
        group.preempting = 0;
        if self.is_rolling_group(g) {
            return;
        }
        let group = self.arena.group(g);
        group.attempts += 1;
        let pause = PATIENCE_NS << group.attempts.min(6);
        group.next_attempt = self.now + if j.error == 0 { 0 } else { pause.min(LONGEST_NS) };
        self.behind = true;
        let task = self.arena.task(t);
        let donor = task.replicas[j.replica as usize];
        let ms = self.now.saturating_sub(donor.since()) as f64 / 1e6;
        let (process, program, thread) = (task.tgid, self.name(t), task.tid);
        if j.error != 0 && j.args[2] != 0 {
            self.none_made(g, j.copies);
        }
        if j.error == 0 && j.args[2] != 0 {
            let copies = j.copies & !(1 << j.replica);
            self.arena.group(g).unvoted = 1;
            self.copies_join(t, g, j.replica as usize, copies);
            let donor = j.replica as u8;
            self.report.say(Event::Unvoted(Unvoted { process, program, thread, donor, ms }));
        } else if j.error != 0 && self.arena.group(g).attempts % TOLD_EVERY == TOLD_EVERY - 1 {
            let others = self.members(g).filter(|o| *o != t && self.is_ready(*o)).count();
            let waiting = others as u32 + u32::from(self.deliverable(t).is_some());
            self.report.say(Event::Stalled(Stalled { process, program, thread, waiting, ms }));
        }
    }
}
