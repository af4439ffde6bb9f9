//! Preemption of a thread that computes without calls while others wait: all replicas are brought to
//! one state in the midst of it, and make a call there that the program does not know of.
//!
//! Without a performance counter nothing says how far a thread has come. So one replica's state is
//! taken as the goal, and the others run on to a breakpoint at its instruction until their registers
//! and then their memory equal it. A thread that spins is there at once; one that counts is if it
//! was behind, which is why the one that has used most CPU time is the goal.
//!
//! Invariant: nothing is changed but in replicas whose whole state is equal; if they do not meet in
//! time, all go on as if nothing had been.

use std::time::{Duration, Instant};

use chameleon_sys::filter::{WINDOW, YIELD};
use chameleon_sys::tracee::{self, Regs, Stop};
use chameleon_sys::Errno;

use super::Tracer;
use super::jobs::between_instructions;
use crate::arena::{Job, job, rstate};
use crate::maps;

/// How long one replica may take to come to the goal.
const LIMIT: Duration = Duration::from_millis(200);
/// How long a thread may take to stop, if it is not in a call of its own.
const STOPS: Duration = Duration::from_millis(5);
/// Where the `int3` behind the call has led to.
const BEHIND: u64 = YIELD + 3;
/// Flags that say how an instruction was come to, not what the program's state is: RF.
const RESUME_FLAG: u64 = 1 << 16;

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
        let mut stopped = pids.clone();
        let goal = if as_asked { self.goal(&pids) } else { None };
        let met = goal.is_some_and(|(first, goal)| {
            pids.iter().filter(|p| **p != first).all(|p| {
                let met = self.come_to(*p, first, &goal);
                if met.is_none() {
                    stopped.retain(|s| s != p);
                }
                met == Some(true)
            })
        });
        self.said_done = false;
        self.done(a.job, if met { 0 } else { Errno::EAGAIN as i32 as u32 });
        for pid in stopped {
            if let (true, Some((_, goal))) = (met, goal) {
                let mut call = goal;
                call.rip = YIELD;
                call.rax = libc::SYS_sched_yield as u64;
                if tracee::set_regs(pid, &call).is_ok() {
                    self.interrupted.insert(pid, goal);
                }
            }
            let _ = tracee::resume(pid, 0);
        }
    }

    /// The thread that has probably come farthest, and its state.
    fn goal(&self, pids: &[u32]) -> Option<(u32, Regs)> {
        let first = *pids.iter().max_by_key(|p| cpu_time(**p))?;
        let regs = between_instructions(tracee::regs(first).ok()?);
        let in_window = (WINDOW..WINDOW + 4096).contains(&regs.rip);
        (!in_window).then_some((first, regs))
    }

    /// Runs a stopped thread until its state is that of `first`. `None`: it did not stop any more.
    fn come_to(&mut self, pid: u32, first: u32, goal: &Regs) -> Option<bool> {
        let until = Instant::now() + LIMIT;
        let mut differs_at = None;
        let mut armed = false;
        let met = loop {
            let Ok(regs) = tracee::regs(pid) else { return None };
            let here = between_instructions(regs);
            if same(&here, goal) && same_memory(pid, first, &mut differs_at) {
                break Some(true);
            }
            if !armed {
                armed = tracee::set_breakpoint(pid, Some(goal.rip)).is_ok();
                if !armed {
                    break Some(false);
                }
            }
            if Instant::now() >= until || tracee::resume(pid, 0).is_err() {
                break Some(false);
            }
            match self.wait_until(pid, until) {
                Some((Stop::Signal(libc::SIGTRAP), _)) => {}
                Some((stop @ (Stop::Exited(_) | Stop::Killed(_)), cpu)) => {
                    self.on_stop(pid, stop, cpu);
                    return None;
                }
                Some((Stop::Signal(signal), _)) => {
                    // Its own fault or a time stamp: as ever, once it runs.
                    let _ = tracee::set_breakpoint(pid, None);
                    self.on_signal(pid, signal);
                    return None;
                }
                Some(_) => break Some(false),
                None => {
                    let _ = tracee::interrupt(pid);
                    match self.wait_until(pid, Instant::now() + STOPS) {
                        Some((Stop::Interrupted | Stop::Signal(libc::SIGTRAP), _)) => {
                            break Some(false);
                        }
                        Some((stop, cpu)) => {
                            let _ = tracee::set_breakpoint(pid, None);
                            self.on_stop(pid, stop, cpu);
                            return None;
                        }
                        // It waits for the answer to a call: the breakpoint goes when it stops.
                        None => {
                            self.to_disarm.insert(pid);
                            return None;
                        }
                    }
                }
            }
        };
        if armed {
            let _ = tracee::set_breakpoint(pid, None);
        }
        met
    }

    /// Waits for what happens next to `pid`, until a moment.
    fn wait_until(&mut self, pid: u32, until: Instant) -> Option<(Stop, u64)> {
        loop {
            if let Ok(Some((_, stop, cpu))) = tracee::wait(Some(pid), false) {
                return Some((stop, cpu));
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// A thread that made our call goes on where it was interrupted. Whether it did.
    pub(super) fn goes_on_computing(&mut self, pid: u32) -> bool {
        let Some(regs) = self.interrupted.get(&pid).copied() else { return false };
        if !tracee::regs(pid).is_ok_and(|r| r.rip == BEHIND) {
            return false;
        }
        self.interrupted.remove(&pid);
        let _ = tracee::set_regs(pid, &regs);
        let _ = tracee::resume(pid, 0);
        true
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
    }
}

fn same(a: &Regs, b: &Regs) -> bool {
    let plain = |r: &Regs| Regs { eflags: r.eflags & !RESUME_FLAG, orig_rax: 0, ..*r };
    plain(a) == plain(b)
}

/// Whether two processes have the same memory. `differs_at` is where they differed when they were
/// last compared, which is looked at first.
fn same_memory(pid: u32, first: u32, differs_at: &mut Option<u64>) -> bool {
    if let Some(at) = *differs_at {
        let near = maps::Range { start: at & !7, end: (at & !7) + 8 };
        if maps::first_difference(first, pid, near).is_some() {
            return false;
        }
    }
    let found = maps::writable(first).into_iter().find_map(|g| maps::first_difference(first, pid, g));
    *differs_at = found.map(|(at, ..)| at);
    differs_at.is_none()
}

/// CPU time of a thread in nanoseconds (the first number of its schedstat, proc(5)).
fn cpu_time(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"));
    let text = text.unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
