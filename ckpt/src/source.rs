//! Where the bytes of a program's memory come from, and which pages of it are asked for.
//!
//! Invariant: nothing here writes; a page that cannot be told to be unchanged counts as changed.
//! Called by the writer; filled by whoever froze the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::PAGE;

/// One memory that an image holds pages of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    /// The addresses of a process, by the pid that the program sees.
    Process(u32),
    /// The bytes of a shared object, by its place in [`crate::image::Image::shared`].
    Shared(u32),
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Shared(object) => write!(f, "shared object {object}"),
        }
    }
}

/// What is known of some pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Present, and perhaps other than in the parent image: its bytes are written.
    Changed,
    /// The same as in the parent image, whatever that says of it.
    Unchanged,
}

/// Some pages one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Address of the first, in bytes.
    pub start: u64,
    /// How many.
    pub pages: u64,
    /// What is known of them.
    pub state: State,
}

/// Something to read memory from.
pub trait Pages {
    /// Fills `buf` from `addr`.
    ///
    /// # Errors
    /// The memory is not there, or its process is gone.
    fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// The memory of a stopped process (proc_pid_mem(5)), or of anything else that is a file and whose
/// offsets are its addresses.
#[derive(Debug)]
pub struct ProcMem(File);

impl ProcMem {
    /// Opens the memory of `pid`.
    ///
    /// # Errors
    /// Of open(2): the process is gone, or may not be traced.
    pub fn open(pid: u32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/mem")).map(Self)
    }
}

impl From<File> for ProcMem {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Pages for ProcMem {
    fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, addr)
    }
}

/// Which of `runs` differ between two frozen copies, byte by byte: for memory of which nothing says
/// what was written to it. What cannot be read in `old` is changed.
///
/// # Errors
/// `new` cannot be read.
pub fn compare(old: &dyn Pages, new: &dyn Pages, runs: &[Run]) -> io::Result<Vec<Run>> {
    const STEP: usize = 64;
    let (mut left, mut right) = (vec![0; STEP * PAGE], vec![0; STEP * PAGE]);
    let mut found: Vec<Run> = Vec::new();
    for run in runs {
        let mut done = 0;
        while done < run.pages {
            let count = (run.pages - done).min(STEP as u64);
            let (addr, bytes) = (run.start + done * PAGE as u64, count as usize * PAGE);
            new.read(addr, &mut right[..bytes])?;
            let known = old.read(addr, &mut left[..bytes]).is_ok();
            let pairs = left[..bytes].chunks_exact(PAGE).zip(right[..bytes].chunks_exact(PAGE));
            for (k, (one, two)) in pairs.enumerate() {
                let state = if known && one == two { State::Unchanged } else { State::Changed };
                append(&mut found, addr + (k * PAGE) as u64, state);
            }
            done += count;
        }
    }
    Ok(found)
}

/// Adds one page to a list of runs.
fn append(runs: &mut Vec<Run>, start: u64, state: State) {
    match runs.last_mut() {
        Some(last) if last.state == state && last.start + last.pages * PAGE as u64 == start => {
            last.pages += 1;
        }
        _ => runs.push(Run { start, pages: 1, state }),
    }
}
