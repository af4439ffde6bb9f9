//! The mode of a running program is changed: replicas are made in empty places, or taken out, and ballots are
//! counted in the new mode from then on.
//!
//! ```text
//!   asked ──► places for all ──► each task by itself ──────────────────────► all have it ──► the run has it
//!                                  ├ replicas missing: made as in a repair
//!                                  └ all there, none behind: counts in the new mode, the rest is taken out
//! ```
//!
//! Invariant: a task's ballots are counted in the old mode until all replicas of the new one are there and behind
//! no decided call, and in the new one from the next call on; so nothing is decided by fewer equal ballots than
//! one of the two asks for. What is under way is in the arena ([`Header::mode_to`](crate::arena::Header)), and every step may be taken
//! again by a successor.

use chameleon_policy::mode::Mode;
use chameleon_proto::event::{Event, ModeChanged};
use chameleon_sys::{notify, raw};
use thiserror::Error;

use super::Dispatcher;
use crate::arena::{Replica, commit, job, phase, rolling, rstate};

/// Why the mode of a run cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ChangeError {
    #[error(
        "it was started in simplex without --changeable: its replica reads clocks and random numbers itself and \
         its threads run at the same time, as no two replicas could"
    )]
    Native,
    #[error("beside its checkpoints there is room for {0} replicas of each process")]
    Room(u8),
    #[error("K equal of N replicas: two answers could both win, or none; see chameleon run --help")]
    Numbers,
    #[error("the program is ending")]
    Ending,
    #[error("another change was asked for meanwhile")]
    Another,
}

impl Dispatcher {
    /// Has the run change to another mode, as soon as each of its processes can; one that is under way goes on to
    /// this one instead.
    ///
    /// # Errors
    /// [`ChangeError`]; everything is as it was then.
    pub fn change_mode(&mut self, to: Mode) -> Result<(), ChangeError> {
        self.may_change(to)?;
        let has = self.to.unwrap_or(self.settings.mode);
        if has.packed() == to.packed() {
            return Ok(());
        }
        self.now = raw::now_ns();
        let h = self.arena.header();
        h.mode_asked_at = self.now;
        commit();
        h.mode_to = to.packed();
        self.to = Some(to);
        self.advance_change();
        for t in 0..self.tasks() {
            self.grow_at_rest(t);
        }
        Ok(())
    }

    /// Whether it could be asked for that mode.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn may_change(&self, to: Mode) -> Result<(), ChangeError> {
        if self.is_ending() {
            return Err(ChangeError::Ending);
        }
        if Mode::unpacked(to.packed()).is_none() {
            return Err(ChangeError::Numbers);
        }
        if to.n != self.settings.mode.n && !self.lockstep() {
            return Err(ChangeError::Native);
        }
        match self.places().start.checked_sub(1) {
            Some(most) if usize::from(to.n) > most => Err(ChangeError::Room(most as u8)),
            _ => Ok(()),
        }
    }

    /// What has become of a change to a mode, once something has.
    pub fn change_answer(&self, to: Mode) -> Option<Result<(), ChangeError>> {
        match self.to {
            None if self.settings.mode.packed() == to.packed() => Some(Ok(())),
            _ if self.is_ending() => Some(Err(ChangeError::Ending)),
            Some(other) if other.packed() == to.packed() => None,
            _ => Some(Err(ChangeError::Another)),
        }
    }

    fn is_ending(&self) -> bool {
        let h = self.arena.header();
        h.finished != 0 || h.giving_up != 0 || h.said_exit != 0
    }

    /// The mode that the run is to have, as long as not all of it has.
    pub fn changes_to(&self) -> Option<Mode> {
        self.to
    }

    /// What a predecessor knew of modes.
    pub(super) fn recall_mode(&mut self) {
        let h = self.arena.header();
        self.settings.mode = Mode::unpacked(h.mode).unwrap_or(self.settings.mode);
        self.to = Mode::unpacked(h.mode_to);
        self.seats = if h.seats == 0 { self.settings.mode.n } else { h.seats as u8 };
    }

    /// The mode in which a task's ballots are counted.
    pub(super) fn votes_of(&self, t: usize) -> Mode {
        match self.arena.task(t).counts {
            0 => self.settings.mode,
            counts => Mode::unpacked(counts).unwrap_or(self.settings.mode),
        }
    }

    /// The replicas that each task is to have, a bit each.
    pub(super) fn wanted_replicas(&self) -> u32 {
        let all = (1 << self.seats) - 1;
        self.to.map_or(all, |to| u32::from(to.all()) & all)
    }

    /// Whether a task has all that the change asks of it, or none is under way.
    pub(super) fn has_mode(&self, t: usize) -> bool {
        let Some(to) = self.to else { return true };
        self.votes_of(t).packed() == to.packed() && self.masks(t).0 & !u32::from(to.all()) == 0
    }

    /// Goes on with a change as far as that can be.
    pub(super) fn advance_change(&mut self) {
        let Some(to) = self.to else { return };
        if self.is_ending() {
            return;
        }
        self.behind = true;
        if !self.open_places(to) {
            return;
        }
        for t in 0..self.tasks() {
            self.reach_mode_at_rest(t);
        }
        for g in self.groups() {
            self.drive_group(g);
        }
        let made = |t: usize| self.arena.task(t).used != 1 && !self.is_being_made(t);
        let all = (0..self.tasks()).filter(|t| matches!(self.arena.task(*t).used, 1 | 2));
        if all.into_iter().all(|t| made(t) && self.has_mode(t)) {
            self.end_change(to);
        }
    }

    /// Each task gets places for the replicas of the new mode; false as long as a roll-back is under way, which
    /// knows the places that it began with.
    fn open_places(&mut self, to: Mode) -> bool {
        if self.seats < to.n {
            let busy = |t: usize| {
                let task = self.arena.task(t);
                task.used == 2 && (self.is_rolling(t) || task.n > u32::from(self.seats))
            };
            let rolls = self.groups().into_iter().any(|g| self.is_rolling_group(g));
            if rolls || (0..self.tasks()).any(busy) {
                return false;
            }
            self.arena.header().seats = to.n.into();
            self.seats = to.n;
        }
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used != 0 {
                for r in task.n as usize..usize::from(self.seats) {
                    let none: Replica = bytemuck::Zeroable::zeroed();
                    task.replicas[r] = Replica { state: rstate::DEAD, ..none };
                    task.fresh |= 1 << r;
                }
                commit();
                task.n = task.n.max(self.seats.into());
            }
        }
        true
    }

    /// No replica of a task is behind: it has the new mode from here on, if those it takes are there.
    pub(super) fn reach_mode(&mut self, t: usize) {
        let Some(to) = self.to.filter(|_| !self.has_mode(t)) else { return };
        let task = self.arena.task(t);
        let (all, live) = (u32::from(to.all()), self.masks(t).0);
        let stays = task.group != 0 || task.no_repair != 0 || !self.may_be_copied(t);
        if live & all != all || stays || self.is_rolling(t) || self.is_being_made(t) {
            return;
        }
        task.counts = to.packed();
        commit();
        for r in (0..u32::BITS as usize).filter(|r| live & !all & (1 << r) != 0) {
            self.kill_replica(t, r);
            self.arena.task(t).fresh |= 1 << r;
        }
    }

    /// The same of a task that makes no call for long: it waits in one whose ballots were counted before it was
    /// begun, or computes in all replicas.
    fn reach_mode_at_rest(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.used != 2 || task.group != 0 || self.has_mode(t) || self.is_rolling(t) {
            return;
        }
        let head = task.head;
        let (live, here) = self.masks(t);
        if task.phase == phase::COLLECT {
            let there = |x: &Replica| {
                let stands = matches!(x.state, rstate::RUNNING | rstate::PARKED);
                !crate::arena::is_live(x) || stands && x.seq == head && x.deliver == 0
            };
            if task.exec_pending == 0 && task.replicas[..task.n as usize].iter().all(there) {
                self.reach_mode(t);
            }
            return;
        }
        if live != here {
            return;
        }
        for r in (0..u32::BITS as usize).filter(|r| live & (1 << r) != 0) {
            let voted = |d: &Self| d.arena.entry(t, head).votes & (1 << r) != 0;
            if !voted(self) && self.difference(t, r, head).is_none() {
                self.arena.entry(t, head).votes |= 1 << r;
            }
            if !voted(self) {
                return; // it is judged when the call is done
            }
        }
        self.reach_mode(t);
    }

    /// A task without the replicas of the new mode that makes no call for long: they are made where it waits in
    /// one, or where a single replica computes.
    pub(super) fn grow_at_rest(&mut self, t: usize) {
        let task = self.arena.task(t);
        let missing = self.wanted_replicas() & task.fresh & !self.masks(t).0;
        if self.to.is_none() || missing == 0 || !self.may_grow(t) {
            return;
        }
        let voted = self.arena.entry(t, task.head).votes;
        let waits = |r: &usize| {
            let x = &task.replicas[*r];
            let there = x.state == rstate::PARKED && x.seq == task.head && voted & (1 << r) != 0;
            there && task.phase == phase::WORK && notify::is_waiting(x.listener as i32, x.id)
        };
        let computes = |r: &usize| {
            let x = &task.replicas[*r];
            x.state == rstate::RUNNING && x.seq == task.head && x.deliver == 0
        };
        let all = 0..task.n as usize;
        let alone = self.masks(t).0.count_ones() == 1;
        let (donor, kind) = match all.clone().find(waits) {
            Some(donor) => (donor, job::FREEZE),
            None => match all.into_iter().find(computes).filter(|_| alone) {
                Some(donor) => (donor, job::PREEMPT),
                None => return,
            },
        };
        let mut job = self.job_for(t, donor, kind);
        job.args = [0, task.head, 0, 0, 0, 0];
        job.copies = missing;
        if self.ask(job) {
            self.arena.task(t).replicas[donor].state = rstate::JOB;
        }
    }

    fn may_grow(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        task.used == 2
            && task.leader as usize == t
            && task.group == 0
            && task.exec_pending == 0
            && task.dying == 0
            && task.exiting == 0
            && task.recovery.rolling == rolling::NO
            && self.may_be_copied(t)
            && !self.lends_memory(t)
            && !self.is_being_made(t)
    }

    /// Whether what is made in a place is the first that was needed there, and no repair; from now on it is.
    pub(super) fn fills(&mut self, t: usize, r: usize) -> bool {
        let fresh = &mut self.arena.task(t).fresh;
        let fills = *fresh & (1 << r) != 0;
        *fresh &= !(1 << r);
        fills
    }

    /// The replicas of a task are all being made anew: it has the new mode at once.
    pub(super) fn begins_in_mode(&mut self, t: usize) {
        if let Some(to) = self.to.filter(|to| self.seats >= to.n) {
            let task = self.arena.task(t);
            task.counts = to.packed();
            task.fresh &= !u32::from(to.all());
        }
    }

    /// Whether a group is to take the new mode now: as soon as nothing of it runs.
    pub(super) fn group_is_to_change(&self, g: usize) -> bool {
        let Some(to) = self.to else { return false };
        let (alive, all) = (self.arena.group(g).alive, u32::from(to.all()));
        let lives = |t: &usize| self.arena.task(*t).used == 2;
        let has = alive & !all == 0
            && self.members(g).filter(lives).all(|t| self.votes_of(t).packed() == to.packed());
        let stays = self.members(g).filter(lives).any(|t| {
            let x = self.arena.task(t);
            x.exec_pending != 0 || !self.may_be_copied(t)
        });
        !has && alive & all == all && !stays && !self.is_rolling_group(g)
    }

    /// Nothing of a group runs: it has the new mode from here on. False if a call has to be compared first.
    pub(super) fn group_reaches_mode(&mut self, g: usize) -> bool {
        let Some(to) = self.to else { return false };
        let alive: Vec<usize> = self.alive(g).collect();
        if !alive.iter().all(|r| self.all_wait(g, *r)) {
            self.behind = true;
            return false;
        }
        let members: Vec<usize> = self.members(g).collect();
        let all = to.all();
        let rest = alive.into_iter().filter(|r| all & (1 << r) == 0);
        for t in &members {
            self.arena.task(*t).counts = to.packed();
        }
        commit();
        for r in rest {
            for t in &members {
                self.arena.task(*t).fresh |= 1 << r;
            }
            let first = members.iter().copied().find(|t| self.arena.task(*t).used == 2);
            let Some(t) = first else { continue };
            self.loses(t, r);
            self.kill_replica(t, r);
            self.group_lost(t, r);
        }
        true
    }

    /// All tasks have the new mode: so has the run.
    fn end_change(&mut self, to: Mode) {
        let h = self.arena.header();
        let from = self.settings.mode;
        h.mode = to.packed();
        self.settings.mode = to;
        commit();
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used != 0 {
                for x in &mut task.replicas[usize::from(to.n)..usize::from(self.seats)] {
                    x.state = rstate::NONE;
                }
                (task.n, task.counts, task.fresh) = (to.n.into(), 0, 0);
            }
        }
        self.seats = to.n;
        commit();
        h.seats = 0;
        let ms = self.now.saturating_sub(h.mode_asked_at) as f64 / 1e6;
        self.report.say(Event::ModeChanged(ModeChanged {
            from: from.to_string().into(),
            to: to.to_string().into(),
            n: to.n,
            k: to.k,
            ms,
        }));
        commit();
        h.mode_to = 0;
        self.to = None;
        self.tells = true;
    }
}
