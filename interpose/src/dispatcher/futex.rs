//! futex(2) with several replicas: the queues are here, no thread of a replica waits in the kernel.
//!
//! The word that a call looks at is part of its ballot; nothing of the group runs between that
//! look and the decision, and what the call itself writes goes along with its answer, before any
//! other thread's turn. So look, queue and write are one step, as in the kernel.
//!
//! Invariant: a task waits exactly while its call at the head is undecided and `wait.addr` is not 0.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::slot;
use chameleon_sys::memory;

use super::Dispatcher;
use super::futex2;
use super::rendezvous::row_of;
use super::waits::{self, QUEUED, TIMED};
use super::wakes::FOR_LOCK;
use super::work::Outcome;
use crate::arena::{Entry, Wait, phase, rstate};
use crate::outside::op;
use crate::robust::{OWNER, OWNER_DIED, WAITERS};
use crate::table::LOCK_PI2;

const PRIVATE: u64 = libc::FUTEX_PRIVATE_FLAG as u64;
const REALTIME: u64 = libc::FUTEX_CLOCK_REALTIME as u64;
/// Any wake-up (FUTEX_BITSET_MATCH_ANY).
pub(super) const ANY: u32 = u32::MAX;
/// Behind the last address of a program.
const USER_END: u64 = 0x7fff_ffff_f000;

impl Dispatcher {
    /// futex(2), sched_yield(2), set_robust_list(2).
    pub(super) fn thread_call(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        match i64::from(e.nr) {
            libc::SYS_futex if !self.lockstep() && has_owner(e.args[1]) => self.lock_alone(t, &e),
            _ if !self.lockstep() => Outcome::Continue,
            libc::SYS_sched_yield => {
                self.yields(t);
                Outcome::Value(0)
            }
            libc::SYS_set_robust_list => {
                self.arena.task(t).robust = e.args[0];
                Outcome::Continue
            }
            libc::SYS_futex => self.futex(t, &e),
            nr if futex2::NUMBERS.contains(&nr) => self.futex2(t, &e),
            _ => Outcome::Value(-i64::from(libc::ENOSYS)),
        }
    }

    fn futex(&mut self, t: usize, e: &Entry) -> Outcome {
        let [addr, operation, val, val2, addr2, val3] = e.args;
        if let Some(errno) = self.objection(t, e) {
            return Outcome::Value(-i64::from(errno));
        }
        let (addr, addr2) = (key(addr, operation), key(addr2, operation));
        let (val, val3) = (val as u32, val3 as u32);
        let most = |n: u32| if n as i32 <= 0 { 1 } else { n };
        match (operation & !(PRIVATE | REALTIME)) as i32 {
            libc::FUTEX_WAIT => self.wait(t, e, val, ANY),
            libc::FUTEX_WAIT_BITSET if val3 == 0 => Outcome::Value(-i64::from(libc::EINVAL)),
            libc::FUTEX_WAIT_BITSET => self.wait(t, e, val, val3),
            libc::FUTEX_WAKE => Outcome::Value(self.wake(t, addr, ANY, most(val)).into()),
            libc::FUTEX_WAKE_BITSET if val3 == 0 => Outcome::Value(-i64::from(libc::EINVAL)),
            libc::FUTEX_WAKE_BITSET => Outcome::Value(self.wake(t, addr, val3, most(val)).into()),
            libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE => {
                let compares = (operation & 0x7f) as i32 == libc::FUTEX_CMP_REQUEUE;
                if (val as i32) < 0 || (val2 as i32) < 0 || !e.args[4].is_multiple_of(4) {
                    return Outcome::Value(-i64::from(libc::EINVAL));
                }
                if compares && self.word(t, 0) != Some(val3) {
                    return Outcome::Value(-i64::from(libc::EAGAIN));
                }
                let woken = if val == 0 { 0 } else { self.wake(t, addr, ANY, val) };
                let moved = self.requeue(t, addr, addr2, val2 as u32);
                Outcome::Value(i64::from(woken + moved))
            }
            libc::FUTEX_WAKE_OP => self.wake_op(t, e),
            libc::FUTEX_LOCK_PI | LOCK_PI2 => self.lock_pi(t, e, true),
            libc::FUTEX_TRYLOCK_PI => self.lock_pi(t, e, false),
            libc::FUTEX_UNLOCK_PI => self.unlock_pi(t, e),
            libc::FUTEX_WAIT_REQUEUE_PI => match self.arena.task(t).step {
                0 if e.args[0] == e.args[4] => Outcome::Value(-i64::from(libc::EINVAL)),
                0 if self.word(t, 0) != Some(val) => Outcome::Value(-i64::from(libc::EAGAIN)),
                0 => self.begin_to_wait(t, e, ANY, FOR_LOCK),
                _ => self.go_on_waiting(t, e),
            },
            libc::FUTEX_CMP_REQUEUE_PI => self.requeue_pi(t, e),
            _ => Outcome::Value(-i64::from(libc::ENOSYS)),
        }
    }

    /// What is wrong with the arguments of futex(2), whatever the operation: an errno.
    pub(super) fn objection(&self, t: usize, e: &Entry) -> Option<i32> {
        let [addr, operation, ..] = e.args;
        let plain = (operation & !(PRIVATE | REALTIME)) as i32;
        let with_clock = [libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAIT_REQUEUE_PI, LOCK_PI2];
        if operation & REALTIME != 0 && !with_clock.contains(&plain) {
            return Some(libc::ENOSYS);
        }
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        if let Some(p) = pieces.iter().find(|p| p.arg == 3 && p.len == 16) {
            let [s, ns] = *self.arena.region.record::<[i64; 2]>(p.offset());
            if s < 0 || !(0..1_000_000_000).contains(&ns) {
                return Some(libc::EINVAL);
            }
        }
        if addr % 4 != 0 {
            return Some(libc::EINVAL);
        }
        // The kernel looks a shared word's page up (get_user_pages); a private one is a number. A replica
        // may have been killed, which is no answer.
        let reads = |p: u32| memory::read_value::<u32>(p, addr).is_ok();
        let looked_up = || self.parked_at_head(t).any(reads) || self.all_are_killed(t);
        let reachable = addr < USER_END && (operation & PRIVATE != 0 || looked_up());
        (!reachable).then_some(libc::EFAULT)
    }

    /// The word that argument `i` points at, as it was collected.
    pub(super) fn word(&self, t: usize, i: u32) -> Option<u32> {
        let e = self.arena.entry(t, self.arena.task(t).head);
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let p = pieces.iter().find(|p| p.arg == i && p.len >= 4)?;
        Some(*self.arena.region.record::<u32>(p.offset()))
    }

    fn wait(&mut self, t: usize, e: &Entry, val: u32, bits: u32) -> Outcome {
        if self.arena.task(t).step == 0 {
            if self.word(t, 0) != Some(val) {
                return Outcome::Value(-i64::from(libc::EAGAIN));
            }
            return self.begin_to_wait(t, e, bits, 0);
        }
        self.go_on_waiting(t, e)
    }

    /// Queues the task for the word at its first argument.
    fn begin_to_wait(&mut self, t: usize, e: &Entry, bits: u32, owns: u32) -> Outcome {
        self.enqueue(t, e, bits, owns);
        self.start_waiting(t, e)
    }

    /// Puts the task at the end of the line for the word at its first argument.
    pub(super) fn enqueue(&mut self, t: usize, e: &Entry, bits: u32, owns: u32) {
        self.enqueue_at(t, key(e.args[0], e.args[1]), bits, owns);
    }

    /// The same for any word.
    pub(super) fn enqueue_at(&mut self, t: usize, addr: u64, bits: u32, owns: u32) {
        let h = self.arena.header();
        h.waits += 1;
        let wait = Wait { addr, order: h.waits, bits, owns, ..bytemuck::Zeroable::zeroed() };
        self.arena.task(t).wait = wait;
    }

    /// Has the task, which is in a line, wait as its call says.
    pub(super) fn start_waiting(&mut self, t: usize, e: &Entry) -> Outcome {
        let (place, as_wait) = waits::timeout_of(e);
        if e.args[place as usize] == 0 {
            self.arena.task(t).step = QUEUED;
            return self.go_on_waiting(t, e);
        }
        // The executor waits at a gate of its own, by the program's clock and timeout.
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let Some(p) = pieces.iter().find(|p| p.arg == place) else {
            return Outcome::Value(-i64::from(libc::EFAULT));
        };
        let timeout = self.arena.region.address(p.offset());
        let gate = self.arena.slot(t) + slot::GATE;
        self.arena.region.atomic_u32(gate).store(0, Ordering::Relaxed);
        let gate = self.arena.region.address(gate);
        let args = [gate, as_wait as u64, 0, timeout, 0, u64::from(ANY)];
        self.request_then(t, op::PERFORM, args, TIMED);
        Outcome::Wait
    }

    pub(super) fn go_on_waiting(&mut self, t: usize, e: &Entry) -> Outcome {
        let woken = self.arena.task(t).wait.woken != 0;
        let timed = self.arena.task(t).step == TIMED;
        let ret = match timed {
            true => match self.taken(t) {
                None => return Outcome::Wait,
                Some(ret) => ret,
            },
            false => -i64::from(libc::EINTR),
        };
        if woken {
            // What it is to find changed goes with the answer to the call that woke it.
            let index = self.arena.task(t).wait.index;
            return if self.is_let_go(t) { Outcome::Value(index.into()) } else { Outcome::Wait };
        }
        if !timed {
            self.take_signals(t);
            if self.arena.task(t).used != 2 {
                return Outcome::Gone;
            }
            let mask = self.arena.task(t).mask;
            if self.first_unblocked(t, mask).is_none() {
                return Outcome::Wait;
            }
        }
        let outcome = self.judge(t, row_of(e.nr, &e.args), ret);
        if !matches!(outcome, Outcome::Wait) {
            self.arena.task(t).wait.addr = 0;
        }
        outcome
    }

    /// The tasks that share a task's memory, itself among them; of a single replica all that may.
    pub(super) fn mates(&self, t: usize) -> impl Iterator<Item = usize> + '_ {
        let (leader, group) = (self.arena.task(t).leader, self.arena.task(t).group);
        (0..self.tasks()).filter(move |o| {
            let x = self.arena.task(*o);
            let near = x.leader == leader || group != 0 && x.group == group;
            x.used == 2 && (near || !self.lockstep())
        })
    }

    /// Whether a task waits in a queue.
    pub(super) fn is_queued(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        task.phase == phase::WORK && matches!(task.step, QUEUED | TIMED) && task.wait.woken == 0
    }

    /// FUTEX_WAKE_OP: an operation on the second word, then wake-ups of the first and perhaps of
    /// the second.
    fn wake_op(&mut self, t: usize, e: &Entry) -> Outcome {
        let [addr, operation, val, val2, word_at, val3] = e.args;
        let (addr, addr2) = (key(addr, operation), key(word_at, operation));
        if word_at % 4 != 0 {
            return Outcome::Value(-i64::from(libc::EINVAL));
        }
        let Some(old) = self.word(t, 4) else { return Outcome::Value(-i64::from(libc::EFAULT)) };
        let code = val3 as u32;
        let (op, cmp) = (code >> 28 & 7, code >> 24 & 15);
        let sign = |n: u32| ((n << 20) as i32) >> 20;
        let (mut arg, cmp_arg) = (sign(code >> 12 & 0xfff), sign(code & 0xfff));
        if code >> 31 != 0 {
            arg = 1i32.wrapping_shl(arg as u32 & 31);
        }
        let new = match op {
            0 => arg as u32,
            1 => old.wrapping_add(arg as u32),
            2 => old | arg as u32,
            3 => old & !(arg as u32),
            4 => old ^ arg as u32,
            _ => return Outcome::Value(-i64::from(libc::ENOSYS)),
        };
        let signed = old as i32;
        let also = match cmp {
            0 => signed == cmp_arg,
            1 => signed != cmp_arg,
            2 => signed < cmp_arg,
            3 => signed <= cmp_arg,
            4 => signed > cmp_arg,
            5 => signed >= cmp_arg,
            _ => return Outcome::Value(-i64::from(libc::ENOSYS)),
        };
        let most = |n: u64| if n as i32 <= 0 { 1 } else { n as u32 };
        let mut woken = self.wake(t, addr, ANY, most(val));
        if also {
            woken = self.wake(t, addr2, ANY, woken + most(val2));
        }
        self.writes_with_answer(t, word_at, new);
        Outcome::Value(woken.into())
    }

    /// Has a word written in every replica with the answer that is about to be given; nothing else
    /// of the group comes between.
    pub(super) fn writes_with_answer(&mut self, t: usize, addr: u64, word: u32) {
        self.words.push((t, addr, word));
        self.goes_next(t);
    }

    /// FUTEX_LOCK_PI and FUTEX_TRYLOCK_PI. Priorities are not the program's to see: threads run
    /// one at a time, in order.
    fn lock_pi(&mut self, t: usize, e: &Entry, waits: bool) -> Outcome {
        if self.arena.task(t).step != 0 {
            return self.go_on_waiting(t, e);
        }
        let own = self.arena.number(t);
        let Some(word) = self.word(t, 0) else { return Outcome::Value(-i64::from(libc::EFAULT)) };
        let owner = word & OWNER;
        if owner == own {
            return Outcome::Value(-i64::from(libc::EDEADLK));
        }
        if owner == 0 {
            let at = key(e.args[0], e.args[1]);
            let others = if self.first_waiter(t, at, ANY).is_some() { WAITERS } else { 0 };
            self.writes_with_answer(t, e.args[0], own | others | word & OWNER_DIED);
            return Outcome::Value(0);
        }
        if !waits {
            return Outcome::Value(-i64::from(libc::EAGAIN));
        }
        if !self.mates(t).any(|o| self.arena.number(o) == owner) {
            return Outcome::Value(-i64::from(libc::ESRCH));
        }
        if word & WAITERS == 0 {
            self.sets_now(t, e.args[0], word | WAITERS); // so that its owner asks when it lets go
        }
        self.begin_to_wait(t, e, ANY, 1)
    }

    /// Sets a word in the replicas that stand at the call at the head, and in each that comes.
    fn sets_now(&mut self, t: usize, addr: u64, word: u32) {
        let head = self.arena.task(t).head;
        let e = self.arena.entry(t, head);
        (e.sets_at, e.sets) = (addr, word);
        let task = self.arena.task(t);
        for (r, x) in task.replicas[..task.n as usize].iter().enumerate() {
            if e.votes & (1 << r) != 0 && x.state == rstate::PARKED && x.seq == head {
                let _ = memory::write_value(x.pid, addr, &word);
            }
        }
    }

    /// FUTEX_CMP_REQUEUE_PI: those that wait at the first word go to the line for the lock; if nobody owns
    /// it, the first one does from now on.
    fn requeue_pi(&mut self, t: usize, e: &Entry) -> Outcome {
        if let Some(errno) = requeue_objection(e) {
            return Outcome::Value(-i64::from(errno));
        }
        if self.word(t, 0) != Some(e.args[5] as u32) {
            return Outcome::Value(-i64::from(libc::EAGAIN));
        }
        let Some(lock) = self.word(t, 4) else { return Outcome::Value(-i64::from(libc::EFAULT)) };
        let (addr, to) = (key(e.args[0], e.args[1]), key(e.args[4], e.args[1]));
        let moved = self.requeue_to_lock(t, addr, to, (e.args[3] as u32).saturating_add(1));
        if moved != 0 {
            let owner = lock & OWNER;
            let new =
                if owner == 0 { self.hand_over(t, to, lock & OWNER_DIED) } else { lock | WAITERS };
            self.writes_with_answer(t, e.args[4], new);
        }
        Outcome::Value(moved.into())
    }

    fn unlock_pi(&mut self, t: usize, e: &Entry) -> Outcome {
        let addr = key(e.args[0], e.args[1]);
        let Some(word) = self.word(t, 0) else { return Outcome::Value(-i64::from(libc::EFAULT)) };
        if word & OWNER != self.arena.number(t) {
            return Outcome::Value(-i64::from(libc::EPERM));
        }
        let new = self.hand_over(t, addr, 0);
        self.writes_with_answer(t, e.args[0], new);
        Outcome::Value(0)
    }

    /// The word once its owner has let go: the one that has waited longest owns it then.
    pub(super) fn hand_over(&mut self, t: usize, addr: u64, died: u32) -> u32 {
        let Some(o) = self.wake_first(t, addr) else { return died };
        let tid = self.arena.number(o);
        let others = if self.first_waiter(t, addr, ANY).is_some() { WAITERS } else { 0 };
        tid | others | died
    }
}

/// What is wrong with the arguments of FUTEX_CMP_REQUEUE_PI: an errno.
pub(super) fn requeue_objection(e: &Entry) -> Option<i32> {
    let [addr, _, wakes, moves, lock, _] = e.args;
    let wrong = addr == lock || wakes as u32 != 1 || (moves as i32) < 0 || lock % 4 != 0;
    wrong.then_some(libc::EINVAL)
}

/// Whether an operation of futex(2) is one on locks with an owner.
fn has_owner(operation: u64) -> bool {
    let masked = |(mask, value): &(u32, u32)| operation as u32 & mask == *value;
    !crate::table::PLAIN_FUTEXES.iter().any(masked)
}

/// What a queue is found by: the word's address, with a bit for one that processes may share, because
/// the kernel does not let the two kinds meet.
pub(super) fn key(addr: u64, operation: u64) -> u64 {
    addr | u64::from(operation & PRIVATE == 0)
}
