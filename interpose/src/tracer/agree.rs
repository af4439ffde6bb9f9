//! Preemption of a thread that computes without calls while others wait: all replicas are brought to
//! one state in the midst of it, and make a call there that the program does not know of.
//!
//! Without a performance counter nothing says how far a thread has come. So one replica's state is
//! taken as the goal, and the others run on to a breakpoint at its instruction until their registers
//! and then their memory equal it. A thread that spins is there at once; one that counts is if it
//! was behind: then the word in which it differs says how far it has to go, so that it need not stop
//! each time it comes by.
//!
//! Invariant: nothing is changed but in replicas whose whole state is equal; if they do not meet in
//! time, all go on as if nothing had been.

use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use chameleon_sys::filter::YIELD;
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::{Errno, Error, Result, process};

use super::Tracer;
use super::jobs::between_instructions;
use super::way::{Left, Way, cpu_time};
use crate::arena::{JOBS, Job, job, rstate};

/// How long one replica may take to come to the goal.
pub(super) const LIMIT: Duration = Duration::from_millis(600);
/// How long a thread takes to run again.
const WAKES_IN: Duration = Duration::from_micros(40);
/// How often another one may become the goal.
const SWAPS: usize = 8;
/// How long a thread may take to stop, if it is not in a call of its own.
const STOPS: Duration = Duration::from_millis(5);
/// Where the `int3` behind the call has led to.
const BEHIND: u64 = YIELD + 3;

/// What is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempt {
    /// Place of the job.
    job: usize,
    /// The threads, and whether they have stopped.
    threads: Vec<(u32, bool)>,
}

impl Attempt {
    /// Whether a thread is one of them.
    pub(super) fn concerns(&self, pid: u32) -> bool {
        self.threads.iter().any(|(p, _)| *p == pid)
    }
}

impl Tracer {
    /// Asks the threads to stop; goes on when the last one has.
    pub(super) fn begin_to_agree(&mut self, i: usize, job: &Job) -> bool {
        let task = self.arena.task(job.task as usize);
        let wanted = (0..task.n as usize).filter(|r| job.copies & (1 << r) != 0);
        let threads: Vec<(u32, bool)> = wanted.map(|r| (task.replicas[r].pid, false)).collect();
        if self.attempt.is_some() || !threads.iter().all(|(p, _)| tracee::interrupt(*p).is_ok()) {
            return false;
        }
        self.arena.job(i).state = 3;
        self.attempt = Some(Attempt { job: i, threads });
        // One that has called meanwhile does not stop; either the dispatcher sees that this is under
        // way and withdraws it, or its call is seen here.
        fence(Ordering::SeqCst);
        let replicas = &self.arena.task(job.task as usize).replicas;
        let computes =
            |r: usize| replicas[r].state == rstate::RUNNING && replicas[r].seq == job.args[0];
        if !(0..replicas.len()).filter(|r| job.copies & (1 << r) != 0).all(computes) {
            self.withdraw();
        }
        true
    }

    /// A thread has stopped. Whether that was asked for here.
    pub(super) fn stopped_to_agree(&mut self, pid: u32) -> bool {
        let Some(a) = &mut self.attempt else { return false };
        let Some(t) = a.threads.iter_mut().find(|(p, stopped)| *p == pid && !stopped) else {
            return false;
        };
        t.1 = true;
        if a.threads.iter().all(|(_, stopped)| *stopped) {
            self.meet();
        }
        true
    }

    /// The dispatcher has seen a call of one of them: there is nothing to do any more.
    pub(super) fn withdraw(&mut self) {
        let Some(a) = self.attempt.take() else { return };
        for (pid, _) in a.threads.iter().filter(|(_, stopped)| *stopped) {
            let _ = tracee::resume(*pid, 0);
        }
        self.said_done = false;
        self.done(a.job, Errno::EAGAIN as i32 as u32);
    }

    fn meet(&mut self) {
        let Some(a) = self.attempt.take() else { return };
        let job = *self.arena.job(a.job);
        let pids: Vec<u32> = a.threads.iter().map(|(p, _)| *p).collect();
        let task = self.arena.task(job.task as usize);
        let as_asked = pids.iter().all(|p| {
            task.replicas.iter().any(|r| {
                r.pid == *p && r.seq == job.args[0] && r.state == rstate::RUNNING && r.deliver == 0
            })
        });
        if as_asked && job.args[1] != 0 && self.goal(&pids).is_some_and(|p| self.may_be_left(p)) {
            self.said_done = false;
            return self.take_one_for_all(a.job, &job, &pids);
        }
        let mut stopped = pids.clone();
        let goal = if as_asked { self.goal(&pids) } else { None };
        let goal = goal.and_then(|first| self.bring_together(&pids, first, &mut stopped));
        let met = goal.is_some();
        self.said_done = false;
        if let (Some(goal), [pid], 1..) = (goal, &stopped[..], job.args[3]) {
            return self.freeze_preempted(a.job, &Job { pid: *pid, ..job }, goal);
        }
        self.done(a.job, if met { 0 } else { Errno::EAGAIN as i32 as u32 });
        for pid in stopped {
            match goal {
                Some(goal) => self.make_it_call(pid, goal),
                None => {
                    let _ = tracee::resume(pid, 0);
                }
            }
        }
    }

    /// A thread that is stopped at `goal` makes a call before it goes on there.
    fn make_it_call(&mut self, pid: u32, goal: Regs) {
        if self.trap_once(pid, goal).is_err() {
            return; // it has ended
        }
        if tracee::set_regs(pid, &yielding(goal)).is_ok() {
            self.interrupt(pid, goal);
        }
        let _ = tracee::resume(pid, 0);
    }

    /// Has a stopped thread run into an `int3`, and stops it there: frames of signals have the number of
    /// a thread's last trap, which is another if it came to the goal by a breakpoint.
    pub(super) fn trap_once(&mut self, pid: u32, goal: Regs) -> Result<()> {
        let mask = tracee::signal_mask(pid)?;
        tracee::set_regs(pid, &Regs { rip: BEHIND - 1, ..goal })?;
        tracee::resume(pid, 0)?;
        let mut put_off = Vec::new();
        loop {
            match self.wait_for(pid)? {
                (Stop::Signal(libc::SIGTRAP), _)
                    if tracee::regs(pid).is_ok_and(|r| r.rip == BEHIND) =>
                {
                    break;
                }
                (stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu) => {
                    self.on_stop(pid, stop, cpu);
                    return Err(Error { operation: "preempting a thread", errno: Errno::ESRCH });
                }
                (Stop::Signal(s), _) => {
                    put_off.push(s);
                    tracee::resume(pid, 0)?;
                }
                _ => tracee::resume(pid, 0)?,
            }
        }
        put_off.into_iter().for_each(|s| process::tgkill_any(pid, s));
        self.undo_signal(pid, libc::SIGTRAP, mask)
    }

    /// The state of one replica becomes that of all: the others end, and are made again of it.
    fn take_one_for_all(&mut self, i: usize, job: &Job, pids: &[u32]) {
        let t = job.task as usize;
        let place = |pid: u32| self.arena.task(t).replicas.iter().position(|r| r.pid == pid);
        let donor = self.goal(pids).and_then(|pid| Some((pid, place(pid)?)));
        let made = donor.ok_or(Errno::EAGAIN).and_then(|(pid, from)| {
            let goal = between_instructions(tracee::regs(pid).map_err(|e| e.errno)?);
            let copies = job.copies & !(1 << from);
            self.arena.job(i).replica = from as u32;
            self.arena.job(i).args[2] = 1;
            self.interrupt(pid, goal);
            let asked = Job { replica: from as u32, pid, copies, ..*job };
            self.copy_threads(i, &asked, Some(yielding(goal))).map_err(|e| e.errno)
        });
        if let Err(errno) = made {
            for pid in pids {
                process::kill(*pid, libc::SIGKILL);
            }
            self.done(i, errno as i32 as u32);
        }
    }

    /// The thread that has probably come farthest.
    fn goal(&self, pids: &[u32]) -> Option<u32> {
        pids.iter().copied().max_by_key(|p| cpu_time(*p))
    }

    /// Whether a stopped thread may be left where it is (`may_be_left_at`).
    fn may_be_left(&self, pid: u32) -> bool {
        tracee::regs(pid).is_ok_and(|r| self.may_be_left_at(pid, between_instructions(r).rip))
    }

    /// Brings all threads to the state of one of them; that state. `stopped` loses those that do
    /// not stop any more.
    fn bring_together(
        &mut self,
        pids: &[u32],
        mut first: u32,
        stopped: &mut Vec<u32>,
    ) -> Option<Regs> {
        'goals: for _ in 0..SWAPS {
            let goal = between_instructions(tracee::regs(first).ok()?);
            if !self.may_be_left_at(first, goal.rip) {
                return None;
            }
            for pid in pids.iter().copied().filter(|p| *p != first) {
                match self.come_to(pid, first, &goal) {
                    Came::Met => {}
                    Came::Ahead => {
                        first = pid;
                        continue 'goals;
                    }
                    Came::Missed => return None,
                    Came::Gone => {
                        stopped.retain(|s| *s != pid);
                        return None;
                    }
                }
            }
            return Some(goal);
        }
        None
    }

    /// Runs a stopped thread until its state is that of `first`.
    fn come_to(&mut self, pid: u32, first: u32, goal: &Regs) -> Came {
        let until = Instant::now() + LIMIT;
        let mut way = Way::default();
        let Ok(mask) = tracee::signal_mask(pid) else { return Came::Gone };
        loop {
            let Ok(regs) = tracee::regs(pid) else { return Came::Gone };
            let here = between_instructions(regs);
            if here.rip == goal.rip {
                match way.left(&here, goal, pid, first) {
                    Left::Nothing => return Came::Met,
                    Left::Passed => return Came::Ahead,
                    Left::Far(time) => {
                        if let Some(out) = self.run_free(pid, time, mask) {
                            return out;
                        }
                    }
                    Left::Unknown => {}
                }
            }
            if Instant::now() >= until {
                return Came::Missed;
            }
            if let Some(out) = self.run_to(pid, goal.rip, until, mask) {
                return out;
            }
        }
    }

    /// Lets a stopped thread run for a while. What came of it, if not that.
    fn run_free(&mut self, pid: u32, time: Duration, mask: u64) -> Option<Came> {
        if tracee::resume(pid, 0).is_err() {
            return Some(Came::Gone);
        }
        // Its own clock stands still until the next tick for whoever looks from outside.
        match self.wait_until(pid, Instant::now() + WAKES_IN + time) {
            None => {}
            Some(other) => return self.otherwise(pid, other),
        }
        self.stop_now(pid, mask)
    }

    /// Runs a stopped thread, which blocks `mask`, to an instruction. What came of it, if it did not get there.
    fn run_to(&mut self, pid: u32, at: u64, until: Instant, mask: u64) -> Option<Came> {
        if tracee::set_breakpoint(pid, Some(at)).is_err() || tracee::resume(pid, 0).is_err() {
            return Some(Came::Gone);
        }
        let out = match self.wait_until(pid, until) {
            Some((Stop::Signal(libc::SIGTRAP), _)) => None,
            Some(other) => return self.otherwise(pid, other),
            None => match self.stop_now(pid, mask) {
                Some(Came::Gone) => {
                    self.to_disarm.insert(pid);
                    return Some(Came::Gone);
                }
                _ => Some(Came::Missed),
            },
        };
        let _ = tracee::set_breakpoint(pid, None);
        if out.is_none() && self.undo_signal(pid, libc::SIGTRAP, mask).is_err() {
            return Some(Came::Gone);
        }
        out
    }

    /// Stops a running thread. `None` if it has; it does not if it waits for the answer to a call.
    fn stop_now(&mut self, pid: u32, mask: u64) -> Option<Came> {
        let _ = tracee::interrupt(pid);
        match self.wait_until(pid, Instant::now() + STOPS) {
            Some((Stop::Interrupted, _)) => None,
            Some((Stop::Signal(libc::SIGTRAP), _)) => {
                self.undo_signal(pid, libc::SIGTRAP, mask).is_err().then_some(Came::Gone)
            }
            Some(other) => self.otherwise(pid, other),
            None => Some(Came::Gone),
        }
    }

    /// A thread has stopped for a reason of its own, or ended: that is handled as ever.
    fn otherwise(&mut self, pid: u32, (stop, cpu): (Stop, u64)) -> Option<Came> {
        let _ = tracee::set_breakpoint(pid, None);
        self.on_stop(pid, stop, cpu);
        Some(Came::Gone)
    }

    /// Waits for what happens next to `pid`, until a moment.
    fn wait_until(&mut self, pid: u32, until: Instant) -> Option<(Stop, u64)> {
        loop {
            if let Ok(Some((_, stop, cpu))) = tracee::wait(Some(pid), false) {
                return Some((stop, cpu));
            }
            let now = Instant::now();
            if now >= until {
                return None;
            }
            // A sleep is longer than the last steps of the way.
            if until.saturating_duration_since(now) > Duration::from_millis(1) {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }

    /// A thread that made our call goes on where it was interrupted. Whether it did.
    pub(super) fn goes_on_computing(&mut self, pid: u32) -> bool {
        let Some(at) = self.interrupted.get(&pid).copied() else { return false };
        if !tracee::regs(pid).is_ok_and(|r| r.rip == BEHIND) {
            return false;
        }
        self.interrupted.remove(&pid);
        let _ = self.undo_own_call(pid, &at);
        let _ = tracee::set_regs(pid, &at.regs);
        let _ = tracee::resume(pid, 0);
        true
    }

    /// A thread takes a signal in our call: its handler returns to where it was interrupted, so that
    /// nothing of the call is left, whether it returns or not.
    pub(super) fn leave_own_call(&mut self, pid: u32) {
        let in_call = |r: Regs| r.rip == BEHIND - 1 && (r.orig_rax as i64) >= 0;
        if self.interrupted.contains_key(&pid)
            && tracee::regs(pid).is_ok_and(in_call)
            && let Some(goal) = self.interrupted.remove(&pid)
        {
            let _ = tracee::set_regs(pid, &goal.regs);
        }
    }

    /// Takes a breakpoint away that was left because its thread did not stop.
    pub(super) fn disarm(&mut self, pid: u32) {
        if self.to_disarm.remove(&pid) {
            let _ = tracee::set_breakpoint(pid, None);
        }
    }

    /// Attempts that the dispatcher has withdrawn.
    pub(super) fn look_after_attempt(&mut self) {
        let withdrawn = self.attempt.as_ref().is_some_and(|a| {
            let j = self.arena.job(a.job);
            j.kind == job::AGREE && j.state == 4
        });
        if withdrawn {
            self.withdraw();
        }
        for i in 0..JOBS {
            let j = self.arena.job(i);
            if j.kind == job::AGREE && j.state == 4 {
                self.said_done = false;
                self.done(i, Errno::EAGAIN as i32 as u32); // before it was begun
            }
        }
    }
}

/// A thread at `goal` that is about to make a call which the program does not know of.
pub(super) fn yielding(goal: Regs) -> Regs {
    Regs { rip: YIELD, rax: libc::SYS_sched_yield as u64, ..goal }
}

/// What came of a thread that was to be brought to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// It is there.
    Met,
    /// It has been there: it is the others that have to come on.
    Ahead,
    /// Not in time.
    Missed,
    /// It has ended, or waits at a call.
    Gone,
}
