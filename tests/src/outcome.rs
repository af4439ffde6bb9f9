//! What a run ended with.
//!
//! Invariant: a value, made once when the run is over. Compared by `compare`, looked at by tests.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::report::Report;
use crate::tree::Tree;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// It died by this signal.
    Signal(i32),
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Exited(status.code().unwrap_or(-1)),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "death by signal {signal}"),
        }
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
    /// The files it left in its directories.
    pub tree: Tree,
    /// The events of `--report`; empty for a native run.
    pub report: Report,
}

impl Outcome {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails unless the run ended so.
    ///
    /// # Panics
    /// If it ended otherwise; the message shows what it wrote.
    #[track_caller]
    pub fn ended(&self, ending: Ending) -> &Self {
        assert!(
            self.ending == ending,
            "{} instead of {ending}\nstdout: {}\nstderr: {}",
            self.ending,
            self.out(),
            self.err()
        );
        self
    }
}
