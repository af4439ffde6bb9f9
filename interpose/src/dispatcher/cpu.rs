//! CPU time of the program, as the program sees it: that of its replicas, not of its outside; all
//! of it is said to be user time.
//!
//! Invariant: what one task is shown grows from each reading to the next, as it does natively, although replicas
//! come and go, and one that was ahead may have to wait.

use chameleon_sys::{process, raw};

use super::Dispatcher;
use super::work::Outcome;
use crate::arena::{Replica, is_live, rstate};
use crate::table::row::Row;

impl Dispatcher {
    /// CPU time of the process of task `t`: of the replica that has used most.
    pub(super) fn process_cpu_ns(&mut self, t: usize) -> u64 {
        let leader = self.arena.task(t).leader as usize;
        let task = self.arena.task(leader);
        let most = (0..task.n as usize).map(|r| self.replica_cpu_ns(leader, r)).max().unwrap_or(0);
        task.shown_cpu = (task.shown_cpu + 1).max(task.lost_cpu + most);
        task.shown_cpu
    }

    /// CPU time of replica `r` of a process, 0 if it is lost.
    pub(super) fn replica_cpu_ns(&self, leader: usize, r: usize) -> u64 {
        let x = &self.arena.task(leader).replicas[r];
        let known = x.pid != 0 && is_live(x);
        match if known { raw::cpu_time_ns(x.pid) } else { 0 } {
            0 => self.process_of(leader, r).map_or(0, raw::cpu_time_ns),
            ns => ns,
        }
    }

    /// The process that replica `r` of a process is. The kernel knows its clocks by the number of its
    /// first thread, which in a copy may be another than in the program.
    pub(super) fn process_of(&self, leader: usize, r: usize) -> Option<u32> {
        let threads = (0..self.tasks()).map(|t| self.arena.task(t));
        let runs = |x: &Replica| x.pid != 0 && is_live(x) && x.state != rstate::EXPECTED;
        let mut own =
            threads.filter(|x| x.used == 2 && x.leader as usize == leader && runs(&x.replicas[r]));
        own.find_map(|x| process::of_thread(x.replicas[r].pid))
    }

    /// A process ends: its CPU time goes to its parent, with that of its own children.
    pub(super) fn hand_on_cpu_time(&mut self, t: usize) {
        let task = self.arena.task(t);
        let ns = self.process_cpu_ns(t) + task.child_cpu;
        self.arena.note_ended(task.tgid, ns);
        let parent = self.arena.task(task.parent as usize);
        if t != 0 && parent.used == 2 && parent.ordinal == task.parent_ordinal {
            parent.child_cpu += ns;
        }
    }

    /// wait4(2) and waitid(2) have answered: the usage is that of the child's replicas.
    pub(super) fn usage_of_ended(&mut self, t: usize, ret: i64) {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let at = self.arena.slot(t) + chameleon_sys::executor::slot::ARGS;
        let args = *self.arena.region.record::<[u64; 6]>(at);
        let place = |i: usize| self.arena.region.offset_of(args[i]).filter(|_| e.args[i] != 0);
        let (pid, usage) = match i64::from(e.nr) {
            libc::SYS_wait4 => (self.real(ret as u32), place(3)),
            // waitid(2): si_pid of the siginfo that was filled in.
            _ => {
                let pid = place(2).map_or(0, |o| *self.arena.region.record::<u32>(o + 16));
                (self.real(pid), place(4))
            }
        };
        if let (Some(o), Some(ns)) = (usage, self.arena.cpu_of_ended(pid)) {
            let u = self.arena.region.record::<[u64; 4]>(o);
            *u = [ns / 1_000_000_000, ns % 1_000_000_000 / 1000, 0, 0];
        }
    }

    /// clock_gettime(2) of a CPU clock, times(2), getrusage(2): the executor performs the call, and
    /// the program's own times are put in.
    pub(super) fn cpu_time(&mut self, t: usize, r: &'static Row) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let outcome = self.performed(t, r);
        if !matches!(outcome, Outcome::Value(ret) if ret >= 0) {
            return outcome;
        }
        let ns = self.process_cpu_ns(t);
        let leader = self.arena.task(t).leader as usize;
        let children = self.arena.task(leader).child_cpu;
        let at = self.arena.slot(t) + chameleon_sys::executor::slot::ARGS;
        let args = *self.arena.region.record::<[u64; 6]>(at);
        let place = |i: usize| self.arena.region.offset_of(args[i]).filter(|_| e.args[i] != 0);
        match i64::from(e.nr) {
            libc::SYS_clock_gettime if matches!(e.args[0], 2 | 3) => {
                if let Some(o) = place(1) {
                    *self.arena.region.record::<[u64; 2]>(o) =
                        [ns / 1_000_000_000, ns % 1_000_000_000];
                }
            }
            libc::SYS_times => {
                if let Some(o) = place(0) {
                    // Clock ticks of 1/100 s (sysconf(3), _SC_CLK_TCK).
                    let times = self.arena.region.record::<[u64; 4]>(o);
                    *times = [ns / 10_000_000, 0, children / 10_000_000, 0];
                }
            }
            libc::SYS_getrusage if matches!(e.args[0] as i32, -1..=1) => {
                let ns = if e.args[0] as i32 == libc::RUSAGE_CHILDREN { children } else { ns };
                if let Some(o) = place(1) {
                    let u = self.arena.region.record::<[u64; 4]>(o);
                    *u = [ns / 1_000_000_000, ns % 1_000_000_000 / 1000, 0, 0];
                }
            }
            _ => {}
        }
        outcome
    }
}
