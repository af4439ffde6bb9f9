//! Checkpoints of a group: all its processes and threads at a moment where nothing of it runs in one
//! replica.
//!
//! ```text
//!   due? ──► no turn is added ──► all wait at known calls ──► the tracer copies one replica, which stays
//!                                                             stopped ──► the log is kept from there on
//! ```
//!
//! A process that becomes a group by its first thread brings along the calls since its oldest
//! checkpoint, as items of the log: so that one is of use on. Threads that have been born since are born
//! again in the replay, and the record of one that has ended is kept until no checkpoint needs it.
//!
//! Invariant: the log and the entries of every member go back to the oldest checkpoint that is of use.

use chameleon_proto::event::{Checkpoint, Event};

use super::Dispatcher;
use super::checkpoint::least_useful;
use crate::arena::{
    CHECKPOINTS, Group, Job, READINGS_KEPT, Turn, commit, how, job, rolling, rstate, want,
};

/// From a checkpoint that could not be made to the next try, in nanoseconds.
const PAUSE_NS: u64 = 100_000_000;
/// Records of ended threads that are kept before a checkpoint is taken to be rid of them: part of all.
const MOST_ENDED: usize = crate::arena::MAX_TASKS / 4;

/// What was found of the readings of clocks since the checkpoints of a group, a cache.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readings {
    group: usize,
    /// The turn of the dispatcher, by its time.
    at: u64,
    /// By the checkpoints' places.
    since: [Option<u64>; CHECKPOINTS],
}

impl Dispatcher {
    /// Whether the checkpoint of a group at a place can be gone back to.
    pub(super) fn is_usable_group(&self, g: usize, place: usize) -> bool {
        let group = self.arena.group(g);
        let from = group.recovery.from.max(group.first);
        group.frozen & (1 << place) != 0
            && group.passed[place] >= from
            && group.head - group.passed[place] < self.arena.log_len() - 1
            && self.readings_of_group_since(g, place) < READINGS_KEPT
    }

    /// The most readings that one of its processes has made since the checkpoint at a place, as it was when
    /// that was first asked in this turn of the dispatcher: of each thread it is asked more than once.
    fn readings_of_group_since(&self, g: usize, place: usize) -> u64 {
        let (seen, at) = (self.readings.get(), place - self.places().start);
        let known = seen.group == g && seen.at == self.now;
        if let Some(readings) = seen.since.get(at).copied().flatten().filter(|_| known) {
            return readings;
        }
        let all = self.members(g).filter(|t| self.arena.task(*t).leader as usize == *t);
        let readings = all.map(|t| self.readings_since(t, place)).max().unwrap_or(0);
        let mut now =
            if known { seen } else { Readings { group: g, at: self.now, ..Readings::default() } };
        if let Some(since) = now.since.get_mut(at) {
            *since = Some(readings);
        }
        self.readings.set(now);
        readings
    }

    /// The checkpoints of a group that are of use, the newest first.
    pub(super) fn usable_group(&self, g: usize) -> Vec<usize> {
        let mut all: Vec<usize> = self.places().filter(|p| self.is_usable_group(g, *p)).collect();
        all.sort_by_key(|p| std::cmp::Reverse(self.arena.group(g).passed[*p]));
        all
    }

    /// The call of a task from which on a replica made of a usable checkpoint needs what was decided.
    pub(super) fn call_of_checkpoint(&self, t: usize, place: usize) -> u64 {
        let x = &self.arena.task(t).replicas[place];
        // A thread that is not there has begun since.
        if x.state == rstate::FROZEN { x.seq } else { 0 }
    }

    /// A process becomes a group: its calls since its oldest checkpoint are items of the log.
    pub(super) fn bring_calls_along(&mut self, t: usize, g: usize) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        let usable = self.usable(t);
        let task = self.arena.task(t);
        let group = self.arena.group(g);
        let oldest = usable.iter().map(|p| task.replicas[*p].seq).min().unwrap_or(task.head);
        for seq in oldest..task.head {
            *self.arena.log(g, seq) = Turn { seq, task: t as u32, ordinal: task.ordinal };
        }
        (group.first, group.head) = (oldest, task.head);
        group.passed = [task.head; _];
        for p in usable {
            group.passed[p] = task.replicas[p].seq;
            group.frozen |= 1 << p;
        }
        group.recovery = task.recovery;
        group.progressed_at = self.now;
        for p in self.places().filter(|p| group.frozen & (1 << p) == 0) {
            self.forget_checkpoint(t, p);
        }
    }

    /// Why a checkpoint of a group is to be taken now; see [`want`].
    pub(super) fn wanted_of_group(&self, g: usize) -> u32 {
        let Some(c) = self.settings.checkpoints else { return want::NOT };
        let group = self.arena.group(g);
        if group.recovery.wanted != want::NOT {
            return group.recovery.wanted;
        }
        let usable = self.places().filter(|p| self.is_usable_group(g, *p));
        let newest = usable.map(|p| (group.passed[p], p)).max();
        let Some((newest, place)) = newest else { return want::START };
        let items = group.head - newest;
        let readings = self.readings_of_group_since(g, place);
        if items > self.arena.log_len() / 4 || readings > READINGS_KEPT / 2 {
            want::JOURNAL
        } else if self.asked_until() > group.recovery.heeded {
            want::ASKED
        } else if c.cadence.due(self.now, group.recovery.taken_at, 0, 0) || self.image_is_due() {
            want::TIME
        } else if c.cadence.due(0, 0, items, 0) {
            want::CALLS
        } else {
            want::NOT
        }
    }

    /// Whether no turn is to be added to the order of a group, because a checkpoint of it is due.
    pub(super) fn freezes_group(&self, g: usize) -> bool {
        (self.wanted_of_group(g) != want::NOT || self.cut_wants_group(g))
            && self.may_be_frozen_group(g)
    }

    fn may_be_frozen_group(&self, g: usize) -> bool {
        let group = self.arena.group(g);
        self.now >= group.next_freeze
            && group.alive != 0
            && group.crashed == 0
            && group.recovery.rolling == rolling::NO
            && self.members(g).all(|t| {
                let x = self.arena.task(t);
                let may_be = x.exec_pending == 0
                    && x.dying == 0
                    && self.may_be_copied(t)
                    && (x.leader as usize != t || !self.lends_memory(t))
                    && !self.is_being_made(t);
                x.used != 2 || may_be
            })
    }

    /// Whether a child of a process runs in its memory, in no common order with it (clone(2), CLONE_VM): a
    /// copy would be without it.
    pub(super) fn lends_memory(&self, t: usize) -> bool {
        let leader = self.arena.task(t).leader;
        (0..self.tasks()).any(|o| {
            let x = self.arena.task(o);
            x.used == 2 && x.no_repair != 0 && x.parent == leader && x.group == 0
        })
    }

    /// The bytes of calls of a task that are kept have become many.
    pub(super) fn note_journal(&mut self, t: usize) {
        let Some(g) = self.group_of(t) else { return };
        let newest = self.usable_group(g).first().copied();
        let (task, group) = (self.arena.task(t), self.arena.group(g));
        let Some(newest) = newest else { return };
        let from = self.call_of_checkpoint(t, newest).max(task.tail).min(task.head);
        let data = task.data_head.saturating_sub(self.arena.entry(t, from).data);
        let calls = task.head - from;
        let full =
            calls > self.arena.entries() / 2 || calls > 0 && data > self.arena.data_len() / 2;
        if full && group.recovery.wanted == want::NOT {
            group.recovery.wanted = want::JOURNAL;
        }
    }

    /// The place of a group's next checkpoint: what is there is of least use.
    fn next_place_of_group(&self, g: usize) -> Option<usize> {
        let group = self.arena.group(g);
        let usable = |p: usize| self.is_usable_group(g, p).then(|| group.passed[p]);
        let free = self.places().take(self.kept()).filter(|p| !self.is_pinned(g, *p));
        least_useful(free, usable, group.head)
    }

    /// Whether the calls at which the threads of a group wait in a replica have been decided, or are being
    /// worked on: the ballots of what is made of it are not compared once more.
    fn are_decided(&self, g: usize, r: usize, but: Option<usize>) -> bool {
        self.threads_of(g).into_iter().filter(|t| Some(*t) != but).all(|t| {
            let x = self.arena.task(t);
            let e = self.arena.entry(t, x.replicas[r].seq);
            x.replicas[r].state == rstate::PARKED
                && e.seq == x.replicas[r].seq
                && e.open != 0
                && e.votes & (1 << r) != 0
        })
    }

    /// Has the tracer make a checkpoint of a group in which nothing runs.
    pub(super) fn freeze_group(&mut self, g: usize) {
        let threads = self.threads_of(g);
        let Some(&first) = threads.first() else { return };
        let Some(donor) = self.alive(g).next() else { return };
        let waits = self.all_wait(g, donor) && self.are_decided(g, donor, None);
        if !waits || threads.iter().any(|t| self.is_changing_shared(*t)) {
            self.behind = true;
            return;
        }
        let Some(place) = self.next_place_of_group(g) else { return };
        let mut job: Job = self.job_for(first, donor, job::REPAIR_THREADS);
        job.copies = 1 << place;
        job.child_task = g as u32;
        self.make_room_for_checkpoint(g, place, false);
        let group = self.arena.group(g);
        group.returning |= 1 << donor;
        group.making = job.copies;
        for t in threads {
            self.arena.task(t).replicas[place].state = rstate::EXPECTED;
        }
        if !self.ask(job) {
            self.group_not_frozen(g, place);
        }
    }

    /// A checkpoint of a group is about to be made at a place, perhaps while the thread that runs computes.
    fn make_room_for_checkpoint(&mut self, g: usize, place: usize, computes: bool) {
        self.forget_checkpoint_of_group(g, place);
        let asked = self.asked_until();
        let why = match self.wanted_of_group(g) {
            want::NOT => want::TIME, // because a cut is made
            why => why,
        };
        let group = self.arena.group(g);
        group.passed[place] = group.head;
        group.computing &= !(1 << place);
        group.computing |= u32::from(computes) << place;
        let recovery = &mut group.recovery;
        (recovery.taken_at, recovery.asked, recovery.wanted) = (self.now, asked, why);
        self.begin_cut_of_group(why);
    }

    /// A thread that computes is about to be preempted: the place of the checkpoint that is made in that,
    /// or 0. A single replica is not what it was before once more, so that one is needed; of several
    /// it is made when they have met.
    pub(super) fn freezes_preempted(&mut self, g: usize, t: usize, r: usize) -> u32 {
        let may_be = self.settings.checkpoints.is_some()
            && self.seats == 1
            && self.may_be_frozen_group(g)
            && self.are_decided(g, r, Some(t));
        let Some(place) = self.next_place_of_group(g).filter(|_| may_be) else { return 0 };
        self.make_room_for_checkpoint(g, place, true);
        1 << place
    }

    /// The replica that is to be made of a single one in which thread `t` is about to be given the result of call
    /// `seq`, which is not to be had once more: its bit, or 0. With several the next moment at which
    /// nothing runs is soon enough.
    pub(super) fn freezes_behind(&mut self, g: usize, t: usize, r: usize, seq: u64) -> u32 {
        let e = *self.arena.entry(t, seq);
        let group = self.arena.group(g);
        let may_be = e.once != 0
            && matches!(e.how, how::VALUE | how::CONTINUE | how::REMAP)
            && self.seats == 1
            && group.passed[r] + 1 == group.head
            && self.arena.task(t).exiting == 0
            && self.may_be_frozen_group(g)
            && self.are_decided(g, r, Some(t));
        let Some(place) = self.next_place_of_group(g).filter(|_| may_be) else { return 0 };
        self.make_room_for_checkpoint(g, place, true);
        1 << place
    }

    /// A turn has been added to the log. One in which replicas map shared memory is of the objects as they
    /// are now: a replica that is made anew must not come by it.
    pub(super) fn not_to_be_replayed(&mut self, g: usize, t: usize, seq: u64) {
        if self.settings.checkpoints.is_some() && self.arena.entry(t, seq).how == how::REMAP {
            let e = self.arena.entry(t, seq);
            let group = self.arena.group(g);
            if e.seq == seq && seq < self.arena.task(t).head {
                group.recovery.from = group.head;
                group.recovery.wanted = want::CALL;
            }
        }
    }

    /// The tracer has made it, or failed to.
    pub(super) fn froze_behind(&mut self, g: usize, j: &Job) {
        let Some(place) = self.places().find(|p| j.copies & (1 << p) != 0) else { return };
        if j.error != 0 || self.is_rolling_group(g) {
            return self.group_not_frozen(g, place);
        }
        self.arena.group(g).returning |= 1 << j.replica;
        self.group_frozen(g, place, j);
    }

    /// A thread has been preempted: what was computed until there is not to be had once more.
    pub(super) fn was_preempted(&mut self, j: &Job) {
        let g = j.child_task as usize;
        if self.settings.checkpoints.is_none() {
            return;
        }
        let places = self.places();
        let place = places.clone().find(|p| j.args[3] & (1 << p) != 0);
        let failed = j.error != 0 || self.is_rolling_group(g);
        let made = place.filter(|_| !failed);
        if let Some(place) = place.filter(|_| failed) {
            self.group_not_frozen(g, place);
            self.arena.group(g).next_freeze = 0; // nothing was tried
        }
        if failed {
            return;
        }
        let group = self.arena.group(g);
        group.recovery.from = group.head;
        match made {
            Some(place) => {
                if group.recovery.wanted == want::NOT {
                    group.recovery.wanted = want::CALL;
                }
                group.returning |= 1 << j.replica;
                self.group_frozen(g, place, j);
            }
            None => {
                group.recovery.wanted = want::CALL;
                self.forget_useless_of_group(g);
            }
        }
    }

    /// The tracer has made a checkpoint of a group, or failed to.
    pub(super) fn group_froze(&mut self, j: &Job) {
        let g = j.child_task as usize;
        let Some(place) = self.places().find(|p| j.copies & (1 << p) != 0) else { return };
        if j.error != 0 {
            self.group_not_frozen(g, place);
        } else {
            self.group_frozen(g, place, j);
        }
        let donor = j.replica as usize;
        for t in self.threads_of(g) {
            self.arena.task(t).replicas[donor].arrived = self.now;
        }
        commit();
        self.arena.group(g).making = 0;
    }

    fn group_frozen(&mut self, g: usize, place: usize, j: &Job) {
        // It may have been ended since, in part.
        let whole = |t: &usize| self.arena.task(*t).replicas[place].state == rstate::FROZEN;
        let threads = self.threads_of(g);
        if !threads.iter().all(whole) {
            return self.group_not_frozen(g, place);
        }
        let leaders: Vec<usize> =
            threads.into_iter().filter(|t| self.arena.task(*t).leader as usize == *t).collect();
        self.readings.set(Readings::default());
        for t in leaders {
            let recovery = &mut self.arena.task(t).recovery;
            recovery.clocks_at[place] = recovery.clocks;
            recovery.made_at[place] = self.now;
        }
        let group = self.arena.group(g);
        commit();
        group.frozen |= 1 << place;
        let recovery = &mut group.recovery;
        recovery.taken_at = self.now;
        let why = std::mem::replace(&mut recovery.wanted, want::NOT);
        if why == want::START {
            recovery.from = group.passed[place];
        }
        recovery.heeded = recovery.asked;
        self.arena.header().checkpoints += 1;
        self.say_checkpoint_of_group(g, place, why, j);
        self.answer_asked();
        self.forget_useless_of_group(g);
    }

    /// No checkpoint came of it.
    pub(super) fn group_not_frozen(&mut self, g: usize, place: usize) {
        self.arena.group(g).frozen |= 1 << place;
        self.forget_checkpoint_of_group(g, place);
        let group = self.arena.group(g);
        group.making &= !(1 << place);
        group.next_freeze = self.now + PAUSE_NS;
        self.behind = true;
    }

    fn say_checkpoint_of_group(&mut self, g: usize, place: usize, why: u32, j: &Job) {
        let Some(t) = self.threads_of(g).first().copied() else { return };
        let leader = self.arena.task(t).leader as usize;
        let why = match why {
            want::TIME => "time",
            want::CALLS => "calls",
            want::ASKED => "asked",
            want::JOURNAL => "journal",
            want::CALL => "call",
            _ => "start",
        };
        self.report.say(Event::Checkpoint(Checkpoint {
            process: self.arena.task(t).tgid,
            program: self.name(leader),
            seq: self.arena.group(g).passed[place] + 1,
            ms: j.done_at.saturating_sub(j.asked_at) as f64 / 1e6,
            why: why.into(),
            kept: self.usable_group(g).len() as u32,
            oldest: self.usable_group(g).last().map_or(0, |p| self.arena.group(g).passed[*p]) + 1,
        }));
    }

    /// Ends the checkpoints of a group that are of no use.
    pub(super) fn forget_useless_of_group(&mut self, g: usize) {
        for p in self.places() {
            if self.arena.group(g).frozen & (1 << p) != 0 && !self.is_usable_group(g, p) {
                self.forget_checkpoint_of_group(g, p);
            }
        }
    }

    /// Ends a checkpoint of a group.
    pub(super) fn forget_checkpoint_of_group(&mut self, g: usize, place: usize) {
        self.arena.group(g).frozen &= !(1 << place);
        commit();
        if self.is_pinned(g, place) {
            return; // when it has been read
        }
        let all: Vec<usize> = self.members(g).collect();
        for t in all {
            self.forget_checkpoint(t, place);
            let x = &mut self.arena.task(t).replicas[place];
            if x.state == rstate::EXPECTED {
                x.state = rstate::NONE;
            }
        }
    }

    /// A thread of a checkpoint has died, and with it the rest.
    pub(super) fn frozen_died(&mut self, t: usize, place: usize) {
        self.arena.task(t).replicas[place].state = rstate::NONE;
        if let Some(g) = self.group_of(t) {
            self.forget_checkpoint_of_group(g, place);
        }
    }

    /// A group is not what it was in any checkpoint: a process of it has ended, has executed a program or
    /// has come in.
    pub(super) fn group_has_changed(&mut self, g: usize) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        let group = self.arena.group(g);
        group.recovery.from = group.head;
        group.recovery.wanted = want::CALL;
        for p in self.places() {
            self.forget_checkpoint_of_group(g, p);
        }
    }

    /// Whether the record of a thread that has ended is needed by a checkpoint.
    pub(super) fn is_kept(&self, t: usize) -> bool {
        let Some(g) = self.group_of(t) else { return false };
        let (group, end) = (self.arena.group(g), self.arena.task(t).ended_at);
        self.is_rolling_group(g)
            || self.places().any(|p| self.is_usable_group(g, p) && group.passed[p] < end)
    }

    /// A record for a new task, of those that are kept of ended threads: the checkpoints that need
    /// them go.
    pub(super) fn free_task_of_ended(&mut self, t: usize) -> Option<usize> {
        let g = self.group_of(t)?;
        self.group_has_changed(g);
        self.sweep_threads();
        self.free_task()
    }

    /// Looks whether so many records are kept that a checkpoint is to be taken.
    pub(super) fn look_at_ended(&mut self, g: usize) {
        let ended = self.members(g).filter(|t| self.arena.task(*t).used == 5).count();
        let usable = self.usable_group(g);
        let recovery = &mut self.arena.group(g).recovery;
        match usable[..] {
            // Those of the oldest go with it.
            [_, .., oldest] if ended > MOST_ENDED => self.forget_checkpoint_of_group(g, oldest),
            _ if ended > MOST_ENDED && recovery.wanted == want::NOT => {
                recovery.wanted = want::JOURNAL;
            }
            _ => {}
        }
        // A checkpoint that is due comes about by a preemption where nothing calls.
        self.forget_useless_of_group(g);
    }

    /// The journal of a member is filling up: the oldest checkpoint that keeps too much of it goes. Whether
    /// there was one.
    pub(super) fn drop_oldest_of_group(&mut self, t: usize, g: usize) -> bool {
        let slowest = self.arena.task(t).slowest;
        let Some(oldest) = self.usable_group(g).pop() else { return false };
        if self.call_of_checkpoint(t, oldest) >= slowest {
            return false;
        }
        self.forget_checkpoint_of_group(g, oldest);
        true
    }

    /// A call of a group has been decided; one that the program does not know of is no progress.
    pub(super) fn group_progresses(&mut self, t: usize) {
        let Some(g) = self.group_of(t) else { return };
        let task = self.arena.task(t);
        let behind = chameleon_sys::filter::YIELD + 2;
        if !task.replicas[..task.n as usize].iter().any(|x| x.ip == behind) {
            let group: &mut Group = self.arena.group(g);
            group.progressed_at = self.now;
        }
    }
}
