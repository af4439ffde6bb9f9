//! The records of an undo log, and reading them one after the other.
//!
//! ```text
//! 0 4 bytes of the frame      4 4 the same, inverted      8 … a frame (`crate::frame`)
//! ```
//!
//! The length stands twice because a record that ends beyond the file counts as torn by a kill, and
//! must not be taken for that when it is only its length that was damaged.
//!
//! Invariant: all records before the one that is wrong are given; only the last may be torn. Called
//! by the log and by `rollback`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, damaged, io as failed};
use crate::frame::{self, Kind};
use crate::image::FileId;

const PREFIX: u64 = 8;

/// What happened, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The first record.
    Begin { sequence: u64 },
    /// A file is about to change for the first time since the checkpoint.
    Touched { file: u32, path: Vec<u8>, id: FileId, size: u64 },
    /// A file was made since the checkpoint.
    Made { file: u32, path: Vec<u8>, id: FileId },
    /// What was in a file at the checkpoint.
    Bytes { file: u32, offset: u64, bytes: Vec<u8> },
    /// A file is about to be removed or replaced; it is kept under this number.
    Removed { path: Vec<u8>, id: FileId, kept: u32 },
    /// A file is about to be renamed.
    Renamed { from: Vec<u8>, to: Vec<u8>, id: FileId },
    /// Something is about to be done that cannot be undone.
    Note { what: String },
    /// A restart has given back the newest name that went before this and was not given back yet; what had to be
    /// made again for that, and which it is now.
    Returned { again: Option<(FileId, FileId)> },
    /// A directory is about to be made.
    MadeDirectory { path: Vec<u8> },
    /// A symbolic link, a FIFO or the like is about to be made; with `file`, another name of that file.
    MadeName { path: Vec<u8>, file: Option<FileId> },
    /// A directory is about to be removed.
    RemovedDirectory { path: Vec<u8>, id: FileId, mode: u32, owner: [u32; 2] },
    /// A symbolic link is about to be removed.
    RemovedLink { path: Vec<u8>, id: FileId, target: Vec<u8> },
    /// A FIFO is about to be removed.
    RemovedFifo { path: Vec<u8>, id: FileId, mode: u32 },
    /// A restart is at this checkpoint: what had to be made again, also for later logs, which go, and which it is now.
    MadeAgain { all: Vec<(FileId, FileId)> },
}

/// The bytes to append for a record.
pub fn append(log: &Path, record: &Record) -> Result<Vec<u8>> {
    let (frame, _) = frame::seal(Kind::Undo, record).map_err(|what| damaged(log, 0, what))?;
    let len = frame.len() as u32;
    let mut bytes = Vec::with_capacity(frame.len() + PREFIX as usize);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&(!len).to_le_bytes());
    bytes.extend_from_slice(&frame);
    Ok(bytes)
}

/// Gives all whole records with their places to `take`; where the last of them ends.
///
/// # Errors
/// [`Error::NotAnImage`], [`Error::OtherVersion`], [`Error::Damaged`], [`Error::Io`].
pub fn scan(path: &Path, sequence: u64, mut take: impl FnMut(u64, Record)) -> Result<u64> {
    let file = File::open(path).map_err(failed("cannot be opened", path))?;
    let end = file.metadata().map_err(failed("stat", path))?.len();
    let mut at = 0;
    while let Some(record) = read(&file, path, at, end)? {
        let (record, next) = record;
        let begins = matches!(&record, Record::Begin { sequence: found } if *found == sequence);
        if begins != (at == 0) {
            return Err(damaged(path, at, "it is no log of this checkpoint"));
        }
        take(at, record);
        at = next;
    }
    if at == 0 {
        // The log was synced with its first record before anything was done under it.
        let (found, wanted) = (end, PREFIX + frame::HEADER as u64);
        return Err(Error::Truncated { file: path.to_owned(), found, wanted });
    }
    Ok(at)
}

/// The record at `at` and where the next begins; none at the end or if it is torn.
pub fn read(file: &File, path: &Path, at: u64, end: u64) -> Result<Option<(Record, u64)>> {
    let left = end - at;
    if left < PREFIX {
        return Ok(None);
    }
    let mut prefix = [0; PREFIX as usize];
    file.read_exact_at(&mut prefix, at).map_err(failed("cannot be read", path))?;
    let [a, b, c, d, e, f, g, h] = prefix;
    let len = u32::from_le_bytes([a, b, c, d]);
    if len != !u32::from_le_bytes([e, f, g, h]) {
        return Err(damaged(path, at, "the length of a record is not one"));
    }
    if left - PREFIX < u64::from(len) {
        return Ok(None);
    }
    let mut frame = vec![0; len as usize];
    file.read_exact_at(&mut frame, at + PREFIX).map_err(failed("cannot be read", path))?;
    let (record, _) = frame::open::<Record>(path, Kind::Undo, &frame, at + PREFIX)?;
    Ok(Some((record, at + PREFIX + u64::from(len))))
}
