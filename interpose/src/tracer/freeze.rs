//! Checkpoints as the tracer makes them: forks of a stopped replica that stay stopped, and replicas made
//! of them.
//!
//! Invariant: a checkpoint has the state that its replica has at the call it stands before, holds no
//! descriptor but lent ones, and is never resumed; it dies with the supervisor.

use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Result, process};

use super::jobs::{PLAIN_COPY, without_copy};
use super::{Read, Tracer};
use crate::arena::{Job, Replica, commit, rstate};

impl Tracer {
    /// Makes the copies that a job asks for of its replica, which is stopped behind its call and goes on
    /// Makes the copies that a job asks for of its replica, which is stopped behind its call and goes on
    /// with `regs`. Those of them that are to run (checkpoints stay as they are), and the job's error.
    pub(super) fn copies_behind(&mut self, job: &Job, regs: &Regs) -> (Vec<u32>, u32) {
        let (task, donor) = (job.task as usize, job.replica as usize);
        let from = self.arena.task(task).replicas[donor];
        let like = Replica { seq: from.seq + 1, died_by: 0, deliver: 0, ..from };
        let (mut running, mut failed) = (Vec::new(), false);
        for replica in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            match self.copy_of(job.pid, regs, task, [donor, replica], like) {
                Ok(pid) if self.arena.task(task).replicas[replica].state == rstate::RUNNING => {
                    running.push(pid);
                }
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        (running, without_copy(failed))
    }

    /// Makes replica `to` of a task, a copy of replica `from`, which is stopped as `pid`; it is stopped too.
    pub(super) fn copy_of(
        &mut self,
        pid: u32,
        regs: &Regs,
        task: usize,
        [from, to]: [usize; 2],
        like: Replica,
    ) -> Result<u32> {
        let read = self.tracees.get(&pid).map_or_else(Read::default, |t| t.read);
        let leader = self.arena.task(task).leader as usize;
        let cloned = self.clone_whole(pid, leader, regs, [PLAIN_COPY, 0, 0, 0, 0])?;
        self.own_shared_memory(cloned.child, regs, from, to, &mut Vec::new())?;
        tracee::set_regs(cloned.child, regs)?;
        let old = self.arena.task(task).replicas[to].pid;
        if self.tracees.get(&old).is_some_and(|t| t.task == task && t.replica == to) {
            process::kill(old, libc::SIGKILL);
        }
        self.adopt(cloned.child, task, to, read);
        let frozen = self.arena.checkpoints().contains(&to);
        if frozen {
            self.describe_frozen(cloned.child, regs, task, to);
        }
        if let Some(t) = self.tracees.get_mut(&cloned.child) {
            t.held = frozen;
        }
        let thawed = self.arena.checkpoints().contains(&from);
        if frozen || thawed {
            // If memory runs out, checkpoints are what can be done without (proc(5)).
            let score = if frozen { "1000" } else { self.oom_score.as_str() };
            let _ = std::fs::write(format!("/proc/{}/oom_score_adj", cloned.child), score);
        }
        let r = &mut self.arena.task(task).replicas[to];
        *r = Replica { pid: cloned.child, state: r.state, arrived: r.arrived, ..like };
        commit();
        r.state = if frozen { rstate::FROZEN } else { rstate::RUNNING };
        Ok(cloned.child)
    }

    /// A replica is about to make its first call, `seq`, in a program or process that begins: that is a
    /// checkpoint, unless another replica has made it already. It is stopped and goes on with `regs`.
    pub(super) fn freeze_beginning(&mut self, pid: u32, regs: &Regs, seq: u64) {
        let Some(t) = self.tracees.get(&pid).copied() else { return };
        let replicas = &self.arena.task(t.task).replicas;
        let there = |p: &usize| replicas[*p].state == rstate::FROZEN;
        let mut places = self.arena.checkpoints();
        if places.clone().any(|p| there(&p) && replicas[p].seq == seq) {
            return;
        }
        let key = |p: &usize| if there(p) { replicas[*p].seq + 1 } else { 0 };
        let pinned = self.arena.task(t.task).recovery.pinned as usize;
        let free = places.by_ref().filter(|p| p + 1 != pinned);
        let Some(place) = free.min_by_key(key) else { return };
        let like = Replica { seq, deliver: 0, died_by: 0, ..replicas[t.replica] };
        // Without it the program goes on; the next call takes one.
        let _ = self.copy_of(pid, regs, t.task, [t.replica, place], like);
        let _ = tracee::set_regs(pid, regs);
    }

    /// Makes checkpoints of a replica that waits at a call; it makes the call again.
    pub(super) fn freeze_waiting(&mut self, i: usize, job: &Job) -> Result<()> {
        let (task, donor) = (job.task as usize, job.replica as usize);
        let regs = self.stop_to_call_again(task, donor)?;
        let like = Replica { deliver: 0, died_by: 0, ..self.arena.task(task).replicas[donor] };
        let mut outcome = Ok(());
        for place in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            outcome = self.copy_of(job.pid, &regs, task, [donor, place], like).map(drop);
        }
        tracee::set_regs(job.pid, &regs)?;
        self.done(i, without_copy(outcome.is_err()));
        tracee::resume(job.pid, 0)
    }

    /// Makes replicas of a checkpoint, which go on from there.
    pub(super) fn thaw(&mut self, i: usize, job: &Job) -> Result<()> {
        let (task, place) = (job.task as usize, job.replica as usize);
        let frozen = self.arena.task(task).replicas[place];
        let regs = tracee::regs(job.pid)?;
        let mut all = Vec::new();
        let mut outcome = Ok(());
        for replica in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            match self.copy_of(job.pid, &regs, task, [place, replica], frozen) {
                Ok(pid) => all.push(pid),
                Err(e) => outcome = Err(e),
            }
        }
        let kept = tracee::set_regs(job.pid, &regs);
        self.done(i, outcome.as_ref().err().map_or(0, |e| e.errno as i32 as u32));
        for pid in all {
            if frozen.deliver != 0 {
                process::tgkill_any(pid, frozen.deliver as i32);
            }
            tracee::resume(pid, 0)?;
        }
        outcome.and(kept)
    }
}
