//! A copy of a stopped replica: the fork itself, for which the donor must stand still, and what the copy
//! needs beside it, for which mostly it need not.
//!
//! ```text
//!   donor stopped ─► begin_copy ─► (the donor goes on) ─► finish_copy ─► the copy runs, or stays as a checkpoint
//! ```
//!
//! Invariant: a copy counts for the dispatcher from its beginning; nothing of it runs, and no other job about
//! it is carried out, before it is finished.

use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Result, cpu, process};

use super::jobs::PLAIN_COPY;
use super::{Read, Tracer};
use crate::arena::{Job, Replica, commit, job, rstate};
use crate::maps::Unforked;

/// A copy that has been begun.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) pid: u32,
    task: usize,
    /// The donor's place, and its own.
    places: [usize; 2],
    /// With these it goes on.
    regs: Regs,
    /// What was in its place.
    old: u32,
    unforked: Vec<Unforked>,
    finished: bool,
}

impl Tracer {
    /// Forks a replica for good: there and done with.
    pub(super) fn copy_of(
        &mut self,
        pid: u32,
        regs: &Regs,
        task: usize,
        places: [usize; 2],
        like: Replica,
    ) -> Result<u32> {
        let mut copied = self.begin_copy(pid, regs, task, places, like)?;
        self.finish_copy(&mut copied)?;
        Ok(copied.pid)
    }

    /// Makes replica `to` of a task, a copy of replica `from`, which is stopped as `pid`; it is stopped too.
    pub(super) fn begin_copy(
        &mut self,
        pid: u32,
        regs: &Regs,
        task: usize,
        places: [usize; 2],
        like: Replica,
    ) -> Result<Copied> {
        let read = self.tracees.get(&pid).map_or_else(Read::default, |t| t.read);
        let leader = self.arena.task(task).leader as usize;
        let to = places[1];
        let frozen = self.arena.checkpoints().contains(&to);
        let look = if frozen { self.look(pid, regs, leader) } else { None };
        let (child, unforked) = self.clone_whole(pid, leader, regs, [PLAIN_COPY, 0, 0, 0, 0])?;
        let old = self.arena.task(task).replicas[to].pid;
        self.adopt(child, task, to, read);
        if let Some(t) = self.tracees.get_mut(&child) {
            t.held = frozen;
        }
        let regs = *regs;
        let mut copied = Copied { pid: child, task, places, regs, old, unforked, finished: false };
        // Memory that the donor may write to, what an image is made of, and what is to run as the donor does.
        let at_once = self.arena.task(leader).shares != 0 || self.arena.header().images != 0;
        if (at_once || !frozen)
            && let Err(e) = self.finish_copy(&mut copied)
        {
            self.tracees.remove(&child); // it never was one
            self.arena.forget_pid(child);
            return Err(e);
        }
        self.note_look(leader, look, child);
        let r = &mut self.arena.task(task).replicas[to];
        *r = Replica { pid: child, state: r.state, arrived: r.arrived, ..like };
        commit();
        r.state = if frozen { rstate::FROZEN } else { rstate::RUNNING };
        Ok(copied)
    }

    /// Does what a copy needs beside its memory, unless that has been done. One that is not to be finished
    /// ends.
    pub(super) fn finish_copy(&mut self, copied: &mut Copied) -> Result<()> {
        if std::mem::replace(&mut copied.finished, true) {
            return Ok(());
        }
        let outcome = self.complete(copied);
        if outcome.is_err() {
            process::kill(copied.pid, libc::SIGKILL);
        }
        outcome
    }

    fn complete(&mut self, copied: &Copied) -> Result<()> {
        let Copied { pid, task, places: [from, to], regs, old, .. } = *copied;
        self.first_stop(pid)?;
        for one in &copied.unforked {
            self.advise(pid, &regs, one.range, one.say)?;
        }
        let shares = self.arena.task(self.arena.task(task).leader as usize).shares;
        if shares != 0 {
            let mut filled = Vec::new();
            self.own_shared_memory(pid, &regs, from, to, &mut filled)?;
            if !self.arena.checkpoints().contains(&to) {
                self.fill_unmapped(shares, to, &filled)?;
            }
        }
        tracee::set_regs(pid, &regs)?;
        let [thawed, frozen] = [from, to].map(|p| self.arena.checkpoints().contains(&p));
        if frozen {
            self.describe_frozen(pid, &regs, task, to);
        }
        if frozen || thawed {
            // If memory runs out, checkpoints are what can be done without (proc(5)).
            let score = if frozen { "1000" } else { self.oom_score.as_str() };
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        }
        if self.tracees.get(&old).is_some_and(|t| t.task == task && t.replica == to) {
            self.end_replica(old, task, to);
        }
        Ok(())
    }

    /// Ends a process of replica `r` of a task. Taking a checkpoint's memory apart takes about as long as
    /// making it did, which is not to be on the program's account; but the end of a group's is waited for.
    pub(super) fn end_replica(&self, pid: u32, task: usize, r: usize) {
        if self.arena.checkpoints().contains(&r) && self.arena.task(task).group == 0 {
            cpu::put_behind(pid, &self.cpus);
        }
        process::kill(pid, libc::SIGKILL);
    }

    /// The donor, stopped as `pid`, goes on with `regs`, as the job is done; then what was made of it.
    pub(super) fn go_on(
        &mut self,
        i: usize,
        pid: u32,
        regs: &Regs,
        (made, error): (Vec<Copied>, u32),
    ) -> Result<()> {
        let mut outcome = tracee::set_regs(pid, regs);
        if outcome.is_ok() {
            self.done(i, error);
            outcome = tracee::resume(pid, 0);
        }
        self.release_copies(made);
        outcome
    }

    /// Finishes copies; those that are to run do, checkpoints stay as they are.
    pub(super) fn release_copies(&mut self, made: Vec<Copied>) {
        for mut copied in made {
            if self.finish_copy(&mut copied).is_ok() && self.is_to_run(&copied) {
                let _ = tracee::resume(copied.pid, 0); // else it has been killed
            }
        }
    }

    pub(super) fn is_to_run(&self, copied: &Copied) -> bool {
        !self.arena.checkpoints().contains(&copied.places[1])
    }

    /// Makes the copies that a job asks for of its replica, which is stopped behind its call and goes on
    /// with `regs`; with the job's error.
    pub(super) fn copies_behind(&mut self, job: &Job, regs: &Regs) -> (Vec<Copied>, u32) {
        let (task, donor) = (job.task as usize, job.replica as usize);
        let from = self.arena.task(task).replicas[donor];
        let seq = from.seq + u64::from(job::answers(job.kind));
        let like = Replica { seq, died_by: 0, deliver: 0, ..from };
        let (mut made, mut failed) = (Vec::new(), false);
        for replica in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            match self.begin_copy(job.pid, regs, task, [donor, replica], like) {
                Ok(copied) => made.push(copied),
                Err(_) => failed = true,
            }
        }
        (made, super::jobs::without_copy(failed))
    }
}
