//! What an image says of a program: everything that starting it again needs, but the pages.
//!
//! Numbers mean what they mean to the kernel on x86-64 and are kept as it gives them; pids and tids
//! are those that the program sees. Whatever only the outside can interpret is kept as bytes
//! (`opaque`).
//!
//! Invariant: plain data; nothing here is checked against a machine (`preflight` does that). A change
//! of any type here raises [`crate::FORMAT`]. Filled by whoever freezes, read by whoever restores.

mod files;
mod machine;
mod memory;
mod process;

use serde::{Deserialize, Serialize};

pub use files::{
    EpollItem, FileId, Listen, Lock, LockKind, Message, OpenFile, OpenKind, Owner, PipeEnd,
    Regular, SocketOption, TimerFd, mtime_ns,
};
pub use machine::{Clocks, Machine};
pub use memory::{Advice, Backing, MappedFile, Memory, Range, SharedKind, SharedObject};
pub use process::{
    AltStack, Capabilities, Credentials, Descriptor, Disposition, Limit, Pending, Process,
    RobustList, Schedule, Thread, Timer,
};

/// One checkpoint of a program: all of its processes at one cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Which checkpoint of the run this is, from 1.
    pub sequence: u64,
    /// The image that this one is an increment of; none when it holds every page itself.
    pub parent: Option<u64>,
    /// Why it holds every page itself; none of an increment.
    pub whole: Option<Whole>,
    /// The version of Chameleon that wrote it, as in `chameleon --version`.
    pub version: String,
    /// The cut, in nanoseconds since the epoch (clock_gettime(2), CLOCK_REALTIME).
    pub created_ns: u64,
    /// Clocks that count from the boot, at the cut.
    pub clocks: Clocks,
    /// Which run it is of; images of different runs never build on each other.
    pub run: [u8; 16],
    /// The program and its arguments, as bytes.
    pub command: Vec<Vec<u8>>,
    /// The mode, as `--mode` takes it.
    pub mode: String,
    /// The machine it was written on.
    pub machine: Machine,
    /// All processes, a parent before its children.
    pub processes: Vec<Process>,
    /// Memory that more than one process or mapping shows.
    pub shared: Vec<SharedObject>,
    /// Open file descriptions (open(2), "Open file descriptions"); descriptors name them by place.
    pub files: Vec<OpenFile>,
    /// The outside's own records of the run as a whole.
    pub opaque: Vec<u8>,
}

/// Why an image is no increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whole {
    /// There is none before it that it could build on.
    First,
    /// As many increments as a restart should have to read are there since the last whole one.
    Chain,
    /// Those since the last whole one have become as long as it is.
    Size,
    /// The one before cannot be read.
    Parent,
    /// What has changed since the one before is not known: another replica's memory is written, the
    /// program was executed anew or rolled back, or the kernel could not tell.
    Unknown,
    /// Almost everything had changed since the one before, or, again and again, so much that to look for the
    /// rest cost more than it saved.
    Rewritten,
}

impl Whole {
    /// All of them, by number.
    pub const ALL: [Self; 6] =
        [Self::First, Self::Chain, Self::Size, Self::Parent, Self::Unknown, Self::Rewritten];

    /// One word, for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Chain => "chain",
            Self::Size => "size",
            Self::Parent => "parent",
            Self::Unknown => "unknown",
            Self::Rewritten => "rewritten",
        }
    }
}

impl std::fmt::Display for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::First => "there was none to build on",
            Self::Chain => "many increments were written since the last whole one",
            Self::Size => "the increments since the last whole one had become as long as it is",
            Self::Parent => "the one before could not be read",
            Self::Unknown => "what had changed was not known",
            Self::Rewritten => "almost all of its memory had changed",
        })
    }
}

#[cfg(test)]
mod tests;
