//! Signals of instructions that a replica is led into and does not take: breakpoints, steps, an `int3` or a fault
//! in our code.
//!
//! The kernel takes such a signal out of the thread's mask, and gives it its default action where it was
//! blocked or ignored, as it is to end the process then (kernel/signal.c, force_sig_info_to_task()).
//!
//! Invariant: a thread that was led into one goes on with the mask and the action that the program has set. An
//! injected call raises none: its end is a stop of its own (`inject`).

use chameleon_sys::filter::WINDOW;
use chameleon_sys::{Result, memory, tracee};

use super::Tracer;

/// A place in the window's page, behind its code, for the new action (struct sigaction of the kernel).
const ACTION: u64 = WINDOW + 64;

impl Tracer {
    /// A stopped thread has come to `signal` and will not take it; `mask` is what it had blocked before.
    pub(super) fn undo_signal(&mut self, pid: u32, signal: i32, mask: u64) -> Result<()> {
        let blocked = mask & 1 << (signal - 1) != 0;
        if blocked {
            tracee::set_signal_mask(pid, mask)?;
        }
        let Some(t) = self.tracees.get(&pid) else { return Ok(()) };
        let task = self.arena.task(t.task);
        let action = *self.arena.action(task.leader as usize, signal as usize);
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
