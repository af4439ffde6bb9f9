//! The tracer of all replicas of a run: what only ptrace(2) can do, as jobs for the dispatcher.
//!
//! It lives in the supervisor, not in the ARMOR that votes: an earlier design let the dispatcher
//! trace, and whatever its death interrupted (an exec, a trapped rdtsc, a signal half delivered)
//! was lost with it. See docs/adr/0002.
//!
//! Invariant: a replica is stopped only inside one of the functions here, and a job is marked done
//! before its replica runs again, so that the dispatcher never hears from a replica earlier than
//! of the job.

mod arm;
mod boot;
mod inject;
mod jobs;
mod stops;

use std::collections::{HashMap, VecDeque};

use chameleon_sys::inside::Site;
use chameleon_sys::raw;
use chameleon_sys::tracee::{self, Stop};

pub use boot::{BootError, Booted};

use crate::arena::{Arena, Death};

/// What the tracer keeps of one thread of a replica.
#[derive(Clone, Copy, Debug)]
struct Tracee {
    task: usize,
    replica: usize,
    /// How many time stamps it has read.
    stamps: u64,
    /// How often the kernel has told it of its limit of CPU time.
    cpu_signals: u32,
    /// Stopped by a job, not to be resumed by anything but a release.
    held: bool,
}

/// The time stamps that the replicas of one task have read: the first to ask decides.
#[derive(Debug, Default)]
struct Stamps {
    first: u64,
    values: VecDeque<u64>,
}

/// Time stamps kept for replicas that are behind.
const STAMPS_KEPT: usize = 1 << 16;

/// The tracer.
#[derive(Debug)]
pub struct Tracer {
    arena: Arena,
    tracees: HashMap<u32, Tracee>,
    stamps: HashMap<u32, Stamps>,
    /// The largest `cpu_signals` of a task's replicas, by its ordinal.
    cpu_signals: HashMap<u32, u32>,
    /// Yama restricts who may look into a process: replicas must allow it themselves.
    yama: bool,
    /// The job under way has been marked done.
    said_done: bool,
    /// Calls that can be made inside, by the part of the file whose text was searched.
    sites: HashMap<(String, u64, u64), Vec<Site>>,
}

impl Tracer {
    /// A tracer for the calling process, which must stay the one that calls it.
    pub fn new(arena: Arena) -> Self {
        let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .is_ok_and(|s| s.trim() != "0");
        Self {
            arena,
            tracees: HashMap::new(),
            stamps: HashMap::new(),
            cpu_signals: HashMap::new(),
            yama,
            said_done: false,
            sites: HashMap::new(),
        }
    }

    /// Handles what wait(2) said of `pid`. False when it is not a replica.
    pub fn on_stop(&mut self, pid: u32, stop: Stop, cpu_ns: u64) -> bool {
        let Some(t) = self.tracees.get(&pid).copied() else { return false };
        match stop {
            Stop::Exited(_) => self.died(pid, t, 0, cpu_ns),
            Stop::Killed(signal) => self.died(pid, t, signal as u32, cpu_ns),
            _ if t.held => {}
            Stop::Signal(signal) => self.on_signal(pid, signal),
            Stop::Event(tracee::event::EXEC) => self.on_exec(pid),
            Stop::Interrupted if self.preempted(pid) => {}
            Stop::Event(_) | Stop::Interrupted | Stop::Syscall => {
                let _ = tracee::resume(pid, 0);
            }
        }
        true
    }

    fn died(&mut self, pid: u32, t: Tracee, signal: u32, cpu_ns: u64) {
        self.tracees.remove(&pid);
        self.arena.header().cpu += cpu_ns;
        self.arena.forget_pid(pid);
        let limit = signal == libc::SIGKILL as u32 && self.cpu_limit_ended(t.task, cpu_ns);
        if !self.tracees.values().any(|other| other.task == t.task) {
            let ordinal = self.arena.task(t.task).ordinal;
            self.stamps.remove(&ordinal);
            self.cpu_signals.remove(&ordinal);
        }
        if limit {
            return;
        }
        let (task, replica) = (t.task as u32, t.replica as u32);
        self.arena.post_death(Death { pid, task, replica, signal });
        raw::ring_bell(chameleon_sys::executor::bell_fd());
    }

    fn adopt(&mut self, pid: u32, task: usize, replica: usize, stamps: u64) {
        self.tracees.insert(pid, Tracee { task, replica, stamps, cpu_signals: 0, held: false });
        self.arena.note_pid(pid, task, replica);
    }

    /// Whether any replica is left.
    pub fn is_empty(&self) -> bool {
        self.tracees.is_empty()
    }

    /// Kills every replica.
    pub fn kill_all(&self) {
        for pid in self.tracees.keys() {
            chameleon_sys::process::kill(*pid, libc::SIGKILL);
        }
    }
}
