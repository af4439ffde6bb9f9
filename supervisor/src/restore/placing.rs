//! The last step of each process that was made again: its descriptors, its locks, its limits; then it is the
//! outside of one.
//!
//! Invariant: whoever cannot have what it had does not begin, and neither do the others: the dispatcher is
//! started when all are there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chameleon_interpose::arena::Arena;
use chameleon_interpose::outside;
use chameleon_sys::{describe, raw};

use super::habits;
use super::tree::{FAILED, PATIENCE_NS, PLACED, Tree, going_on, word};
use crate::keeper;

impl Tree {
    /// The outside of the process at place `i`, task `t`, for good.
    pub fn live(&self, arena: Arena, i: usize, t: usize) -> ! {
        let one = &self.processes[i];
        if i == 0 {
            self.opened.tell_owners(arena);
        }
        if let Err(conflict) = self.opened.place(i, one) {
            keeper::note_failure(arena, &conflict.to_string());
            going_on(word(arena, t), FAILED);
            loop {
                std::thread::sleep(Duration::from_secs(3600)); // until the supervisor has said it
            }
        }
        for limit in &one.limits {
            // One above what may be had here stays as it is.
            let _ = describe::set_limit(0, limit.resource, limit.soft, limit.hard);
        }
        habits::settle(arena, t, one);
        going_on(word(arena, t), PLACED);
        let pending = one.pending.iter().fold(0, |all, p| all | 1 << (p.signal.max(1) - 1));
        outside::become_restored(arena, t, &one.timers, pending, habits::rights_of(one))
    }
}

/// Waits for the outsides of all tasks to have the program's descriptors: the dispatcher must not look at
/// others. False if one of them could not have what it had; why is noted.
pub(super) fn wait_for_outsides(arena: Arena) -> bool {
    let until = raw::now_ns() + PATIENCE_NS;
    let leads = |t: &usize| arena.task(*t).leader as usize == *t;
    for t in (0..arena.header().tasks as usize).filter(leads) {
        let word = word(arena, t);
        loop {
            match word.load(Ordering::Acquire) {
                PLACED => break,
                FAILED => return false,
                _ if raw::now_ns() > until => break,
                now => raw::futex_wait_for(word, now, 20),
            }
        }
        word.store(0, Ordering::Relaxed); // from here on it is the executor's
    }
    true
}
