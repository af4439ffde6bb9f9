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

use super::Dispatcher;
use crate::arena::{Failure, Job, cause, commit, is_live, job, phase, rolling, rstate};

impl Dispatcher {
    /// The program would end of a failure: whether it is rolled back instead.
    pub(super) fn recovers(&mut self, t: usize, what: u32, signal: u32) -> bool {
        let Some(c) = self.settings.checkpoints else { return false };
        let task = self.arena.task(t);
        if task.used != 2 || task.dying != 0 || task.exiting != 0 || task.group != 0 {
            return false;
        }
        let usable = self.usable(t);
        let replicas = &task.replicas[..task.n as usize];
        let dead = replicas.iter().filter(|x| x.state == rstate::DEAD && x.died_by == signal);
        let ip = dead.map(|x| x.ip).next().unwrap_or(0);
        let failure = &mut task.recovery.failure;
        let (seq, cause) = (task.head, what);
        let alike = (failure.seq, failure.ip, failure.signal) == (seq, ip, signal);
        let (attempts, same) = (failure.attempts, failure.alike);
        *failure = Failure {
            seq,
            ip,
            signal,
            attempts: attempts + 1,
            alike: if alike { same + 1 } else { 1 },
            cause,
        };
        if std::env::var("CKDEBUG").is_ok() {
            let x = task.recovery;
            let f: Vec<_> = self.places().map(|p| (task.replicas[p].state, task.replicas[p].seq)).collect();
            self.report.tell(&format!("DBG recovers what {what} sig {signal} head {seq} tail {} from {} wanted {} usable {usable:?} attempts {attempts} rolling {} {f:?}", task.tail, x.from, x.wanted, x.rolling));
        }
        if attempts >= c.retries || usable.is_empty() {
            return false;
        }
        let place = usable[(attempts as usize).min(usable.len() - 1)];
        task.recovery.failed_at = self.now;
        for r in 0..task.n as usize {
            if self.arena.task(t).replicas[r].state != rstate::DEAD {
                self.kill_replica(t, r);
            }
            self.arena.task(t).replicas[r].died_by = 0;
        }
        self.roll_back(t, place);
        true
    }

    /// Begins to make the replicas of a task anew of a checkpoint.
    fn roll_back(&mut self, t: usize, place: usize) {
        let first = self.arena.task(t).replicas[place].seq;
        let k = u32::from(self.settings.mode.k);
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
        let recovery = &mut self.arena.task(t).recovery;
        (recovery.resume, recovery.used) = (head, place as u32);
        commit();
        recovery.rolling = rolling::THAW;
        self.thaw(t);
    }

    fn thaw(&mut self, t: usize) {
        let place = self.arena.task(t).recovery.used as usize;
        let mut job = self.job_for(t, place, job::THAW);
        job.copies = (1 << self.arena.task(t).n) - 1;
        self.behind |= !self.ask(job);
    }

    /// The tracer has made the replicas of a checkpoint, or failed to.
    pub(super) fn thawed(&mut self, j: &Job) {
        let t = j.task as usize;
        if j.error != 0 {
            self.not_made(t, j.copies);
            self.forget_checkpoint(t, j.replica as usize);
        }
        self.arena.task(t).recovery.rolling = rolling::REPLAY;
    }

    /// Goes on with a recovery; false as long as it is not over.
    pub(super) fn rolls_on(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        match task.recovery.rolling {
            rolling::NO => return true,
            rolling::THAW => {
                let asked = task.replicas[..task.n as usize].iter().any(|x| x.state == rstate::EXPECTED);
                if !asked {
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
        let resume = task.recovery.resume;
        let replicas = &task.replicas[..task.n as usize];
        if !replicas.iter().any(is_live) {
            if task.recovery.rolling == rolling::REPLAY && !self.recovers(t, cause::REPLAY, 0) {
                self.arena.task(t).recovery.rolling = rolling::NO;
                self.majority_lost(t, 0);
            }
            return false;
        }
        if replicas.iter().any(|x| is_live(x) && x.seq < resume) {
            return false;
        }
        if !self.all_call_alike(t) {
            return false;
        }
        let recovery = &mut self.arena.task(t).recovery;
        recovery.rolling = rolling::NO;
        recovery.rolled_back += 1;
        true
    }

    /// The call at the head may have been decided already, and be under way: whether all that stand there
    /// have made it again. One that has not is lost.
    fn all_call_alike(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let (head, n) = (task.head, task.n as usize);
        let e = self.arena.entry(t, head);
        if e.open == 0 || e.seq != head {
            return true;
        }
        let mut alike = true;
        for r in 0..n {
            let x = self.arena.task(t).replicas[r];
            if !is_live(&x) {
                continue;
            }
            if x.state != rstate::PARKED || x.seq != head {
                return false; // it is on its way
            }
            match self.difference(t, r, head) {
                None => self.arena.entry(t, head).votes |= 1 << r,
                Some(_) => {
                    self.lose(t, r, chameleon_proto::event::Reason::Divergence);
                    alike = false;
                }
            }
        }
        alike
    }

    /// The program has got past its last failure.
    pub(super) fn note_progress(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.recovery.failure.attempts != 0 && task.head > task.recovery.failure.seq + 1 {
            task.recovery.failure.attempts = 0;
            task.recovery.failure.alike = 0;
        }
    }
}
