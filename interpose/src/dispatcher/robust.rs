//! What becomes of a thread's futexes when it ends, with several replicas.
//!
//! Invariant: what is written goes along with the answer that lets the thread end, before any other
//! thread's turn; at the end of a process it is written while its replicas still stand at their calls,
//! and those that it wakes go on when the process is recorded as ended.

use chameleon_sys::memory;

use super::Dispatcher;
use super::futex::key;
use crate::arena::commit;
use crate::robust::{OWNER, OWNER_DIED, WAITERS};

impl Dispatcher {
    /// What the kernel does to a thread's futexes when it ends: robust ones that it still owns, and
    /// locks that others wait for, are marked and one that waits is woken (get_robust_list(2)), then
    /// so is the word of set_tid_address(2), which the kernel itself clears in each replica.
    pub(super) fn release_futexes(&mut self, t: usize) {
        let task = self.arena.task(t);
        let (own, robust, clears) = (self.arena.number(t), task.robust, task.clears);
        if let Some(pid) = self.first_winner(t) {
            for (addr, pi) in self.arena.locks_of(t, pid, robust) {
                let Ok(word) = memory::read_value::<u32>(pid, addr) else { continue };
                if word & OWNER == own {
                    let new = self.left_behind(t, addr, word, pi);
                    self.writes_with_answer(t, addr, new);
                }
            }
        }
        if clears != 0 {
            // The kernel does so as well, but not of a word that was only named afterwards.
            self.writes_with_answer(t, clears, 0);
            self.wake_first(t, key(clears, 0));
        }
    }
    /// The word of a lock whose owner ends; one that waits for it is woken.
    fn left_behind(&mut self, t: usize, addr: u64, word: u32, pi: bool) -> u32 {
        let shared = key(addr, 0);
        if pi {
            let shares = self.wake_first(t, shared).is_some();
            return self.hand_over(t, if shares { shared } else { addr }, OWNER_DIED);
        }
        if word & WAITERS != 0 {
            self.wake_first(t, shared);
        }
        word & WAITERS | OWNER_DIED
    }

    /// A process ends whose memory others may share: each of its threads leaves its locks to them.
    pub(super) fn leave_locks(&mut self, leader: usize) {
        let Some(g) = self.group_of(leader).filter(|_| self.lockstep()) else { return };
        if self.members(g).all(|o| self.arena.task(o).leader as usize == leader) {
            return;
        }
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used != 2 || task.leader as usize != leader || task.exiting != 0 {
                continue;
            }
            let (own, robust) = (self.arena.number(t), task.robust);
            let replicas = task.replicas[..task.n as usize].iter();
            let pids: Vec<u32> =
                replicas.filter(|r| crate::arena::is_live(r)).map(|r| r.pid).collect();
            let Some(&first) = pids.first() else { continue };
            for (addr, pi) in self.arena.locks_of(t, first, robust) {
                let Ok(word) = memory::read_value::<u32>(first, addr) else { continue };
                if word & OWNER != own {
                    continue;
                }
                let new = self.left_behind(t, addr, word, pi);
                // The one that a successor would look at comes last.
                for pid in pids.iter().rev() {
                    let _ = memory::write_value(*pid, addr, &new);
                    commit();
                }
            }
        }
        self.wakes = false;
    }

    /// The process has ended: those go on that it has woken.
    pub(super) fn heirs_go_on(&mut self) {
        let tasks = if self.lockstep() { self.tasks() } else { 0 };
        for o in 0..tasks {
            self.settle_wait(o);
        }
    }
}
