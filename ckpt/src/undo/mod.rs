//! Files as they were at a checkpoint: before the program changes bytes that were there, they are
//! put into a log, and a restart puts them back.
//!
//! A log begins when a checkpoint is taken, not when its image is finished. It knows of each file
//! how long it was; so appending costs one record, and the bytes of a range are kept once however
//! often they are overwritten. A restart at checkpoint N goes back through the logs from the newest to
//! N (`rollback`).
//!
//! Not undone: names that were removed or renamed, times, permissions.
//!
//! Invariant: whoever changes a file calls this first, and changes it only when that succeeded; then
//! what a log says undoes everything, wherever both were stopped. After a crash of the machine
//! that holds only for what [`UndoLog::sync`] came back for. Called by whoever performs the
//! program's calls.

mod ranges;
mod record;
mod rollback;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::dir::Dir;
use crate::error::{Result, io as failed};
use crate::image::FileId;

use ranges::Ranges;
use record::{Record, append};
pub use rollback::{Rollback, Rolled};

/// The longest piece of a file in one record, in bytes.
const PIECE: u64 = 1 << 20;

/// What undoes the time since one checkpoint.
#[derive(Debug)]
pub struct UndoLog {
    path: PathBuf,
    file: File,
    known: BTreeMap<FileId, Known>,
}

/// A file that the log knows.
#[derive(Debug)]
struct Known {
    number: u32,
    /// Its length at the checkpoint; 0 if it was made since, and then nothing of it is kept.
    size: u64,
    kept: Ranges,
}

impl UndoLog {
    /// Begins the log of checkpoint `sequence`; it is on the disk, empty, when this returns.
    ///
    /// # Errors
    /// [`crate::Error::Io`], also when there is one already; [`crate::Error::NoSpace`].
    pub fn create(dir: &Dir, sequence: u64) -> Result<Self> {
        let (path, parent) = (dir.log(sequence), dir.undo());
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(failed("cannot be made", &path))?;
        let mut log = Self { path, file, known: BTreeMap::new() };
        log.put(&Record::Begin { sequence })?;
        log.sync()?;
        let synced = File::open(&parent).and_then(|dir| dir.sync_all());
        synced.map_err(failed("fsync", &parent))?;
        Ok(log)
    }

    /// Goes on with the log of checkpoint `sequence` after its writer was lost. A record that was
    /// torn when that happened is dropped: what it was made for was not done.
    ///
    /// # Errors
    /// As of [`Rollback::of`].
    pub fn reopen(dir: &Dir, sequence: u64) -> Result<Self> {
        let path = dir.log(sequence);
        let mut known: BTreeMap<FileId, Known> = BTreeMap::new();
        let end = record::scan(&path, sequence, |_, record| match record {
            Record::Begin { .. } => {}
            Record::Touched { file: number, id, size, .. } => {
                known.insert(id, Known { number, size, kept: Ranges::default() });
            }
            Record::Made { file: number, id, .. } => {
                known.insert(id, Known { number, size: 0, kept: Ranges::default() });
            }
            Record::Bytes { file: number, offset, bytes } => {
                let found = known.values_mut().find(|known| known.number == number);
                if let Some(known) = found {
                    known.kept.insert(offset, offset + bytes.len() as u64);
                }
            }
        })?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(failed("cannot be opened", &path))?;
        file.set_len(end).map_err(failed("cannot be cut", &path))?;
        Ok(Self { path, file, known })
    }

    /// A file has come into being at `path` and is open as `file`: a restart removes it.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::NoSpace`].
    pub fn made(&mut self, path: &Path, file: &File) -> Result<()> {
        let (id, _) = facts(path, file)?;
        let number = self.known.len() as u32;
        let path = path.as_os_str().as_bytes().to_vec();
        self.put(&Record::Made { file: number, path, id })?;
        self.known.insert(id, Known { number, size: 0, kept: Ranges::default() });
        Ok(())
    }

    /// `len` bytes from `offset` on are about to be written to the file at `path`, or otherwise to
    /// change. `file` is the same file, open for reading.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::NoSpace`]: the bytes are not safe.
    pub fn before_write(&mut self, path: &Path, file: &File, offset: u64, len: u64) -> Result<()> {
        let id = self.touch(path, file)?;
        self.keep(path, file, id, offset, offset.saturating_add(len))
    }

    /// The file at `path` is about to become `size` bytes long (truncate(2), O_TRUNC).
    ///
    /// # Errors
    /// As [`UndoLog::before_write`].
    pub fn before_truncate(&mut self, path: &Path, file: &File, size: u64) -> Result<()> {
        let id = self.touch(path, file)?;
        self.keep(path, file, id, size, u64::MAX)
    }

    /// Waits until all records are on the disk (fdatasync(2)): what has to come before a change
    /// that must not survive a crash of the machine without its record.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(failed("fdatasync", &self.path))
    }

    /// Knows how long a file was before anything happened to it.
    fn touch(&mut self, path: &Path, file: &File) -> Result<FileId> {
        let (id, size) = facts(path, file)?;
        if !self.known.contains_key(&id) {
            let number = self.known.len() as u32;
            let path = path.as_os_str().as_bytes().to_vec();
            self.put(&Record::Touched { file: number, path, id, size })?;
            self.known.insert(id, Known { number, size, kept: Ranges::default() });
        }
        Ok(id)
    }

    /// Keeps what is in a range, was there at the checkpoint, and is not kept yet.
    fn keep(&mut self, path: &Path, file: &File, id: FileId, from: u64, to: u64) -> Result<()> {
        let Some(known) = self.known.get(&id) else { return Ok(()) };
        let (number, to) = (known.number, to.min(known.size));
        for (from, to) in known.kept.missing(from, to) {
            let mut offset = from;
            while offset < to {
                let mut bytes = vec![0; (to - offset).min(PIECE) as usize];
                file.read_exact_at(&mut bytes, offset).map_err(failed("cannot be read", path))?;
                let end = offset + bytes.len() as u64;
                self.put(&Record::Bytes { file: number, offset, bytes })?;
                if let Some(known) = self.known.get_mut(&id) {
                    known.kept.insert(offset, end);
                }
                offset = end;
            }
        }
        Ok(())
    }

    fn put(&mut self, record: &Record) -> Result<()> {
        let end = self.file.metadata().map_err(failed("stat", &self.path))?.len();
        let bytes = append(&self.path, record)?;
        let done = self.file.write_all(&bytes);
        if done.is_err() {
            // Half a record must not lie before the next one.
            self.file.set_len(end).map_err(failed("cannot be cut", &self.path))?;
        }
        done.map_err(failed("cannot be written", &self.path))
    }
}

/// Whether every record of the log of checkpoint `sequence` is what was written; a torn last one is.
///
/// # Errors
/// As of [`Rollback::of`].
pub fn verify(dir: &Dir, sequence: u64) -> Result<()> {
    record::scan(&dir.log(sequence), sequence, |_, _| ()).map(drop)
}

/// Which file it is, and how long.
fn facts(path: &Path, file: &File) -> Result<(FileId, u64)> {
    let facts = file.metadata().map_err(failed("stat", path))?;
    Ok((FileId { dev: facts.dev(), ino: facts.ino() }, facts.size()))
}

#[cfg(test)]
mod tests;
