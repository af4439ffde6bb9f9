//! Finding the processes of one run: they carry its mark in their environment.
//!
//! Invariant: only processes that a scenario started are ever found, hence killed. Called when a run
//! is over, when one runs away, and by the tests that kill on purpose.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable whose value tells the runs apart.
pub(crate) const VARIABLE: &str = "CHAMELEON_TEST_MARK";

/// A living process of a run.
#[derive(Clone, Debug)]
pub struct Marked {
    /// Its process id.
    pub pid: i32,
    /// Its command line, or title, with spaces between the words.
    pub title: String,
    /// Its state as in `/proc/PID/stat`: `R`, `S`, `T`, `t`, `D`.
    pub state: char,
}

impl Marked {
    /// Whether it is one of Chameleon's own processes by its title.
    pub fn is_armor(&self, kind: &str) -> bool {
        self.title.starts_with(&format!("chameleon: {kind}"))
    }

    /// Sends it a signal; it may be gone already.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// A line for a person: what it is and what it waits for.
    pub(crate) fn describe(&self) -> String {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{}/{name}", self.pid))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        format!(
            "  pid {} state {} waits in {} call {} : {}",
            self.pid,
            self.state,
            read("wchan"),
            read("syscall"),
            self.title
        )
    }
}

/// The living processes that carry this mark.
///
/// # Panics
/// If there is no `/proc`.
pub fn marked(mark: &str) -> Vec<Marked> {
    let wanted = format!("{VARIABLE}={mark}");
    living(|pid| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        })
    })
}

/// The living children of a process.
pub(crate) fn children(of: i32) -> Vec<Marked> {
    living(|pid| field(pid, 1).and_then(|parent| parent.parse().ok()) == Some(of))
}

fn living(is_one: impl Fn(i32) -> bool) -> Vec<Marked> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|text| text.parse::<i32>().ok()) else {
            continue;
        };
        if !is_one(pid) {
            continue;
        }
        let state = state(pid);
        if matches!(state, Some('Z' | 'X') | None) {
            continue;
        }
        found.push(Marked { pid, title: title(pid), state: state.unwrap_or('?') });
    }
    found
}

/// The state of any process, none if it is gone.
pub(crate) fn state(pid: i32) -> Option<char> {
    field(pid, 0)?.chars().next()
}

/// A word of `/proc/PID/stat` behind the name: the state is 0, the parent 1.
fn field(pid: i32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(number).map(str::to_owned)
}

fn title(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ")
}
