//! Finding the processes of one run: they carry its mark in their environment.
//!
//! Invariant: only processes that a scenario started are ever found, hence killed. Called when a run
//! is over, when one runs away, and by the tests that kill on purpose.

use std::fs::{self, ReadDir};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable whose value tells the runs apart.
pub(crate) const VARIABLE: &str = "CHAMELEON_TEST_MARK";

/// A mark that no other run has.
pub(crate) fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

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

    /// What it is and what it waits for, a line for itself and one for each further thread.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("  pid {} {} : {}", self.pid, waits(self.pid), self.title);
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).map(numbers);
        for thread in threads.unwrap_or_default() {
            if thread != self.pid {
                text += &format!("\n    thread {thread} {}", waits(thread));
            }
        }
        text
    }
}

/// What a process or thread is doing, for a person.
fn waits(tid: i32) -> String {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/{tid}/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let state = state(tid).unwrap_or('?');
    format!("state {state} waits in {} call {}", read("wchan"), read("syscall"))
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

/// The living processes whose command line has this text in it.
pub(crate) fn titled(text: &str) -> Vec<Marked> {
    living(|pid| title(pid).contains(text))
}

/// The living processes that work in a directory or below it, or have a file there open; but for the caller.
pub(crate) fn working_in(directory: &Path) -> Vec<Marked> {
    let leads_there = |link: &Path| fs::read_link(link).is_ok_and(|to| to.starts_with(directory));
    living(|pid| {
        if pid == std::process::id() as i32 {
            return false;
        }
        let own = PathBuf::from(format!("/proc/{pid}"));
        let open = fs::read_dir(own.join("fd")).into_iter().flatten().flatten();
        leads_there(&own.join("cwd")) || open.into_iter().any(|entry| leads_there(&entry.path()))
    })
}

/// The living children of a process.
pub(crate) fn children(of: i32) -> Vec<Marked> {
    living(|pid| parent(pid) == Some(of))
}

/// These processes and all that descend from them, as far as they live.
pub(crate) fn descendants(mut of: Vec<i32>) -> Vec<Marked> {
    let all: Vec<(i32, Option<i32>)> =
        processes().into_iter().map(|pid| (pid, parent(pid))).collect();
    let mut known = 0;
    while let Some(&next) = of.get(known) {
        let of_next = all.iter().filter(|(_, parent)| *parent == Some(next)).map(|(pid, _)| *pid);
        let new: Vec<i32> = of_next.filter(|pid| !of.contains(pid)).collect();
        of.extend(new);
        known += 1;
    }
    living(|pid| of.contains(&pid))
}

fn living(is_one: impl Fn(i32) -> bool) -> Vec<Marked> {
    let mut found = Vec::new();
    for pid in processes() {
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

fn processes() -> Vec<i32> {
    numbers(fs::read_dir("/proc").expect("/proc is there"))
}

/// The entries of a directory that are numbers.
fn numbers(list: ReadDir) -> Vec<i32> {
    list.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: i32) -> Option<i32> {
    field(pid, 1)?.parse().ok()
}

/// The state of any process, none if it is gone.
pub fn state(pid: i32) -> Option<char> {
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
