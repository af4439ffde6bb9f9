//! Threads of a program: each has its own rendezvous and its own executor thread.
//!
//! Invariant: an executor thread shares descriptors, directory and dispositions with its process,
//! as the program's thread does; the program's thread id is its executor's.

use chameleon_sys::{memory, process};

use super::Dispatcher;
use super::work::Outcome;
use crate::arena::{commit, how, rstate};
use crate::outside::op;
use crate::procfile::{self, File};

/// How an executor thread is cloned.
pub(super) const EXECUTOR_THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;

/// What interrupts an executor thread's call that nobody waits for any more: glibc keeps this
/// signal to itself (nptl(7)), so no program ignores or blocks it.
const WAKE: i32 = 33;

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
        if task.used != 4 {
            return;
        }
        let path = format!("/proc/{}/task/{}", task.tgid, task.tid);
        if !std::path::Path::new(&path).exists() {
            self.free(t);
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

    /// execve(2): all other threads of the process end.
    pub(super) fn end_other_threads(&mut self, t: usize) {
        let leader = self.arena.task(t).leader;
        for o in 0..self.tasks() {
            let task = self.arena.task(o);
            if o == t || task.used != 2 || task.leader != leader {
                continue;
            }
            for r in &mut task.replicas[..task.n as usize] {
                r.state = rstate::DEAD;
            }
            self.end_thread(o);
        }
    }
}
