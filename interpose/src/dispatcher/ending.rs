//! Ends: of a process by its own exit or a signal, of its executor by a stranger, of the run.
//!
//! Invariant: a process's replicas are ended before its executor is told to end, and what is to be
//! reported of the run is reported before the root's executor ends, because then its parent wakes.

use chameleon_proto::event::{Event, Exit, Recovery};
use chameleon_sys::{fd, process, raw};

use super::Dispatcher;
use super::work::Outcome;
use crate::arena::{Header, commit, job, rstate};
use crate::outside::op;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With an exit status.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl Dispatcher {
    /// exit(2) and exit_group(2).
    pub(super) fn exit(&mut self, t: usize) -> Outcome {
        if !self.lockstep() && !self.gives_locks_up(t) {
            return Outcome::Wait;
        }
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let leader = self.arena.task(t).leader;
        let others = (0..self.arena.header().tasks as usize).any(|o| {
            let x = self.arena.task(o);
            o != t && x.used == 2 && x.leader == leader && x.exiting == 0
        });
        if i64::from(e.nr) == libc::SYS_exit && others {
            return self.exit_thread(t);
        }
        self.arena.header().calls += 1;
        self.end_process(t, End::Status(e.args[0] as i32 & 0xff));
        Outcome::Gone
    }

    /// Ends the process of task `t`, whose executor must be idle.
    pub(super) fn end_process(&mut self, t: usize, end: End) {
        let leader = self.arena.task(t).leader as usize;
        // The last call that shows who is right.
        for o in 0..self.tasks() {
            let task = self.arena.task(o);
            if task.used == 2 && task.leader as usize == leader {
                self.blame_crashes(o);
            }
        }
        self.hand_on_cpu_time(leader);
        self.flush_running(leader);
        self.share_end(leader, end);
        self.leave_locks(leader);
        self.end_replicas(leader);
        self.quick.forget_table(self.arena.task(leader).table);
        if leader == 0 {
            self.say_exit(end);
        }
        let (what, arg) = match end {
            End::Status(s) => (op::EXIT, s),
            End::Signal(s) => (op::DIE, s),
        };
        self.request(t, what, [arg as u64, 0, 0, 0, 0, 0]);
        for o in 0..self.tasks() {
            let task = self.arena.task(o);
            if task.used != 0 && task.leader as usize == leader {
                task.used = 3;
            }
        }
        self.heirs_go_on();
    }

    /// Kills the replicas of all threads of a process.
    pub(super) fn end_replicas(&mut self, leader: usize) {
        self.crash_is_past(leader);
        if let Some(g) = self.group_of(leader) {
            self.group_has_changed(g);
        }
        for o in 0..self.tasks() {
            if self.arena.task(o).used == 0 || self.arena.task(o).leader as usize != leader {
                continue;
            }
            for r in 0..self.arena.task(o).n as usize {
                let replica = self.arena.task(o).replicas[r];
                if replica.pid != 0 && crate::arena::is_live(&replica) {
                    self.kill_replica(o, r);
                }
            }
            for place in self.places() {
                self.forget_checkpoint(o, place);
            }
        }
    }

    /// Has the tracer kill a replica; it counts as dead from now on.
    pub(super) fn kill_replica(&mut self, t: usize, r: usize) {
        let job = self.job_for(t, r, job::KILL);
        // Before it dies: to a successor its death must not look like the program's own.
        self.arena.task(t).replicas[r].state = rstate::DEAD;
        commit();
        if !self.ask(job) {
            process::kill(job.pid, libc::SIGKILL);
        }
    }

    /// The process of an executor is gone, by our request or by a stranger's signal.
    pub(super) fn executor_ended(&mut self, t: usize) {
        if self.pidfds[t] >= 0 {
            fd::unwatch(self.epoll, self.pidfds[t]);
            fd::close(self.pidfds[t]);
            self.pidfds[t] = -1;
        }
        if self.arena.task(t).used == 0 {
            return;
        }
        if self.arena.task(t).used == 2 {
            self.hand_on_cpu_time(t);
            self.flush_running(t);
            self.share_end(t, End::Signal(libc::SIGKILL));
            self.leave_locks(t);
        }
        let group = self.group_of(t);
        self.end_replicas(t);
        self.quick.forget_table(self.arena.task(t).table);
        if t == 0 && self.arena.task(0).used == 2 {
            self.say_exit(End::Signal(libc::SIGKILL));
        }
        self.release_vfork_parent(t);
        // The leader last: as long as it is there, a successor finds that this is to be done.
        for o in (0..self.tasks()).filter(|o| *o != t).chain([t]) {
            if self.arena.task(o).used != 0 && self.arena.task(o).leader as usize == t {
                self.free(o);
            }
        }
        self.note_finished();
        self.heirs_go_on();
        let heir = group.and_then(|g| self.members(g).find(|o| self.arena.task(*o).used == 2));
        if let Some(o) = heir {
            self.drive(o);
        }
    }

    /// If nothing of the program is left, the run is over. Checkpoints that are being read do not count, nor
    /// do children whose parent was killed as it forked. Such a record is not given to another while the run lasts: the
    /// executor may have been there, and wait at its slot.
    fn note_finished(&mut self) {
        let left = |o: usize| {
            let task = self.arena.task(o);
            let read = task.used == 3 && self.pidfds[o] < 0 && task.recovery.pinned != 0;
            task.used != 0 && !read && !self.is_never_born(o)
        };
        if !(0..self.tasks()).any(left) {
            self.arena.header().finished = 1;
        }
    }

    /// Gives a task's record and memory back.
    pub(super) fn free(&mut self, t: usize) {
        let others = (0..self.tasks()).any(|o| o != t && self.arena.task(o).used == 2);
        if self.arena.task(t).recovery.pinned != 0 && others {
            // Its checkpoint is being read: its record goes when that is over.
            self.arena.task(t).used = 3;
            return;
        }
        self.arena.task(t).used = 0;
        self.forget_lent(t);
        commit();
        self.arena.release_task(t, self.keeps_group(t));
        self.free_unmapped();
    }

    fn say_exit(&mut self, end: End) {
        let h = self.arena.header();
        if h.said_exit != 0 {
            return; // by a predecessor
        }
        let ns = raw::now_ns() - h.started_at;
        let replicas: u64 = (0..self.tasks())
            .flat_map(|t| {
                let task = self.arena.task(t);
                // The clock is that of the whole process: once for all of its threads.
                let counts = task.used != 0 && task.leader as usize == t;
                (0..task.n as usize).filter(move |_| counts).map(move |r| (t, r))
            })
            .map(|(t, r)| match raw::cpu_time_ns(self.arena.task(t).replicas[r].pid) {
                ns if ns > 0 && self.arena.task(t).replicas[r].pid != 0 => ns,
                _ => self.replica_cpu_ns(t, r),
            })
            .sum();
        let own = raw::clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
            + raw::cpu_time_ns(self.settings.supervisor)
            + raw::cpu_time_ns(self.arena.task(0).tgid);
        let (status, signal) = match end {
            End::Status(s) => (Some(s as u8), None),
            End::Signal(s) => (None, Some(s as u8)),
        };
        if self.settings.checkpoints.is_some() {
            let Header { checkpoints, rollbacks, .. } = *h;
            self.report.say(Event::Recovery(Recovery { checkpoints, rollbacks }));
        }
        self.report.say(Event::Exit(Exit {
            status,
            signal,
            calls: h.calls,
            votes: h.votes,
            repairs: h.repairs.into(),
            takeovers: h.takeovers.into(),
            wall_ms: ns as f64 / 1e6,
            cpu_ms: (replicas + own + h.cpu) as f64 / 1e6,
        }));
        self.arena.header().said_exit = 1;
    }

    /// Ends everything: the program cannot go on. Its own status is Chameleon's, 125.
    pub(super) fn give_up(&mut self) {
        self.arena.header().giving_up = 1;
        for t in 0..self.tasks() {
            if self.arena.task(t).used == 2 && self.arena.task(t).leader as usize == t {
                self.end_replicas(t);
            }
        }
        for t in (1..self.tasks()).filter(|t| self.arena.task(*t).leader as usize == *t) {
            let task = self.arena.task(t);
            if task.used != 0 {
                task.used = 3;
                process::kill(task.tgid, libc::SIGKILL);
            }
        }
        let root = self.arena.task(0);
        if root.used == 0 {
            return;
        }
        root.used = 3;
        root.ending = 1;
        self.push_root_out();
    }

    /// Has the root's executor exit with 125, interrupting what it waits in.
    pub(super) fn push_root_out(&mut self) {
        if self.executor_idle(0) {
            self.request(0, op::EXIT, [125, 0, 0, 0, 0, 0]);
            self.arena.task(0).ending = 2;
        } else {
            process::kill(self.arena.task(0).tgid, libc::SIGTERM);
        }
    }
}
