//! Losers: replicas that voted otherwise, crashed, hang or were killed; their repair; and the end
//! when no majority is left.
//!
//! Invariant: a replica that lost never executes another instruction of the program with our help,
//! and is replaced by a fork of one that was in the majority at the same call.

use chameleon_policy::checkpoint::failure;
use chameleon_proto::event::{Address, Bytes};
use chameleon_proto::event::{Divergence, Event, LostMajority, Outvoted, Reason, Repaired, What};
use chameleon_sys::raw;

use super::Dispatcher;
use super::ending::End;
use super::inside::{RING_ARG, place_in_record};
use crate::arena::{Job, Replica, commit, job, rstate};
use crate::ballot::Difference;

/// The signal that is never a program's own crash.
const KILLED: u32 = libc::SIGKILL as u32;

impl Dispatcher {
    /// Takes out the replicas of `losers`, which stand at the head with other ballots than
    /// `winners`.
    pub(super) fn outvote(&mut self, t: usize, losers: u32, winners: u32) {
        let head = self.arena.task(t).head;
        let n = self.arena.task(t).n as usize;
        for r in (0..n).filter(|r| losers & (1 << r) != 0) {
            let replica = self.arena.task(t).replicas[r];
            let found = self.difference(t, r, head);
            if self.has_vanished(t, r, found) {
                continue;
            }
            if let Some(d) = found {
                let against = self.arena.task(t).replicas[..n]
                    .iter()
                    .filter(|x| x.state == rstate::PARKED && x.seq == head)
                    .filter(|x| x.class == replica.class)
                    .count();
                self.report_difference(t, r, head, d, winners.count_ones() as u8, against as u8);
            }
            self.lose(t, r, Reason::Divergence);
        }
    }

    /// Says what differed between replica `r` and the ballot of entry `seq`.
    pub(super) fn report_difference(
        &mut self,
        t: usize,
        r: usize,
        seq: u64,
        d: Difference,
        votes: u8,
        against: u8,
    ) {
        let e = *self.arena.entry(t, seq);
        let replica = self.arena.task(t).replicas[r];
        let (what, argument, offset, expected, got) = match d {
            Difference::Call => (
                What::Call,
                None,
                None,
                Bytes::of(&e.nr.to_le_bytes()),
                Bytes::of(&replica.nr.to_le_bytes()),
            ),
            Difference::Argument(i) => (
                What::Argument,
                Some(i as u8),
                None,
                Bytes::of(&e.args[i].to_le_bytes()),
                Bytes::of(&replica.args[i].to_le_bytes()),
            ),
            Difference::Unreadable(i) => {
                (What::Unreadable, Some(i as u8), None, Bytes::of(&[]), Bytes::of(&[]))
            }
            Difference::Bytes(i, at, piece) => {
                let p = self.arena.pieces(e.ins_at, e.ins)[piece];
                let (argument, offset) = match (p.arg, p.sub) {
                    (RING_ARG, 0) => (None, None),
                    (RING_ARG, _) => {
                        let ring = &*self.arena.region.bytes(p.offset(), p.len as usize);
                        let (argument, offset) = place_in_record(ring, at);
                        (Some(argument), offset)
                    }
                    _ => (Some(i as u8), Some(at as u64)),
                };
                let n = (p.len as usize - at).min(16);
                let aligned = &*self.arena.region.bytes(p.offset() + at, n);
                let mut theirs = [0u8; 16];
                let read =
                    chameleon_sys::memory::read(replica.pid, p.addr + at as u64, &mut theirs[..n]);
                let got = if read.is_ok() { &theirs[..n] } else { &[] };
                let what = match (argument, offset) {
                    (None, _) => What::Call,
                    (_, None) => What::Argument,
                    _ => What::Bytes,
                };
                (what, argument, offset, Bytes::of(aligned), Bytes::of(got))
            }
        };
        self.report.say(Event::Divergence(Divergence {
            what,
            argument,
            offset,
            expected,
            got,
            votes,
            against,
            outvoted: !self.votes_of(t).first && votes >= self.votes_of(t).k,
            ..self.divergence(t, r, seq)
        }));
        self.say_race(t, seq);
    }

    /// A divergence of replica `r` at call `seq`: what differed is to be added.
    pub(super) fn divergence(&self, t: usize, r: usize, seq: u64) -> Divergence {
        let replica = self.arena.task(t).replicas[r];
        let e = *self.arena.entry(t, seq);
        let call = if e.open != 0 && e.seq == seq { self.call_name(e.nr, &e.args) } else { "" };
        Divergence {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            replica: r as u8,
            seq: seq + 1,
            call: call.into(),
            what: What::Bytes,
            argument: None,
            offset: None,
            expected: Bytes::of(&[]),
            got: Bytes::of(&[]),
            votes: 0,
            against: 1,
            outvoted: !self.votes_of(t).first,
            pc: Address(replica.ip),
            cpu: last_cpu(replica.pid),
        }
    }

    /// Says that replica `r` has other bytes than `right` at `addr`, in a part of a long write
    /// that is not kept.
    pub(super) fn report_far_difference(
        &mut self,
        t: usize,
        r: usize,
        addr: u64,
        right: &[u8],
        votes: u8,
    ) {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let replica = self.arena.task(t).replicas[r];
        let mut theirs = vec![0; right.len()];
        let n = chameleon_sys::memory::read_some(replica.pid, addr, &mut theirs);
        let at = (0..n).find(|i| theirs[*i] != right[*i]).unwrap_or(n);
        let (to, to_right) = ((at + 16).min(n).max(at), (at + 16).min(right.len()));
        self.report.say(Event::Divergence(Divergence {
            argument: Some(1),
            offset: Some(addr - e.args[1] + at as u64),
            expected: Bytes::of(&right[at..to_right]),
            got: Bytes::of(&theirs[at..to]),
            votes,
            ..self.divergence(t, r, head)
        }));
    }

    /// Takes a replica out.
    pub(super) fn lose(&mut self, t: usize, r: usize, reason: Reason) {
        self.loses(t, r);
        if self.arena.task(t).replicas[r].state != rstate::DEAD {
            self.kill_replica(t, r);
        }
        self.group_lost(t, r);
        self.say_outvoted(t, r, reason, None);
        self.note_loss(t);
    }

    pub(super) fn say_outvoted(&mut self, t: usize, r: usize, reason: Reason, signal: Option<u8>) {
        let event = Outvoted {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            replica: r as u8,
            seq: self.arena.task(t).replicas[r].seq + 1,
            reason,
            signal,
        };
        self.report.say(Event::Outvoted(event));
        self.lose_sharers(t, r);
    }

    /// Remembers since when a task has been short of replicas.
    pub(super) fn note_loss(&mut self, t: usize) {
        let task = self.arena.task(t);
        for r in &mut task.replicas[..task.n as usize] {
            if r.state == rstate::DEAD {
                r.note_loss(raw::now_ns());
            }
        }
    }

    /// The tracer saw a replica die.
    pub(super) fn replica_died(&mut self, t: usize, r: usize, signal: u32) {
        let task = self.arena.task(t);
        let replica = &mut task.replicas[r];
        if task.exiting != 0 && signal == 0 && replica.state == rstate::RUNNING {
            replica.state = rstate::DEAD;
            return self.one_has_ended(t);
        }
        if replica.state == rstate::FROZEN {
            return self.frozen_died(t, r);
        }
        // A place that is being filled again belongs to the one to come.
        let settled = matches!(replica.state, rstate::DEAD | rstate::EXPECTED | rstate::NONE);
        if task.used != 2 || settled {
            return;
        }
        let executes = self.another_executes(t);
        let crash = signal != KILLED && signal != 0 && self.has_heirs(t);
        match self.group_of(t) {
            Some(g) if crash && !executes => {
                self.arena.group(g).crashed |= 1 << r;
                commit();
            }
            _ if !executes => self.loses(t, r),
            _ => {}
        }
        let replica = &mut self.arena.task(t).replicas[r];
        replica.died_by = signal;
        commit();
        replica.state = rstate::DEAD;
        commit();
        if executes {
            return;
        }
        if crash {
            let t = self.process_died(t, r);
            self.behind = true;
            self.crash_is_judged(t);
            return;
        }
        let t = self.group_lost(t, r);
        if self.dies_with_replicas(t) {
            return;
        }
        self.note_loss(t);
        if signal == KILLED {
            self.say_outvoted(t, r, Reason::Killed, Some(signal as u8));
        }
        // Another signal may be the program's own crash: who is right shows at the next call.
        self.behind = true;
    }

    /// What the deaths of a task's replicas mean to it: K that died alike are its own death, none
    /// left is the loss of its majority. Whether it is one of these.
    pub(super) fn dies_with_replicas(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let replicas = &task.replicas[..task.n as usize];
        let dead = replicas.iter().filter(|x| x.state == rstate::DEAD && x.died_by != 0);
        let alike = dead.map(|x| {
            let same =
                |y: &&Replica| y.state == rstate::DEAD && y.died_by == x.died_by && y.seq == x.seq;
            (replicas.iter().filter(same).count(), x.died_by)
        });
        let (most, signal) = alike.max().unwrap_or((0, 0));
        if self.open_crashes(t) != 0 {
            return !self.crash_is_judged(t);
        }
        let any_left = self.masks(t).0 != 0;
        if most >= usize::from(self.votes_of(t).k) && (signal != KILLED || !any_left) {
            self.program_crashed(t, signal);
            return true;
        }
        if !any_left {
            self.majority_lost(t, most as u8);
        }
        !any_left
    }

    /// A replica was killed while it waited for an answer; the tracer's word of it is yet to come.
    pub(super) fn vanished(&mut self, t: usize, r: usize) {
        self.loses(t, r);
        let replica = &mut self.arena.task(t).replicas[r];
        replica.state = rstate::DEAD;
        replica.died_by = KILLED;
        self.group_lost(t, r);
        self.note_loss(t);
        self.say_outvoted(t, r, Reason::Killed, Some(KILLED as u8));
        if self.masks(t).0 == 0 {
            self.program_crashed(t, KILLED);
        }
    }

    /// K replicas died by the same signal at the same place: so does the program.
    pub(super) fn program_crashed(&mut self, t: usize, signal: u32) {
        let kind = if signal == KILLED { failure::KILLED } else { failure::CRASH };
        if self.recovers(t, kind, signal) {
            return;
        }
        self.flush_crashed(t, signal);
        self.arena.task(t).dying = signal;
        if self.executor_idle(t) && !self.is_being_made(t) {
            self.end_process(t, End::Signal(signal as i32));
        }
    }

    /// Blames replicas that crashed where the others went on.
    pub(super) fn blame_crashes(&mut self, t: usize) {
        let n = self.arena.task(t).n as usize;
        for r in 0..n {
            let x = self.arena.task(t).replicas[r];
            let crashed = x.state == rstate::DEAD && x.died_by != 0;
            if crashed && x.seq < self.arena.task(t).head {
                if x.died_by != KILLED {
                    self.say_outvoted(t, r, Reason::Crash, Some(x.died_by as u8));
                }
                self.arena.task(t).replicas[r].died_by = 0;
            }
        }
    }

    /// A replica about to be given `ret` for call `seq`: whether the tracer has to do it, because
    /// a copy is to be made of it or a fault put into it.
    pub(super) fn answer_by_tracer(&mut self, t: usize, r: usize, seq: u64, ret: i64) -> bool {
        if self.fault_behind(t, r, seq, ret) {
            return true;
        }
        let task = self.arena.task(t);
        let n = task.n as usize;
        // One that crashed ahead of the others may be the program's own crash: not yet.
        let told = |x: &Replica| x.died_by == 0 || x.died_by == KILLED || x.seq < task.head;
        let dead = (0..n)
            .filter(|x| task.replicas[*x].state == rstate::DEAD && told(&task.replicas[*x]))
            .fold(0u32, |m, x| m | 1 << x)
            & if self.to.is_some() { self.wanted_replicas() } else { u32::MAX };
        let frozen = self.freezes(t, r, seq);
        let task = self.arena.task(t);
        if frozen != 0 && dead == 0 {
            let mut job = self.job_for(t, r, job::REPAIR);
            job.ret = ret;
            job.copies = frozen;
            let asked = self.ask(job);
            if asked {
                self.is_frozen_soon(t);
            }
            return asked;
        }
        if dead == 0 || !self.may_be_copied(t) || task.exec_pending != 0 || seq + 1 != task.head {
            return false;
        }
        let leader = task.leader as usize == t;
        let alone = n > 1 && leader && task.group == 0;
        let e = *self.arena.entry(t, seq);
        let enough =
            e.votes.count_ones() >= u32::from(self.votes_of(t).k) || self.votes_of(t).first;
        if !alone || !enough || self.is_being_made(t) {
            return false;
        }
        self.blame_crashes(t);
        if self.settings.verify_donor && !self.is_sound(t, r) {
            return false; // perhaps the next one that is answered
        }
        let mut job = self.job_for(t, r, job::REPAIR);
        job.ret = ret;
        job.copies = dead | frozen;
        let asked = self.ask(job);
        if asked && frozen != 0 {
            self.is_frozen_soon(t);
        }
        asked
    }

    /// The tracer has made the copies of a repair, or failed to.
    pub(super) fn repaired(&mut self, j: &Job) {
        let t = j.task as usize;
        self.frozen(j);
        if j.error != 0 {
            self.not_made(t, j.copies);
            let task = self.arena.task(t);
            let goes_on = task.used == 2 && task.dying == 0 && !self.is_rolling(t);
            if goes_on && self.masks(t).0 == 0 {
                self.dies_with_replicas(t); // the donor was the last one
            }
            return;
        }
        self.copies_are_there(j);
    }

    /// Copies that were to be made of a task's replica are there, but for those that have been lost again.
    pub(super) fn copies_are_there(&mut self, j: &Job) {
        let t = j.task as usize;
        let n = self.arena.task(t).n as usize;
        for r in (0..n).filter(|r| j.copies & (1 << r) != 0) {
            if !crate::arena::is_live(&self.arena.task(t).replicas[r]) {
                continue;
            }
            self.say_repaired(t, r, j);
            let replica = &mut self.arena.task(t).replicas[r];
            replica.class = 255;
            replica.arrived = 0;
        }
    }

    /// Copies that were to be made of a task's replica are not to come.
    pub(super) fn not_made(&mut self, t: usize, copies: u32) {
        let task = self.arena.task(t);
        for (r, replica) in task.replicas[..task.n as usize].iter_mut().enumerate() {
            if copies & (1 << r) != 0 && replica.state == rstate::EXPECTED {
                replica.state = rstate::DEAD;
            }
        }
    }

    /// Replica `r` has been made anew by a job.
    pub(super) fn say_repaired(&mut self, t: usize, r: usize, j: &Job) {
        if self.fills(t, r) {
            return;
        }
        let since = self.arena.task(t).replicas[r].since();
        self.arena.header().repairs += 1;
        self.report.say(Event::Repaired(Repaired {
            process: self.arena.task(t).tgid,
            replica: r as u8,
            donor: j.replica as u8,
            ms: j.done_at.saturating_sub(since) as f64 / 1e6,
        }));
    }

    /// No K ballots can be equal any more: nothing may be output, the run ends.
    pub(super) fn majority_lost(&mut self, t: usize, best: u8) {
        if self.recovers(t, failure::MISMATCH, 0) {
            return;
        }
        let head = self.arena.task(t).head;
        let n = self.arena.task(t).n as usize;
        let e = *self.arena.entry(t, head);
        for r in 0..n {
            let x = self.arena.task(t).replicas[r];
            let differs = !matches!(x.class, 0 | 255);
            if x.state == rstate::PARKED
                && x.seq == head
                && differs
                && let Some(d) = self.difference(t, r, head)
            {
                self.report_difference(t, r, head, d, 0, 1);
            }
        }
        self.blame_crashes(t);
        self.say_race(t, head);
        let event = LostMajority {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            seq: head + 1,
            call: if e.open != 0 { self.call_name(e.nr, &e.args).into() } else { "".into() },
            n: n as u8,
            k: self.votes_of(t).k,
            best,
        };
        self.report.say(Event::LostMajority(event));
        self.give_up();
    }
}

/// The CPU a process last ran on (proc(5), field 39 of stat).
fn last_cpu(pid: u32) -> u32 {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s[s.rfind(')')? + 2..].split_ascii_whitespace().nth(36)?.parse().ok())
        .unwrap_or(0)
}
