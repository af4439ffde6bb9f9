//! What a run must not leave behind: processes that carry its mark, files of Chameleon's.
//!
//! Invariant: whatever is found is reported, and killed, since the run started it. Called after each
//! run.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::mark::marked;

/// How long a process that is about to end may take: far more than it needs, and spent only when
/// something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// The files under `/tmp` and `/dev/shm` that carry Chameleon's name.
pub(crate) fn files() -> BTreeSet<String> {
    ["/tmp", "/dev/shm"]
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok().map(|list| (directory, list)))
        .flat_map(|(directory, list)| {
            list.flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|name| name.starts_with("chameleon") && !is_of_living_runs(name))
                .map(|name| format!("{directory}/{name}"))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// `chameleon-UID` is there as long as any run of that user lives; `tests/runs.rs` looks after it.
fn is_of_living_runs(name: &str) -> bool {
    let user = name.strip_prefix("chameleon-");
    user.is_some_and(|user| !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is still there of the run with this mark, in lines for a person; empty if nothing is.
pub(crate) fn after(mark: &str, files_before: &BTreeSet<String>) -> String {
    let start = Instant::now();
    loop {
        let left = marked(mark);
        let files: Vec<String> = files().difference(files_before).cloned().collect();
        if left.is_empty() && files.is_empty() {
            return String::new();
        }
        if start.elapsed() > PATIENCE {
            let mut text = String::new();
            for process in &left {
                text += &format!("left running:\n{}\n", process.describe());
            }
            for file in files {
                text += &format!("left behind: {file}\n");
            }
            for process in &left {
                process.signal(Signal::SIGKILL);
            }
            return text;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
