//! The dispatcher: the one process that receives every call of a process tree, has it voted,
//! performed once, and its result fanned out.
//!
//! ```text
//!              ballots                      request            result
//!  replicas ──► COLLECT ──(K equal)──► WORK ───────► executor ───────► head + 1 ──► replicas
//!                  ▲                    │  └─ jobs ─► tracer             │
//!                  └────────────────────┴────────────────────────────────┘
//! ```
//!
//! Every step is driven by what the arena says and not by what just happened: `Dispatcher::drive`
//! looks at a task and does what is due. So a successor only has to drive every task.
//!
//! Invariant: the arena's records are the whole state; the fields here are caches and settings.
//! After warm-up the path of a call allocates nothing and takes no lock.

mod answer;
mod arrive;
pub mod asked;
mod ballots;
mod budget;
pub mod change;
mod checkpoint;
mod control;
mod cpu;
pub(crate) mod cpu_timers;
mod crash;
mod descriptors;
pub(crate) mod durable;
mod ending;
mod exec;
mod faults;
mod freeze_group;
mod futex;
mod futex2;
pub(crate) mod inside;
mod journal;
mod late;
mod locks;
mod losers;
mod mend;
mod native;
mod number_buffers;
mod numbers;
mod own_status;
mod paths;
mod pending;
mod pieces;
mod place;
mod preempt;
mod process;
mod quick;
mod race;
mod rendezvous;
mod report;
mod robust;
mod rollback;
mod rollback_group;
mod rollback_vfork;
mod schedule;
mod shared;
mod signal_return;
mod signals;
mod taken_back;
mod takeover;
mod threads;
mod undo;
mod unite;
pub(crate) mod waits;
mod wakes;
mod work;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chameleon_policy::checkpoint::Checkpoints;
use chameleon_policy::mode::Mode;
use chameleon_policy::placement::{PlacementChoice, Placer};
use chameleon_policy::schedule::Threads;
use chameleon_policy::timeout::VotingTimeout;
use chameleon_proto::inject::Injection;
use chameleon_sys::{Result, fd, process as own, raw};

pub use report::Reporter;
pub(crate) use threads::EXECUTOR_THREAD;

use crate::arena::{Arena, JOBS, Job, MAX_TASKS, Piece, commit, job, rstate};
use crate::durable::writer::Images;
use crate::rdrand::Sites;
use quick::Quick;

/// What a dispatcher is told by whoever starts it.
#[derive(Debug)]
pub struct Settings {
    /// How many replicas, and how many equal ballots decide.
    pub mode: Mode,
    /// The voting timeout to start from.
    pub timeout: Duration,
    /// Faults to put in.
    pub injections: Vec<Injection>,
    /// Compare a donor's memory with another replica's before it is copied.
    pub verify_donor: bool,
    /// What is done with a thread that computes while others wait.
    pub threads: Threads,
    /// Where things run.
    pub placement: PlacementChoice,
    /// Checkpoints, if they are taken.
    pub checkpoints: Option<Checkpoints>,
    /// Where they go, if they are durable.
    pub images: Option<Images>,
    /// The listeners of the root replicas.
    pub listeners: Vec<i32>,
    /// Eventfd of the tracer.
    pub tracer_bell: i32,
    /// The process that supervises this one.
    pub supervisor: u32,
}

/// The bytes compared at once.
const SCRATCH: usize = 64 << 10;
/// Milliseconds between looks at replicas that are behind.
const LOOK_MS: i32 = 100;

const BELL: u64 = 1 << 32;
const CONTROL: u64 = 2 << 32;
const PIDFD: u64 = 3 << 32;
const TIMERS: u64 = 4 << 32;
const IMAGE: u64 = 8 << 32;

/// What one turn of the dispatcher found for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go on.
    Continue,
    /// The control descriptor has something.
    Control,
    /// The program has ended and everything of it is gone.
    Finished,
}

/// See the module's description.
#[derive(Debug)]
pub struct Dispatcher {
    arena: Arena,
    settings: Settings,
    report: Reporter,
    epoll: i32,
    ready: [fd::Ready; 32],
    pieces: Vec<Piece>,
    outs: Vec<Piece>,
    /// Words that go to every replica with the answer about to be given: task, address, word.
    words: Vec<(usize, u64, u32)>,
    /// A call that is about to be decided has woken others.
    wakes: bool,
    /// A task waits for others to become one group with them.
    uniting: bool,
    scratch: Vec<u8>,
    timeout: VotingTimeout,
    quick: Quick,
    /// When the memory that checkpoints hold was looked at last.
    budget_seen: u64,
    /// Files that replicas made of a checkpoint will need.
    lent: journal::Lent,
    /// Replicas that others wait for, by their threads' ids.
    kept_back: HashMap<u32, late::KeptBack>,
    /// What was read of clocks since checkpoints of a group.
    readings: Cell<freeze_group::Readings>,
    /// Images of checkpoints, if they are written.
    durable: Option<durable::Durable>,
    shared: shared::Shared,
    /// Where files draw random numbers of the processor.
    sites: Sites,
    timers: cpu_timers::Timers,
    pidfds: Vec<i32>,
    /// Some replica is behind: look at the clock now and then.
    behind: bool,
    placer: Option<Placer>,
    period: place::Period,
    /// The one CPU that everything is to run on, if it is.
    home: Option<[u64; 16]>,
    jobs_open: bool,
    /// The time at the beginning of this turn, in monotonic nanoseconds.
    now: u64,
    /// Processes of which a race was told.
    races_told: Vec<u32>,
    /// Pairs of replicas whose memory was told to differ.
    latent_told: Vec<(u32, u32)>,
    /// When replicas that are behind were last looked at.
    looked_at: u64,
    /// Places for replicas that each task has, but for a third that decides.
    seats: u8,
    /// The mode that the run is to have, as long as not all of it has.
    to: Option<Mode>,
    /// The owner is to hear of something that has ended.
    tells: bool,
    /// How many decided calls a replica may be behind.
    lag_calls: u32,
    /// How many bytes of their data.
    lag_bytes: u64,
}

impl Dispatcher {
    /// Takes charge of what is in the arena, whether a program that has just started or one whose
    /// dispatcher has died.
    pub fn new(arena: Arena, settings: Settings, report: Reporter) -> Result<Self> {
        let epoll = fd::epoll()?;
        for (i, l) in settings.listeners.iter().enumerate() {
            fd::watch(epoll, *l, i as u64)?;
        }
        fd::watch(epoll, chameleon_sys::executor::bell_fd(), BELL)?;
        let timeout = VotingTimeout::new(settings.timeout);
        let mut d = Self {
            arena,
            report,
            epoll,
            ready: [fd::Ready::default(); 32],
            pieces: Vec::with_capacity(4096),
            outs: Vec::with_capacity(4096),
            words: Vec::with_capacity(64),
            wakes: false,
            uniting: true,
            scratch: vec![0; SCRATCH],
            timeout,
            quick: Quick::new(),
            budget_seen: 0,
            lent: journal::Lent::new(),
            kept_back: HashMap::new(),
            readings: Cell::default(),
            durable: settings.images.clone().map(durable::Durable::new),
            shared: shared::Shared::default(),
            sites: Sites::default(),
            timers: cpu_timers::Timers::default(),
            pidfds: vec![-1; MAX_TASKS],
            behind: true,
            placer: None,
            period: place::Period::default(),
            home: None,
            jobs_open: true,
            now: raw::now_ns(),
            races_told: Vec::new(),
            latent_told: Vec::new(),
            looked_at: 0,
            seats: settings.mode.n,
            to: None,
            tells: false,
            lag_calls: 0,
            lag_bytes: 0,
            settings,
        };
        d.recall();
        crate::arena::crash::arm(d.arena.header().takeovers.into());
        if d.lockstep() {
            own::avoid_time_stamps(); // as the replicas: there is nothing to agree on with one
        }
        own::raise_descriptor_limit();
        own::ignore(libc::SIGXFSZ);
        own::ignore(libc::SIGPIPE);
        d.start_placing();
        Ok(d)
    }

    /// Watches a descriptor of the owner's, reported as [`Turn::Control`].
    pub fn watch_control(&mut self, fd: i32) -> Result<()> {
        fd::watch(self.epoll, fd, CONTROL)
    }

    /// Says an event of the owner's.
    pub fn say(&mut self, event: chameleon_proto::event::Event) {
        self.report.say(event);
    }

    /// Waits for something to happen and handles it.
    pub fn turn(&mut self) -> Turn {
        let timeout = self.next_look();
        let mut ready = self.ready;
        let n = fd::wait(self.epoll, &mut ready, timeout);
        self.now = raw::now_ns();
        self.beat(true);
        let mut turn = Turn::Continue;
        if (self.behind || self.settings.checkpoints.is_some())
            && self.now - self.looked_at > LOOK_MS as u64 * 900_000
        {
            self.check_late();
        }
        for r in &ready[..n] {
            match r.token {
                BELL => {
                    fd::silence(chameleon_sys::executor::bell_fd());
                    self.look_everywhere();
                }
                TIMERS => self.timers_expired(),
                CONTROL => turn = Turn::Control,
                IMAGE => self.image_is_written(),
                t if t & PIDFD == PIDFD => self.executor_ended((t & 0xffff_ffff) as usize),
                l if r.hung_up => {
                    fd::unwatch(self.epoll, self.settings.listeners[l as usize]);
                }
                l => self.receive(l as usize),
            }
        }
        self.advance_cut();
        self.advance_change();
        self.place_again();
        self.beat(false);
        if self.arena.header().finished != 0 { Turn::Finished } else { turn }
    }

    /// Moves the heartbeat on: to an odd number while there is work, to an even one before waiting.
    pub(super) fn beat(&self, works: bool) {
        let heart = self.arena.heartbeat();
        let now = heart.load(Ordering::Relaxed);
        let step = if (now % 2 == 1) == works { 2 } else { 1 };
        heart.store(now.wrapping_add(step), Ordering::Relaxed);
    }

    /// Whether the outside decides whatever may differ from one execution to the next.
    pub(super) fn lockstep(&self) -> bool {
        self.arena.header().lockstep != 0
    }

    fn tasks(&self) -> usize {
        self.arena.header().tasks as usize
    }

    /// Handles deaths, finished jobs, posted signals and finished requests of all tasks.
    fn look_everywhere(&mut self) {
        self.take_deaths();
        self.take_jobs();
        self.look_after_timers();
        for t in 0..self.tasks() {
            if self.arena.task(t).used != 0 {
                self.watch_executor(t);
                self.take_signals(t);
                self.sweep_thread(t);
                self.drive_task(t);
            }
        }
        // Each group once, however many threads it has.
        let mut seen = [0u64; MAX_TASKS / 64];
        for t in 0..self.tasks() {
            if self.arena.task(t).used == 0 {
                continue;
            }
            let Some(g) = self.group_of(t) else { continue };
            if seen[g / 64] & 1 << (g % 64) == 0 {
                seen[g / 64] |= 1 << (g % 64);
                self.drive_group(g);
            }
        }
        if self.uniting {
            self.unite_waiting();
        }
    }

    /// Asks the tracer for something; a replica that it is to answer, and those that it is to make
    /// of it, are marked so first. False when it has too much to do already.
    fn ask(&mut self, job: Job) -> bool {
        let free = (0..JOBS).map(|i| self.arena.job(i)).find(|j| j.state == 0);
        let Some(j) = free else { return false };
        *j = Job { state: 0, asked_at: raw::now_ns(), ..job };
        let replicas = &mut self.arena.task(job.task as usize).replicas;
        if job::answers(job.kind) {
            replicas[job.replica as usize].state = rstate::JOB;
        }
        let copies = if job::makes(job.kind) { job.copies } else { 0 };
        for (_, copy) in replicas.iter_mut().enumerate().filter(|(r, _)| copies & (1 << r) != 0) {
            copy.state = rstate::EXPECTED;
        }
        commit();
        j.state = 1;
        commit();
        self.jobs_open = true;
        raw::ring_bell(self.settings.tracer_bell);
        true
    }

    /// A job about replica `r` of task `t`.
    fn job_for(&self, t: usize, r: usize, kind: u32) -> Job {
        let replica = self.arena.task(t).replicas[r];
        Job {
            state: 0,
            kind,
            task: t as u32,
            replica: r as u32,
            pid: replica.pid,
            listener: replica.listener,
            id: replica.id,
            ret: 0,
            args: [0; 6],
            child_task: 0,
            copies: 0,
            error: 0,
            hold: 0,
            seq: replica.seq,
            asked_at: 0,
            done_at: 0,
        }
    }

    fn next_look(&self) -> i32 {
        if self.cuts() {
            return durable::LOOK_MS;
        }
        match (self.placing(), self.behind) {
            (true, _) => place::LOOK_MS,
            (false, true) => LOOK_MS,
            (false, false) if self.settings.checkpoints.is_some() => LOOK_MS,
            (false, false) => -1,
        }
    }

    /// Bit masks of the replicas that may still vote and of those that stand at the head.
    fn masks(&self, t: usize) -> (u32, u32) {
        let task = self.arena.task(t);
        let (mut live, mut here) = (0, 0);
        for (i, r) in task.replicas[..task.n as usize].iter().enumerate() {
            if crate::arena::is_live(r) {
                live |= 1 << i;
            }
            if r.state == rstate::PARKED && r.seq == task.head {
                here |= 1 << i;
            }
        }
        (live, here)
    }
}
