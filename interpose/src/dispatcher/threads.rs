//! Threads of a program: each has its own rendezvous and its own executor thread.
//!
//! Invariant: an executor thread shares descriptors, directory and dispositions with its process,
//! as the program's thread does; the program's thread id is its executor's.

use chameleon_sys::executor::{self, slot};
use chameleon_sys::{memory, notify, process, raw};

use super::Dispatcher;
use super::work::{Outcome, process_steps};
use crate::arena::{JOBS, Job, commit, how, job, phase, rstate};
use crate::outside::op;
use crate::procfile::{self, File};

/// How an executor thread is cloned.
pub(crate) const EXECUTOR_THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;

/// What interrupts an executor thread's call that nobody waits for any more: glibc keeps this
/// signal to itself (nptl(7)), so no program ignores or blocks it.
pub(super) const WAKE: i32 = 33;

/// How long the end of executor threads is waited for at once, in nanoseconds.
const END_NS: u64 = 2_000_000;

/// Whether a signal is such a one; `own` is the process that it came to.
pub(super) fn is_wake(info: &[u64; 16], own: u32) -> bool {
    let [signal, code, from] = [info[0] as i32, info[1] as i32, info[2] as i32];
    signal == WAKE && code == libc::SI_TKILL && from != own as i32
}

impl Dispatcher {
    /// exit(2) of one thread among several: its replica ends itself, so that the kernel clears and
    /// wakes its CLEARTID word.
    pub(super) fn exit_thread(&mut self, t: usize) -> Outcome {
        if self.group_of(t).is_some() {
            self.release_futexes(t);
            self.arena.task(t).exiting = 1;
            self.goes_next(t);
            self.complete(t, 0, how::CONTINUE, 0);
            return Outcome::Next;
        }
        let n = self.arena.task(t).n as usize;
        // Of a thread that clone(2) made the kernel knows, and clears it when that one is gone.
        let first = self.arena.task(t).leader as usize == t;
        let clears = if first { self.arena.task(t).clears } else { 0 };
        self.arena.task(t).exiting = 1;
        commit();
        for r in 0..n {
            let replica = &mut self.arena.task(t).replicas[r];
            if replica.state == rstate::PARKED {
                if clears != 0 {
                    let _ = memory::write_value(replica.pid, clears, &0u32);
                }
                let _ = chameleon_sys::notify::let_continue(replica.listener as i32, replica.id);
                replica.state = rstate::DEAD;
            }
        }
        self.end_thread(t);
        self.sweep_threads();
        Outcome::Gone
    }

    /// Whether replica `r` of a thread that was let end has ended. The tracer hears of a leader's end
    /// only when all its threads have ended (ptrace(2)).
    pub(super) fn has_ended(&mut self, t: usize, r: usize) -> bool {
        let replica = &mut self.arena.task(t).replicas[r];
        let stat = std::fs::read(format!("/proc/{0}/task/{0}/stat", replica.pid));
        let gone = match stat {
            Ok(text) => matches!(procfile::state(File::Stat, &text), Some(b'Z' | b'X')),
            Err(_) => true,
        };
        self.behind |= !gone;
        if gone {
            replica.state = rstate::DEAD;
            self.one_has_ended(t);
        }
        gone
    }

    /// A replica of a thread that was let end has: the last one takes the task along.
    pub(super) fn one_has_ended(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.used == 2 && self.masks(t).0 == 0 {
            self.end_thread(t);
        }
    }

    /// Ends the executor thread of a thread that has ended, as soon as it is idle.
    ///
    /// A leader's stays, deaf to signals: descriptors are taken through it (pidfd_getfd(2) looks
    /// at the leader's table, which a dead leader has not), and the process is known by its id.
    fn end_thread(&mut self, t: usize) {
        let task = self.arena.task(t);
        if let (Some(g), 2) = (self.group_of(t), task.used) {
            task.ended_at = self.arena.group(g).head;
        }
        let is_leader = task.leader as usize == t;
        if !self.executor_idle(t) {
            task.used = 4;
            process::tgkill_any(task.tid, WAKE);
        } else if is_leader {
            task.mask = u64::MAX;
            self.request(t, op::MASK, [0; 6]);
            task.used = 3;
        } else {
            task.used = 4;
            commit();
            self.request(t, op::EXIT_THREAD, [0; 6]);
            task.ending = 1;
        }
    }

    /// Ends executor threads that were still busy, and frees the records of those that are gone.
    pub(super) fn sweep_threads(&mut self) {
        for t in 0..self.tasks() {
            self.sweep_thread(t);
        }
    }

    /// See [`Dispatcher::sweep_threads`].
    pub(super) fn sweep_thread(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.used == 5 && !self.is_kept(t) {
            self.free(t);
        }
        if task.used != 4 {
            return;
        }
        let path = format!("/proc/{}/task/{}", task.tgid, task.tid);
        if !std::path::Path::new(&path).exists() {
            match self.is_kept(t) {
                true => self.arena.task(t).used = 5,
                false => self.free(t),
            }
        } else if task.ending == 0 && self.executor_idle(t) {
            self.end_thread(t);
        }
    }

    /// Whether another thread of this process is in an exec, which ends this one.
    pub(super) fn another_executes(&self, t: usize) -> bool {
        let leader = self.arena.task(t).leader;
        (0..self.tasks()).any(|o| {
            let task = self.arena.task(o);
            o != t && task.used == 2 && task.leader == leader && task.exec_pending != 0
        })
    }

    /// Whether the executor threads of all others that ended with an exec are gone, as the program finds
    /// them gone. Such an end is a matter of microseconds and is waited for here.
    pub(super) fn is_last_thread(&mut self, t: usize) -> bool {
        let until = raw::now_ns() + END_NS;
        loop {
            let mut others = false;
            let mut ending = false;
            for o in (0..self.tasks()).filter(|o| *o != t) {
                let task = self.arena.task(o);
                if matches!(task.used, 2 | 4) && task.leader as usize == t {
                    self.sweep_thread(o);
                    let task = self.arena.task(o);
                    let there = !matches!(task.used, 0 | 5);
                    others |= there;
                    ending |= there && task.ending != 0;
                }
            }
            if !others {
                return true;
            }
            if !ending || raw::now_ns() > until {
                self.behind = true; // when it has ended its call the bell rings
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// execve(2) by another thread than the first: it goes on with that one's number, and so with its
    /// record and its executor thread, which is the process's. False: it does, or is to be waited for.
    pub(super) fn becomes_first(&mut self, t: usize) -> bool {
        let first = self.arena.task(t).leader as usize;
        let task = self.arena.task(first);
        if task.used == 2 && task.exec_pending != 0 && task.step >= process_steps::EXEC {
            return false; // as a predecessor arranged
        }
        if task.used == 2 {
            task.exiting = 1;
            commit();
            for r in &mut task.replicas[..task.n as usize] {
                r.state = rstate::DEAD;
            }
            self.end_thread(first);
        }
        self.sweep_thread(first);
        if self.arena.task(first).used != 3 || !self.executor_idle(first) {
            self.behind = true;
            return false;
        }
        if !self.has_caught_own(t) {
            return false;
        }
        let mut moved = true;
        for r in 0..self.arena.task(t).n as usize {
            let x = self.arena.task(t).replicas[r];
            // The number is the first one's from now on, but its replica is not dead.
            self.arena.task(first).replicas[r].pid = 0;
            if !crate::arena::is_live(&x) {
                continue;
            }
            if !notify::is_waiting(x.listener as i32, x.id) {
                self.vanished(t, r); // whose it was when it died is not to be known
                if self.arena.task(t).used != 2 {
                    return false;
                }
                continue;
            }
            if self.arena.find_pid(x.pid) == Some((first, r)) {
                continue;
            }
            moved = false;
            let asked = (0..JOBS).map(|i| self.arena.job(i));
            if !asked.into_iter().any(|j| j.state != 0 && j.kind == job::MOVE && j.pid == x.pid) {
                let job = Job { child_task: first as u32, ..self.job_for(t, r, job::MOVE) };
                self.behind |= !self.ask(job);
            }
        }
        if moved {
            self.hand_record_on(t, first);
            self.drive(first);
        }
        false
    }

    /// Has the executor of a thread that is to end catch the signals to this thread which the program
    /// blocks: the new program finds them pending (execve(2)). False while that is under way.
    fn has_caught_own(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        if task.step == process_steps::CATCHING {
            if self.taken(t).is_none() {
                return false;
            }
            self.take_signals(t);
            return self.arena.task(t).used == 2;
        }
        let path = format!("/proc/{}/task/{}/status", task.tgid, task.tid);
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let pending = status.lines().find_map(|l| l.strip_prefix("SigPnd:"));
        let pending = pending.and_then(|s| u64::from_str_radix(s.trim(), 16).ok()).unwrap_or(0);
        // Others would stop or do nothing as they come.
        let caught =
            (1..=64).filter(|s| !executor::default_is_ignore(*s) && !executor::default_is_stop(*s));
        let caught = caught.fold(0, |all, s| all | 1u64 << (s - 1)) & pending & task.mask;
        if caught == 0 {
            return true;
        }
        let args = [task.mask & !caught, 0, 0, 0, 0, 0];
        self.request_then(t, op::CATCH, args, process_steps::CATCHING);
        false
    }

    /// Fills the record of a process's first thread with what another one is, in its exec.
    fn hand_record_on(&mut self, t: usize, first: usize) {
        self.take_signals(first);
        let at = self.arena.slot(t) + slot::TITLE;
        let title = self.arena.region.bytes(at, slot::TITLE_LEN);
        let at = self.arena.slot(first) + slot::TITLE;
        self.arena.region.bytes(at, slot::TITLE_LEN).copy_from_slice(title);
        let head = self.arena.task(t).head;
        self.arena.entry(first, head).open = 0;
        self.arena.drop_long(first, head);
        let (from, to) = (self.arena.task(t), self.arena.task(first));
        // Signals to the thread and to the process stay pending; a successor may come here again.
        for info in &from.signals[..from.pending as usize] {
            let n = to.pending as usize;
            if n < to.signals.len() && !to.signals[..n].contains(info) {
                to.signals[n] = *info;
                commit();
                to.pending += 1;
            }
        }
        (to.replicas, to.execs, to.kept) = (from.replicas, from.execs, from.kept);
        (to.head, to.tail, to.decided_at) = (head, head, from.decided_at);
        (to.released, to.ready) = (from.released, from.ready);
        (to.mask, to.cpus, to.random) = (from.mask, from.cpus, from.random);
        (to.quorum_at, to.giving_at, to.coming) = (0, 0, 0);
        (to.dying, to.exiting, to.drafting) = (0, 0, 0);
        to.wait = bytemuck::Zeroable::zeroed();
        to.inside = bytemuck::Zeroable::zeroed();
        (to.phase, to.step, to.exec_pending) = (phase::WORK, process_steps::EXEC, 1);
        commit();
        to.used = 2;
        commit();
    }

    /// execve(2): all other threads of the process end.
    pub(super) fn end_other_threads(&mut self, t: usize) {
        let leader = self.arena.task(t).leader;
        for o in 0..self.tasks() {
            let task = self.arena.task(o);
            if o == t || task.used != 2 || task.leader != leader {
                continue;
            }
            task.exiting = 1;
            commit();
            for r in &mut task.replicas[..task.n as usize] {
                r.state = rstate::DEAD;
            }
            self.end_thread(o);
        }
    }
}
