//! One run: started, fed, watched, waited for.
//!
//! Invariant: it ends. A run beyond its limit is described, and all its processes are killed; nothing
//! else is. The limit never decides a result: it only keeps a broken run from stopping all others.
//! `CHAMELEON_TEST_LIMIT` is another one, in seconds, for a slow machine. Made by the scenarios.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::leftover;
use crate::mark::{self, Marked, VARIABLE, children, descendants, marked};
use crate::scenario::tail;

/// How long a run may take, unless it is told otherwise.
const LIMIT: Duration = Duration::from_secs(180);

/// How long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn limit() -> Duration {
    std::env::var("CHAMELEON_TEST_LIMIT").map_or(LIMIT, |text| {
        Duration::from_secs(text.parse().expect("CHAMELEON_TEST_LIMIT is a number of seconds"))
    })
}

/// What is known of a run before it starts.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Mode and command, for a person.
    pub what: String,
    /// The value of [`VARIABLE`] in its environment.
    pub mark: String,
    /// The file of its report, if it is one that can be read.
    pub report: Option<PathBuf>,
    pub limit: Duration,
}

/// A run under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    plan: Plan,
    started: Instant,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    files_before: BTreeSet<String>,
}

/// What is left to look at when a run is over.
pub(crate) struct Finished {
    pub output: Output,
    /// The lines of its report.
    pub report: String,
    /// Complaints: a runaway, something left behind. Empty if all is well.
    pub trouble: String,
}

impl Running {
    /// Starts a prepared command with this input.
    pub(crate) fn start(mut command: Command, stdin: Vec<u8>, plan: Plan) -> Self {
        let files_before = leftover::files();
        let mut child = command
            .env(VARIABLE, &plan.mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut to = child.stdin.take().expect("stdin is a pipe");
        std::thread::spawn(move || {
            // A program may end without reading all of its input.
            let _ = to.write_all(&stdin);
        });
        let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
        let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
        Self { child, plan, started: Instant::now(), stdout, stderr, files_before }
    }

    /// The process that was started: under Chameleon, the outside of the root process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid is a small number")
    }

    /// Sends the started process a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// The processes of this run that are alive now.
    pub fn processes(&self) -> Vec<Marked> {
        marked(&self.plan.mark)
    }

    /// The replicas of this run that are alive now. Servers write their title over the environment,
    /// and the mark with it, so they are known by their parent.
    pub fn replicas(&self) -> Vec<Marked> {
        let own = self.processes();
        let supervisor = own.iter().find(|process| process.is_armor("SUPERVISOR"));
        let mut all = supervisor.map_or_else(Vec::new, |supervisor| children(supervisor.pid));
        all.retain(|process| !process.is_armor(""));
        all
    }

    /// How many events of this name its report has by now.
    pub fn has_told(&self, event: &str) -> usize {
        self.report().matches(&format!("\"event\":\"{event}\"")).count()
    }

    /// The processes of the program that are alive now: those that its own family tree shows.
    pub fn program(&self) -> Vec<Marked> {
        descendants(vec![self.pid()])
    }

    /// Whether the started process has ended.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Whether the started process runs and has time left. Whatever a test does over and over to a
    /// run, it does while this holds; `finish` says which of the two it was.
    pub fn goes_on(&mut self) -> bool {
        !self.is_over() && !self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.plan.limit.saturating_sub(self.started.elapsed())
    }

    pub(crate) fn finish(mut self) -> Finished {
        let (output, mut trouble) = self.wait();
        trouble += &leftover::after(&self.plan.mark, &self.files_before);
        if !trouble.is_empty() {
            trouble = format!("{} {trouble}", self.plan.what);
        }
        Finished { output, report: self.report(), trouble }
    }

    /// Waits for the end; if none comes, says what the run was doing, and ends it.
    fn wait(&mut self) -> (Output, String) {
        let early = [&self.stdout, &self.stderr].map(|from| from.recv_timeout(self.left()));
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut trouble = String::new();
        if !self.is_over() || early.iter().any(Result::is_err) {
            let seconds = self.plan.limit.as_secs();
            trouble = format!("is still running after {seconds} s:\n{}", self.picture());
            self.end();
        }
        let Some(status) = self.reap() else {
            panic!("{} {trouble}and SIGKILL does not end it", self.plan.what);
        };
        let [stdout, stderr] = early;
        let stdout = stdout.or_else(|_| self.stdout.recv_timeout(PATIENCE)).unwrap_or_default();
        let stderr = stderr.or_else(|_| self.stderr.recv_timeout(PATIENCE)).unwrap_or_default();
        (Output { status, stdout, stderr }, trouble)
    }

    /// All processes of the run, also those that wrote over their environment.
    fn all(&mut self) -> Vec<Marked> {
        let mut first: Vec<i32> = self.processes().iter().map(|process| process.pid).collect();
        if !self.is_over() {
            first.push(self.pid());
        }
        descendants(first)
    }

    /// What each of its processes is doing, a line each.
    fn picture(&mut self) -> String {
        self.all().iter().map(|process| process.describe() + "\n").collect()
    }

    fn report(&self) -> String {
        let text = self.plan.report.as_ref().map(fs::read_to_string);
        text.and_then(Result::ok).unwrap_or_default()
    }

    fn end(&mut self) {
        for process in self.all() {
            process.signal(Signal::SIGKILL);
        }
    }

    /// The status of the started process, once it has ended; none if it does not, killed as it is.
    fn reap(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            let status = self.child.try_wait().expect("a child can be waited for");
            if status.is_some() || start.elapsed() > PATIENCE {
                return status;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over() {
            return;
        }
        if std::thread::panicking() {
            let (picture, report) = (self.picture(), self.report());
            let report = tail(&report);
            eprintln!("{} was at:\n{picture}report so far:\n{report}", self.plan.what);
        }
        self.end();
        self.reap();
    }
}

/// Runs a command that is no scenario, such as a client of a server, to its end.
///
/// # Panics
/// If it does not end in time.
#[track_caller]
pub fn output(command: Command) -> Output {
    let plan =
        Plan { what: format!("{command:?}"), mark: mark::fresh(), report: None, limit: limit() };
    let mut running = Running::start(command, Vec::new(), plan);
    let (output, trouble) = running.wait();
    assert!(
        trouble.is_empty(),
        "{} {trouble}stdout: {}\nstderr: {}",
        running.plan.what,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        let _ = sender.send(all);
    });
    receiver
}

/// Waits until something is so; gives up (and says false) only after the limit of a run.
pub fn until(mut so: impl FnMut() -> bool) -> bool {
    let (start, limit) = (Instant::now(), limit());
    while start.elapsed() < limit {
        if so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}
