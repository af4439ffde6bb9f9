//! Replicas made of a checkpoint of a group: all its processes and threads, each at the call at which it
//! was stopped.
//!
//! Invariant: the checkpoint stays as it is; all replicas are there before anything of them runs, or none.

use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Errno, Error, Result, process};

use super::Tracer;
use super::agree::yielding;
use super::threads::Context;
use crate::arena::{Job, rstate};

impl Tracer {
    /// Makes the copies that a job asks for of the checkpoint of a group, and has them run.
    pub(super) fn thaw_threads(&mut self, i: usize, job: &Job) -> Result<()> {
        let mut made = Vec::new();
        let mut all = Vec::new();
        let outcome = self.frozen_contexts(job, &mut all).and_then(|()| {
            self.end_old(job);
            self.make_copies(job, &all, &mut made)
        });
        match &outcome {
            Ok(()) => made.iter().for_each(|m| self.join(m, job.replica as usize)),
            Err(_) => made.drain(..).for_each(|m| process::kill(m.pid, libc::SIGKILL)),
        }
        for c in &all {
            let _ = tracee::set_regs(c.pid, &c.regs);
        }
        self.done(i, outcome.as_ref().err().map_or(0, |e| e.errno as i32 as u32));
        for m in &made {
            let _ = tracee::resume(m.pid, 0); // else it has been killed
        }
        outcome.map_err(|e| Error { errno: Errno::EAGAIN, ..e })
    }

    /// Makes a checkpoint of the group of a replica that is stopped behind its call and goes on with `regs`.
    pub(super) fn freeze_behind(&mut self, i: usize, job: &Job, regs: Regs) -> Result<()> {
        let outcome = self.copy_threads(i, job, Some(regs));
        if outcome.is_err() {
            // Without it the program goes on.
            let _ = tracee::set_regs(job.pid, &regs);
            let _ = tracee::resume(job.pid, 0);
        }
        outcome
    }

    /// The threads of a checkpoint, process by process.
    fn frozen_contexts(&mut self, job: &Job, all: &mut Vec<Context>) -> Result<()> {
        let place = job.replica as usize;
        let group = self.arena.task(job.task as usize).group;
        let mut members: Vec<usize> = (0..self.arena.header().tasks as usize)
            .filter(|o| {
                let x = self.arena.task(*o);
                x.used != 0 && x.group == group && x.replicas[place].state == rstate::FROZEN
            })
            .collect();
        let leader = |t: usize| self.arena.task(t).leader as usize;
        members.sort_by_key(|t| (leader(*t), leader(*t) != *t));
        for t in members {
            let pid = self.arena.task(t).replicas[place].pid;
            let regs = tracee::regs(pid)?;
            let context = self.context_of(t, pid, regs);
            all.push(context?);
        }
        Ok(())
    }

    /// A thread that computes has been stopped at `goal`: it makes a call there that the program does not know
    /// of, and a checkpoint of its group is made as it is about to.
    pub(super) fn freeze_preempted(&mut self, i: usize, job: &Job, goal: Regs) {
        if self.trap_once(job.pid, goal).is_err() {
            return self.done(i, Errno::EAGAIN as i32 as u32); // it has ended
        }
        self.interrupt(job.pid, goal);
        let asked = Job { copies: job.args[3] as u32, ..*job };
        let outcome = self.copy_threads(i, &asked, Some(yielding(goal)));
        if outcome.is_err() {
            // It makes that call all the same.
            self.interrupt(job.pid, goal);
            let _ = tracee::set_regs(job.pid, &yielding(goal));
            let _ = tracee::resume(job.pid, 0);
        }
    }
}
