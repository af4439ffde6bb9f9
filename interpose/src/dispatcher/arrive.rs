//! What reaches the dispatcher: calls, deaths, finished jobs, ended executors.
//!
//! Invariant: a call is recorded with its replica, the state word last, before its inbox is
//! cleared; a successor that finds a full inbox records it again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chameleon_sys::{fd, notify, process};

use super::locks::is_last;
use super::{Dispatcher, PIDFD};
use crate::arena::{JOBS, commit, job, rstate};

impl Dispatcher {
    /// Receives one call.
    pub(super) fn receive(&mut self, listener: usize) {
        let inbox = self.arena.inbox(listener);
        if notify::receive(self.settings.listeners[listener], inbox).is_err() {
            inbox.id = 0;
            return;
        }
        self.accept(listener);
    }

    pub(super) fn accept(&mut self, listener: usize) {
        let call = *self.arena.inbox(listener);
        let fd = self.settings.listeners[listener];
        let found = self.arena.find_pid(call.pid).filter(|(t, _)| self.arena.task(*t).used != 0);
        let Some((t, r)) = found else {
            // Not one of ours (any more): it must not go on unvoted.
            process::kill(call.pid, libc::SIGKILL);
            self.arena.inbox(listener).id = 0;
            return;
        };
        let replica = &mut self.arena.task(t).replicas[r];
        if replica.state != rstate::RUNNING {
            self.withdraw_preemption(t, r);
            // It runs because the tracer has finished a job with it.
            self.take_jobs();
        }
        let replica = &mut self.arena.task(t).replicas[r];
        if replica.pid != call.pid || matches!(replica.state, rstate::DEAD | rstate::NONE) {
            process::kill(call.pid, libc::SIGKILL);
            self.arena.inbox(listener).id = 0;
            return;
        }
        if replica.deliver != 0 {
            // A signal waits in it since it last ran: it takes that first, then calls again.
            let _ = notify::answer(fd, call.id, -ERESTARTNOINTR);
            self.arena.inbox(listener).id = 0;
            return;
        }
        replica.id = call.id;
        replica.listener = fd as u32;
        replica.nr = if call.arch == notify::ARCH_X86_64 { call.nr as u32 } else { u32::MAX };
        replica.args = call.args;
        replica.ip = call.ip;
        replica.class = 255;
        let elapsed = Duration::from_nanos(self.now.saturating_sub(replica.arrived));
        self.timeout.measure(r as u8, elapsed);
        replica.arrived = self.now;
        replica.calls += 1;
        commit();
        replica.state = rstate::PARKED;
        commit();
        self.arena.inbox(listener).id = 0;
        self.put_faults(t, r);
        self.withdraw_agreement(t);
        self.drive(t);
        self.drive_sharers(t);
    }

    /// A replica that was to be preempted has made a call by itself: better so. It cannot be
    /// stopped now until it is answered, so the tracer has not touched the others yet.
    fn withdraw_preemption(&mut self, t: usize, r: usize) {
        for i in 0..JOBS {
            let j = self.arena.job(i);
            let here = j.task as usize == t && j.replica as usize == r;
            if j.kind == job::PREEMPT && here && matches!(j.state, 1 | 3) {
                j.state = 0;
                let task = self.arena.task(t);
                for (o, x) in task.replicas.iter_mut().enumerate() {
                    match x.state {
                        rstate::JOB => x.state = rstate::RUNNING,
                        // With a signal it is to take the place of one that still is there.
                        rstate::EXPECTED if o < task.n as usize => {
                            let there = j.args[0] != 0;
                            x.state = if there { rstate::RUNNING } else { rstate::DEAD };
                        }
                        rstate::EXPECTED => x.state = rstate::NONE,
                        _ => {}
                    }
                }
            }
        }
    }

    /// Deaths of replicas that the tracer has seen.
    pub(super) fn take_deaths(&mut self) {
        loop {
            let taken = self.arena.deaths_taken().load(Ordering::Relaxed);
            if taken == self.arena.deaths_posted().load(Ordering::Acquire) {
                return;
            }
            let d = self.arena.death(taken);
            let (t, r) = (d.task as usize, d.replica as usize);
            let task = self.arena.task(t);
            // A former replica whose place is another's, or is to be: as all threads of an older checkpoint.
            let settled =
                task.replicas[r].pid != d.pid || task.replicas[r].state == rstate::EXPECTED;
            if task.used != 0 && !settled {
                self.replica_died(t, r, d.signal);
            }
            self.arena.deaths_taken().store(taken + 1, Ordering::Release);
            if self.arena.task(t).used != 0 && !settled {
                self.drive(t);
            }
        }
    }

    /// Jobs that the tracer has finished.
    pub(super) fn take_jobs(&mut self) {
        if !self.jobs_open {
            return;
        }
        // Driving a task below may ask for more.
        self.jobs_open = false;
        for i in 0..JOBS {
            let j = *self.arena.job(i);
            match j.state {
                0 => continue,
                2 => {}
                _ => {
                    self.jobs_open = true;
                    continue;
                }
            }
            let (t, r) = (j.task as usize, j.replica as usize);
            let replica = &mut self.arena.task(t).replicas[r];
            // A successor may come here again with the same job: nothing below counts on.
            if replica.pid == j.pid {
                match (j.kind, replica.state) {
                    // It has died at its call: the tracer's word of that is there or comes.
                    (_, rstate::JOB) if is_gone(j.error) => {}
                    (kind, rstate::JOB) if job::answers(kind) => {
                        let again = matches!(kind, job::WORD | job::LOCKS) && !is_last(&j);
                        replica.seq = j.seq + u64::from(!again);
                        if !again {
                            self.passes(t, j.seq);
                        }
                        let replica = &mut self.arena.task(t).replicas[r];
                        replica.class = 255;
                        commit();
                        replica.state = if j.hold != 0 { rstate::HELD } else { rstate::RUNNING };
                    }
                    (job::FREEZE, rstate::JOB) => replica.state = rstate::RUNNING,
                    (job::RELEASE, rstate::HELD) => replica.state = rstate::RUNNING,
                    _ => {}
                }
            }
            match j.kind {
                job::REPAIR | job::REPAIR_BEHIND => self.repaired(&j),
                job::FREEZE if j.copies >> self.arena.task(t).n == 0 => self.repaired(&j),
                job::FREEZE => self.frozen(&j),
                job::PATCH | job::REMAP | job::JOIN | job::FLIP | job::HANG | job::RELEASE
                    if j.copies != 0 =>
                {
                    self.frozen(&j);
                }
                job::THAW => self.thawed(&j),
                job::AGREE => self.agreed(&j),
                job::REPAIR_THREADS => self.group_repaired(&j),
                job::PREEMPT => self.preempted(&j),
                job::WORD | job::LOCKS => self.word_changed(&j),
                // Its child has executed or ended before this was known.
                job::FORK if j.hold != 0 && !self.holds(t, j.child_task as usize) => {
                    self.release(t, r);
                }
                _ => {}
            }
            commit();
            self.arena.job(i).state = 0;
            if self.arena.task(t).used != 0 {
                self.drive(t);
            }
        }
    }

    /// Whether task `child` still keeps its vfork parent `t` waiting.
    fn holds(&self, t: usize, child: usize) -> bool {
        let c = self.arena.task(child);
        c.used != 0 && c.vfork_parent == t as u32 + 1
    }

    /// Has the end of an executor's process reported.
    pub(super) fn watch_executor(&mut self, t: usize) {
        let task = self.arena.task(t);
        if self.pidfds[t] >= 0 || task.leader as usize != t || task.used < 2 || task.tid == 0 {
            return;
        }
        match fd::pidfd(task.tgid) {
            Ok(f) => {
                self.pidfds[t] = f;
                let _ = fd::watch(self.epoll, f, PIDFD | t as u64);
            }
            Err(_) => self.executor_ended(t),
        }
    }
}

/// Whether a job failed because its replica had died: at its call nobody waits any more.
fn is_gone(error: u32) -> bool {
    [libc::ESRCH, libc::ENOENT].contains(&error.cast_signed())
}

/// Kernel-internal: restart the call whatever the handler's flags (include/linux/errno.h).
pub(super) const ERESTARTNOINTR: i64 = 513;
/// Kernel-internal: restart if the handler has SA_RESTART.
pub(super) const ERESTARTSYS: i64 = 512;
