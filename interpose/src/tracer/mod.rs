//! The tracer of all replicas of a run: what only ptrace(2) can do, as jobs for the dispatcher.
//!
//! It lives in the supervisor, not in the ARMOR that votes: an earlier design let the dispatcher
//! trace, and whatever its death interrupted (an exec, a trapped rdtsc, a signal half delivered)
//! was lost with it. See docs/adr/0002.
//!
//! Invariant: a replica is stopped only inside one of the functions here, and a job is marked done
//! before its replica runs again, so that the dispatcher never hears from a replica earlier than
//! of the job.

mod agree;
mod arm;
mod boot;
mod clock;
mod copy;
mod describe;
mod freeze;
mod freeze_threads;
mod inject;
mod jobs;
mod join;
mod look;
mod numbers;
mod renew;
mod renew_threads;
mod shared;
mod stamp;
mod stops;
mod threads;
mod trap;
mod way;
mod words;

use std::collections::{BTreeSet, HashMap, VecDeque};

use chameleon_sys::inside::Site;
use chameleon_sys::stamp::{Moment, Scale};
use chameleon_sys::tracee::{self, Stop};
use chameleon_sys::{Result, cpu, raw};

pub use boot::{BootError, Booted};

use crate::arena::{Arena, Death, READINGS_KEPT};
use crate::rdrand::Sites;

/// What the tracer keeps of one thread of a replica.
#[derive(Clone, Copy, Debug)]
struct Tracee {
    task: usize,
    /// That task's own, for as long as it has a replica or a checkpoint.
    ordinal: u32,
    replica: usize,
    /// What it has read of its task's sequences.
    read: Read,
    /// How often the kernel has told it of its limit of CPU time.
    cpu_signals: u32,
    /// Stopped by a job, not to be resumed by anything but a release.
    held: bool,
}

/// How far a replica is in the sequences of its task.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    /// How many time stamps it has read, if it does not read clocks inside.
    stamps: u64,
    /// How many random numbers of the processor.
    numbers: u64,
    /// It reads clocks inside (`chameleon_sys::clock`).
    clock: bool,
}

/// The time stamps, or the random numbers, that the replicas of one task have read: the first to
/// ask decides.
#[derive(Debug, Default)]
struct Sequence {
    first: u64,
    values: VecDeque<u64>,
}

/// Where the code of a task's replicas draws random numbers.
#[derive(Clone, Debug, Default)]
struct Patches {
    /// Execs of the task, when the program was looked through.
    exec: u32,
    /// Addresses of opcodes.
    at: BTreeSet<u64>,
}

/// Values kept for replicas that are behind: twice as many as a checkpoint may go back, since those that
/// run read on until it is made.
const KEPT: usize = 2 * READINGS_KEPT as usize;

impl Sequence {
    /// The `index`-th value, `new` if it is nobody's yet.
    fn at(&mut self, index: u64, mut new: impl FnMut() -> u64) -> u64 {
        while self.first + self.values.len() as u64 <= index {
            self.values.push_back(new());
        }
        if self.values.len() > KEPT {
            self.values.pop_front();
            self.first += 1;
        }
        // A replica more than KEPT behind reads a later value and will be outvoted.
        let i = index.saturating_sub(self.first) as usize;
        self.values.get(i).copied().unwrap_or_default()
    }
}

/// The tracer.
#[derive(Debug)]
pub struct Tracer {
    arena: Arena,
    tracees: HashMap<u32, Tracee>,
    /// Time stamps, if clocks are not read inside. By the task's ordinal, as all below.
    stamps: HashMap<u32, Sequence>,
    /// Random numbers of the processor.
    numbers: HashMap<u32, Sequence>,
    /// Where a task's code was changed for them.
    patched: HashMap<u32, Patches>,
    /// Where files have such code.
    sites: Sites,
    /// The largest `cpu_signals` of a task's replicas.
    cpu_signals: HashMap<u32, u32>,
    /// Yama restricts who may look into a process: replicas must allow it themselves.
    yama: bool,
    /// What happened to others while one was waited for.
    put_off: VecDeque<(u32, Stop, u64)>,
    /// Threads that are being brought to one state.
    attempt: Option<agree::Attempt>,
    /// Where threads that were preempted go on.
    interrupted: HashMap<u32, trap::Interrupted>,
    /// Threads that have a breakpoint which is to go.
    to_disarm: BTreeSet<u32>,
    /// What the kernel goes by when memory runs out, for our processes (proc(5), oom_score_adj).
    oom_score: String,
    /// The CPUs on which things may run (sched_setaffinity(2)).
    cpus: [u64; 16],
    /// The job under way has been marked done.
    said_done: bool,
    /// Calls that can be made inside, by the part of the file whose text was searched.
    calls: HashMap<(String, u64, u64), Vec<Site>>,
    /// Where the functions of the kernel's vDSO are, and where they are led to; `None` if they are not
    /// all known.
    vdso: Option<Option<Vec<(u64, u64)>>>,
    /// Replicas whose writes are watched, and how many looks there were.
    watched: HashMap<u32, look::Watched>,
    /// That takes descriptors, which a supervisor that is not set up yet would close.
    may_watch: bool,
    looks: u64,
    /// When it began.
    begun: Moment,
    /// How time is told in ticks of the time stamp counter, once anybody has read it.
    scale: Option<Scale>,
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
            numbers: HashMap::new(),
            patched: HashMap::new(),
            sites: Sites::default(),
            cpu_signals: HashMap::new(),
            yama,
            put_off: VecDeque::new(),
            attempt: None,
            interrupted: HashMap::new(),
            to_disarm: BTreeSet::new(),
            oom_score: std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default(),
            cpus: cpu::allowed(0),
            said_done: false,
            calls: HashMap::new(),
            vdso: None,
            watched: HashMap::new(),
            may_watch: false,
            looks: 0,
            begun: Moment::now(),
            scale: None,
        }
    }

    /// What happened next to any child or tracee, if anything has.
    pub fn next_event(&mut self) -> Option<(u32, Stop, u64)> {
        self.put_off.pop_front().or_else(|| tracee::wait(None, false).ok().flatten())
    }

    /// Waits for what happens next to `pid`; what happens to others meanwhile is put off. A leader's
    /// end is told only when those of all its threads have been taken (wait(2)).
    fn wait_for(&mut self, pid: u32) -> Result<(Stop, u64)> {
        if let Some(i) = self.put_off.iter().position(|e| e.0 == pid)
            && let Some((_, stop, cpu)) = self.put_off.remove(i)
        {
            return Ok((stop, cpu));
        }
        loop {
            if let Some((_, stop, cpu)) = tracee::wait(Some(pid), false)? {
                return Ok((stop, cpu));
            }
            match tracee::wait(None, true)? {
                Some((p, stop, cpu)) if p == pid => return Ok((stop, cpu)),
                Some(other) => self.put_off.push_back(other),
                None => {}
            }
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
            Stop::Interrupted if self.preempted(pid) || self.stopped_to_agree(pid) => {}
            Stop::Event(_) | Stop::Interrupted | Stop::Syscall => {
                self.disarm(pid);
                let _ = tracee::resume(pid, 0);
            }
        }
        true
    }

    fn died(&mut self, pid: u32, t: Tracee, signal: u32, cpu_ns: u64) {
        self.tracees.remove(&pid);
        self.watched.remove(&pid);
        self.interrupted.remove(&pid);
        self.to_disarm.remove(&pid);
        if self.attempt.as_ref().is_some_and(|a| a.concerns(pid)) {
            self.withdraw();
        }
        // The kernel's count is that of the whole process, whichever of its threads has ended; the
        // first of them is the last to be reported.
        if self.arena.task(t.task).leader as usize == t.task {
            self.arena.header().cpu += cpu_ns;
        }
        self.arena.forget_pid(pid);
        let limit = signal == libc::SIGKILL as u32 && self.cpu_limit_ended(t.task, cpu_ns);
        // A replica that is made anew reads what was read before. And its task's record may be another's by
        // now.
        let again = self.arena.header().first_place != 0 && self.arena.task(t.task).used != 0;
        let ordinal = t.ordinal;
        if !again && !self.tracees.values().any(|other| other.ordinal == ordinal) {
            self.stamps.remove(&ordinal);
            self.numbers.remove(&ordinal);
            self.patched.remove(&ordinal);
            self.cpu_signals.remove(&ordinal);
        }
        if limit {
            return;
        }
        self.preempts_no_more(pid);
        let (task, replica) = (t.task as u32, t.replica as u32);
        self.arena.post_death(Death { pid, task, replica, signal });
        raw::ring_bell(chameleon_sys::executor::bell_fd());
    }

    fn adopt(&mut self, pid: u32, task: usize, replica: usize, read: Read) {
        let ordinal = self.arena.task(task).ordinal;
        let tracee = Tracee { task, ordinal, replica, read, cpu_signals: 0, held: false };
        self.tracees.insert(pid, tracee);
        self.arena.note_pid(pid, task, replica);
        let leader = self.arena.task(task).leader as usize;
        let recovery = &mut self.arena.task(leader).recovery;
        recovery.drawn_at[replica] = recovery.drawn;
    }

    /// So many more time stamps or random numbers of a task have been decided.
    fn note_drawn(&self, task: usize, decided: u64) {
        let leader = self.arena.task(task).leader as usize;
        self.arena.task(leader).recovery.drawn += decided;
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
