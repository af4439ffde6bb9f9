//! The records of the call path inside replicas (`dispatcher::inside`).
//!
//! Invariant: as for all records; `progress` is one word, so that how far a ring has been carried out
//! and what is being done are never half known.

use bytemuck::{Pod, Zeroable};

/// What is known of the call path inside a task's replicas.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Inside {
    /// 1 from the call on at which the replicas are armed.
    pub armed: u32,
    /// It is not to be armed, or not used any more.
    pub off: u32,
    /// The first call after it was armed.
    pub from: u64,
    /// Descriptors whose writes may be put off, as a bit mask.
    pub fast: u64,
    /// Calls so far that it could have carried.
    pub hot: u32,
    /// Signal handlers that the program is in.
    pub handlers: u32,
    /// Bytes of the ring that have been carried out times 4, and [`Inside::DOING`] or
    /// [`Inside::APPENDS`] while the record behind them is.
    pub progress: u64,
    /// The descriptor of that record.
    pub doing_fd: i32,
    /// Bytes of it that a predecessor had carried out.
    pub skip: u32,
    /// Position of its file before it (of one that appends: the size).
    pub doing_at: u64,
    /// Bytes it has.
    pub doing_len: u64,
    /// 1 plus the descriptor that was read ahead, or 0.
    pub ahead_fd: u32,
    /// Bytes to be read ahead next time.
    pub ahead_next: u32,
    /// 1 plus the first call whose writes wait for K ballots, or 0.
    pub pending: u64,
    /// The header in the replicas is not what it should be: it goes with the next answer.
    pub stale: u32,
    /// A file system has got full: nothing is put off any more, so that the program is told.
    pub full: u32,
    /// Bytes that were given.
    pub ahead_given: u64,
    /// Files that the program has mapped: device and inode each.
    pub mapped: [[u64; 2]; 64],
    /// How many.
    pub mapped_count: u64,
}

impl Inside {
    /// A record is being carried out.
    pub const DOING: u64 = 1;
    /// A record is being appended.
    pub const APPENDS: u64 = 2;

    /// `progress` with so many bytes carried out.
    pub fn at(done: usize) -> u64 {
        (done as u64) << 2
    }

    /// Bytes of the ring that have been carried out.
    pub fn done(&self) -> usize {
        (self.progress >> 2) as usize
    }
}

/// What is said of a ring that was kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct KeptRing {
    /// Bytes of it.
    pub used: u32,
}
