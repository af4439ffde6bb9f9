//! Locks with an owner (FUTEX_LOCK_PI and robust ones) of a single replica. Its threads run at the same time
//! and its kernel knows them by other numbers than the program, which writes those of the outsides into
//! its locks: so the kernel's part of the protocol is carried out here.
//!
//! ```text
//!  lock:   0 ──────► own            owner ──► owner|WAITERS, in line ──woken──► own
//!  unlock: own ────► 0, or WAITERS if somebody is in line: the first one is woken
//! ```
//!
//! A word is changed by the tracer in the thread that calls, in one step (`job::WORD`); a thread that must
//! wait then makes its call again. Each time all is decided anew from the word and the line.
//!
//! Invariant: no program changes a word that has WAITERS, but its owner by a call; a word without an owner
//! and with somebody in line is the first one's, who has been woken and leaves only as its owner.

use chameleon_sys::{memory, process};

use super::Dispatcher;
use super::futex::{ANY, key, requeue_objection};
use super::waits::{QUEUED, TIMED};
use super::wakes::FOR_LOCK;
use super::work::Outcome;
use crate::arena::{Entry, Job, job, phase, rstate, word};
use crate::robust::{OWNER, OWNER_DIED, WAITERS};
use crate::table::LOCK_PI2;

/// Step of a call whose thread changes a word, or comes back from that.
const CHANGING: u32 = 62;
/// Step of one that has, for good.
const CHANGED: u32 = 63;
/// Step of one that cannot.
const UNCHANGEABLE: u32 = 64;

/// Whether a job of kind WORD was the last of its call.
pub(super) fn is_last(j: &Job) -> bool {
    j.kind == job::WORD && j.error == 0 && j.args[3] & word::LAST != 0
}

impl Dispatcher {
    /// An operation of futex(2) on a lock with an owner.
    pub(super) fn lock_alone(&mut self, t: usize, e: &Entry) -> Outcome {
        let outcome = self.lock_alone_step(t, e);
        if matches!(outcome, Outcome::Value(_)) {
            self.arena.task(t).wait.addr = 0;
        }
        outcome
    }

    fn lock_alone_step(&mut self, t: usize, e: &Entry) -> Outcome {
        let errno = |code: i32| Outcome::Value(-i64::from(code));
        let task = self.arena.task(t);
        match task.step {
            CHANGED => {
                self.wake_first_ones();
                return Outcome::Value(0);
            }
            UNCHANGEABLE => return errno(libc::EFAULT),
            TIMED if task.wait.woken != 0 && self.taken(t).is_none() => return Outcome::Wait,
            QUEUED | TIMED if task.wait.woken == 0 => return self.go_on_waiting(t, e),
            _ => {}
        }
        let replica = task.replicas[0];
        if replica.state != rstate::PARKED || replica.seq != task.head {
            return Outcome::Wait; // the tracer's word of what it did for this call is yet to come
        }
        task.step = 0;
        if let Some(code) = self.objection(t, e) {
            return errno(code);
        }
        let addr = e.args[0];
        let Ok(now) = memory::read_value::<u32>(replica.pid, addr) else {
            return errno(libc::EFAULT);
        };
        match (e.args[1] & 0x7f) as i32 {
            libc::FUTEX_LOCK_PI | LOCK_PI2 => self.take_alone(t, e, addr, true),
            libc::FUTEX_TRYLOCK_PI => self.take_alone(t, e, addr, false),
            libc::FUTEX_WAIT_REQUEUE_PI if self.arena.task(t).wait.addr != 0 => {
                match self.arena.task(t).wait.owns {
                    FOR_LOCK => self.start_waiting(t, e),
                    _ => self.take_alone(t, e, e.args[4], true),
                }
            }
            libc::FUTEX_WAIT_REQUEUE_PI if addr == e.args[4] => errno(libc::EINVAL),
            libc::FUTEX_WAIT_REQUEUE_PI if now != e.args[2] as u32 => errno(libc::EAGAIN),
            libc::FUTEX_WAIT_REQUEUE_PI => {
                self.enqueue(t, e, ANY, FOR_LOCK);
                self.start_waiting(t, e)
            }
            libc::FUTEX_CMP_REQUEUE_PI => self.requeue_alone(t, e, now),
            libc::FUTEX_UNLOCK_PI if now & OWNER != self.arena.number(t) => errno(libc::EPERM),
            libc::FUTEX_UNLOCK_PI => {
                let at = key(addr, e.args[1]);
                let new = if self.first_in_line(t, at, None).is_some() { WAITERS } else { 0 };
                self.change(t, addr, [now, new], word::LAST)
            }
            _ => errno(libc::ENOSYS),
        }
    }

    /// FUTEX_CMP_REQUEUE_PI: as with several replicas, but that the first one takes the lock itself.
    fn requeue_alone(&mut self, t: usize, e: &Entry, now: u32) -> Outcome {
        if let Some(code) = requeue_objection(e) {
            return Outcome::Value(-i64::from(code));
        }
        if now != e.args[5] as u32 {
            return Outcome::Value(-i64::from(libc::EAGAIN));
        }
        let (from, to) = (key(e.args[0], e.args[1]), key(e.args[4], e.args[1]));
        let pid = self.arena.task(t).replicas[0].pid;
        let Ok(lock) = memory::read_value::<u32>(pid, e.args[4]) else {
            return Outcome::Value(-i64::from(libc::EFAULT));
        };
        if lock & WAITERS == 0 && self.first_for_lock(t, from).is_some() {
            return self.change(t, e.args[4], [lock, lock | WAITERS], 0);
        }
        let moved = self.requeue_to_lock(t, from, to, (e.args[3] as u32).saturating_add(1));
        self.wakes = true; // once how many is decided
        Outcome::Value(moved.into())
    }

    fn take_alone(&mut self, t: usize, e: &Entry, addr: u64, waits: bool) -> Outcome {
        let at = key(addr, e.args[1]);
        let pid = self.arena.task(t).replicas[0].pid;
        let Ok(now) = memory::read_value::<u32>(pid, addr) else {
            return Outcome::Value(-i64::from(libc::EFAULT));
        };
        let (own, owner) = (self.arena.number(t), now & OWNER);
        if owner == own {
            return Outcome::Value(-i64::from(libc::EDEADLK));
        }
        let queued = self.arena.task(t).wait.addr != 0;
        let first = self.first_in_line(t, at, None);
        if owner == 0 && first.is_none_or(|o| o == t) {
            let others = self.first_in_line(t, at, Some(t)).map_or(0, |_| WAITERS);
            return self.change(t, addr, [now, own | others | now & OWNER_DIED], word::LAST);
        }
        if !waits {
            return Outcome::Value(-i64::from(libc::EAGAIN));
        }
        if owner != 0 && !self.mates(t).any(|o| self.arena.number(o) == owner) {
            return Outcome::Value(-i64::from(libc::ESRCH));
        }
        if !queued {
            self.enqueue(t, e, ANY, 1);
        }
        if now & WAITERS == 0 {
            return self.change(t, addr, [now, now | WAITERS], 0);
        }
        self.arena.task(t).wait.woken = 0;
        self.wake_first_ones();
        self.start_waiting(t, e)
    }

    /// Has the thread of a task, which stands at its call, change a word from the first value to the
    /// second.
    fn change(&mut self, t: usize, addr: u64, [old, new]: [u32; 2], what: u64) -> Outcome {
        self.arena.task(t).step = CHANGING;
        let mut job = self.job_for(t, 0, job::WORD);
        job.args = [addr, old.into(), new.into(), what, 0, 0];
        // If the tracer has too much to do, the task is looked at again with those that are behind.
        self.behind |= !self.ask(job);
        Outcome::Wait
    }

    /// The tracer has had a thread change a word, or could not. It is at the same call again unless
    /// that was the last of it.
    pub(super) fn word_changed(&mut self, j: &Job) {
        let task = self.arena.task(j.task as usize);
        let same = task.used == 2 && task.replicas[j.replica as usize].pid == j.pid;
        if same && task.phase == phase::WORK && task.step == CHANGING {
            task.step = match j.error as i32 {
                libc::EFAULT => UNCHANGEABLE,
                0 if is_last(j) || j.kind == job::LOCKS => CHANGED,
                _ => 0,
            };
        }
    }

    /// The one that is to own a lock next, `but` not counted.
    fn first_in_line(&self, t: usize, at: u64, but: Option<usize>) -> Option<usize> {
        self.mates(t)
            .filter(|o| {
                let x = self.arena.task(*o);
                let waits = x.phase == phase::WORK && x.wait.addr != 0 && x.wait.owns == 1;
                Some(*o) != but && waits && self.is_same_word(t, at, *o, x.wait.addr)
            })
            .min_by_key(|o| self.arena.task(*o).wait.order)
    }

    /// Wakes those that are to own a lock which has no owner.
    pub(super) fn wake_first_ones(&mut self) {
        for o in 0..self.tasks() {
            let task = self.arena.task(o);
            if task.used == 2 && task.phase == phase::WORK && task.wait.addr != 0 {
                self.look_for_owner(o);
            }
        }
    }

    /// Wakes a task that waits for a lock if it is its turn. One that was moved there is not before the call that moved
    /// it is decided: a successor counts those that still wait.
    pub(super) fn look_for_owner(&mut self, o: usize) {
        let task = self.arena.task(o);
        let at = task.wait.addr;
        let first = task.wait.owns == 1 && self.first_in_line(o, at, None) == Some(o);
        if !first || !self.is_let_go(o) {
            return;
        }
        let now = memory::read_value::<u32>(task.replicas[0].pid, at & !1);
        if now.is_ok_and(|word| word & OWNER == 0) {
            task.wait.woken = 1;
            if task.step == TIMED {
                self.open_gate(o);
            }
            chameleon_sys::raw::ring_bell(chameleon_sys::executor::bell_fd());
        }
    }

    /// What the kernel does to a thread's locks when it ends (get_robust_list(2); a lock that others wait
    /// for with FUTEX_LOCK_PI goes to the first one whether it is robust or not). False while its
    /// thread is still at that.
    pub(super) fn gives_locks_up(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let replica = task.replicas[0];
        if replica.state == rstate::DEAD {
            return true; // a predecessor had begun to end it
        }
        if replica.state != rstate::PARKED {
            return false;
        }
        let own = self.arena.number(t);
        let head = process::robust_list(replica.pid).unwrap_or(0);
        let owns = matches!(task.step, 0 | CHANGING)
            && self.arena.locks_of(t, replica.pid, head).iter().any(|(addr, _)| {
                memory::read_value::<u32>(replica.pid, *addr).is_ok_and(|w| w & OWNER == own)
            });
        if !owns {
            self.wake_first_ones();
            return true;
        }
        self.arena.task(t).step = CHANGING;
        let mut job = self.job_for(t, 0, job::LOCKS);
        job.args[0] = head;
        self.behind |= !self.ask(job);
        false
    }
}
