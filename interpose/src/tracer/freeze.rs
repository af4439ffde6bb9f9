//! Checkpoints as the tracer makes them: forks of a stopped replica that stay stopped, and replicas made
//! of them.
//!
//! Invariant: a checkpoint has the state that its replica has at the call it stands before, holds no
//! descriptor but lent ones, and is never resumed; it dies with the supervisor.

use chameleon_sys::tracee::{self, Regs};
use chameleon_sys::{Result, process};

use super::Tracer;
use super::jobs::without_copy;
use crate::arena::{Job, Replica, rstate};

impl Tracer {
    /// A replica is about to make its first call, `seq`, in a program or process that begins: that is a
    /// checkpoint, unless another replica has made it already. It is stopped and goes on with `regs`. False
    /// if it is gone.
    pub(super) fn freeze_beginning(&mut self, pid: u32, regs: &Regs, seq: u64) -> bool {
        let Some(t) = self.tracees.get(&pid).copied() else { return false };
        let replicas = &self.arena.task(t.task).replicas;
        let there = |p: &usize| replicas[*p].state == rstate::FROZEN;
        let mut places = self.arena.checkpoints();
        if places.clone().any(|p| there(&p) && replicas[p].seq == seq) {
            return true;
        }
        let key = |p: &usize| if there(p) { replicas[*p].seq + 1 } else { 0 };
        let pinned = self.arena.task(t.task).recovery.pinned as usize;
        let free = places.by_ref().filter(|p| p + 1 != pinned);
        let Some(place) = free.min_by_key(key) else { return true };
        let like = Replica { seq, deliver: 0, died_by: 0, ..replicas[t.replica] };
        // Without it the program goes on; the next call takes one.
        let _ = self.copy_of(pid, regs, t.task, [t.replica, place], like);
        tracee::set_regs(pid, regs).is_ok()
    }

    /// Makes checkpoints of a replica that waits at a call; it makes the call again.
    pub(super) fn freeze_waiting(&mut self, i: usize, job: &Job) -> Result<()> {
        let (task, donor) = (job.task as usize, job.replica as usize);
        let regs = self.stop_to_call_again(task, donor)?;
        let like = Replica { deliver: 0, died_by: 0, ..self.arena.task(task).replicas[donor] };
        let (mut made, mut failed) = (Vec::new(), false);
        for place in (0..u32::BITS as usize).filter(|b| job.copies & (1 << b) != 0) {
            match self.begin_copy(job.pid, &regs, task, [donor, place], like) {
                Ok(copied) => made.push(copied),
                Err(_) => failed = true,
            }
        }
        self.go_on(i, job.pid, &regs, (made, without_copy(failed)))
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
