//! Signals of the program: posted by the executors, held until all replicas stand at one call,
//! delivered to all of them right behind it.
//!
//! Invariant: the mask kept in a task is what the program's mask is between its calls; a replica
//! takes a signal only after `deliver` says so, with the siginfo of the one that really came.

use std::sync::atomic::Ordering;

use chameleon_proto::event::{Event, Preempted};
use chameleon_sys::executor::{self, slot};
use chameleon_sys::{memory, process};

use super::Dispatcher;
use super::work::{Outcome, process_steps};
use crate::arena::{Action, Entry, Job, Replica, commit, job, phase, rolling, rstate, want};
use crate::outside::op;
use crate::table::row::{Class, Row, Special};

/// How long a signal waits for the program's next call before one replica's state is taken for all.
const PATIENCE_NS: u64 = 300_000_000;

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;
pub(super) const UNBLOCKABLE: u64 = (1 << (libc::SIGKILL - 1)) | (1 << (libc::SIGSTOP - 1));

fn bit(signal: u32) -> u64 {
    1u64 << (signal - 1)
}

impl Dispatcher {
    pub(super) fn action_of(&self, t: usize, signal: u32) -> &'static mut Action {
        self.arena.action(self.arena.task(t).leader as usize, signal as usize)
    }

    /// Takes what the executor's catcher has posted.
    pub(super) fn take_signals(&mut self, t: usize) {
        let at = self.arena.slot(t);
        let region = self.arena.region;
        loop {
            let taken = region.atomic_u32(at + slot::TAKEN).load(Ordering::Relaxed);
            let posted = region.atomic_u32(at + slot::POSTED).load(Ordering::Acquire);
            if taken == posted || self.arena.task(t).pending >= super::pending::MOST {
                break;
            }
            let place = slot::RING + (taken as usize % slot::RING_LEN) * 128;
            let info = *region.record::<[u64; 16]>(at + place);
            let task = self.arena.task(t);
            let next = taken.wrapping_add(1);
            task.coming = u64::from(next) << 32 | u64::from(task.pending + 1);
            commit();
            self.signal_came(t, info);
            region.atomic_u32(at + slot::TAKEN).store(next, Ordering::Release);
            self.sort_out_defaults(t);
        }
        let task = self.arena.task(t);
        if task.dying != 0 && task.used == 2 && self.executor_idle(t) && !self.is_being_made(t) {
            let signal = task.dying;
            self.end_process(t, super::ending::End::Signal(signal as i32));
        }
        if self.arena.task(t).used == 2 && !self.lockstep() {
            self.interrupt_single(t);
        }
    }

    fn signal_came(&mut self, t: usize, info: [u64; 16]) {
        let info = super::cpu_timers::as_the_kernels(info);
        let signal = info[0] as u32;
        let task = self.arena.task(t);
        if signal == 0 || signal > 64 || super::threads::is_wake(&info, task.tgid) {
            return;
        }
        let info = self.with_own_sender(info);
        let task = self.arena.task(t);
        if super::pending::is_one_of(&mut task.signals[..task.pending as usize], &info) {
            return;
        }
        if (task.pending as usize) < task.signals.len() {
            task.signals[task.pending as usize] = info;
            commit();
            task.pending += 1;
            task.signalled_at = self.now;
            self.behind |= self.lockstep();
        }
    }

    /// Pending signals without a handler: those that do nothing go, those that end the program
    /// end it, if they are not blocked.
    pub(super) fn sort_out_defaults(&mut self, t: usize) {
        let mut i = 0;
        while i < self.arena.task(t).pending as usize {
            let task = self.arena.task(t);
            let signal = task.signals[i][0] as u32;
            let handler = self.action_of(t, signal).handler;
            let s = signal as i32;
            let nothing = handler == SIG_IGN
                || handler == SIG_DFL
                    && (executor::default_is_ignore(s) || executor::default_is_stop(s));
            if nothing {
                self.drop_pending(t, i);
                continue;
            }
            if handler == SIG_DFL && task.mask & bit(signal) == 0 {
                task.dying = signal;
            }
            i += 1;
        }
    }

    /// A signal that was caught before the program blocked it goes back to the executor before the
    /// next call is performed: blocked there, it is the kernel's again, so that sigsuspend(2),
    /// sigpending(2), sigtimedwait(2) and signalfd(2) find it. `None` when there is none.
    pub(super) fn give_back_blocked(&mut self, t: usize) -> Option<bool> {
        let task = self.arena.task(t);
        match task.step {
            0 if task.pending == 0 => None,
            // What the handler's mask holds back is let through by this very call.
            0 if self.arena.entry(t, task.head).nr == libc::SYS_rt_sigreturn as u32 => None,
            0 => {
                let waiting = &task.signals[..task.pending as usize];
                let info = *waiting.iter().find(|s| task.mask & bit(s[0] as u32) != 0)?;
                let real = self.with_real_sender(info);
                *self.arena.region.record(self.arena.slot(t) + slot::AGAIN) = real;
                self.request_then(t, op::REQUEUE, [0; 6], process_steps::GIVE_BACK);
                Some(false)
            }
            process_steps::GIVE_BACK => {
                if self.taken(t).is_none() {
                    return Some(false);
                }
                let info = *self.arena.region.record::<[u64; 16]>(self.arena.slot(t) + slot::AGAIN);
                let info = self.with_own_sender(info);
                let task = self.arena.task(t);
                let place = task.signals[..task.pending as usize].iter().position(|s| *s == info);
                if let Some(i) = place {
                    self.drop_pending(t, i);
                }
                commit();
                self.arena.task(t).step = 0;
                Some(true)
            }
            _ => None,
        }
    }

    /// The first pending signal with a handler that `mask` lets through: its place.
    pub(super) fn first_unblocked(&self, t: usize, mask: u64) -> Option<usize> {
        let task = self.arena.task(t);
        // In the order in which they were caught, which is the kernel's: it gives the executor
        // what is pending at once in its own order.
        (0..task.pending as usize).find(|i| {
            let signal = task.signals[*i][0] as u32;
            mask & bit(signal) == 0 && self.action_of(t, signal).handler > SIG_IGN
        })
    }

    /// A pending signal that the program's mask lets through: its place.
    pub(super) fn deliverable(&self, t: usize) -> Option<usize> {
        self.first_unblocked(t, self.arena.task(t).mask)
    }

    /// The mask that the call at the head waits under: its own for sigsuspend(2), ppoll(2) and
    /// the like.
    pub(super) fn mask_during(&self, t: usize, r: &Row) -> u64 {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let at = match (r.class, mask_argument(e)) {
            (Class::Special(Special::MaskedWait), Some(at)) => at,
            _ => return task.mask,
        };
        self.mask_behind(t, e, at).map_or(task.mask, |m| m & !UNBLOCKABLE)
    }

    /// The mask at argument `i` of the call, as it was collected.
    fn mask_behind(&self, t: usize, e: &Entry, i: usize) -> Option<u64> {
        if i == 5 {
            // pselect6: the argument is a structure of a pointer and a size.
            let pid = self.any_parked(t)?;
            let [at, _] = memory::read_value::<[u64; 2]>(pid, e.args[5]).ok()?;
            return if at == 0 { None } else { memory::read_value(pid, at).ok() };
        }
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let p = pieces.iter().find(|p| p.arg as usize == i)?;
        Some(*self.arena.region.record::<u64>(p.offset()))
    }

    fn any_parked(&self, t: usize) -> Option<u32> {
        let task = self.arena.task(t);
        let replicas = &task.replicas[..task.n as usize];
        replicas.iter().find(|r| r.state == rstate::PARKED).map(|r| r.pid)
    }

    /// Whether the handler of the pending signal at place `i` restarts calls.
    pub(super) fn restarts(&self, t: usize, i: usize) -> bool {
        let signal = self.arena.task(t).signals[i][0] as u32;
        self.action_of(t, signal).flags & libc::SA_RESTART as u64 != 0
    }

    /// Completes the call at the head with `ret` and has a pending signal that `during` lets
    /// through taken right behind it.
    pub(super) fn complete_with_signal(
        &mut self,
        t: usize,
        ret: i64,
        during: u64,
        how: u32,
    ) -> bool {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let Some(i) = self.first_unblocked(t, during) else { return false };
        let task = self.arena.task(t);
        let info = task.signals[i];
        let signal = info[0] as u32;
        let action = *self.action_of(t, signal);
        // Under the waiting call's own mask the program's mask would hold the signal back.
        let masked = task.mask & bit(signal) != 0;
        let before = if masked { during } else { task.mask };
        let mask = mask_in_handler(before, signal, &action);
        let ret = if masked && ret == -super::arrive::ERESTARTNOINTR {
            -i64::from(libc::EINTR)
        } else {
            ret
        };
        let at_mask = if masked { mask_address(&e) } else { 0 };
        self.plan_removal(t, i, mask);
        let task = self.arena.task(t);
        if action.flags & libc::SA_RESETHAND as u64 != 0 {
            task.giving_reset = signal;
        }
        task.inside.handlers += 1;
        // Counts from when the head is behind this call.
        task.giving_at = head + 2;
        // It was performed, so that there is room for this.
        let info_at = self.arena.take_for_answer(t, size_of_val(&info)).unwrap_or(0);
        if info_at != 0 {
            *self.arena.region.record(info_at) = info;
        }
        self.arena.entry(t, head).info_at = info_at as u64;
        self.arena.entry(t, head).position = at_mask;
        self.arena.entry(t, head).spare = u32::from(masked);
        self.complete(t, ret, how, signal);
        self.carry_out_removal(t);
        true
    }

    /// Gives a replica the signal that goes with an entry; true when the tracer answers its call.
    pub(super) fn give_signal(&mut self, t: usize, r: usize, e: &Entry) -> bool {
        let replica = &mut self.arena.task(t).replicas[r];
        if e.info_at != 0 {
            replica.deliver_info = *self.arena.region.record(e.info_at as usize);
        }
        commit();
        replica.deliver = e.signal;
        commit();
        if e.spare == 0 {
            process::tgkill_any(replica.pid, e.signal as i32);
            return false;
        }
        let mut job = self.job_for(t, r, job::MASKED_SIGNAL);
        job.ret = e.ret;
        job.args = [u64::from(e.signal), e.position, u64::from(e.nr), 0, 0, 0];
        self.ask(job); // if there is no room for it, the next look at the task tries again
        true
    }

    /// With one replica there is nothing to agree on: a signal interrupts it where it is.
    fn interrupt_single(&mut self, t: usize) {
        let task = self.arena.task(t);
        let replica = task.replicas[0];
        // Behind a job that changed a word it makes its call again: that takes the signal.
        let comes_back = task.phase == phase::WORK && replica.seq == task.head;
        if replica.state != rstate::RUNNING || replica.deliver != 0 || comes_back {
            return;
        }
        let Some(i) = self.deliverable(t) else { return };
        let info = task.signals[i];
        let signal = info[0] as u32;
        task.replicas[0].deliver_info = info;
        let action = *self.action_of(t, signal);
        self.plan_removal(t, i, mask_in_handler(task.mask, signal, &action));
        if action.flags & libc::SA_RESETHAND as u64 != 0 {
            task.giving_reset = signal;
        }
        task.giving_single = signal;
        task.inside.handlers += 1;
        commit();
        task.giving_at = task.head + 1;
        self.carry_out_removal(t);
        process::tgkill_any(replica.pid, signal as i32);
    }

    /// With several replicas a signal waits for a call at which they stand together. If none comes
    /// for long (the program computes without calls), the state of one replica is taken for all.
    pub(super) fn preempt_computing(&mut self, t: usize) {
        let task = self.arena.task(t);
        let can_be = self.lockstep() && task.group == 0 && self.may_be_copied(t);
        let Some(i) = self.deliverable(t).filter(|_| can_be) else { return };
        self.behind = true;
        let live = |r: &&Replica| crate::arena::is_live(r);
        let replicas = &task.replicas[..task.n as usize];
        let computing = |r: &Replica| r.state == rstate::RUNNING && r.seq == task.head;
        let since = replicas.iter().filter(live).map(|r| r.arrived).max().unwrap_or(0);
        let patient = self.now.saturating_sub(since.max(task.signalled_at)) < PATIENCE_NS;
        if patient || task.exec_pending != 0 || !replicas.iter().filter(live).all(computing) {
            return;
        }
        let Some(donor) = replicas.iter().position(computing) else { return };
        let signal = task.signals[i][0] as u32;
        task.replicas[donor].deliver_info = task.signals[i];
        let mut job = self.job_for(t, donor, job::PREEMPT);
        job.args = [u64::from(signal), task.head, 0, 0, 0, 0];
        job.copies =
            (((1 << task.n) - 1) & self.wanted_replicas() | self.masks(t).0) & !(1 << donor);
        if self.ask(job) {
            let task = self.arena.task(t);
            task.fresh &= !job.copies;
            task.replicas[donor].state = rstate::JOB;
        }
    }

    /// The tracer has preempted a replica, or found that it had gone on.
    pub(super) fn preempted(&mut self, j: &Job) {
        let t = j.task as usize;
        self.frozen(j);
        let ok = j.error == 0;
        let lost = !ok && j.error != libc::EAGAIN as u32;
        let task = self.arena.task(t);
        let died = task.replicas[j.replica as usize].pid != j.pid;
        if died || task.recovery.rolling != rolling::NO {
            return; // those that are expected now are others
        }
        let copied = j.args[0] != 0; // or there was none in the places of those that were not made
        for r in &mut task.replicas[..task.n as usize] {
            match r.state {
                rstate::JOB if !lost => r.state = rstate::RUNNING,
                rstate::EXPECTED if !lost && copied => r.state = rstate::RUNNING,
                rstate::EXPECTED | rstate::JOB => r.state = rstate::DEAD,
                _ => {}
            }
        }
        if lost {
            return self.majority_lost(t, 0);
        }
        let signal = j.args[0] as u32;
        if signal == 0 {
            return self.copies_are_there(j); // or it was for a checkpoint
        }
        let task = self.arena.task(t);
        let pending = task.signals[..task.pending as usize].iter();
        let info = task.replicas[j.replica as usize].deliver_info;
        let place = pending.enumerate().find(|(_, s)| **s == info).map(|(i, _)| i);
        let (Some(i), true) = (place, ok) else { return };
        let since = task.replicas[j.replica as usize].arrived;
        self.enter_handler(t, signal);
        self.drop_pending(t, i);
        if self.settings.checkpoints.is_some() {
            // No call says where it came.
            let task = self.arena.task(t);
            (task.recovery.from, task.recovery.wanted) = (task.head + 1, want::CALL);
        }
        let event = Preempted {
            process: self.arena.task(t).tgid,
            program: self.name(t),
            donor: j.replica as u8,
            signal: signal as u8,
            ms: j.done_at.saturating_sub(since) as f64 / 1e6,
        };
        self.report.say(Event::Preempted(event));
    }

    /// The program's mask while it handles `signal`, as the kernel sets it (sigaction(2)).
    fn enter_handler(&mut self, t: usize, signal: u32) {
        let action = *self.action_of(t, signal);
        let task = self.arena.task(t);
        task.inside.handlers += 1;
        task.mask = mask_in_handler(task.mask, signal, &action);
        if action.flags & libc::SA_RESETHAND as u64 != 0 {
            self.action_of(t, signal).handler = SIG_DFL;
        }
    }

    /// rt_sigaction(2): the outside treats the signal as the program's disposition demands, and
    /// each replica sets its own, so that the kernel builds the handler's frame.
    pub(super) fn signal_action(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let signal = e.args[0] as u32;
        let valid = (1..=64).contains(&signal) && e.args[3] == 8;
        if e.args[1] == 0 || !valid || UNBLOCKABLE & bit(signal) != 0 {
            return Outcome::Continue;
        }
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let Some(p) = pieces.iter().find(|p| p.arg == 1 && p.len == 32) else {
            return Outcome::Continue;
        };
        let [handler, flags, _, mask] = *self.arena.region.record::<[u64; 4]>(p.offset());
        let s = signal as i32;
        let kind = match handler {
            SIG_IGN => 2,
            SIG_DFL if executor::default_is_ignore(s) || executor::default_is_stop(s) => 1,
            _ => 3,
        };
        let child_flags = flags & (libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT) as u64;
        let wanted = kind | (child_flags as u32) << 8;
        let action = self.action_of(t, signal);
        if self.arena.task(t).step == 0 && action.outside != wanted {
            let args = [u64::from(signal), u64::from(kind), child_flags, 0, 0, 0];
            self.request_then(t, op::DISPOSE, args, 1);
            return Outcome::Wait;
        }
        if self.arena.task(t).step == 1 && self.taken(t).is_none() {
            return Outcome::Wait;
        }
        self.take_signals(t);
        *self.action_of(t, signal) = Action { handler, flags, mask, outside: wanted, spare: 0 };
        self.sort_out_defaults(t);
        Outcome::Continue
    }

    /// rt_sigprocmask(2): as [`Dispatcher::signal_action`]. What it unblocks is posted by the
    /// executor, which takes the new mask over at once.
    pub(super) fn signal_mask(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let task = self.arena.task(t);
        let old = if task.step == 0 { task.mask } else { task.kept };
        self.arena.entry(t, head).position = old; // for when it is taken back
        if e.args[1] == 0 || e.args[3] != 8 {
            return Outcome::Continue;
        }
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let Some(p) = pieces.iter().find(|p| p.arg == 1) else { return Outcome::Continue };
        let set = *self.arena.region.record::<u64>(p.offset());
        let new = match e.args[0] as i32 {
            libc::SIG_BLOCK => old | set,
            libc::SIG_UNBLOCK => old & !set,
            libc::SIG_SETMASK => set,
            _ => return Outcome::Continue,
        } & !UNBLOCKABLE;
        if new == old {
            return Outcome::Continue;
        }
        if task.step == 0 {
            self.draft(t);
            let task = self.arena.task(t);
            (task.kept, task.mask) = (old, new);
            self.request_then(t, op::MASK, [0; 6], 1);
            return Outcome::Wait;
        }
        if self.taken(t).is_none() {
            return Outcome::Wait;
        }
        self.take_signals(t);
        self.sort_out_defaults(t);
        if self.arena.task(t).used != 2 {
            return Outcome::Gone;
        }
        Outcome::Continue
    }
}

/// The program's mask while it handles `signal` (sigaction(2)).
fn mask_in_handler(before: u64, signal: u32, action: &Action) -> u64 {
    let own = if action.flags & libc::SA_NODEFER as u64 == 0 { bit(signal) } else { 0 };
    (before | action.mask | own) & !UNBLOCKABLE
}

/// Which argument of a waiting call is its mask.
fn mask_argument(e: &Entry) -> Option<usize> {
    let i = match i64::from(e.nr) {
        libc::SYS_rt_sigsuspend => 0,
        libc::SYS_ppoll => 3,
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => 4,
        libc::SYS_pselect6 => 5,
        _ => return None,
    };
    (e.args[i] != 0).then_some(i)
}

/// The address of the mask in the replicas; for pselect6 that of the structure with its address.
fn mask_address(e: &Entry) -> u64 {
    mask_argument(e).map_or(0, |i| e.args[i])
}
