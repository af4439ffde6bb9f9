//! The queues of futex(2): who waits longest for a word, who is woken, who is moved to another.
//!
//! Invariant: what a call does to the queues is marked with the call, so that a successor which makes it again
//! does none of it twice; and a task that it wakes goes on only once the call is decided, with what it writes.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::slot;
use chameleon_sys::raw;

use super::Dispatcher;
use super::futex::ANY;
use super::waits::{QUEUED, TIMED};
use crate::arena::{Replica, Wait, how, phase, rstate};
use crate::maps;

/// In `owns` of a [`Wait`]: it waits to be moved to the line for a lock (FUTEX_WAIT_REQUEUE_PI).
pub(super) const FOR_LOCK: u32 = 2;

/// Which of those in a line are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Those that a wake-up lets go.
    Woken,
    /// Those that go to the line for another word.
    Moved,
    /// Those that go to the line for a lock.
    ForLock,
}

impl Kind {
    fn is_one(self, w: &Wait) -> bool {
        let for_lock = w.owns == FOR_LOCK;
        match self {
            Self::Woken => !for_lock,
            Self::Moved => !for_lock && w.words == 0,
            Self::ForLock => for_lock,
        }
    }
}

impl Dispatcher {
    /// The one that has waited longest for a word.
    pub(super) fn first_waiter(&self, t: usize, addr: u64, bits: u32) -> Option<usize> {
        self.first_of(t, addr, bits, Kind::Woken)
    }

    /// The same of one kind.
    fn first_of(&self, t: usize, addr: u64, bits: u32, kind: Kind) -> Option<usize> {
        self.mates(t)
            .filter(|o| {
                let x = self.arena.task(*o);
                let waits = x.wait.addr != 0 && x.wait.woken == 0 && x.wait.bits & bits != 0;
                waits
                    && kind.is_one(&x.wait)
                    && self.place_of(t, addr, *o).is_some()
                    && x.phase == phase::WORK
                    && matches!(x.step, QUEUED | TIMED)
            })
            .min_by_key(|o| self.arena.task(*o).wait.order)
    }

    /// Which of the words that `o` waits for this is, if it is one.
    fn place_of(&self, t: usize, addr: u64, o: usize) -> Option<u32> {
        let w = self.arena.task(o).wait;
        if w.words == 0 {
            return self.is_same_word(t, addr, o, w.addr).then_some(0);
        }
        let words = self.vector(o);
        let place = words.iter().rposition(|x| self.is_same_word(t, addr, o, x.key()))?;
        Some(place as u32)
    }

    /// Wakes up to `most` that wait for the word; how many.
    pub(super) fn wake(&mut self, t: usize, addr: u64, bits: u32, most: u32) -> u32 {
        // Those that a predecessor woke for this very call count.
        let mut n = (0..self.tasks()).filter(|o| self.has_woken(t, *o)).count() as u32;
        self.wakes |= n > 0;
        while n < most {
            let Some(o) = self.first_waiter(t, addr, bits) else { break };
            self.wake_one(t, addr, o);
            n += 1;
        }
        n
    }

    /// Wakes the one that has waited longest for the word: which, perhaps by a predecessor.
    pub(super) fn wake_first(&mut self, t: usize, addr: u64) -> Option<usize> {
        let already = self.mates(t).find(|o| {
            let at = self.arena.task(*o).wait.addr;
            at != 0 && self.has_woken(t, *o) && self.place_of(t, addr, *o).is_some()
        });
        self.wakes |= already.is_some();
        already.or_else(|| {
            let o = self.first_waiter(t, addr, ANY)?;
            self.wake_one(t, addr, o);
            Some(o)
        })
    }

    /// Whether task `o` has been woken by the call at the head of `t`.
    fn has_woken(&self, t: usize, o: usize) -> bool {
        let w = &self.arena.task(o).wait;
        w.by == self.arena.task(t).ordinal + 1
            && w.by_seq == self.arena.task(t).head
            && w.woken != 0
    }

    /// A task will go on once the call that wakes it is decided: what that one writes comes first.
    fn wake_one(&mut self, t: usize, addr: u64, o: usize) {
        let index = self.place_of(t, addr, o).unwrap_or(0);
        let (by, seq) = (self.arena.task(t).ordinal + 1, self.arena.task(t).head);
        let w = &mut self.arena.task(o).wait;
        (w.by, w.by_seq, w.index) = (by, seq, index);
        crate::arena::commit();
        w.woken = 1;
        self.wakes = true;
    }

    /// Whether the call that woke a task is decided.
    pub(super) fn is_let_go(&self, o: usize) -> bool {
        let w = &self.arena.task(o).wait;
        !(0..self.tasks()).any(|t| {
            let x = self.arena.task(t);
            x.used == 2 && x.ordinal + 1 == w.by && x.head <= w.by_seq
        })
    }

    /// Lets go those that the call of `t` which has just been decided has woken.
    pub(super) fn let_woken_go(&mut self, t: usize) {
        if !std::mem::take(&mut self.wakes) {
            return;
        }
        if !self.lockstep() {
            return self.wake_first_ones();
        }
        let (by, seq) = (self.arena.task(t).ordinal + 1, self.arena.task(t).head - 1);
        for o in 0..self.tasks() {
            let x = self.arena.task(o);
            let woken = x.wait.woken != 0 && x.wait.by == by && x.wait.by_seq == seq;
            if x.used == 2 && x.phase == phase::WORK && x.wait.addr != 0 && woken {
                self.let_go(o);
            }
        }
    }

    /// Completes the call of a task that has been woken.
    fn let_go(&mut self, o: usize) {
        if self.arena.task(o).step == TIMED {
            self.open_gate(o);
            return; // when the executor says so
        }
        self.arena.task(o).wait.addr = 0;
        let index = self.arena.task(o).wait.index;
        self.complete(o, index.into(), how::VALUE, 0);
    }

    /// Has the executor of a task wait no longer.
    pub(super) fn open_gate(&self, o: usize) {
        let gate = self.arena.region.atomic_u32(self.arena.slot(o) + slot::GATE);
        gate.store(1, Ordering::Release);
        raw::futex_wake(gate, 1);
    }

    /// After a takeover: a task that was woken and not let go.
    pub(super) fn settle_wait(&mut self, t: usize) {
        let task = self.arena.task(t);
        let waits = task.used == 2 && task.phase == phase::WORK && task.wait.addr != 0;
        if !self.lockstep() {
            if waits {
                self.look_for_owner(t);
            }
            return;
        }
        let woken = task.wait.woken != 0 && matches!(task.step, QUEUED | TIMED);
        if waits && woken && self.is_let_go(t) {
            self.let_go(t);
        }
    }

    pub(super) fn requeue(&mut self, t: usize, addr: u64, to: u64, most: u32) -> u32 {
        self.move_kind(t, [addr, to], most, Kind::Moved)
    }

    /// Moves up to `most` that wait at a word with FUTEX_WAIT_REQUEUE_PI to the line for a lock; how many.
    pub(super) fn requeue_to_lock(&mut self, t: usize, addr: u64, to: u64, most: u32) -> u32 {
        let n = self.move_kind(t, [addr, to], most, Kind::ForLock);
        let (by, seq) = (self.arena.task(t).ordinal + 1, self.arena.task(t).head);
        for o in 0..self.tasks() {
            let w = &mut self.arena.task(o).wait;
            if w.by == by && w.by_seq == seq && w.addr == to && w.owns == FOR_LOCK {
                w.owns = 1;
            }
        }
        n
    }

    /// The first one that waits at a word to be moved to a lock.
    pub(super) fn first_for_lock(&self, t: usize, addr: u64) -> Option<usize> {
        self.first_of(t, addr, ANY, Kind::ForLock)
    }

    fn move_kind(&mut self, t: usize, [addr, to]: [u64; 2], most: u32, kind: Kind) -> u32 {
        let (by, seq) = (self.arena.task(t).ordinal + 1, self.arena.task(t).head);
        // Those that a predecessor moved for this very call count.
        let mut n = (0..self.tasks())
            .filter(|o| {
                let w = &self.arena.task(*o).wait;
                w.by == by && w.by_seq == seq && w.woken == 0 && w.addr == to && to != addr
            })
            .count() as u32;
        while n < most {
            let Some(o) = self.first_of(t, addr, ANY, kind) else { break };
            let h = self.arena.header();
            h.waits += 1;
            let w = &mut self.arena.task(o).wait;
            (w.by, w.by_seq, w.order) = (by, seq, h.waits);
            crate::arena::commit();
            w.addr = to;
            n += 1;
            if to == addr {
                break;
            }
        }
        n
    }

    /// Whether two tasks mean one word: by its address in one process, by where it is in what they
    /// share in two.
    pub(super) fn is_same_word(&self, t: usize, addr: u64, o: usize, other: u64) -> bool {
        let (a, b) = (self.arena.task(t), self.arena.task(o));
        if a.leader == b.leader {
            return addr == other;
        }
        if addr & other & 1 == 0 {
            return false;
        }
        let lives = |x: &Replica| crate::arena::is_live(x) && x.state != rstate::EXPECTED;
        let both = (0..a.n as usize).filter(|r| lives(&a.replicas[*r]) && lives(&b.replicas[*r]));
        let place = |pid: u32, addr: u64| {
            let at = addr & !1;
            let all = maps::shared_memory(pid);
            let found = all.into_iter().find(|s| (s.range.start..s.range.end).contains(&at))?;
            Some((found.file, found.offset + at - found.range.start))
        };
        // One may have been killed that nobody has heard of yet: then another one says it.
        let mut places = both.filter_map(|r| {
            Some((place(a.replicas[r].pid, addr)?, place(b.replicas[r].pid, other)?))
        });
        places.next().is_some_and(|(mine, theirs)| mine == theirs)
    }
}
