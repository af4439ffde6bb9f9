//! What becomes of a thread's futexes when it ends, with several replicas.
//!
//! Invariant: what is written goes along with the answer that lets the thread end, before any other
//! thread's turn.

use chameleon_sys::memory;

use super::Dispatcher;
use super::futex::{ANY, OWNER, OWNER_DIED, WAITERS, key};

/// The longest list of robust futexes that is walked, as in the kernel (ROBUST_LIST_LIMIT).
const ROBUST_MOST: usize = 2048;

impl Dispatcher {
    /// What the kernel does to a thread's futexes when it ends: robust ones that it still owns are
    /// marked and one that waits is woken (get_robust_list(2)), then so is the word of
    /// set_tid_address(2), which the kernel itself clears in each replica.
    pub(super) fn release_futexes(&mut self, t: usize) {
        let task = self.arena.task(t);
        let (own, robust, clears) = (task.tid, task.robust, task.clears);
        if robust != 0
            && let Some(pid) = self.first_winner(t)
        {
            for (addr, pi) in robust_list(pid, robust) {
                let Ok(word) = memory::read_value::<u32>(pid, addr) else { continue };
                if word & OWNER != own {
                    continue;
                }
                let shared = key(addr, 0);
                let waited =
                    if self.first_waiter(t, shared, ANY).is_some() { shared } else { addr };
                let new = if pi {
                    self.hand_over(t, waited, OWNER_DIED)
                } else {
                    if word & WAITERS != 0 {
                        self.wake(t, shared, ANY, 1);
                    }
                    word & WAITERS | OWNER_DIED
                };
                self.writes_with_answer(t, addr, new);
            }
        }
        if clears != 0 {
            // The kernel does so as well, but not of a word that was only named afterwards.
            self.writes_with_answer(t, clears, 0);
            self.wake(t, key(clears, 0), ANY, 1);
        }
    }
}

/// The words in a list of robust futexes, and whether each is a priority-inheritance one
/// (`struct robust_list_head`, include/uapi/linux/futex.h).
fn robust_list(pid: u32, head: u64) -> Vec<(u64, bool)> {
    let Ok([first, offset, pending]) = memory::read_value::<[u64; 3]>(pid, head) else {
        return Vec::new();
    };
    let word = |entry: u64| ((entry & !1).wrapping_add(offset), entry & 1 != 0);
    let mut all = Vec::new();
    let mut entry = first;
    while entry & !1 != head && all.len() < ROBUST_MOST {
        if entry != pending {
            all.push(word(entry));
        }
        let Ok(next) = memory::read_value::<u64>(pid, entry & !1) else { break };
        entry = next;
    }
    if pending & !1 != 0 {
        all.push(word(pending));
    }
    all
}
