//! Starting `chameleon run` (or `restore`) for an order, and finding again what an earlier life started.
//!
//! Invariant: a run's process is held by its pidfd, so nothing is ever sent to another that has its number;
//! the run is in a process group of its own and has nothing of the ARMOR but its streams. Used by the EXECUTION ARMOR.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::read::Chain;
use chameleon_proto::message::app::Began;
use chameleon_proto::message::env::Execute;
use chameleon_supervisor::runs;
use nix::unistd::User;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::state::State;

/// A run that is followed.
#[derive(Debug)]
pub(super) struct Running {
    pub pid: u32,
    pub pidfd: Rc<OwnedFd>,
    child: Option<Child>,
    pub began: Began,
    /// Its ID, when that is known.
    pub id: String,
    /// The image that it goes on from: its number and its cut.
    pub image: Option<(u64, u64)>,
}

/// Where the files of one attempt are.
pub(super) fn report(home: &Path, state: &State) -> PathBuf {
    let how = if state.restored { "-restored" } else { "" };
    home.join(format!("report-{}{how}.jsonl", state.attempt))
}

/// The images of the attempt that began them.
pub(super) fn images(home: &Path, state: &State) -> PathBuf {
    images_of(home, state.images)
}

/// Those of an attempt.
pub(super) fn images_of(home: &Path, attempt: u32) -> PathBuf {
    home.join(format!("images-{attempt}"))
}

/// Where streams lead that the specification names.
pub(super) fn named_streams(directory: &Path, order: &Execute) -> Vec<PathBuf> {
    let named = order.streams.iter().flatten();
    named.map(|path| directory.join(OsStr::from_bytes(path))).collect()
}

/// What a run that did not even begin said last.
pub(super) fn complaint(home: &Path, order: &Execute) -> String {
    let directory = directory(home, order);
    let error = match &order.streams[2] {
        Some(path) => directory.join(OsStr::from_bytes(path)),
        None => home.join("stderr"),
    };
    let text = tail(&error).unwrap_or_default();
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("chameleon: ")).collect();
    let obstacle = lines.iter().rev().find_map(|line| line.strip_prefix("in the way: "));
    obstacle.or(lines.last().copied()).unwrap_or("it says nothing").to_owned()
}

/// The last of a file.
fn tail(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let long = end.min(4096);
    let mut bytes = vec![0; long as usize];
    file.read_exact_at(&mut bytes, end - long)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the program works.
pub(super) fn directory(home: &Path, order: &Execute) -> PathBuf {
    match &order.apart {
        Some(_) => home.join("work"),
        None => PathBuf::from(OsStr::from_bytes(&order.directory)),
    }
}

/// Starts it.
///
/// # Errors
/// Of the streams, or of the start.
pub(super) fn start(
    home: &Path,
    user: Option<&User>,
    order: &Execute,
    state: &State,
) -> io::Result<Running> {
    let directory = directory(home, order);
    let mut command = Command::new(program());
    let report = report(home, state);
    if state.restored {
        command.arg("restore").arg("--report").arg(report);
        // An image may be from before these were changed.
        for name in ["mode", "timeout", "checkpoint"] {
            if let Some(value) = order.options.get(name) {
                command.arg(format!("--{name}")).arg(value);
            }
        }
        command.arg(images(home, state));
    } else {
        command.arg("run").arg("--report").arg(report);
        for (name, value) in &order.options {
            command.arg(format!("--{name}")).arg(value);
        }
        if order.apart.is_none() {
            // People may change its mode while it runs.
            command.arg("--changeable");
        }
        if order.options.contains_key("checkpoint") {
            command.arg("--checkpoint-dir").arg(images(home, state));
        }
        command.arg("--").args(order.argv.iter().map(|word| OsStr::from_bytes(word)));
    }
    command.env_clear().current_dir(&directory).process_group(0);
    if let Some(user) = user {
        // As of a service that is run as a user (systemd.exec(5), "Environment variables").
        command.env("HOME", &user.dir).env("SHELL", &user.shell);
        command.env("USER", &user.name).env("LOGNAME", &user.name);
    }
    for variable in &order.environment {
        let at = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
        let (name, value) = (&variable[..at], variable.get(at + 1..).unwrap_or_default());
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
    let fresh = !state.restored;
    let [input, output, error] = &order.streams;
    let place = |path: &Option<Vec<u8>>, usual: &str| match path {
        Some(path) => directory.join(OsStr::from_bytes(path)),
        None => home.join(usual),
    };
    command.stdin(match input {
        Some(path) => File::open(directory.join(OsStr::from_bytes(path)))
            .map(Stdio::from)
            .map_err(|e| named(&directory.join(OsStr::from_bytes(path)), &e))?,
        None => Stdio::null(),
    });
    let (output, error) = (place(output, "stdout"), place(error, "stderr"));
    let out = open(&output, fresh)?;
    command.stderr(if error == output { out.try_clone()? } else { open(&error, fresh)? });
    command.stdout(out);
    // Before it takes others.
    let image = state.restored.then(|| newest(&images(home, state))).flatten();
    let child = command.spawn()?;
    let pid = child.id();
    let pidfd = Rc::new(pidfd(pid)?);
    let began = if state.restored { Began::Image } else { Began::Beginning };
    Ok(Running { pid, pidfd, child: Some(child), began, id: String::new(), image })
}

/// The project's own program; the file may have been replaced meanwhile.
fn program() -> PathBuf {
    let named = std::env::current_exe().ok().filter(|path| path.exists());
    named.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

fn open(path: &Path, fresh: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(fresh).append(!fresh);
    options.open(path).map_err(|e| named(path, &e))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The process that an earlier life started, if it lives.
pub(super) fn adopt(home: &Path, state: &mut State) -> Option<Running> {
    let report = report(home, state);
    let report = report.to_string_lossy();
    let list = || runs::list().into_iter().find(|run| run.info.report.as_deref() == Some(&report));
    if state.pid.is_none() && !state.over && state.boot == super::state::boot() {
        // It died before it could note whom it had started.
        let pid = list()?.info.pid;
        (state.pid, state.started) = (Some(pid), super::state::started(pid)?);
    }
    let pid = state.alive()?;
    let pidfd = Rc::new(pidfd(pid).ok()?);
    // From here on the number cannot become another's.
    state.alive()?;
    let id = list().map(|run| run.info.id).unwrap_or_default();
    Some(Running { pid, pidfd, child: None, began: Began::Adopted, id, image: None })
}

/// The image that a restart goes on from: its number and its cut.
fn newest(images: &Path) -> Option<(u64, u64)> {
    let chain = Chain::open_at(&Dir::new(images), None).ok()?;
    Some((chain.image().sequence, chain.image().created_ns))
}

/// Whether there is an image to go on from.
pub(super) fn has_images(home: &Path, state: &State) -> bool {
    fs::read_dir(images(home, state)).is_ok_and(|mut entries| entries.next().is_some())
}

impl Running {
    /// Looks for its ID; whether it has one now.
    pub fn look(&mut self) -> bool {
        if self.id.is_empty() {
            let found = runs::list().into_iter().find(|run| run.info.pid == self.pid);
            self.id = found.map(|run| run.info.id).unwrap_or_default();
        }
        !self.id.is_empty()
    }

    /// Whether it has ended; what it left as a shell counts it, if that can be known.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let mut fds = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
        let zero = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(rustix::event::poll(&mut fds, Some(&zero)), Ok(1..)) {
            return None;
        }
        let status = self.child.as_mut().and_then(|child| child.wait().ok());
        Some(status.and_then(|status| status.code().or(status.signal().map(|signal| 128 + signal))))
    }

    /// Ends all of it at once. With its first process alone the program's other processes would go on, as
    /// they do natively; with its supervisor the kernel ends each of them (ADR 0006).
    pub fn kill(&self) {
        let supervisor = || {
            let run = runs::list().into_iter().find(|run| run.info.pid == self.pid);
            run.and_then(|run| run.supervisor())
        };
        let named = supervisor();
        if let Some(held) = named.and_then(|pid| pidfd(pid).ok())
            // It has been alive since it was named, so the number is not another's.
            && supervisor() == named
        {
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
        self.signal(Signal::KILL);
    }

    /// Sends its first process a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended just now.
        let _ = pidfd_send_signal(&*self.pidfd, signal);
    }
}
