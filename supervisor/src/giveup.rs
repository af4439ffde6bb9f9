//! The last resort of the supervisor: no ARMOR can be had, so the run is ended from here.
//!
//! Invariant: needs nothing of an ARMOR but the arena's slots; when it returns, every process of
//! the program but the root's executor has been killed, and that one has ended with 125 or is left
//! to the lifeline. Called by the keeper before it ends.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use chameleon_interpose::arena::Arena;
use chameleon_interpose::outside::op;
use chameleon_sys::executor::{slot, state};
use chameleon_sys::{fd, process, raw};

/// How often, a millisecond apart, the root's executor is looked at before it is left.
const LOOKS: u32 = 500;

/// Ends what is left of the program, whose replicas are dead already.
pub(crate) fn end_run(arena: Arena, root: u32) {
    for t in 1..arena.header().tasks as usize {
        let task = arena.task(t);
        if task.used > 1 && task.leader as usize == t && task.tgid > 1 {
            process::kill(task.tgid, libc::SIGKILL);
        }
    }
    let Ok(pidfd) = fd::pidfd(root) else { return };
    let at = arena.slot(0);
    let word = arena.region.atomic_u32(at + slot::STATE);
    let mut asked = false;
    for _ in 0..LOOKS {
        if fd::has_input(pidfd) {
            return;
        }
        let idle = !matches!(word.load(Ordering::Acquire), state::REQUEST | state::RUNNING);
        if !asked && idle {
            arena.region.atomic_u32(at + slot::OP).store(op::EXIT, Ordering::Relaxed);
            *arena.region.record::<[u64; 6]>(at + slot::ARGS) = [125, 0, 0, 0, 0, 0];
            word.store(state::REQUEST, Ordering::Release);
            raw::futex_wake(word, 1);
            asked = true;
        } else if !asked {
            // It waits in a call of the program: the executor's catcher gets it out.
            process::kill(root, libc::SIGTERM);
        }
        sleep(Duration::from_millis(1));
    }
}
