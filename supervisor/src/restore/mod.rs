//! Restarts from an image: what stands in the way is told before anything is changed; then files are put
//! back, open files opened again, and the calling process becomes the program's outside.
//!
//! ```text
//!   image ─► preflight ─► locks ─► every page's checksum ─► files put back ─► opened ─► launch (`crate::launch`)
//! ```
//!
//! Invariant: until every byte of the image has been found good nothing is changed; an error later leaves
//! an image that can be restored again. Called by `chameleon restore`.

mod clocks;
mod epolls;
mod files;
mod habits;
mod memory;
mod placing;
mod sockets;
mod tree;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::image::{Image, OpenKind, Process, Range, Regular, Timer};
use chameleon_ckpt::locks::{Conflict, Held};
use chameleon_ckpt::moved;
use chameleon_ckpt::preflight::{Finding, Host, Severity, preflight};
use chameleon_ckpt::read::Chain;
use chameleon_ckpt::undo::Rollback;
use chameleon_ckpt::verify;
use chameleon_ckpt::write::Writer;
use chameleon_interpose::arena::{Arena, timed};
use chameleon_interpose::durable::writer::Images;
use chameleon_interpose::durable::{shared, threads};
use chameleon_policy::checkpoint::{Cadence, Checkpoints};
use chameleon_policy::mode::Mode;
use chameleon_policy::placement::PlacementChoice;
use chameleon_policy::schedule::Threads;
use chameleon_proto::event;
use chameleon_sys::executor::slot;
use chameleon_sys::{cpu, raw};
use nix::unistd::AccessFlags;

use crate::launch::{self, LaunchError, Run, RunConfig};
use tree::{Made, Tree};

/// How long a directory is waited for, in nanoseconds.
const WAIT_NS: u64 = 10_000_000_000;

/// What `chameleon restore` was asked for.
#[derive(Debug)]
pub struct RestoreConfig {
    /// The directory of the images.
    pub dir: PathBuf,
    /// Which image; without it the newest that can be read.
    pub at: Option<u64>,
    /// Another mode than the image's.
    pub mode: Option<Mode>,
    /// Another cadence of checkpoints than the image's.
    pub cadence: Option<Cadence>,
    /// Where events are written, as JSON lines.
    pub report: Option<PathBuf>,
    /// The voting timeout to start from.
    pub timeout: Duration,
    /// Say start and end to people too.
    pub verbose: bool,
    /// Is told how many bytes of how many are done.
    pub progress: fn(u64, u64),
}

/// Why a program was not started again. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The image or the directory.
    #[error("{0}")]
    Image(#[from] chameleon_ckpt::Error),
    /// Something stands in the way; it has been told.
    #[error("image {0} cannot be started here; nothing was changed")]
    Obstacles(u64),
    /// A lock was free a moment ago.
    #[error("{0}; nothing was changed")]
    Locked(String),
    /// A file or socket cannot be opened again.
    #[error("{0}; the image stays as it is")]
    Files(String),
    /// The launch.
    #[error("{0}")]
    Launch(#[from] LaunchError),
    /// This machine.
    #[error("{0}")]
    Machine(String),
}

impl RestoreError {
    fn locked(conflicts: Vec<Conflict>) -> Self {
        let all: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
        Self::Locked(all.join(", "))
    }
}

/// An image that has been looked at.
#[derive(Debug)]
pub struct Prepared {
    config: RestoreConfig,
    image: Image,
    rollback: Option<Rollback>,
    /// Everything that was found, obstacles first.
    pub findings: Vec<Finding>,
}

/// Looks at an image and at what stands in its way.
///
/// # Errors
/// It cannot be read.
pub fn prepare(config: RestoreConfig) -> Result<Prepared, RestoreError> {
    let dir = Dir::new(&config.dir);
    let chain = Chain::open_at(&dir, config.at)?;
    chain.check()?;
    let mut image = chain.image().clone();
    moved::apply(&dir, &mut image)?;
    let has_log = dir.logs()?.contains(&image.sequence);
    let rollback = has_log.then(|| Rollback::of(&dir, image.sequence)).transpose()?;
    let host = Host::look(&image, rollback.as_ref());
    let host = host.map_err(|e| RestoreError::Machine(format!("/proc cannot be read ({e})")))?;
    let mut findings = preflight(&image, &host);
    findings.extend(own_findings(&image, &host, rollback.as_ref(), &dir));
    findings.sort_by_key(|finding| finding.severity);
    Ok(Prepared { config, image, rollback, findings })
}

fn own_findings(
    image: &Image,
    host: &Host,
    rollback: Option<&Rollback>,
    dir: &Dir,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut stop = |what: String, advice: &str| {
        found.push(Finding { severity: Severity::Obstacle, what, advice: advice.to_owned() });
    };
    match rollback {
        None => stop(
            format!("the undo log {} is not there", dir.log(image.sequence).display()),
            "files cannot be put back; restore another image (chameleon images list)",
        ),
        Some(rollback) => {
            if let Err(e) = rollback.check() {
                stop(e.to_string(), "put the files of the program's back");
            }
        }
    }
    for process in image.processes.iter().filter(|one| one.ended.is_none()) {
        let who = &process.credentials;
        if who.uids != [host.uid; 4] || who.gids != [host.gid; 4] {
            let what = format!("it ran as user {}, group {}", who.uids[1], who.gids[1]);
            stop(what, "start it as that user (setpriv --reuid --regid --init-groups)");
        }
    }
    for file in &image.files {
        if let OpenKind::Regular(Regular { path, unlinked: false, .. }) = &file.kind
            && let Some(error) = may_not_be_opened(path, file.flags as i32)
        {
            let what = format!("open file {}: {error}", String::from_utf8_lossy(path));
            stop(what, "give yourself the right; the program was given the file open");
        }
    }
    found.extend(clocks::finding(image));
    found.extend(habits::findings(image, host));
    for note in rollback.map(Rollback::notes).unwrap_or_default() {
        found.push(Finding {
            severity: Severity::Note,
            what: format!("{note}, after the image"),
            advice: "that is not undone".to_owned(),
        });
    }
    found
}

/// Why a file that is there cannot be opened as the program had it (access(2)).
fn may_not_be_opened(path: &[u8], flags: i32) -> Option<nix::errno::Errno> {
    let rights = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => AccessFlags::R_OK,
        libc::O_WRONLY => AccessFlags::W_OK,
        _ => AccessFlags::R_OK | AccessFlags::W_OK,
    };
    let error = nix::unistd::access(Path::new(OsStr::from_bytes(path)), rights).err()?;
    // One that is missing is found elsewhere, or comes back.
    (error != nix::errno::Errno::ENOENT).then_some(error)
}

impl Prepared {
    /// Whether nothing stands in the way.
    pub fn passes(&self) -> bool {
        chameleon_ckpt::preflight::passes(&self.findings)
    }

    /// The number of the image.
    pub fn sequence(&self) -> u64 {
        self.image.sequence
    }

    /// Starts the program again; the calling process becomes its outside.
    ///
    /// # Errors
    /// As of [`RestoreError`].
    pub fn start(self) -> Result<Infallible, RestoreError> {
        clocks::go_on(&self.image).map_err(RestoreError::Machine)?;
        let began = raw::now_ns();
        let Self { config, image, rollback, findings } = self;
        let sequence = image.sequence;
        let (Some(rollback), true) = (rollback, chameleon_ckpt::preflight::passes(&findings))
        else {
            return Err(RestoreError::Obstacles(sequence));
        };
        let path = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone());
        let dir = Dir::new(&path);
        let writer = take(&path)?;
        // From here on nobody else gets them.
        let held = Held::take(&image, Some(&rollback)).map_err(RestoreError::locked)?;
        look_through(&dir, sequence, config.progress)?;
        let put_back = writer.go_back(sequence, &rollback)?;
        let process = image.processes[0].clone();
        let least = files::least(&image);
        let memory = memory::make(&image, &mut Chain::open(&dir, sequence)?, least);
        let memory = memory.map_err(RestoreError::Files)?;
        let opened = files::open(&image, &memory, held).map_err(RestoreError::Files)?;
        let images = Images {
            dir: path,
            lock: writer.hand_over().map_or(-1, IntoRawFd::into_raw_fd),
            keep: 3,
            run: image.run,
            cpus: cpu::allowed(0),
            command: image.command.clone(),
        };
        let run = run_config(&config, &image, &process)?;
        let home = Path::new(OsStr::from_bytes(&process.cwd));
        let gone = |e| RestoreError::Files(format!("{}: {e}", home.display()));
        std::env::set_current_dir(home).map_err(gone)?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(process.umask));
        let chain = Chain::open(&dir, sequence)?;
        let maps = chain.images().iter().flat_map(|one| &one.maps);
        let bytes = maps.map(|map| map.data()).sum::<u64>() * chameleon_ckpt::PAGE as u64;
        let restored = Restored {
            dir,
            sequence,
            images,
            memory,
            tree: Tree { processes: image.processes.clone(), opened },
            image,
            made: Made::default(),
            put_back,
            began,
            bytes,
            progress: config.progress,
        };
        Ok(launch::start(run, None, Some(restored))?)
    }
}

/// Takes a directory; of a run that was just killed the last processes may need a moment to end.
fn take(path: &Path) -> Result<Writer, RestoreError> {
    let until = raw::now_ns() + WAIT_NS;
    loop {
        match Writer::open(path) {
            Err(chameleon_ckpt::Error::Busy { .. }) if raw::now_ns() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            taken => return Ok(taken?),
        }
    }
}

/// Reads every page of an image and of those that it builds on.
fn look_through(dir: &Dir, sequence: u64, progress: fn(u64, u64)) -> Result<(), RestoreError> {
    let all: Vec<u64> =
        Chain::open(dir, sequence)?.images().iter().map(|one| one.image().sequence).collect();
    let total = all.iter().filter_map(|one| verify::bytes(dir, *one).ok()).sum();
    let mut done = 0;
    for one in all {
        let wrong = verify::image(dir, one, &mut |bytes| {
            done += bytes;
            progress(done, total);
        });
        if let Some(error) = wrong.into_iter().next() {
            return Err(error.into());
        }
    }
    Ok(())
}

fn run_config(
    config: &RestoreConfig,
    image: &Image,
    process: &Process,
) -> Result<RunConfig, RestoreError> {
    let mode = match config.mode {
        Some(mode) => mode,
        None => image.mode.parse().map_err(|e| {
            RestoreError::Machine(format!("the image's mode {} is not known ({e})", image.mode))
        })?,
    };
    let words = image.command.iter().skip(1).map(|word| OsString::from_vec(word.clone()));
    Ok(RunConfig {
        mode,
        report: config.report.clone(),
        injections: Vec::new(),
        timeout: config.timeout,
        placement: PlacementChoice::Auto,
        verify_donor: false,
        threads: Threads::default(),
        changeable: false,
        checkpoints: Checkpoints::read(&image.opaque)
            .map(|read| Checkpoints { cadence: config.cadence.unwrap_or(read.cadence), ..read }),
        images: None,
        restarts: 0,
        verbose: config.verbose,
        program: OsString::from_vec(process.exe.clone()),
        args: words.collect(),
    })
}

/// What a run knows of the image that it goes on from.
#[derive(Debug)]
pub(crate) struct Restored {
    dir: Dir,
    sequence: u64,
    pub images: Images,
    image: Image,
    /// Descriptors of its shared objects.
    pub memory: Vec<i32>,
    tree: Tree,
    made: Made,
    put_back: u64,
    began: u64,
    /// Bytes of pages that are read.
    pub bytes: u64,
    pub progress: fn(u64, u64),
}

impl Restored {
    /// The image, to be read.
    pub fn chain(&self) -> chameleon_ckpt::Result<Chain> {
        Chain::open(&self.dir, self.sequence)
    }

    /// What the report is told.
    pub fn event(&self, run: &Run) -> event::Restored {
        let first = &self.tree.processes[0];
        event::Restored {
            process: run.root,
            program: String::from_utf8_lossy(&first.name).into_owned(),
            image: self.sequence,
            was: first.pid,
            processes: self.made.living,
            same: self.made.same,
            put_back: self.put_back,
            ms: raw::now_ns().saturating_sub(self.began) as f64 / 1e6,
        }
    }

    /// The records of all tasks as the program knows them.
    ///
    /// # Errors
    /// What the image says of threads or shared memory is not understood.
    pub fn prepare(&self, arena: Arena) -> Result<(), String> {
        self.tree.prepare(arena);
        let living = self.tree.processes.iter().filter(|one| one.ended.is_none());
        let mut groups = BTreeMap::new();
        for (t, process) in living.enumerate() {
            prepare_task(arena, t, process);
            threads::revive(arena, t, process, &mut groups)?;
        }
        arena.header().image = self.sequence;
        let mut chain = self.chain().map_err(|e| e.to_string())?;
        shared::revive(arena, &self.image, &self.memory, &mut chain)
    }

    /// Makes the processes but the calling one, the first; they wait for the start. `own` is not theirs.
    ///
    /// # Errors
    /// In words.
    pub fn make(&mut self, arena: Arena, own: i32) -> Result<(), String> {
        self.made = self.tree.make(arena, own)?;
        Ok(())
    }

    /// The processes have been told to become outsides: waits until they have their descriptors. False if one
    /// of them could not have what it had; why is noted.
    pub fn wait_for_outsides(&self, arena: Arena) -> bool {
        placing::wait_for_outsides(arena)
    }

    /// Turns the calling process into the outside that the image's was.
    pub fn become_root(self, arena: Arena) -> ! {
        self.tree.live(arena, 0, 0)
    }
}

/// The record of task `t`, a process.
fn prepare_task(arena: Arena, t: usize, process: &Process) {
    let task = arena.task(t);
    let first = process.threads.first().filter(|first| first.opaque.len() == size_of::<u64>());
    task.written =
        first.and_then(|one| one.opaque.as_slice().try_into().ok()).map_or(0, u64::from_le_bytes);
    let real = |timer: &Timer| matches!(timer, Timer::Interval { which: 0, .. });
    task.timed = if process.timers.iter().any(real) { timed::PERHAPS } else { timed::NO };
    let (random, line) = process.opaque.split_at(process.opaque.len().min(16));
    if random.len() == 16 {
        task.random = bytemuck::pod_read_unaligned(random);
    }
    let mut name = process.name.clone();
    name.resize(16, 0);
    task.name.copy_from_slice(&name);
    for timer in &process.timers {
        if let Timer::Posix { id, due_ns, .. } = timer {
            task.noted.note_timer(*id, due_ns.is_some());
        }
    }
    let kept = |range: &Range| range.advice.dont_fork || range.advice.wipe_on_fork;
    task.unforked = process.memory.ranges.iter().any(kept).into();
    let title = arena.region.bytes(arena.slot(t) + slot::TITLE, slot::TITLE_LEN);
    let room = line.len().min(title.len() - 16);
    title[..16].copy_from_slice(&name);
    title[16..16 + room].copy_from_slice(&line[..room]);
    task.kept = room as u64;
    for signal in 1..=64u32 {
        let said = process.dispositions.iter().find(|one| one.signal == signal);
        let action = arena.action(t, signal as usize);
        (action.handler, action.flags, action.restorer, action.mask) =
            said.map_or((0, 0, 0, 0), |d| (d.handler, d.flags, d.restorer, d.mask));
    }
}
