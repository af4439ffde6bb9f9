//! Cuts of what runs in one order, threads and processes that share memory: where each thread stands in that
//! order goes into the image.
//!
//! ```text
//!   calls held ─► nothing of the group runs ─► frozen ─► every thread stands at a call that can be kept? ─► cut
//!                                                          └─ not yet ─► its call comes back
//! ```
//!
//! Invariant: from the moment at which the checkpoint was made to the cut no turn is added to the order.

use chameleon_ckpt::image::{Process, Thread};
use chameleon_sys::executor::{slot, state};
use chameleon_sys::raw;

use super::cut::{Ready, asleep, can_be_made_again};
use super::{Dispatcher, Part};
use crate::arena::{how, phase, rstate};
use crate::dispatcher::journal::needs_file;
use crate::dispatcher::process::is_fork;
use crate::dispatcher::waits::{QUEUED, TIMED};
use crate::durable::threads::{Standing, keep, stands};

impl Dispatcher {
    /// Whether a checkpoint is to be made of a group because a cut is, and there is none of this moment.
    pub(in crate::dispatcher) fn cut_wants_group(&self, g: usize) -> bool {
        self.holds_calls() && self.copy_of_group(g).is_none()
    }

    /// The tracer is about to be asked for a checkpoint of a group, of which nothing runs, for the reason `why`:
    /// if that is the moment for all, no call is begun any more.
    pub(in crate::dispatcher) fn begin_cut_of_group(&mut self, why: u32) {
        self.begin_cut(why);
        self.hold_if_expected(self.now);
    }

    /// The group of a process, by the task of its first thread.
    pub(super) fn group_of_process(&self, leader: usize) -> Option<usize> {
        let of = |t: &usize| {
            let task = self.arena.task(*t);
            matches!(task.used, 1 | 2) && task.leader as usize == leader && task.group != 0
        };
        (0..self.tasks()).find(of).and_then(|t| self.group_of(t))
    }

    /// Whether nothing of a group runs, or something of it made a call so shortly before `now` that it will soon
    /// be so.
    pub(super) fn is_group_expected(&mut self, g: usize, soon: impl Fn(u64) -> bool) -> bool {
        if self.settings.mode.n == 1 || self.copy_of_group(g).is_some() {
            return true;
        }
        let group = self.arena.group(g);
        let last =
            (group.last as usize).checked_sub(1).map_or(0, |t| self.arena.task(t).decided_at);
        group.making != 0 || soon(last) || self.alive(g).any(|r| self.is_idle(g, r))
    }

    /// The checkpoint of a group in which each thread stands where it stands now: its place.
    pub(super) fn copy_of_group(&self, g: usize) -> Option<usize> {
        if self.is_rolling_group(g) {
            return None;
        }
        let threads = self.threads_of(g);
        self.places().find(|p| {
            let there = |t: &usize| {
                let x = &self.arena.task(*t).replicas[*p];
                let described = x.pid != 0 && self.arena.stopped(*t, *p).made == x.pid;
                x.state == rstate::FROZEN && x.deliver == 0 && described
            };
            let group = self.arena.group(g);
            let newest = group.making == 0 && group.passed[*p] == group.head;
            // One that computed comes to its next call once more, which must not have been performed.
            let ran = threads.iter().find(|t| group.last == **t as u32 + 1);
            let again = group.computing & (1 << p) == 0
                || ran.is_none_or(|t| {
                    let task = self.arena.task(*t);
                    task.phase == phase::COLLECT && task.replicas[*p].seq == task.head
                });
            newest && again && self.is_usable_group(g, *p) && threads.iter().all(there)
        })
    }

    /// The process of task `leader`, whose group has a checkpoint at a place, as it stands there; or why that cannot
    /// be kept now.
    pub(super) fn part_of_group(&mut self, leader: usize, place: usize) -> Result<Ready, String> {
        let all: Vec<usize> = (0..self.tasks())
            .filter(|t| {
                let task = self.arena.task(*t);
                task.leader as usize == leader && !matches!(task.used, 0 | 5)
            })
            .collect();
        let (mut threads, mut standings, mut slept, mut asked) = (vec![], vec![], vec![], None);
        let first = std::iter::once(leader).filter(|t| !self.has_left_others(*t));
        let all = first.chain(all.into_iter().filter(|t| *t != leader)).collect::<Vec<_>>();
        for t in all {
            self.take_signals(t);
            let task = self.arena.task(t);
            let why = match task.used {
                2 if task.vfork_parent != 0 || task.exec_pending != 0 => {
                    "it is about to become another program"
                }
                2 if task.pending != 0 => "a signal is on its way to it",
                2 if task.exiting == 0 => "",
                1 => "a process is being made",
                _ => "a thread is ending",
            };
            if !why.is_empty() {
                return Err(why.to_owned());
            }
            let (stands, seq, sleeps) = self.stands_at(t, place)?;
            let task = self.arena.task(t);
            let waited = raw::now_ns().saturating_sub(task.asked_at);
            let last = self.group_of(t).is_some_and(|g| self.arena.group(g).last == t as u32 + 1);
            let written = if sleeps.is_some() { self.pieces_written(t) } else { 0 };
            slept.extend(sleeps.map(|often| (t, often)));
            threads.push((t, seq));
            standings.push(Standing { stands, seq, last, waited, written });
            let free = task.phase == phase::COLLECT || task.step == QUEUED;
            if asked.is_none() && free && self.executor_idle(t) && task.drafting == 0 {
                asked = Some(t);
            }
        }
        let part = Part { leader, threads, place, written: 0 };
        Ok(Ready { part, asked, slept, standings })
    }

    /// How thread `t` stands in the checkpoint at a place, before which call, and how often its executor has slept;
    /// or why that cannot be kept now.
    fn stands_at(&mut self, t: usize, place: usize) -> Result<(u32, u64, Option<u64>), String> {
        let task = self.arena.task(t);
        let x = task.replicas[place];
        if x.deliver != 0 || task.dying != 0 {
            return Err("a signal is on its way to it".to_owned());
        }
        let e = *self.arena.entry(t, x.seq);
        let name = || format!("a thread is in {}", self.call_name(e.nr, &e.args));
        if x.seq == task.head && task.phase == phase::COLLECT {
            // It computes, or its call has not been begun.
            return match task.drafting == 0 && self.executor_idle(t) {
                true => Ok((stands::MAKES, x.seq, None)),
                false => Err(name()),
            };
        }
        let believed = e.provisional != 0 && e.votes.count_ones() < self.votes_of(t).k.into();
        if e.open == 0 || e.seq != x.seq || task.drafting != 0 || believed {
            return Err(name());
        }
        if x.seq < task.head {
            // What a replica does itself with a file that it is lent is done with before.
            let itself = e.how == how::CONTINUE && e.once == 0 && !needs_file(&e);
            let plain = e.signal == 0 && e.inside == 0 && e.long == 0;
            let kept = (e.how == how::VALUE || itself) && plain;
            let between = x.seq + 1 == task.head && task.phase == phase::COLLECT;
            let forks = is_fork(e.nr) && e.child != 0;
            return match kept && between && !forks && self.executor_idle(t) {
                true => Ok((stands::ANSWERED, x.seq, None)),
                false => Err(name()),
            };
        }
        let word = self.arena.region.atomic_u32(self.arena.slot(t) + slot::STATE);
        let works = word.load(std::sync::atomic::Ordering::Acquire) == state::RUNNING;
        let (step, woken) = (task.step, task.wait.woken);
        let waits = match step {
            _ if task.phase != phase::WORK => false,
            QUEUED if woken == 0 => return Ok((stands::QUEUED, x.seq, None)),
            TIMED => woken == 0,
            1 => !is_fork(e.nr) && (can_be_made_again(&e) || self.is_write_that_waits(t)),
            _ => false,
        };
        let kind = if step == TIMED { stands::TIMED } else { stands::REPEATS };
        match asleep(self.arena.task(t).tid).filter(|_| waits && works) {
            Some(sleeps) => Ok((kind, x.seq, Some(sleeps))),
            None => Err(format!("a thread is in {}", self.call_name(e.nr, &e.args))),
        }
    }

    /// Whether a task is the first thread of a process, has ended, and others go on.
    pub(super) fn has_left_others(&self, t: usize) -> bool {
        let lives = |o: usize| {
            let task = self.arena.task(o);
            task.used == 2 && task.leader as usize == t
        };
        self.arena.task(t).used == 3 && self.executor_idle(t) && (0..self.tasks()).any(lives)
    }

    /// What the image keeps of where the threads of a process of a group stand.
    pub(super) fn keep_standings(&self, ready: &Ready, process: &mut Process) {
        let all = ready.part.threads.iter().zip(&ready.standings);
        let kept = all.map(|((t, _), standing)| Thread {
            name: name_of(self.arena.task(*t).tid),
            opaque: keep(self.arena, *t, *standing),
            ..Thread::default()
        });
        let leader = ready.part.leader;
        let ended = (ready.part.threads[0].0 != leader).then(|| Thread {
            tid: self.arena.number(leader),
            name: name_of(self.arena.task(leader).tid),
            ..Thread::default()
        });
        process.threads = ended.into_iter().chain(kept).collect();
    }

    /// Whether the checkpoint of a group at a place is being read.
    pub(in crate::dispatcher) fn is_pinned(&self, g: usize, place: usize) -> bool {
        self.durable.is_some()
            && self
                .leaders_of(g)
                .into_iter()
                .any(|t| self.arena.task(t).recovery.pinned as usize == place + 1)
    }

    /// Ends what was kept of a group for a reader alone.
    pub(in crate::dispatcher) fn forget_unused_of_group(&mut self, g: usize) {
        for p in self.places() {
            if self.arena.group(g).frozen & (1 << p) == 0
                && self.arena.group(g).making & (1 << p) == 0
            {
                self.forget_checkpoint_of_group(g, p);
            }
        }
    }

    fn leaders_of(&self, g: usize) -> Vec<usize> {
        let mut all: Vec<usize> =
            self.members(g).map(|t| self.arena.task(t).leader as usize).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The name of a thread of the outside (pthread_setname_np(3)).
fn name_of(tid: u32) -> Vec<u8> {
    let name = std::fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
    name.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(name)
}
