//! What becomes of a thread's futexes when it ends, with several replicas.
//!
//! Invariant: what is written goes along with the answer that lets the thread end, before any other
//! thread's turn.

use chameleon_sys::memory;

use super::Dispatcher;
use super::futex::key;
use crate::robust::{OWNER, OWNER_DIED, WAITERS};

impl Dispatcher {
    /// What the kernel does to a thread's futexes when it ends: robust ones that it still owns, and
    /// locks that others wait for, are marked and one that waits is woken (get_robust_list(2)), then
    /// so is the word of set_tid_address(2), which the kernel itself clears in each replica.
    pub(super) fn release_futexes(&mut self, t: usize) {
        let task = self.arena.task(t);
        let (own, robust, clears) = (task.tid, task.robust, task.clears);
        if let Some(pid) = self.first_winner(t) {
            for (addr, pi) in self.arena.locks_of(t, pid, robust) {
                let Ok(word) = memory::read_value::<u32>(pid, addr) else { continue };
                if word & OWNER != own {
                    continue;
                }
                let shared = key(addr, 0);
                let new = if pi {
                    let shares = self.wake_first(t, shared).is_some();
                    self.hand_over(t, if shares { shared } else { addr }, OWNER_DIED)
                } else {
                    if word & WAITERS != 0 {
                        self.wake_first(t, shared);
                    }
                    word & WAITERS | OWNER_DIED
                };
                self.writes_with_answer(t, addr, new);
            }
        }
        if clears != 0 {
            // The kernel does so as well, but not of a word that was only named afterwards.
            self.writes_with_answer(t, clears, 0);
            self.wake_first(t, key(clears, 0));
        }
    }
}
