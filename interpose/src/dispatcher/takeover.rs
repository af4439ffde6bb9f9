//! Taking over from a dispatcher that died: what it had begun is finished or begun again.
//!
//! A predecessor may have been killed between any two instructions. What each of its steps leaves:
//!
//! | killed | what the arena shows | what is done |
//! |---|---|---|
//! | after a call was received | the inbox is full | it is recorded again |
//! | while ballots were compared | classes may mix two numberings | all are compared again |
//! | while a request was drawn up | `drafting`, the slot idle | step and numbers are put back |
//! | before the executor or the tracer was woken | a request, a job | they are woken |
//! | while the executor works | step and slot agree | its result is taken when it comes |
//! | while it performed a call itself | `step` says so | see [`Dispatcher::settle_quick`] |
//! | after the head moved on | the phase is of a call that is not open | collecting begins |
//! | before the tracer was asked | a replica in a job that is not there | it stands at its call |
//! | after an answer | a parked replica whose notification is gone | it runs |
//! | while a pending signal was given | `giving_at` is the head | the removal is carried out |
//! | while a call woke others | they wait, marked as woken by a call that is not decided | it is made again |
//! | while a fork of a thread was asked for | its turn is in the log, the call not decided | the rest is asked |
//! | while a job was taken | its replica runs, the job is still there | it is taken before that one's next call |
//! | when it was to go ahead with a call | `pending`, the call not decided | it is decided anew |
//! | after the ballots of one were counted | K votes, and `pending` | it is carried out before anybody goes on |
//! | while a task was made or ended | half a record | it is dropped, or ended again |
//!
//! Invariant: nothing that leaves the program is done twice or not at all; the steps here may be
//! cut short themselves and are simply taken again.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::{slot, state};
use chameleon_sys::{notify, raw};

use super::Dispatcher;
use super::rendezvous::row_of;
use super::work::process_steps;
use crate::arena::{JOBS, Replica, job, phase, rolling, rstate};
use crate::table::row::{Class, Special};

impl Dispatcher {
    /// Settles what the predecessor left half done; then calls can be handled again.
    pub fn take_over(&mut self) {
        self.now = raw::now_ns();
        let h = self.arena.header();
        self.quick.trust_writes &= h.limited == 0;
        self.jobs_open = true;
        self.behind = true;
        for t in 0..self.tasks() {
            if self.arena.task(t).used != 0 {
                self.settle_request(t);
                self.settle_signals(t);
                self.settle_phase(t);
            }
        }
        self.settle_unborn();
        self.settle_images();
        for t in 0..self.tasks() {
            if self.arena.task(t).used != 0 {
                self.settle_replicas(t);
                self.settle_lent(t);
                self.settle_quick(t);
                self.settle_inside(t);
                self.settle_data(t);
                self.settle_timers(t);
            }
        }
        for g in self.groups() {
            self.settle_group(g);
        }
        for t in 0..self.tasks() {
            self.settle_wait(t);
            self.settle_deaths(t);
        }
        if h.giving_up != 0 {
            self.give_up();
        }
        self.advance_change();
        // What was asked of the tracer, perhaps without a word to it.
        raw::ring_bell(self.settings.tracer_bell);
    }

    /// Goes on with what the predecessor had begun or not looked at yet.
    pub fn go_on(&mut self) {
        // A decision that was begun comes before any turn: others of its group may see its half.
        for t in 0..self.tasks() {
            // What has its K ballots goes out before the last replica passes it, and its bytes are lost.
            if self.arena.task(t).used == 2 {
                self.flush_confirmed(t);
            }
            self.drive_task(t);
        }
        // A job that was half taken is, before its replica's next call, for which another may be asked.
        self.take_jobs();
        for listener in 0..self.settings.listeners.len() {
            self.settle_inbox(listener);
        }
        self.look_everywhere();
        // Files that the predecessor kept are gone (`settle_lent`): what waits or computes has no checkpoint.
        let lives = |t: &usize| self.arena.task(*t).used == 2;
        for t in (0..self.tasks()).filter(lives).collect::<Vec<_>>() {
            self.freeze_computing(t);
            self.freeze_waiting(t);
        }
        if self.tasks() > 0 && (0..self.tasks()).all(|t| self.arena.task(t).used == 0) {
            self.arena.header().finished = 1;
        }
    }

    /// A request that was drawn up and not sent, or sent without a word to the executor.
    fn settle_request(&mut self, t: usize) {
        let task = self.arena.task(t);
        let word = self.arena.region.atomic_u32(self.arena.slot(t) + slot::STATE);
        raw::futex_wake(word, 1);
        if task.drafting == 0 {
            return;
        }
        if word.load(Ordering::Acquire) == state::IDLE {
            (task.step, task.kept, task.mask) = (task.undo_step, task.undo_kept, task.undo_mask);
            word.store(task.undo_state, Ordering::Release);
        }
        task.drafting = 0;
    }

    /// A head that moved on while the phase stayed.
    fn settle_phase(&mut self, t: usize) {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let collected = e.open != 0 && e.seq == task.head;
        if task.phase == phase::WORK && task.step < process_steps::EXEC && !collected {
            task.phase = phase::COLLECT;
        }
        if task.phase == phase::COLLECT {
            task.step = 0;
        }
    }

    /// What a call that begins again has taken of the data ring and the long area, or a comparison
    /// that was cut short of the latter; many begun in vain would fill them.
    fn settle_data(&mut self, t: usize) {
        let task = self.arena.task(t);
        let again = matches!(task.step, 0 | process_steps::APPENDING);
        if task.used == 2 && task.phase == phase::WORK && again {
            task.data_head = self.arena.entry(t, task.head).end;
        }
        let e = self.arena.entry(t, task.head);
        let collected = e.open != 0 && e.seq == task.head;
        if task.used == 2 && collected && task.step == 0 && task.long_seq == task.head {
            self.arena.cut_long(t, e.long_end);
        }
    }

    /// Replicas whose answer was given and not recorded, or whose job was never asked for.
    fn settle_replicas(&mut self, t: usize) {
        let task = self.arena.task(t);
        for r in 0..task.n as usize {
            let known = self.arena.find_pid(task.replicas[r].pid) == Some((t, r));
            let job = self.has_job(t, r);
            let taken = self.answered_by_job(t, r);
            let expected = job || self.is_to_be_forked(t) || self.is_unborn(t);
            let replica = &mut task.replicas[r];
            replica.class = 255;
            match replica.state {
                rstate::JOB if !job => replica.state = rstate::PARKED,
                rstate::JOB => replica.state = taken.unwrap_or(rstate::JOB),
                // Perhaps it was not told to end. A thread that ends by itself must not be: its number
                // may still stand for its process (kill(2)).
                rstate::DEAD if known && task.exiting == 0 => self.kill_replica(t, r),
                // Of a group it was lost before; else it was perhaps to be preempted.
                rstate::EXPECTED if !expected && known && task.group != 0 => {
                    self.kill_replica(t, r);
                }
                rstate::EXPECTED if !expected => {
                    replica.state = if known { rstate::RUNNING } else { rstate::DEAD };
                }
                _ => {}
            }
            let gone = !notify::is_waiting(replica.listener as i32, replica.id);
            if replica.state == rstate::PARKED && gone {
                if replica.next == replica.seq + 1 {
                    replica.seq = replica.next;
                }
                crate::arena::commit();
                replica.state = rstate::RUNNING;
            }
        }
        for place in self.places() {
            let made = self.arena.find_pid(task.replicas[place].pid) == Some((t, place));
            if task.replicas[place].state == rstate::EXPECTED && !self.has_job(t, place) {
                task.replicas[place].state = if made { rstate::FROZEN } else { rstate::NONE };
            }
        }
        self.note_loss(t);
    }

    /// Replicas that have died, or ended as they should, and nobody looked at what that means.
    fn settle_deaths(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.used != 2 || task.dying != 0 {
            return;
        }
        if task.exiting != 0 {
            return self.one_has_ended(t);
        }
        let e = self.arena.entry(t, task.head);
        let exits = task.phase == phase::WORK
            && row_of(e.nr, &e.args).class == Class::Special(Special::Exit);
        let died = task.replicas[..task.n as usize].iter().any(|r| r.died_by != 0);
        // A roll-back was decided, and had not begun.
        let recovery = self.settings.checkpoints.is_some() && task.recovery.rolling == rolling::NO;
        let dead = |r: &Replica| r.state == rstate::DEAD;
        let none_left = recovery && task.replicas[..task.n as usize].iter().all(dead);
        if (died || none_left) && !exits {
            self.dies_with_replicas(t);
        }
    }

    /// Whether the tracer has been asked to do something that decides where a replica stands.
    pub(super) fn has_job(&self, t: usize, r: usize) -> bool {
        (0..JOBS).map(|i| self.arena.job(i)).any(|j| {
            let own = j.task as usize == t && (j.replica as usize == r || j.copies & (1 << r) != 0);
            let child =
                j.kind == job::FORK && j.child_task as usize == t && j.replica as usize == r;
            let of_group = matches!(j.kind, job::REPAIR_THREADS | job::AGREE | job::THAW)
                && self.group_of(t) == Some(j.child_task as usize)
                && self.group_of(j.task as usize) == self.group_of(t)
                && j.copies & (1 << r) != 0;
            j.state != 0 && j.kind != job::KILL && (own || child || of_group)
        })
    }

    /// The state of a replica behind an answer of the tracer that was counted and not recorded.
    fn answered_by_job(&self, t: usize, r: usize) -> Option<u32> {
        let seq = self.arena.task(t).replicas[r].seq;
        let j = (0..JOBS).map(|i| self.arena.job(i)).find(|j| {
            let own = j.task as usize == t && j.replica as usize == r;
            own && j.state == 2 && job::answers(j.kind) && j.seq + 1 == seq
        })?;
        Some(if j.hold != 0 { rstate::HELD } else { rstate::RUNNING })
    }

    /// Whether a task is the child of a fork that is under way: its replicas are still to be asked
    /// for, or are found not to come when the fork is done.
    fn is_to_be_forked(&self, t: usize) -> bool {
        (0..self.tasks()).any(|p| {
            let parent = self.arena.task(p);
            let e = self.arena.entry(p, parent.head);
            p != t
                && parent.used == 2
                && parent.phase == phase::WORK
                && parent.step != 0
                && parent.kept as usize == t
                && super::process::is_fork(e.nr)
        })
    }

    /// A call that was received and perhaps not recorded.
    fn settle_inbox(&mut self, listener: usize) {
        let inbox = *self.arena.inbox(listener);
        if inbox.id == 0 || !notify::is_waiting(self.settings.listeners[listener], inbox.id) {
            return;
        }
        let recorded = self.arena.find_pid(inbox.pid).is_some_and(|(t, r)| {
            let replica = &self.arena.task(t).replicas[r];
            replica.id == inbox.id && replica.state != rstate::RUNNING
        });
        if !recorded {
            self.accept(listener);
        }
    }
}
