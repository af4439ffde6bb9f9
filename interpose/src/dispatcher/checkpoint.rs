//! Checkpoints: frozen forks of a replica, made behind an answered call or, of a single replica, where it
//! computes.
//!
//! ```text
//!   due? ──► the tracer answers, stops, forks ──► FROZEN at call s ──► results from s on are kept
//!                                                      └─ too old, or not to be reached again: ended
//! ```
//!
//! The journal is the ring of decided calls: it is not let go of before the oldest checkpoint. A call
//! whose results are not in it (a file that is mapped, a buffer that is not kept) ends the use of all
//! checkpoints before it, and has one taken behind it at once.
//!
//! Invariant: from the newest checkpoint on every result is in the journal, or none is usable.

use chameleon_policy::checkpoint::gives_way;
use chameleon_proto::event::{Checkpoint, Event};
use chameleon_sys::notify;

use super::Dispatcher;
use crate::arena::{Job, MAX_REPLICAS, READINGS_KEPT, job, phase, rolling, rstate, want};

/// From a checkpoint that could not be made to the next try, in nanoseconds.
const RETRY_NS: u64 = 100_000_000;

impl Dispatcher {
    pub(super) fn places(&self) -> std::ops::Range<usize> {
        self.arena.checkpoints()
    }

    /// Whether a task can be rolled back to what is at a place.
    pub(super) fn is_usable(&self, t: usize, place: usize) -> bool {
        if let Some(g) = self.group_of(t) {
            return self.is_usable_group(g, place);
        }
        let task = self.arena.task(t);
        let x = &task.replicas[place];
        let kept = x.state == rstate::FROZEN && x.seq >= task.recovery.from && x.seq >= task.tail;
        let recovery = &task.recovery;
        let behind = recovery.at_call & (1 << place) == 0;
        let computes = behind && x.seq + 1 == recovery.changes;
        kept && !computes && self.readings_since(t, place) < READINGS_KEPT
    }

    /// The checkpoints of a task that are of use, the newest first.
    pub(super) fn usable(&self, t: usize) -> Vec<usize> {
        let mut all: Vec<usize> = self.places().filter(|p| self.is_usable(t, *p)).collect();
        all.sort_by_key(|p| std::cmp::Reverse(self.arena.task(t).replicas[*p].seq));
        all
    }

    /// The call of the newest checkpoint that is of use.
    fn newest(&self, t: usize) -> Option<(u64, usize)> {
        let all = self.places().filter(|p| self.is_usable(t, *p));
        all.map(|p| (self.arena.task(t).replicas[p].seq, p)).max()
    }

    /// Why a checkpoint of a task is to be taken now; see [`want`].
    pub(super) fn wanted(&self, t: usize) -> u32 {
        let Some(c) = self.settings.checkpoints else { return want::NOT };
        let task = self.arena.task(t);
        if self.now < task.recovery.retry_at {
            return want::NOT;
        }
        if task.recovery.wanted != want::NOT {
            return task.recovery.wanted;
        }
        let Some((newest, place)) = self.newest(t) else { return want::START };
        let data = task.data_head - self.arena.entry(t, newest.min(task.head)).data;
        let calls = task.head - newest.min(task.head);
        if calls > self.arena.entries() / 2
            || calls > 0 && data > self.arena.data_len() / 2
            || self.readings_since(t, place) > READINGS_KEPT / 2
        {
            want::JOURNAL
        } else if self.asked_until() > task.recovery.heeded {
            want::ASKED
        } else if c.cadence.due(self.now, task.recovery.taken_at, 0, 0) {
            want::TIME
        } else if c.cadence.due(0, 0, calls, 0) {
            want::CALLS
        } else {
            want::NOT
        }
    }

    /// Whether a checkpoint of a task could be made as far as its own state goes.
    fn may_be_frozen(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        task.leader as usize == t
            && task.group == 0
            && task.exec_pending == 0
            && task.dying == 0
            && task.exiting == 0
            && matches!(task.recovery.rolling, rolling::NO | rolling::REPLAY)
            && self.may_be_copied(t)
            && !self.lends_memory(t)
            && !self.is_being_made(t)
    }

    /// Where the next checkpoint goes: what is there is of least use.
    fn next_place(&self, t: usize) -> Option<usize> {
        let task = self.arena.task(t);
        let pinned = task.recovery.pinned as usize;
        let places = self.places().take(self.kept()).filter(|p| p + 1 != pinned);
        let usable = |p: usize| self.is_usable(t, p).then(|| task.replicas[p].seq);
        least_useful(places, usable, task.head)
    }

    /// The replica that is to be made of one about to be given the result of the decided call `seq`,
    /// because a checkpoint is due there: its bit, or 0.
    pub(super) fn freezes(&mut self, t: usize, r: usize, seq: u64) -> u32 {
        let task = self.arena.task(t);
        if self.settings.checkpoints.is_none() || task.head != seq + 1 {
            return 0;
        }
        if let Some(g) = self.group_of(t) {
            return self.freezes_behind(g, t, r, seq);
        }
        let wanted = self.wanted(t) != want::NOT || self.cut_wants(t);
        if !wanted || !self.may_be_frozen(t) {
            return 0;
        }
        let e = self.arena.entry(t, seq);
        let enough = e.votes.count_ones() >= u32::from(self.votes_of(t).k);
        if !enough && !self.votes_of(t).first || e.votes & (1 << r) == 0 {
            return 0;
        }
        if self.another_is_watched(t, r) {
            return 0;
        }
        self.next_place(t).map_or(0, |p| 1 << p)
    }

    /// The replica that is to be made of one which is held behind its call and about to be released, if
    /// there is nothing to go back to: its bit, or 0.
    pub(super) fn freezes_held(&mut self, t: usize, r: usize) -> u32 {
        let x = self.arena.task(t).replicas[r];
        let votes = self.arena.entry(t, x.seq.saturating_sub(1)).votes;
        let due = self.settings.checkpoints.is_some() && self.newest(t).is_none();
        if !due || votes & (1 << r) == 0 || !self.may_be_frozen(t) {
            return 0;
        }
        self.next_place(t).map_or(0, |p| 1 << p)
    }

    /// The tracer has been asked for a checkpoint.
    pub(super) fn is_frozen_soon(&mut self, t: usize) {
        if self.group_of(t).is_some() {
            return; // noted as it was found to be due
        }
        let why = match self.wanted(t) {
            want::NOT => want::TIME, // because a cut is made
            why => why,
        };
        let asked = self.asked_until();
        let recovery = &mut self.arena.task(t).recovery;
        (recovery.taken_at, recovery.asked) = (self.now, asked);
        recovery.wanted = why;
        self.waits_no_more();
        self.begin_cut(why);
    }

    /// Somebody has asked for a checkpoint, or there is none to go back to: of a task that waits in a call it
    /// is made there, and the call made again; of others at the next call.
    pub(super) fn freeze_waiting(&mut self, t: usize) {
        self.cut_waiting(t);
        let task = self.arena.task(t);
        let at_once = matches!(self.wanted(t), want::ASKED | want::START | want::CALL);
        if task.group == 0 && at_once {
            self.freeze_parked(t);
        }
    }

    /// A task is about to wait in its call: one that has nothing to go back to has a checkpoint made there.
    pub(super) fn freeze_without(&mut self, t: usize) {
        let task = self.arena.task(t);
        let waits = task.phase == phase::WORK && task.group == 0 && task.used == 2;
        if self.settings.checkpoints.is_some() && waits && self.newest(t).is_none() {
            self.freeze_waiting(t);
        }
    }

    /// Has a checkpoint made of a task that waits in a call; whether it was asked for.
    pub(super) fn freeze_parked(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let (votes, k) = (e.votes, u32::from(self.votes_of(t).k));
        // In the midst of a call, or held before it.
        let stands = match task.phase {
            phase::WORK => true,
            _ => e.open != 0 && e.seq == task.head && votes.count_ones() >= k,
        };
        let waits = |r: &usize| {
            let x = &task.replicas[*r];
            let decided = votes & (1 << r) != 0;
            let goes_on = stands && task.recovery.rolling == rolling::NO;
            let there = x.state == rstate::PARKED && x.seq == task.head && decided;
            goes_on && there && notify::is_waiting(x.listener as i32, x.id)
        };
        let donor = (0..task.n as usize).filter(waits).max_by_key(|r| self.is_watched(t, *r));
        let (Some(donor), true) = (donor, self.may_be_frozen(t)) else { return false };
        let Some(place) = self.next_place(t) else { return false };
        let mut job = self.job_for(t, donor, job::FREEZE);
        job.copies = 1 << place;
        let asked = self.ask(job);
        if asked {
            self.is_frozen_soon(t);
            self.arena.task(t).replicas[donor].state = rstate::JOB;
        }
        asked
    }

    /// Whether every process has the checkpoint that was asked for: then whoever asked is told.
    pub(super) fn answer_asked(&mut self) {
        if !self.checkpoint_is_asked() {
            return;
        }
        let asked = self.arena.header().asked_checkpoint;
        let mut all = (0..self.tasks()).filter(|t| {
            let x = self.arena.task(*t);
            x.used == 2 && x.leader as usize == *t
        });
        if all.all(|t| self.recovery_of(t).heeded >= asked) {
            self.answer_checkpoint(super::asked::why::NONE);
        }
    }

    /// A single replica has computed for long without a call, and a checkpoint is due: it is made there.
    pub(super) fn freeze_computing(&mut self, t: usize) {
        if self.wanted(t) != want::NOT {
            self.freeze_where_it_computes(t);
        }
    }

    /// Has a checkpoint made of a single replica that computes.
    pub(super) fn freeze_where_it_computes(&mut self, t: usize) {
        let task = self.arena.task(t);
        let goes_on = task.group == 0 && task.recovery.rolling == rolling::NO;
        let computes = task.n == 1 && goes_on && task.replicas[0].state == rstate::RUNNING;
        if !computes || task.replicas[0].seq != task.head || task.replicas[0].deliver != 0 {
            return;
        }
        if !self.may_be_frozen(t) {
            return;
        }
        let Some(place) = self.next_place(t) else { return };
        let mut job = self.job_for(t, 0, job::PREEMPT);
        job.args = [0, task.head, 0, 0, 0, 0];
        job.copies = 1 << place;
        if self.ask(job) {
            self.is_frozen_soon(t);
            self.arena.task(t).replicas[0].state = rstate::JOB;
        }
    }

    /// The tracer has made a checkpoint, or failed to.
    pub(super) fn frozen(&mut self, j: &Job) {
        let t = j.task as usize;
        if let Some(g) = self.group_of(t) {
            return self.froze_behind(g, j);
        }
        for p in self.places().filter(|p| j.copies & (1 << p) != 0) {
            let x = &mut self.arena.task(t).replicas[p];
            if x.state == rstate::EXPECTED {
                x.state = rstate::NONE; // it was not made
                // One that computes was stopped where it must not be: it is out of there in a moment.
                if j.error != libc::ESRCH as u32 && j.kind != job::PREEMPT {
                    self.arena.task(t).recovery.retry_at = self.now + RETRY_NS;
                }
                continue;
            }
            if x.state != rstate::FROZEN {
                continue;
            }
            let seq = x.seq;
            let recovery = &mut self.arena.task(t).recovery;
            if recovery.wanted == want::START {
                recovery.from = seq;
            }
            recovery.made_at[p] = self.now;
            recovery.taken_at = self.now; // of much memory it takes time, which is not the program's
            let (bit, at_call) = (1 << p, j.kind == job::FREEZE);
            recovery.at_call &= !bit;
            recovery.at_call |= if at_call { bit } else { 0 };
            recovery.clocks_at[p] = recovery.clocks;
            let why = std::mem::replace(&mut recovery.wanted, want::NOT);
            recovery.heeded = recovery.asked;
            if let (Some(before), false) = (seq.checked_sub(1), at_call) {
                self.passes(t, before); // its replica did, though it may have died before that was recorded
            }
            self.arena.header().checkpoints += 1;
            self.say_checkpoint(t, seq, why, j);
        }
        self.answer_asked();
        self.forget_useless(t);
    }

    fn say_checkpoint(&mut self, t: usize, seq: u64, why: u32, j: &Job) {
        let why = match why {
            want::TIME => "time".into(),
            want::CALLS => "calls".into(),
            want::ASKED => "asked".into(),
            want::JOURNAL => "journal".into(),
            want::CALL => {
                // Made behind a call that cannot be had again, or at one that changes what was mapped.
                let behind = self.arena.entry(t, seq.saturating_sub(1));
                let e = if behind.once != 0 { behind } else { self.arena.entry(t, seq) };
                format!("call:{}", self.call_name(e.nr, &e.args)).into()
            }
            _ => "start".into(),
        };
        self.report.say(Event::Checkpoint(Checkpoint {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            seq: seq + 1,
            ms: j.done_at.saturating_sub(j.asked_at) as f64 / 1e6,
            why,
            kept: self.usable(t).len() as u32,
            oldest: self.usable(t).last().map_or(seq, |p| self.arena.task(t).replicas[*p].seq) + 1,
        }));
    }

    /// The outside has carried out an exec: what is from before is of no use.
    pub(super) fn image_is_new(&mut self, t: usize) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        let task = self.arena.task(t);
        let new = |p: &usize| {
            let x = &task.replicas[*p];
            x.state == rstate::FROZEN && x.seq == task.head
        };
        task.recovery.wanted = want::START;
        if self.places().any(|p| new(&p)) {
            (task.recovery.from, task.recovery.wanted) = (task.head, want::NOT);
            (task.recovery.at_call, task.recovery.changes) = (0, 0);
            (task.recovery.clocks, task.recovery.clocks_at) = (0, [0; MAX_REPLICAS]);
            self.forget_useless(t);
        }
    }

    /// Ends checkpoints that are of no use.
    pub(super) fn forget_useless(&mut self, t: usize) {
        if let Some(g) = self.group_of(t) {
            return self.forget_useless_of_group(g);
        }
        for p in self.places() {
            if self.arena.task(t).replicas[p].state == rstate::FROZEN && !self.is_usable(t, p) {
                self.forget_checkpoint(t, p);
            }
        }
    }

    /// Ends a checkpoint.
    pub(super) fn forget_checkpoint(&mut self, t: usize, place: usize) {
        let leader = self.arena.task(t).leader as usize;
        let pinned = self.arena.task(leader).recovery.pinned as usize == place + 1;
        if self.arena.task(t).replicas[place].state == rstate::FROZEN && !pinned {
            self.kill_replica(t, place);
            self.arena.task(t).replicas[place].state = rstate::NONE;
        }
    }
}

/// The place among these where the next checkpoint goes, which stands at `next`: one without a checkpoint that
/// is of use, or that of the one which gives way. `at` is the call or item at which a place's stands.
pub(super) fn least_useful(
    places: impl Iterator<Item = usize>,
    at: impl Fn(usize) -> Option<u64>,
    next: u64,
) -> Option<usize> {
    let mut there: Vec<(u64, usize)> = Vec::new();
    for p in places {
        let Some(at) = at(p) else { return Some(p) };
        there.push((at, p));
    }
    there.sort_unstable();
    let calls: Vec<u64> = there.iter().map(|(at, _)| *at).collect();
    there.get(gives_way(&calls, next)).map(|(_, p)| *p)
}
