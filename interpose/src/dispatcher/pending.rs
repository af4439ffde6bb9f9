//! The list of pending signals, changed so that a successor can finish a change that was cut short.
//!
//! Invariant: a removal is first written down whole (`giving_…` of the task) and then counts from
//! one store; carrying it out twice is the same as once.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::{self, slot};
use chameleon_sys::{process, raw};

use super::Dispatcher;
use crate::arena::{commit, rstate};

impl Dispatcher {
    /// After a takeover: signals that were half taken from the executor, half given to a replica.
    pub(super) fn settle_signals(&mut self, t: usize) {
        let at = self.arena.slot(t) + slot::TAKEN;
        let taken = self.arena.region.atomic_u32(at);
        let task = self.arena.task(t);
        let next = taken.load(Ordering::Relaxed).wrapping_add(1);
        if task.coming == u64::from(next) << 32 | u64::from(task.pending) {
            taken.store(next, Ordering::Release);
        }
        self.carry_out_removal(t);
        task.giving_at = 0; // what did not count yet is planned again
        let r = task.replicas[0];
        if task.n == 1 && r.state == rstate::RUNNING && r.deliver != 0 {
            // Perhaps sent already: the tracer drops what nobody waits for.
            process::tgkill_any(r.pid, r.deliver as i32);
        }
    }

    pub(super) fn drop_pending(&mut self, t: usize, i: usize) {
        self.plan_removal(t, i, self.arena.task(t).mask);
        self.arena.task(t).giving_at = self.arena.task(t).head + 1;
        self.carry_out_removal(t);
    }

    /// Writes down that the pending signal at place `i` goes, and which mask the program has then.
    /// It counts from when `giving_at` says so, and is carried out then, by a successor if need be.
    pub(super) fn plan_removal(&mut self, t: usize, i: usize, mask: u64) {
        let task = self.arena.task(t);
        let n = task.pending as usize;
        task.giving_at = 0;
        commit();
        task.giving_from[..n].copy_from_slice(&task.signals[..n]);
        (task.giving_place, task.giving_pending) = (i as u32, n as u32);
        task.giving_mask = mask & !super::signals::UNBLOCKABLE;
        (task.giving_reset, task.giving_single) = (0, 0);
        commit();
    }

    /// Carries out what [`Dispatcher::plan_removal`] wrote down, if the head is where it counts.
    pub(super) fn carry_out_removal(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.giving_at != task.head + 1 {
            return;
        }
        let (i, n) = (task.giving_place as usize, task.giving_pending as usize);
        task.signals[..i].copy_from_slice(&task.giving_from[..i]);
        task.signals[i..n - 1].copy_from_slice(&task.giving_from[i + 1..n]);
        task.pending = task.giving_pending - 1;
        task.mask = task.giving_mask;
        if task.giving_reset != 0 {
            self.action_of(t, task.giving_reset).handler = libc::SIG_DFL as u64;
        }
        if task.giving_single != 0 {
            task.replicas[0].deliver = task.giving_single;
        }
        commit();
        task.giving_at = 0;
        let at = self.arena.slot(t);
        let of = |field| self.arena.region.atomic_u32(at + field).load(Ordering::Acquire);
        if of(slot::POSTED) != of(slot::TAKEN) {
            raw::ring_bell(executor::bell_fd()); // there is room for what was left there
        }
    }
}

/// Signals that are taken from the executor at most before some have been given to the program: with
/// more in its ring it leaves them to the kernel.
pub(super) const MOST: u32 = 24;

/// The second word of a siginfo that a timer of timer_create(2) sent: si_code, SI_TIMER.
pub(super) const SI_TIMER: u32 = -2i32 as u32;

/// Whether a signal that came is one with another that waits: standard signals do not queue
/// (signal(7)), nor do those of one timer, which counts them instead (timer_getoverrun(2)).
pub(super) fn is_one_of(waiting: &mut [[u64; 16]], info: &[u64; 16]) -> bool {
    let (signal, code) = (info[0] as u32, info[1] as u32);
    // The third word holds the timer's number and, above it, its overruns.
    let timer = |s: &[u64; 16]| (s[1] as u32 == SI_TIMER).then_some((s[0] as u32, s[2] as u32));
    if code == SI_TIMER
        && let Some(s) = waiting.iter_mut().find(|s| timer(s) == timer(info))
    {
        let overruns = (s[2] >> 32) + (info[2] >> 32) + 1;
        s[2] = s[2] & 0xffff_ffff | overruns.min(i32::MAX as u64) << 32;
        return true;
    }
    signal < 32 && waiting.iter().any(|s| s[0] as u32 == signal)
}
