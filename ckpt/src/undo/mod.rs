//! Files as they were at a checkpoint: before the program changes bytes that were there, they are
//! put into a log, and a restart puts them back.
//!
//! A log begins when a checkpoint is taken, not when its image is finished. It knows of each file
//! how long it was; so appending costs one record, and the bytes of a range are kept once however
//! often they are overwritten. A restart at checkpoint N goes back through the logs from the newest to
//! N (`rollback`).
//!
//! A file that is removed, replaced or renamed gets its name back, directories and links are made or removed
//! again (`names`). Not undone, and noted where it was done: times, permissions.
//!
//! Invariant: whoever changes a file calls this first, and changes it only when that succeeded; then
//! what a log says undoes everything, wherever both were stopped. After a crash of the machine
//! that holds only for what [`UndoLog::sync`] came back for. Called by whoever performs the
//! program's calls.

mod names;
mod places;
mod ranges;
mod record;
mod rollback;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::RLIM_INFINITY;
use nix::sys::resource::{Resource, getrlimit};

use crate::dir::Dir;
use crate::error::{Result, io as failed};
use crate::image::FileId;

pub use names::forget as forget_kept;
pub use places::Names;
use ranges::Ranges;
use record::{Record, append};
pub use rollback::{Rollback, Rolled};

/// The longest piece of a file in one record, in bytes.
const PIECE: u64 = 1 << 20;
/// How much is noted at most.
const NOTES_MOST: usize = 100;

/// Room for records that a log takes beforehand, in bytes.
const RESERVE: i64 = 256 << 10;

/// What undoes the time since one checkpoint.
#[derive(Debug)]
pub struct UndoLog {
    path: PathBuf,
    file: File,
    known: BTreeMap<FileId, Known>,
    dir: Dir,
    sequence: u64,
    /// Files that are kept because they were removed.
    kept: u32,
    /// What was noted already.
    noted: BTreeSet<String>,
}

impl Drop for UndoLog {
    fn drop(&mut self) {
        // Whatever was reserved behind its end goes.
        let _ = self.file.metadata().and_then(|facts| self.file.set_len(facts.len()));
    }
}

/// A file that the log knows.
#[derive(Debug)]
struct Known {
    number: u32,
    /// Its length at the checkpoint; 0 if it was made since, and then nothing of it is kept.
    size: u64,
    kept: Ranges,
    /// It was made since.
    made: bool,
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
        names::forget(dir, sequence);
        let known = BTreeMap::new();
        let (dir, noted) = (dir.clone(), BTreeSet::new());
        let mut log = Self { path, file, known, dir, sequence, kept: 0, noted };
        let begun = log.reserve().and_then(|()| log.put(&Record::Begin { sequence }));
        if let Err(error) = begun.and_then(|()| log.sync()) {
            // Half of one would be in the way of all logs before.
            let _ = fs::remove_file(&log.path);
            return Err(error);
        }
        let synced = File::open(&parent).and_then(|dir| dir.sync_all());
        synced.map_err(failed("fsync", &parent))?;
        Ok(log)
    }

    /// Takes room for what a program does to its files while the disk is full: most of them append, which
    /// needs one record each. What was not needed is given back.
    fn reserve(&self) -> Result<()> {
        let limited =
            getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(soft, _)| soft != RLIM_INFINITY);
        if limited {
            return Ok(()); // getrlimit(2): it would be a signal
        }
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(&self.file, flags, 0, RESERVE) {
            // Not every file system can.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(e) => Err(failed("fallocate", &self.path)(e.into())),
        }
    }

    /// Goes on with the log of checkpoint `sequence` after its writer was lost. A record that was
    /// torn when that happened is dropped: what it was made for was not done.
    ///
    /// # Errors
    /// As of [`Rollback::of`].
    pub fn reopen(dir: &Dir, sequence: u64) -> Result<Self> {
        let path = dir.log(sequence);
        let mut known: BTreeMap<FileId, Known> = BTreeMap::new();
        let (mut last_kept, mut noted) = (0, BTreeSet::new());
        let end = record::scan(&path, sequence, |_, record| match record {
            Record::Removed { kept, .. } => last_kept = kept + 1,
            Record::Note { what } => drop(noted.insert(what)),
            Record::Touched { file: number, id, size, .. } => {
                known.insert(id, Known { number, size, kept: Ranges::default(), made: false });
            }
            Record::Made { file: number, id, .. } => {
                known.insert(id, Known { number, size: 0, kept: Ranges::default(), made: true });
            }
            Record::Begin { .. }
            | Record::Renamed { .. }
            | Record::Returned { .. }
            | Record::MadeDirectory { .. }
            | Record::MadeName { .. }
            | Record::RemovedDirectory { .. }
            | Record::RemovedLink { .. }
            | Record::RemovedFifo { .. }
            | Record::MadeAgain { .. } => {}
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
        // One more may have been kept without its record.
        let kept = last_kept + 1;
        Ok(Self { path, file, known, dir: dir.clone(), sequence, kept, noted })
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
        self.known.insert(id, Known { number, size: 0, kept: Ranges::default(), made: true });
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

    /// What is at `path` is about to be removed or replaced (unlink(2), rmdir(2), rename(2)): a file is kept, a
    /// directory or link can be made again. Of a file that was made since the checkpoint nothing is kept.
    ///
    /// # Errors
    /// As [`UndoLog::before_write`].
    pub fn before_remove(&mut self, path: &Path) -> Result<()> {
        let Ok(facts) = path.symlink_metadata() else { return Ok(()) };
        let id = FileId::of(&facts);
        let bytes = || path.as_os_str().as_bytes().to_vec();
        if facts.is_dir() {
            let (mode, owner) = (facts.mode() & 0o7777, [facts.uid(), facts.gid()]);
            return self.put(&Record::RemovedDirectory { path: bytes(), id, mode, owner });
        }
        if let (true, Ok(target)) = (facts.is_symlink(), fs::read_link(path)) {
            let target = target.into_os_string().into_vec();
            return self.put(&Record::RemovedLink { path: bytes(), id, target });
        }
        if facts.file_type().is_fifo() {
            let mode = facts.mode() & 0o7777;
            return self.put(&Record::RemovedFifo { path: bytes(), id, mode });
        }
        if !facts.is_file() {
            return self.note(&format!("{} was removed", path.display()));
        }
        if self.known.get(&id).is_some_and(|known| known.made) {
            return Ok(());
        }
        let number = self.kept;
        let kept = names::kept(&self.dir, self.sequence, number);
        self.kept += 1;
        match names::keep(path, &kept).map_err(failed("cannot be kept", path))? {
            None => {
                self.note(&format!("{} was removed, and is too long to be kept", path.display()))
            }
            Some(()) => self.put(&Record::Removed { path: bytes(), id, kept: number }),
        }
    }

    /// The file at `from` is about to be called `to` (rename(2)).
    ///
    /// # Errors
    /// As [`UndoLog::before_write`].
    pub fn before_rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let Ok(facts) = from.symlink_metadata() else { return Ok(()) };
        if let Ok(other) = to.symlink_metadata() {
            if (other.dev(), other.ino()) == (facts.dev(), facts.ino()) {
                return Ok(()); // rename(2) does nothing
            }
            self.before_remove(to)?;
        }
        let id = FileId::of(&facts);
        let [from, to] = [from, to].map(|path| path.as_os_str().as_bytes().to_vec());
        self.put(&Record::Renamed { from, to, id })
    }

    /// A directory is about to be made at `path` (mkdir(2)).
    ///
    /// # Errors
    /// As [`UndoLog::before_write`].
    pub fn before_mkdir(&mut self, path: &Path) -> Result<()> {
        match path.symlink_metadata() {
            Ok(_) => Ok(()), // it will fail
            Err(_) => {
                self.put(&Record::MadeDirectory { path: path.as_os_str().as_bytes().to_vec() })
            }
        }
    }

    /// A name is about to be made at `path`: a symbolic link, a FIFO (symlink(2), mknod(2)), or one more of the file
    /// at `of` (link(2)).
    ///
    /// # Errors
    /// As [`UndoLog::before_write`].
    pub fn before_name(&mut self, path: &Path, of: Option<&Path>) -> Result<()> {
        if path.symlink_metadata().is_ok() {
            return Ok(()); // it will fail
        }
        let file = of.and_then(|of| of.symlink_metadata().ok()).map(|facts| FileId::of(&facts));
        if of.is_some() && file.is_none() {
            return Ok(());
        }
        self.put(&Record::MadeName { path: path.as_os_str().as_bytes().to_vec(), file })
    }

    /// Something is about to be done that no restart undoes: it will say so.
    ///
    /// # Errors
    /// As [`UndoLog::before_write`].
    pub fn note(&mut self, what: &str) -> Result<()> {
        if self.noted.len() < NOTES_MOST && self.noted.insert(what.to_owned()) {
            return self.put(&Record::Note { what: what.to_owned() });
        }
        Ok(())
    }

    /// Whether the log knows of `len` bytes from `offset` on of a file that they may change: then
    /// [`UndoLog::before_write`] has nothing to do.
    pub fn knows(&self, id: FileId, offset: u64, len: u64) -> bool {
        self.known.get(&id).is_some_and(|known| {
            let end = offset.saturating_add(len).min(known.size);
            offset >= end || known.kept.missing(offset, end).is_empty()
        })
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
            self.known.insert(id, Known { number, size, kept: Ranges::default(), made: false });
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
    Ok((FileId::of(&facts), facts.size()))
}

#[cfg(test)]
mod tests;
