//! The newer futex calls with several replicas: futex_waitv(2), futex_wake, futex_wait, futex_requeue.
//!
//! Invariant: as in `futex`. One that waits for several words is in the line for each of them and is never
//! moved to another; which words is in its ballot.

use chameleon_sys::memory;

use super::Dispatcher;
use super::futex::{ANY, key};
use super::waits::{QUEUED, TIMED};
use super::work::Outcome;
use crate::arena::Entry;

/// futex_waitv.
pub(super) const WAITV: i64 = 449;
/// futex_wake.
const WAKE: i64 = 454;
/// futex_wait.
pub(super) const WAIT: i64 = 455;
/// futex_requeue.
const REQUEUE: i64 = 456;
/// All of them.
pub(super) const NUMBERS: [i64; 4] = [WAITV, WAKE, WAIT, REQUEUE];

/// FUTEX2_SIZE_U32, the only size that there is.
const SIZE_U32: u32 = 2;
/// FUTEX2_PRIVATE.
const PRIVATE: u32 = 128;
/// The most words of futex_waitv (FUTEX_WAITV_MAX).
const MOST: u64 = 128;

/// `struct futex_waitv` (include/uapi/linux/futex.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Waiter {
    value: u64,
    addr: u64,
    flags: u32,
    zero: u32,
}

impl Waiter {
    pub(super) fn key(&self) -> u64 {
        key(self.addr, self.flags.into())
    }

    /// What is wrong with it: an errno. Words beside their memory's node are not modelled.
    fn objection(&self) -> Option<i32> {
        let valid = self.flags & !PRIVATE == SIZE_U32 && self.zero == 0;
        let fits = self.value <= u32::MAX.into() && self.addr.is_multiple_of(4);
        (!valid || !fits).then_some(libc::EINVAL)
    }
}

/// Which argument is the timeout, and the operation of futex(2) that waits as long.
pub(super) fn timeout_of(e: &Entry) -> (u32, i32) {
    let (place, clock) = if i64::from(e.nr) == WAITV { (3, e.args[4]) } else { (4, e.args[5]) };
    let real = if clock as i32 == libc::CLOCK_REALTIME { libc::FUTEX_CLOCK_REALTIME } else { 0 };
    (place, libc::FUTEX_WAIT_BITSET | real)
}

fn errno(code: i32) -> Outcome {
    Outcome::Value(-i64::from(code))
}

impl Dispatcher {
    /// The call at the head, one of [`NUMBERS`].
    pub(super) fn futex2(&mut self, t: usize, e: &Entry) -> Outcome {
        if matches!(self.arena.task(t).step, QUEUED | TIMED) {
            return self.go_on_waiting(t, e);
        }
        let [addr, a, b, c, ..] = e.args;
        match i64::from(e.nr) {
            WAITV => self.wait_for_words(t, e),
            WAKE => {
                let w = Waiter { value: 0, addr, flags: c as u32, zero: 0 };
                if let Some(code) = w.objection().or_else(|| mask_objection(a)) {
                    return errno(code);
                }
                if !self.is_there(t, &w) {
                    return errno(libc::EFAULT);
                }
                let most = match b as i32 {
                    0 => return Outcome::Value(0),
                    n => n.max(1) as u32,
                };
                Outcome::Value(self.wake(t, w.key(), a as u32, most).into())
            }
            WAIT => {
                let w = Waiter { value: a, addr, flags: c as u32, zero: 0 };
                let objection = w.objection().or_else(|| mask_objection(b));
                if let Some(code) = objection.or_else(|| self.clock_objection(t, e)) {
                    return errno(code);
                }
                match self.word(t, 0) {
                    Some(word) if u64::from(word) == a => {}
                    Some(_) => return errno(libc::EAGAIN),
                    None => return errno(libc::EFAULT),
                }
                self.enqueue_at(t, w.key(), b as u32, 0);
                self.start_waiting(t, e)
            }
            _ => self.move_waiters(t, e),
        }
    }

    /// futex_requeue: waiters, flags, how many are woken, how many moved.
    fn move_waiters(&mut self, t: usize, e: &Entry) -> Outcome {
        let (wakes, moves) = (e.args[2] as i32, e.args[3] as i32);
        let both = self.vector(t);
        let [from, to] = both.as_slice() else { return errno(libc::EINVAL) };
        let wrong = e.args[1] as u32 != 0 || wakes < 0 || moves < 0;
        if let Some(code) = from.objection().or_else(|| to.objection()) {
            return errno(code);
        }
        if wrong {
            return errno(libc::EINVAL);
        }
        match self.read_word(t, from) {
            None => return errno(libc::EFAULT),
            Some(word) if u64::from(word) != from.value => return errno(libc::EAGAIN),
            Some(_) => {}
        }
        let woken = if wakes == 0 { 0 } else { self.wake(t, from.key(), ANY, wakes as u32) };
        let moved = self.requeue(t, from.key(), to.key(), moves as u32);
        Outcome::Value(i64::from(woken + moved))
    }

    /// futex_waitv: waiters, how many, flags, timeout, clock.
    fn wait_for_words(&mut self, t: usize, e: &Entry) -> Outcome {
        let count = u64::from(e.args[1] as u32);
        if e.args[2] as u32 != 0 || count == 0 || count > MOST || e.args[0] == 0 {
            return errno(libc::EINVAL);
        }
        if let Some(code) = self.clock_objection(t, e) {
            return errno(code);
        }
        let words = self.vector(t);
        if let Some(code) = words.iter().find_map(Waiter::objection) {
            return errno(code);
        }
        let Some(found) = words.iter().map(|w| self.read_word(t, w)).collect::<Option<Vec<_>>>()
        else {
            return errno(libc::EFAULT);
        };
        if words.iter().zip(found).any(|(w, found)| w.value != u64::from(found)) {
            return errno(libc::EAGAIN);
        }
        self.enqueue_at(t, words[0].key(), ANY, 0);
        self.arena.task(t).wait.words = words.len() as u32;
        self.start_waiting(t, e)
    }

    /// The words that the call at the head of a task names.
    pub(super) fn vector(&self, t: usize) -> Vec<Waiter> {
        let e = self.arena.entry(t, self.arena.task(t).head);
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let Some(p) = pieces.iter().find(|p| p.arg == 0) else { return Vec::new() };
        let count = p.len as usize / size_of::<Waiter>();
        let one = |i| *self.arena.region.record::<Waiter>(p.offset() + i * size_of::<Waiter>());
        (0..count).map(one).collect()
    }

    /// A word as it is where the call was decided: nothing of the group runs meanwhile.
    fn read_word(&self, t: usize, w: &Waiter) -> Option<u32> {
        self.parked_at_head(t).find_map(|p| memory::read_value::<u32>(p, w.addr).ok())
    }

    /// Whether a word that is not looked at can be: a private one is a number.
    fn is_there(&self, t: usize, w: &Waiter) -> bool {
        const USER_END: u64 = 0x7fff_ffff_f000;
        w.addr < USER_END
            && (w.flags & PRIVATE != 0 || self.read_word(t, w).is_some() || self.all_are_killed(t))
    }

    /// What is wrong with the timeout: an errno.
    fn clock_objection(&self, t: usize, e: &Entry) -> Option<i32> {
        let (place, _) = timeout_of(e);
        if e.args[place as usize] == 0 {
            return None;
        }
        let clock = e.args[place as usize + 1] as i32;
        if !matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC) {
            return Some(libc::EINVAL);
        }
        let head = self.arena.task(t).head;
        let e = self.arena.entry(t, head);
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let Some(p) = pieces.iter().find(|p| p.arg == place && p.len == 16) else {
            return Some(libc::EFAULT);
        };
        let [s, ns] = *self.arena.region.record::<[i64; 2]>(p.offset());
        (s < 0 || !(0..1_000_000_000).contains(&ns)).then_some(libc::EINVAL)
    }
}

/// What is wrong with the bits of a wait or wake-up: an errno.
fn mask_objection(mask: u64) -> Option<i32> {
    (mask == 0 || mask > u32::MAX.into()).then_some(libc::EINVAL)
}
