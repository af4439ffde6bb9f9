//! Starting a run: everything that can fail fails here, before the calling process becomes the
//! program's outside.
//!
//! Invariant: on error nothing is left running and the caller is as it was, but for its signal
//! mask; on success the caller never returns.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chameleon_ckpt::write::Writer;
use chameleon_interpose::arena::{Arena, CHECKPOINTS, MAX_REPLICAS, Task};
use chameleon_interpose::durable::writer::Images;
use chameleon_interpose::outside;
use chameleon_policy::checkpoint::Checkpoints;
use chameleon_policy::mode::Mode;
use chameleon_policy::placement::PlacementChoice;
use chameleon_policy::schedule::Threads;
use chameleon_proto::inject::Injection;
use chameleon_sys::executor::{self, slot};
use chameleon_sys::process::{self, Fork, Program};
use chameleon_sys::{cpu, fd, image, raw, shadow};

use crate::again::{self, Again};
use crate::durable;
use crate::keeper;
use crate::restore::Restored;
use crate::search;

/// Replicas beside which there are places for a process's checkpoints.
const MOST_WITH_CHECKPOINTS: usize = MAX_REPLICAS - CHECKPOINTS - 1;

/// What `chameleon run` was asked for.
#[derive(Debug)]
pub struct RunConfig {
    /// How many replicas, and how many equal ballots decide.
    pub mode: Mode,
    /// Where events are written, as JSON lines.
    pub report: Option<PathBuf>,
    /// Faults to put in.
    pub injections: Vec<Injection>,
    /// The voting timeout to start from.
    pub timeout: Duration,
    /// Where things run.
    pub placement: PlacementChoice,
    /// Compare a donor's memory with another replica's before it is copied.
    pub verify_donor: bool,
    /// What is done with a thread that computes while others wait.
    pub threads: Threads,
    /// A single replica is executed as several are, so that there can be several later.
    pub changeable: bool,
    /// Checkpoints, if they are taken.
    pub checkpoints: Option<Checkpoints>,
    /// Where checkpoints are written to, if they are durable.
    pub images: Option<PathBuf>,
    /// How often a run that was given up is started again from the beginning.
    pub restarts: u32,
    /// Say start and end to people too.
    pub verbose: bool,
    /// The program, to be searched for in PATH.
    pub program: OsString,
    /// Its arguments after its name.
    pub args: Vec<OsString>,
}

/// Why a run could not be started. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("{0}: no such program")]
    Missing(String),
    /// It is there and cannot be executed.
    #[error("{0}: cannot be executed: {1}")]
    NotExecutable(String, &'static str),
    /// It is there and the kernel does not execute it.
    #[error("{0}: cannot be executed: {1}")]
    Refused(String, String),
    /// It is there and replicas cannot become it.
    #[error("{0}: cannot be replicated: {1}; run it without chameleon")]
    NotReplicable(String, &'static str),
    /// There is no place for checkpoints beside so many replicas.
    #[error("--checkpoint goes with at most {0} replicas; choose another --mode")]
    NoPlaces(usize),
    /// The report cannot be opened.
    #[error("--report {0}: {1}; name a file that can be written")]
    Report(String, std::io::Error),
    /// The directory for images cannot be used.
    #[error(
        "--checkpoint-dir: {0}; name a directory that no other run has and that can be written"
    )]
    Images(chameleon_ckpt::Error),
    /// The kernel or a container forbids what is needed.
    #[error("{0}; `chameleon doctor` says what this machine allows")]
    Kernel(String),
}

impl LaunchError {
    /// The exit status that goes with it: 127 not found, 126 not executable, 125 ours.
    pub fn status(&self) -> u8 {
        match self {
            Self::Missing(_) => 127,
            Self::NotExecutable(..) | Self::Refused(..) | Self::NotReplicable(..) => 126,
            Self::NoPlaces(_) | Self::Report(..) | Self::Images(_) | Self::Kernel(_) => 125,
        }
    }
}

impl From<chameleon_sys::Error> for LaunchError {
    fn from(e: chameleon_sys::Error) -> Self {
        Self::Kernel(e.to_string())
    }
}

/// Everything the supervisor needs; it inherits it by fork.
#[derive(Debug)]
pub(crate) struct Run {
    pub arena: Arena,
    pub config: RunConfig,
    pub program: Program,
    pub report: Option<i32>,
    pub again: Option<Again>,
    pub images: Option<Images>,
    pub restored: Option<Restored>,
    pub lifeline: i32,
    pub job_bell: i32,
    pub root: u32,
    pub name: String,
}

/// Runs the program: the calling process becomes its outside, or with restarts the parent of that.
pub fn run(config: RunConfig) -> Result<Infallible, LaunchError> {
    if config.restarts > 0 { again::run(config) } else { start(config, None, None) }
}

/// Runs the program: the calling process becomes its outside. With `restored` the program goes on from an
/// image.
pub(crate) fn start(
    config: RunConfig,
    again: Option<Again>,
    mut restored: Option<Restored>,
) -> Result<Infallible, LaunchError> {
    let slots = descriptor_slots();
    let path = search::find(&config.program)?;
    if let Some(why) = image::why_not(&path, image::own_identity(), "self") {
        return Err(LaunchError::NotReplicable(path.display().to_string(), why));
    }
    let report = match &config.report {
        None => None,
        Some(p) => {
            // A further try goes on with the report of the one before.
            let further = again.is_some_and(|again| again.attempt > 0);
            let mut how = File::options();
            how.write(true).create(true).truncate(!further).append(further);
            let file = how.open(p).map_err(|e| LaunchError::Report(p.display().to_string(), e))?;
            Some(file.into_raw_fd())
        }
    };
    let images = match (&config.images, &restored) {
        (_, Some(restored)) => Some(restored.images.clone()),
        (Some(dir), None) => {
            let writer = Writer::open(dir).map_err(LaunchError::Images)?;
            Some(durable::images(dir, writer, &config))
        }
        (None, None) => None,
    };
    let checkpoints = config.checkpoints;
    if checkpoints.is_some() && usize::from(config.mode.n) > MOST_WITH_CHECKPOINTS {
        return Err(LaunchError::NoPlaces(MOST_WITH_CHECKPOINTS));
    }
    let journal = checkpoints.map(|c| usize::try_from(c.journal).unwrap_or(usize::MAX));
    let arena = Arena::create(journal)?;
    let lockstep = config.mode.n > 1 || checkpoints.is_some() || config.changeable;
    let (lifeline_read, lifeline) = fd::pipe()?;
    let bell = fd::bell()?;
    let job_bell = fd::bell()?;
    let top = process::descriptor_top(1020);
    process::with_room_for(top, || {
        fd::place(bell, top)?;
        fd::place(lifeline_read, top - 1)
    })?;
    fd::close(bell);
    fd::close(lifeline_read);
    if lockstep {
        shadow::create();
    }
    let name = path.file_name().unwrap_or(OsStr::new("program"));
    let program = Program {
        path: c_string(path.as_os_str()),
        args: std::iter::once(&config.program).chain(&config.args).map(|a| c_string(a)).collect(),
        env: std::env::vars_os().map(variable).collect(),
        mask: process::mask(),
        shares: lockstep,
        traps_time_stamps: lockstep,
    };
    let first = chameleon_interpose::arena::FIRST_SLOT;
    executor::configure(arena.region, first, arena.stride(), top, top - 1);
    prepare_root(arena, &config, name, &program);
    arena.task(0).slots = slots;
    if let Some(restored) = &mut restored {
        restored.prepare(arena).map_err(LaunchError::Kernel)?;
        restored.make(arena, lifeline).map_err(LaunchError::Kernel)?;
    }
    let h = arena.header();
    // Whatever mode it has later, they are there.
    let first = checkpoints.map_or(0, |_| MOST_WITH_CHECKPOINTS as u32 + 1);
    h.may_restart = again.is_some_and(|a| a.attempt < a.restarts).into();
    (h.lockstep, h.first_place) = (lockstep.into(), first);
    h.images = images.is_some().into();
    let run = Run {
        arena,
        report,
        again,
        images,
        restored,
        lifeline,
        job_bell,
        root: raw::getpid() as u32,
        name: name.to_string_lossy().into_owned(),
        program,
        config,
    };
    start_supervisor(run)
}

fn c_string(s: &OsStr) -> CString {
    // Arguments and variables come from the kernel, which ends them with NUL.
    CString::new(s.as_bytes()).unwrap_or_default()
}

fn variable((mut name, value): (OsString, OsString)) -> CString {
    name.push("=");
    name.push(value);
    CString::new(name.into_vec()).unwrap_or_default()
}

/// The places in this process's descriptor table (proc(5), FDSize): before anything was opened, it
/// is the one that the program would have been started with.
fn descriptor_slots() -> u32 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("FDSize:"));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// The record of the root task.
fn prepare_root(arena: Arena, config: &RunConfig, name: &OsStr, program: &Program) {
    let h = arena.header();
    (h.tasks, h.next_ordinal, h.next_table) = (1, 1, 1);
    h.started_at = raw::now_ns();
    let title = arena.region.bytes(arena.slot(0) + slot::TITLE, slot::TITLE_LEN);
    let n = name.len().min(15);
    title[..n].copy_from_slice(&name.as_bytes()[..n]);
    let mut used = 16;
    for a in &program.args {
        let bytes = a.as_bytes_with_nul();
        let room = bytes.len().min(title.len() - used);
        title[used..used + room].copy_from_slice(&bytes[..room]);
        used += room;
    }
    let pid = raw::getpid() as u32;
    let mut random = [0u64; 2];
    raw::random(bytemuck::bytes_of_mut(&mut random));
    let t = arena.task(0);
    *t = Task {
        used: 2,
        tid: pid,
        tgid: pid,
        n: config.mode.n.into(),
        mask: program.mask,
        kept: (used - 16) as u64,
        random,
        cpus: cpu::allowed(0),
        ..bytemuck::Zeroable::zeroed()
    };
    t.name.copy_from_slice(&title[..16]);
    outside::note_dispositions(arena);
}

fn start_supervisor(run: Run) -> Result<Infallible, LaunchError> {
    let arena = run.arena;
    match process::fork()? {
        Fork::Parent(between) => {
            process::reap(between);
        }
        Fork::Child => match process::fork() {
            Ok(Fork::Child) => keeper::supervise(run),
            Ok(Fork::Parent(_)) => process::exit_now(0),
            Err(_) => {
                arena.ready().store(2 + 125, Ordering::Release);
                process::exit_now(0)
            }
        },
    }
    let pipe = run.again.map(|again| again.pipe);
    let lock = run.images.as_ref().map(|images| images.lock);
    let own = [run.report, pipe, lock, shadow::file(), Some(run.lifeline), Some(run.job_bell)];
    own.into_iter().flatten().for_each(fd::close);
    loop {
        match arena.ready().load(Ordering::Acquire) {
            0 if run.restored.is_some() => {
                raw::futex_wait_for(arena.ready(), 0, 100);
                if let Some(restored) = &run.restored {
                    (restored.progress)(arena.header().restored, restored.bytes);
                }
            }
            0 => raw::futex_wait(arena.ready(), 0),
            1 => break,
            failed => {
                let text = keeper::failure_text(arena);
                return Err(match failed - 2 {
                    126 => LaunchError::Refused(run.name, text),
                    127 => LaunchError::Missing(run.name),
                    _ => LaunchError::Kernel(text),
                });
            }
        }
    }
    match run.restored {
        Some(restored) => restored.become_root(arena),
        None => outside::become_root(arena),
    }
}
