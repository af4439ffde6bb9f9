//! The end of a handler of the program: rt_sigreturn(2).
//!
//! Invariant: the mask kept in a task is that of the frame which its replicas restore; it is read of one that
//! certainly stands there.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::slot;
use chameleon_sys::{memory, notify};

use super::Dispatcher;
use super::signals::UNBLOCKABLE;
use super::work::Outcome;
use crate::arena::rstate;
use crate::outside::op;

impl Dispatcher {
    /// rt_sigreturn(2): the replicas restore their own context; its mask is the program's again.
    /// The frame stands at the stack pointer, which /proc/PID/syscall shows (proc(5)).
    pub(super) fn signal_return(&mut self, t: usize) -> Outcome {
        /// Offset of `uc_sigmask` in the ucontext (uc_flags, uc_link, uc_stack, sigcontext).
        const MASK_AT: u64 = 8 + 8 + 24 + 256;
        if self.arena.task(t).step != 0 {
            if self.taken(t).is_none() {
                return Outcome::Wait;
            }
            self.take_signals(t);
            self.sort_out_defaults(t);
            let ended = self.arena.task(t).used != 2;
            return if ended { Outcome::Gone } else { Outcome::Continue };
        }
        let mask_of = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
            let sp = text.split_ascii_whitespace().nth(7)?;
            let sp = u64::from_str_radix(sp.trim_start_matches("0x"), 16).ok()?;
            memory::read_value::<u64>(pid, sp + MASK_AT).ok()
        };
        // Any of them may be killed at this moment: then one that has come since does.
        let mask = self.parked_at_head(t).find_map(mask_of);
        let mask = mask.or_else(|| self.came_later(t).into_iter().find_map(mask_of));
        if mask.is_none() && self.settings.checkpoints.is_some() {
            self.behind = true;
            return Outcome::Wait; // all of them: made anew, they come here again
        }
        let handlers = &mut self.arena.task(t).inside.handlers;
        *handlers = handlers.saturating_sub(1);
        if let Some(m) = mask {
            let at = self.arena.slot(t) + slot::MASK;
            let outside = self.arena.region.atomic_u64(at).load(Ordering::Relaxed);
            self.draft(t);
            self.arena.task(t).mask = m & !UNBLOCKABLE;
            if outside & !m & !UNBLOCKABLE != 0 {
                // What the executor holds back since a call in the handler comes now.
                self.request_then(t, op::MASK, [0; 6], 1);
                return Outcome::Wait;
            }
            self.undraft(t);
        }
        self.sort_out_defaults(t);
        Outcome::Continue
    }

    /// Replicas that have made the call at the head after it was decided, and the same one.
    fn came_later(&mut self, t: usize) -> Vec<u32> {
        let task = self.arena.task(t);
        let (head, n) = (task.head, task.n as usize);
        let at =
            |r: &usize| task.replicas[*r].state == rstate::PARKED && task.replicas[*r].seq == head;
        let there: Vec<usize> = (0..n).filter(at).collect();
        let alike = there.into_iter().filter(|r| self.difference(t, *r, head).is_none());
        alike.map(|r| task.replicas[r].pid).collect()
    }

    /// Whether none is left that stands at the call at the head: what it has in its memory is not to be
    /// known, until replicas that are made anew stand there.
    pub(super) fn all_are_killed(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let (head, votes) = (task.head, self.arena.entry(t, task.head).votes);
        let all = task.replicas[..task.n as usize].iter().enumerate();
        !all.into_iter().any(|(r, x)| {
            let there = x.state == rstate::PARKED && x.seq == head && votes & (1 << r) != 0;
            there && notify::is_waiting(x.listener as i32, x.id)
        })
    }

    pub(super) fn parked_at_head(&self, t: usize) -> impl Iterator<Item = u32> + use<> {
        let task = self.arena.task(t);
        let (head, votes) = (task.head, self.arena.entry(t, task.head).votes);
        let replicas = task.replicas.into_iter().take(task.n as usize).enumerate();
        replicas.filter_map(move |(r, x)| {
            let there = x.state == rstate::PARKED && x.seq == head;
            (there && votes & (1 << r) != 0).then_some(x.pid)
        })
    }
}
