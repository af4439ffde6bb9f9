//! One run: started, fed, watched, waited for.
//!
//! Invariant: it ends. A run beyond the limit is described and everything that carries its mark is
//! killed; nothing else is. Made by the scenarios.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::leftover;
use crate::mark::{Marked, children, marked};
use crate::outcome::Ending;

/// How long a run may take before it is taken for hanging: it never decides a result, it only keeps
/// a broken run from blocking all others.
const LIMIT: Duration = Duration::from_secs(120);

/// A run under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    mark: String,
    started: Instant,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    files_before: BTreeSet<String>,
}

/// What is left to look at when a run is over.
pub(crate) struct Finished {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub ending: Ending,
    /// Complaints: a runaway, something left behind. Empty if all is well.
    pub trouble: String,
}

impl Running {
    /// Starts a prepared command with this input.
    pub(crate) fn start(mut command: Command, stdin: Vec<u8>, mark: String) -> Self {
        let files_before = leftover::files();
        let mut child = command
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
        Self { child, mark, started: Instant::now(), stdout, stderr, files_before }
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
        marked(&self.mark)
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

    /// Whether the started process has ended.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    pub(crate) fn finish(mut self) -> Finished {
        let mut trouble = String::new();
        let stdout = self.output(true, &mut trouble);
        let stderr = self.output(false, &mut trouble);
        while !self.is_over() && self.started.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !self.is_over() {
            self.stop(&mut trouble);
        }
        let ending = Ending::from(self.child.wait().expect("a child can be waited for"));
        trouble += &leftover::after(&self.mark, &self.files_before);
        Finished { stdout, stderr, ending, trouble }
    }

    fn output(&mut self, standard: bool, trouble: &mut String) -> Vec<u8> {
        let remaining = LIMIT.saturating_sub(self.started.elapsed());
        let from = if standard { &self.stdout } else { &self.stderr };
        match from.recv_timeout(remaining) {
            Ok(bytes) => return bytes,
            Err(RecvTimeoutError::Disconnected) => return Vec::new(),
            Err(RecvTimeoutError::Timeout) => {}
        }
        self.stop(trouble);
        let from = if standard { &self.stdout } else { &self.stderr };
        from.recv_timeout(Duration::from_secs(5)).unwrap_or_default()
    }

    /// Ends a run that does not end, and says what it was doing.
    fn stop(&mut self, trouble: &mut String) {
        let alive = marked(&self.mark);
        if trouble.is_empty() {
            *trouble = format!("still running after {} s:\n", LIMIT.as_secs());
        }
        for process in &alive {
            *trouble += &process.describe();
            trouble.push('\n');
        }
        for process in &alive {
            process.signal(Signal::SIGKILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over() {
            for process in marked(&self.mark) {
                process.signal(Signal::SIGKILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
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

/// Waits until something is so; gives up (and says false) only after the runaway limit.
pub fn until(mut so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}
