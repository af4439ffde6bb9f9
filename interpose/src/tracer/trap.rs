//! Signals of instructions that a replica is led into and does not take: breakpoints, steps, an `int3` or a fault
//! in our code.
//!
//! The kernel takes such a signal out of the thread's mask, and gives it its default action where it was
//! blocked or ignored, as it is to end the process then (kernel/signal.c, force_sig_info_to_task()).
//!
//! Invariant: a thread that was led into one goes on with the mask and the action that the program has set. An
//! injected call raises none: its end is a stop of its own (`inject`).

use chameleon_sys::filter::WINDOW;
use chameleon_sys::tracee::Regs;
use chameleon_sys::{Result, memory, tracee};

use super::Tracer;
use crate::arena::{Action, rolling};

/// A place in the window's page, behind its code, for the new action (struct sigaction of the kernel).
const ACTION: u64 = WINDOW + 64;

/// A thread that was stopped amid computing and makes a call of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interrupted {
    /// Where it goes on.
    pub regs: Regs,
    /// What it blocks.
    mask: u64,
    /// What its process had said of SIGTRAP when it was stopped.
    action: Action,
}

impl Tracer {
    /// A thread has been stopped amid computing, and goes on with `regs`.
    pub(super) fn interrupt(&mut self, pid: u32, regs: Regs) {
        if let Some(t) = self.tracees.get(&pid) {
            let task = self.arena.task(t.task);
            let action = *self.arena.action(task.leader as usize, libc::SIGTRAP as usize);
            self.interrupted.insert(pid, Interrupted { regs, mask: task.mask, action });
        }
    }

    /// The same of an interrupted thread that has come to the end of our call.
    pub(super) fn undo_own_call(&mut self, pid: u32, at: &Interrupted) -> Result<()> {
        let Some(t) = self.tracees.get(&pid) else { return Ok(()) };
        let task = self.arena.task(t.task);
        let group = (task.group as usize).checked_sub(1);
        let again = group.is_some_and(|g| self.arena.group(g).recovery.rolling != rolling::NO);
        // In one that is rolled back, what has been said since is yet to come.
        let action = match again {
            true => at.action,
            false => *self.arena.action(task.leader as usize, libc::SIGTRAP as usize),
        };
        self.undo_signal_of(pid, libc::SIGTRAP, at.mask, Some(action))
    }

    /// A stopped thread has come to `signal` and will not take it; `mask` is what it had blocked before.
    pub(super) fn undo_signal(&mut self, pid: u32, signal: i32, mask: u64) -> Result<()> {
        let leader = self.tracees.get(&pid).map(|t| self.arena.task(t.task).leader as usize);
        // One that belongs to no task yet has its mask all the same.
        let action = leader.map(|leader| *self.arena.action(leader, signal as usize));
        self.undo_signal_of(pid, signal, mask, action)
    }

    fn undo_signal_of(
        &mut self,
        pid: u32,
        signal: i32,
        mask: u64,
        action: Option<Action>,
    ) -> Result<()> {
        let blocked = mask & 1 << (signal - 1) != 0;
        if blocked {
            tracee::set_signal_mask(pid, mask)?;
        }
        let (Some(t), Some(action)) = (self.tracees.get(&pid), action) else { return Ok(()) };
        let task = self.arena.task(t.task);
        let ignored = action.handler == libc::SIG_IGN as u64;
        // Handlers do not survive an exec, of which the dispatcher may not know yet.
        let executed = task.replicas[t.replica].execs > task.execs;
        let caught = action.handler > libc::SIG_IGN as u64 && !executed;
        if !(ignored || blocked && caught) {
            return Ok(());
        }
        let saved = tracee::regs(pid)?;
        let mut before = [0u64; 4];
        memory::read(pid, ACTION, bytemuck::bytes_of_mut(&mut before))?;
        let words = [action.handler, action.flags, action.restorer, action.mask];
        tracee::poke_bytes(pid, ACTION, bytemuck::bytes_of(&words))?;
        let args = [signal as u64, ACTION, 0, 8, 0, 0];
        let made = self.call_at(pid, &saved, WINDOW, libc::SYS_rt_sigaction, args);
        tracee::poke_bytes(pid, ACTION, bytemuck::bytes_of(&before))?;
        tracee::set_regs(pid, &saved)?;
        made.map(drop)
    }
}
