//! A thread's list of robust futexes, as it stands in the memory of a replica.
//!
//! Invariant: the whole list is read before any lock on it is given up: its next owner links it anew.

use chameleon_sys::memory;

use crate::arena::{Arena, phase};

/// The number of the owner in a word that names it (futex(2), FUTEX_LOCK_PI).
pub(crate) const OWNER: u32 = 0x3fff_ffff;
/// Its owner has ended.
pub(crate) const OWNER_DIED: u32 = 0x4000_0000;
/// Somebody waits for it.
pub(crate) const WAITERS: u32 = 0x8000_0000;
/// The longest list of robust futexes that is walked, as in the kernel (ROBUST_LIST_LIMIT).
const ROBUST_MOST: usize = 2048;

impl Arena {
    /// The locks that a thread may own, those on its list of robust ones at `head` (0 for none) and
    /// those that threads of its process wait for: the address of each and whether it is one of
    /// FUTEX_LOCK_PI. `pid` is a replica of the thread.
    pub(crate) fn locks_of(&self, t: usize, pid: u32, head: u64) -> Vec<(u64, bool)> {
        let mut all = if head == 0 { Vec::new() } else { robust_list(pid, head) };
        let leader = self.task(t).leader;
        for o in 0..self.header().tasks as usize {
            let x = self.task(o);
            let waits = x.used == 2 && x.phase == phase::WORK && x.wait.addr != 0;
            let addr = x.wait.addr & !1;
            let new = waits && x.wait.owns == 1 && x.leader == leader;
            if new && !all.iter().any(|known| known.0 == addr) {
                all.push((addr, true));
            }
        }
        all
    }
}

/// The words in a list of robust futexes, and whether each is a priority-inheritance one
/// (`struct robust_list_head`, include/uapi/linux/futex.h).
pub(crate) fn robust_list(pid: u32, head: u64) -> Vec<(u64, bool)> {
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
