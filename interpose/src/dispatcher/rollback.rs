//! Rollback: after a failure the replicas are made anew of a checkpoint, given the results of the calls
//! that were decided since, compared with what was called then, and go on where the program was.
//!
//! ```text
//!  failure ──► which checkpoint? ──► THAW ──► REPLAY: fed, compared ──► at the head: go on
//!     ▲  └─ none, or tried often enough: as without checkpoints             │
//!     └───────────────── fails again ◄──────────────────────────────────────┘
//! ```
//!
//! Invariant: nothing of the outside is rolled back: what was performed is not performed again, and
//! nobody outside learns of it. Nothing is decided before the replicas are where the program was.

use chameleon_policy::checkpoint::{Decision, Failure, Verdict, failure};
use chameleon_proto::event::{self, Address, Event, Reason};

use super::Dispatcher;
use super::work::process_steps;
use crate::arena::{JOBS, Job, Recovery, Replica, commit, is_live, job, phase, rolling, rstate};

impl Dispatcher {
    /// The program would end of a failure of task `t`: whether it is rolled back instead.
    pub(super) fn recovers(&mut self, t: usize, kind: u32, signal: u32) -> bool {
        let Some(c) = self.settings.checkpoints else { return false };
        if let Some(g) = self.group_of(t) {
            return self.group_recovers(g, t, kind, signal);
        }
        let task = self.arena.task(t);
        if task.used != 2 || task.dying != 0 || task.exiting != 0 {
            return false;
        }
        let recovery = &mut task.recovery;
        let replicas = &task.replicas[..task.n as usize];
        let pc = match kind {
            failure::CRASH => {
                let mut dead = replicas.iter();
                let first = dead.find(|x| x.state == rstate::DEAD && x.died_by == signal);
                let there = |x: &&Replica| x.state == rstate::PARKED && x.seq == task.head;
                first.or_else(|| replicas.iter().find(there)).map_or(0, |x| x.ip)
            }
            _ => 0,
        };
        let from = if recovery.failures.count == 0 { 0 } else { recovery.resumed_from };
        let mut history = recovery.failures.history();
        history.note(Failure { seq: task.head, pc, from, kind, signal });
        recovery.failures = history.into();
        recovery.forget_performed(kind);
        let (from, child) = self.goes_back_with(t);
        let usable = self.usable(from);
        let seq_of = |p: &usize| self.arena.task(from).replicas[*p].seq;
        let seqs: Vec<u64> = usable.iter().map(seq_of).collect();
        match history.decide(&seqs, c.retries) {
            Decision::RollBack { checkpoint } => {
                task.recovery.failed_at = self.now;
                let third = kind == failure::MISMATCH && child.is_none();
                if third && self.asks_a_third(t, usable[checkpoint]) {
                    return true;
                }
                for t in child.into_iter().chain([from]) {
                    for r in 0..self.arena.task(t).n as usize {
                        if self.arena.task(t).replicas[r].state != rstate::DEAD {
                            self.kill_replica(t, r);
                        }
                        self.arena.task(t).replicas[r].died_by = 0;
                    }
                    self.arena.task(t).n = self.seats.into();
                }
                if let Some(child) = child {
                    self.unbear(child);
                    self.begins_in_mode(child);
                }
                self.roll_back(from, usable[checkpoint]);
                true
            }
            Decision::GiveUp(verdict) => {
                self.say_verdict(t, verdict);
                let bug = matches!(verdict, Verdict::SoftwareBug { .. });
                let again = !bug && self.arena.header().may_restart != 0;
                if again {
                    self.give_up();
                }
                again
            }
        }
    }

    /// The call at the head is about to end its program by SIGABRT (abort(3)): whether it is rolled back
    /// instead.
    pub(super) fn aborts_and_recovers(&mut self, t: usize) -> bool {
        if self.settings.checkpoints.is_none() || self.arena.task(t).step != 0 {
            return false;
        }
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        let numbers = [self.arena.number(task.leader as usize), self.arena.number(t)];
        let own = |id: u64| numbers.contains(&(id as u32));
        let signal = match i64::from(e.nr) {
            libc::SYS_kill | libc::SYS_tkill if own(e.args[0]) => e.args[1],
            libc::SYS_tgkill if own(e.args[0]) && own(e.args[1]) => e.args[2],
            _ => return false,
        };
        let bit = 1u64 << (libc::SIGABRT - 1);
        let handled = self.action_of(t, libc::SIGABRT as u32).handler != libc::SIG_DFL as u64;
        if signal != libc::SIGABRT as u64 || handled || task.mask & bit != 0 {
            return false;
        }
        self.arena.task(t).phase = phase::COLLECT;
        commit();
        let recovers = self.recovers(t, failure::CRASH, libc::SIGABRT as u32);
        if !recovers {
            self.arena.task(t).phase = phase::WORK;
        }
        recovers
    }

    /// What is kept for rolling back a task, or the group that it is in.
    pub(super) fn recovery_of(&self, t: usize) -> &'static mut Recovery {
        match self.group_of(t) {
            Some(g) => &mut self.arena.group(g).recovery,
            None => &mut self.arena.task(t).recovery,
        }
    }

    /// What is said of the failures of a task that is given up.
    fn verdict(&self, t: usize) -> Verdict {
        match self.recovery_of(t).failures.history().decide(&[], 0) {
            Decision::GiveUp(verdict) => verdict,
            Decision::RollBack { .. } => Verdict::Persistent,
        }
    }

    fn last_failure(&self, t: usize) -> Failure {
        let history = self.recovery_of(t).failures.history();
        history.all().last().copied().unwrap_or_default()
    }

    fn call_at(&self, t: usize, seq: u64) -> event::Word {
        // What is counted in a group are turns.
        let seq = if self.group_of(t).is_some() { self.arena.task(t).head } else { seq };
        let e = self.arena.entry(t, seq);
        let known = e.open != 0 && e.seq == seq;
        if known { self.call_name(e.nr, &e.args).into() } else { "".into() }
    }

    pub(super) fn say_verdict(&mut self, t: usize, verdict: Verdict) {
        let f = self.last_failure(t);
        let task = self.arena.task(t);
        let event = event::Verdict {
            process: task.tgid,
            program: self.name(t),
            verdict: verdict.word().into(),
            call: self.call_at(t, f.seq),
            seq: f.seq + 1,
            pc: (f.pc != 0).then_some(Address(f.pc)),
            signal: (f.signal != 0).then_some(f.signal as u8),
            attempts: self.recovery_of(t).failures.count,
            performed: self.performed_call(t).into(),
        };
        self.report.say(Event::Verdict(event));
    }

    /// Begins to make the replicas of a task anew of a checkpoint.
    fn roll_back(&mut self, t: usize, place: usize) {
        let first = self.arena.task(t).replicas[place].seq;
        self.compare_from(t, first);
        self.begins_in_mode(t);
        let head = self.arena.task(t).head;
        let recovery = &mut self.arena.task(t).recovery;
        (recovery.resume, recovery.used, recovery.resumed_from) = (head, place as u32, first + 1);
        recovery.taken_back = 0;
        self.arena.task(t).lost_cpu = self.arena.task(t).shown_cpu;
        commit();
        self.arena.task(t).recovery.rolling = rolling::THAW;
        self.thaw(t);
    }

    /// The calls of a task from `first` on are compared with those that its new replicas make; one that was
    /// not decided is collected anew.
    pub(super) fn compare_from(&mut self, t: usize, first: u64) {
        let k = u32::from(self.votes_of(t).k);
        let head = self.arena.task(t).head;
        let believed = (first..head).find(|s| {
            let e = self.arena.entry(t, *s);
            e.provisional != 0 && e.votes.count_ones() < k
        });
        if let Some(seq) = believed {
            self.rewind(t, seq);
        }
        let head = self.arena.task(t).head;
        let all = (1u32 << self.arena.task(t).n) - 1;
        for s in first..=head {
            let e = self.arena.entry(t, s);
            if e.seq == s {
                (e.votes, e.provisional) = (e.votes & !all, 0);
            }
        }
        if self.arena.task(t).phase == phase::COLLECT {
            let e = self.arena.entry(t, head);
            // Of one whose ring was carried out the ballot stays.
            if e.open != 0 && e.seq == head && e.ring_done == 0 {
                self.arena.task(t).data_head = e.data;
                e.open = 0;
                self.arena.drop_long(t, head);
            }
        }
    }

    fn thaw(&mut self, t: usize) {
        let task = self.arena.task(t);
        let mut job = self.job_for(t, task.recovery.used as usize, job::THAW);
        let third = 1 << self.seats;
        job.copies = if task.n > self.seats.into() { third } else { self.wanted_replicas() };
        self.behind |= !self.ask(job);
    }

    /// Two replicas differ at a call, and no majority can say who is right: one more is made of the
    /// checkpoint, executes what they did, and decides. False if there is nothing for it to decide.
    fn asks_a_third(&mut self, t: usize, place: usize) -> bool {
        let task = self.arena.task(t);
        let two = task.n == 2 && self.seats == 2 && self.to.is_none();
        let differ = task.replicas[..2]
            .iter()
            .all(|x| x.state == rstate::PARKED && x.seq == task.head && x.class != 255);
        if !two || !differ || task.phase != phase::COLLECT {
            return false;
        }
        let first = task.replicas[place].seq;
        let recovery = &mut task.recovery;
        (recovery.resume, recovery.used, recovery.resumed_from) =
            (task.head, place as u32, first + 1);
        task.n = 3;
        commit();
        recovery.rolling = rolling::THAW;
        self.thaw(t);
        true
    }

    /// The third replica has decided, and whom it outvoted has been replaced: it goes.
    pub(super) fn dismiss_third(&mut self, t: usize) {
        let task = self.arena.task(t);
        let n = usize::from(self.seats);
        let settled = |x: &Replica| matches!(x.state, rstate::RUNNING | rstate::PARKED);
        let decided = task.recovery.rolling == rolling::NO && task.head > task.recovery.resume;
        let done = decided && task.replicas[..n].iter().all(settled);
        if task.n as usize > n && (done || task.replicas[n].state == rstate::DEAD) {
            if is_live(&task.replicas[n]) {
                self.kill_replica(t, n);
            }
            let task = self.arena.task(t);
            task.replicas[n].state = rstate::NONE;
            task.n = n as u32;
        }
    }

    /// The tracer has made the replicas of a checkpoint, or failed to.
    pub(super) fn thawed(&mut self, j: &Job) {
        let t = j.task as usize;
        if let Some(g) = self.group_of(t) {
            return self.group_thawed(g, j);
        }
        if j.error != 0 {
            self.not_made(t, j.copies);
            self.forget_checkpoint(t, j.replica as usize);
        }
        for x in &mut self.arena.task(t).replicas[..self.arena.task(t).n as usize] {
            x.arrived = self.now;
        }
        self.arena.task(t).recovery.rolling = rolling::REPLAY;
    }

    /// Goes on with a recovery; false as long as it is not over.
    pub(super) fn rolls_on(&mut self, t: usize) -> bool {
        if let Some(g) = self.group_of(t) {
            return !self.is_rolling_group(g);
        }
        let task = self.arena.task(t);
        match task.recovery.rolling {
            rolling::NO => return true,
            rolling::THAW => {
                // Asked twice, the second would undo what the first one's replicas have done.
                let is_asked =
                    |j: &Job| j.state != 0 && j.kind == job::THAW && j.task as usize == t;
                if !(0..JOBS).any(|i| is_asked(self.arena.job(i))) {
                    self.thaw(t);
                }
                return false;
            }
            _ => {}
        }
        self.feed(t);
        let task = self.arena.task(t);
        if task.used != 2 {
            return false;
        }
        let resume = task.recovery.resume.min(task.head);
        let replicas = &task.replicas[..task.n as usize];
        if !replicas.iter().any(is_live) {
            if task.recovery.rolling == rolling::REPLAY && !self.recovers(t, failure::REPLAY, 0) {
                self.arena.task(t).recovery.rolling = rolling::NO;
                self.give_up();
            }
            return false;
        }
        if self.awaits_birth(t) {
            return false;
        }
        if replicas.iter().any(|x| is_live(x) && x.seq < resume)
            || !self.all_call_alike(t)
            || !self.outside_has_mask(t)
        {
            return false;
        }
        let recovery = &mut self.arena.task(t).recovery;
        recovery.rolling = rolling::NO;
        recovery.retry_at = 0; // it was its predecessor that no checkpoint could be made of
        if recovery.failures.count != 0 {
            self.arena.header().rollbacks += 1;
            self.say_rolled_back(t);
        }
        true
    }

    pub(super) fn say_rolled_back(&mut self, t: usize) {
        let f = self.last_failure(t);
        let task = self.arena.task(t);
        let recovery = self.recovery_of(t);
        let to = recovery.resumed_from - 1;
        let event = event::RolledBack {
            process: task.tgid,
            program: self.name(t),
            cause: failure::word(f.kind).into(),
            signal: (f.signal != 0).then_some(f.signal as u8),
            pc: (f.pc != 0).then_some(Address(f.pc)),
            call: self.call_at(t, f.seq),
            seq: f.seq + 1,
            to: to + 1,
            replayed: recovery.resume - to,
            attempt: recovery.failures.count,
            retries: self.settings.checkpoints.map_or(0, |c| c.retries.into()),
            ms: self.now.saturating_sub(recovery.failed_at) as f64 / 1e6,
            taken_back: recovery.taken_back,
        };
        self.report.say(Event::RolledBack(event));
    }

    /// The call at the head may have been decided already, and be under way: whether all that stand there
    /// have made it again. One that has not is lost.
    fn all_call_alike(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let (head, n) = (task.head, task.n as usize);
        if task.phase == phase::COLLECT {
            return true;
        }
        // An exec is carried out where its program makes its first call, of which no ballot is there yet.
        let executes = task.step >= process_steps::EXEC;
        let mut alike = true;
        for r in 0..n {
            let x = self.arena.task(t).replicas[r];
            if !is_live(&x) {
                continue;
            }
            if x.state != rstate::PARKED || x.seq != head {
                return false; // it is on its way
            }
            if executes {
                continue;
            }
            match self.difference(t, r, head) {
                None => self.arena.entry(t, head).votes |= 1 << r,
                Some(_) => {
                    self.lose(t, r, Reason::Divergence);
                    alike = false;
                }
            }
        }
        alike
    }

    /// The program has got past its last failure.
    pub(super) fn note_progress(&mut self, t: usize) {
        let head = match self.group_of(t) {
            Some(g) => self.arena.group(g).head.max(1),
            None => self.arena.task(t).head,
        };
        let recovery = self.recovery_of(t);
        if recovery.failures.count == 0 || recovery.rolling != rolling::NO {
            return;
        }
        let mut history = recovery.failures.history();
        if history.passed(head - 1) {
            recovery.failures = history.into();
        }
    }

    /// A replica that computes for longer than the user says it may without a call is one that has
    /// failed.
    pub(super) fn check_progress(&mut self, t: usize) {
        let limit = self.settings.checkpoints.and_then(|c| c.livelock);
        let Some(limit) = limit.map(|d| d.as_nanos() as u64) else { return };
        let task = self.arena.task(t);
        if let Some(g) = self.group_of(t) {
            if self.arena.group(g).last == t as u32 + 1 {
                self.check_progress_of(g, limit);
            }
            return;
        }
        for x in task.replicas[..task.n as usize].iter_mut().filter(|x| x.since() == 0) {
            x.arrived = self.now; // it has just begun
        }
        let mut live = task.replicas[..task.n as usize].iter().filter(|x| is_live(x)).peekable();
        let stuck = |x: &crate::arena::Replica| {
            x.state == rstate::RUNNING && self.now.saturating_sub(x.since()) > limit
        };
        let waits = task.phase == phase::WORK && task.recovery.rolling == rolling::NO;
        if live.peek().is_none() || waits || !live.all(stuck) {
            return;
        }
        self.livelocks(t);
    }

    /// A program makes no progress: it is rolled back, or ended.
    pub(super) fn livelocks(&mut self, t: usize) {
        if !self.recovers(t, failure::LIVELOCK, 0) {
            let bug = matches!(self.verdict(t), Verdict::SoftwareBug { .. });
            self.give_up();
            if bug {
                // Begun again it would come to the same (`--restart`).
                self.arena.header().giving_up = 2;
            }
        }
    }
}
