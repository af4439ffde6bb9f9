//! Putting files back to what they were at a checkpoint.
//!
//! First everything is read and looked at ([`Rollback::of`], [`Rollback::check`]), then it is done
//! ([`Rollback::apply`]). It may be done again: what was interrupted is repeated from the start with
//! the same outcome, because the logs stay until the restarted program has a checkpoint of its own.
//!
//! Invariant: no file is changed before all are found to be those of the program. Called by whoever
//! restores, and by its preflight.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::names::{self, Again, Gone, Make};
use super::places::Names;
use super::record::{self, Record};
use crate::dir::Dir;
use crate::error::{Error, Result, damaged, io as failed};
use crate::image::FileId;

/// One file that is to be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// Where it is.
    pub path: PathBuf,
    /// Which file that is.
    pub id: FileId,
    /// How many bytes it had at the checkpoint; none if it was not there and is to be removed.
    pub size: Option<u64>,
}

/// Bytes to put back: a record of a log.
#[derive(Debug)]
struct Piece {
    log: usize,
    at: u64,
    id: FileId,
}

/// A log that is gone through.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Where its last whole record ends.
    end: u64,
}

/// What has to be done to come back to a checkpoint.
#[derive(Debug, Default)]
pub struct Rollback {
    logs: Vec<Log>,
    files: BTreeMap<FileId, Rolled>,
    /// In the order in which they are applied.
    pieces: Vec<Piece>,
    /// Names that went, in the order in which they are given back, each with its log.
    names: Vec<(usize, Gone)>,
    /// What was made again, and which it is now.
    again: Again,
    /// What is not undone.
    notes: Vec<String>,
}

impl Rollback {
    /// Reads all logs from the newest to that of checkpoint `sequence`.
    ///
    /// # Errors
    /// [`Error::Io`] when the log of that checkpoint is not there: it cannot be come back to;
    /// [`Error::Damaged`] and the like when a log is not what was written.
    pub fn of(dir: &Dir, sequence: u64) -> Result<Self> {
        let mut all = Self::default();
        // One that has not begun when everything was killed is empty: nothing was done under it.
        let begun = |n: &u64| fs::metadata(dir.log(*n)).map_or(true, |facts| facts.len() > 0);
        let later = dir.logs()?.into_iter().filter(|n| *n > sequence);
        let mut logs: Vec<u64> = later.filter(begun).collect();
        logs.insert(0, sequence);
        for number in logs.into_iter().rev() {
            all.add(dir, number)?;
        }
        Ok(all)
    }

    /// Adds a log that is older than all before.
    fn add(&mut self, dir: &Dir, sequence: u64) -> Result<()> {
        let path = &dir.log(sequence);
        let log = self.logs.len();
        let mut numbers: BTreeMap<u32, FileId> = BTreeMap::new();
        let (mut pieces, mut unknown) = (Vec::new(), None);
        let (files, notes, again) = (&mut self.files, &mut self.notes, &mut self.again);
        let mut gone = Vec::new();
        let end = record::scan(path, sequence, |at, record| match record {
            Record::Begin { .. } => {}
            Record::Touched { file, path, id, size } => {
                numbers.insert(file, id);
                files.insert(id, rolled(&path, id, Some(size)));
            }
            Record::Made { file, path, id } => {
                numbers.insert(file, id);
                files.insert(id, rolled(&path, id, None));
                gone.push(Gone::MadeFile { path: own_path(&path), id });
            }
            Record::Removed { path, id, kept } => {
                let kept = names::kept(dir, sequence, kept);
                gone.push(Gone::Removed { path: own_path(&path), id, kept });
            }
            Record::Renamed { from, to, id } => {
                gone.push(Gone::Renamed { from: own_path(&from), to: own_path(&to), id });
            }
            Record::MadeDirectory { path } => gone.push(Gone::MadeDirectory(own_path(&path))),
            Record::MadeName { path, file } => {
                gone.push(Gone::MadeName { path: own_path(&path), file });
            }
            Record::RemovedDirectory { path, id, mode, owner } => {
                let make = Make::Directory { mode, owner };
                gone.push(Gone::Unmade { path: own_path(&path), id, make });
            }
            Record::RemovedLink { path, id, target } => {
                let make = Make::Link { target: own_path(&target) };
                gone.push(Gone::Unmade { path: own_path(&path), id, make });
            }
            Record::RemovedFifo { path, id, mode } => {
                gone.push(Gone::Unmade { path: own_path(&path), id, make: Make::Fifo { mode } });
            }
            Record::Returned { again: new } => {
                gone.pop();
                new.into_iter().for_each(|new| again.note(new));
            }
            Record::MadeAgain { all } => all.into_iter().for_each(|new| again.note(new)),
            Record::Note { what } => notes.push(what),
            Record::Bytes { file, .. } => match numbers.get(&file) {
                Some(id) => pieces.push(Piece { log, at, id: *id }),
                None => unknown = Some(at),
            },
        })?;
        if let Some(at) = unknown {
            return Err(damaged(path, at, "bytes of a file that it does not know"));
        }
        self.pieces.extend(pieces.into_iter().rev());
        self.names.extend(gone.into_iter().rev().map(|gone| (log, gone)));
        let file = File::open(path).map_err(failed("cannot be opened", path))?;
        self.logs.push(Log { path: path.to_owned(), file, end });
        Ok(())
    }

    /// The files that are to be put back.
    pub fn files(&self) -> impl Iterator<Item = &Rolled> {
        self.files.values()
    }

    /// Whether bytes of a file are put back: it was overwritten or cut since.
    pub fn puts_back(&self, file: FileId) -> bool {
        self.pieces.iter().any(|piece| piece.id == file)
    }

    /// What was done since the checkpoint and is not undone, each as a sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where everything will come from when all is undone.
    ///
    /// # Errors
    /// A file cannot be asked which it is.
    pub fn names(&self) -> Result<Names> {
        let mut names = Names::new(self.again.clone());
        for (_, gone) in &self.names {
            names.undo(gone)?;
        }
        Ok(names)
    }

    /// The names that were there, or were given.
    pub fn named(&self) -> impl Iterator<Item = &Path> {
        self.names
            .iter()
            .flat_map(|(_, gone)| match gone {
                Gone::Removed { path, .. }
                | Gone::MadeFile { path, .. }
                | Gone::MadeDirectory(path)
                | Gone::MadeName { path, .. }
                | Gone::Unmade { path, .. } => [Some(path.as_path()), None],
                Gone::Renamed { from, to, .. } => [Some(from.as_path()), Some(to.as_path())],
            })
            .flatten()
    }

    /// Whether all files are there, are those of the program, and may be written.
    ///
    /// # Errors
    /// [`Error::Replaced`], [`Error::Io`].
    pub fn check(&self) -> Result<()> {
        self.open().map(|_| ())
    }

    /// Puts all files back and waits until they are on the disk; how many bytes were put back.
    ///
    /// # Errors
    /// As [`Rollback::check`], with nothing changed; [`Error::Io`], [`Error::NoSpace`] on the way.
    pub fn apply(&self) -> Result<u64> {
        self.open()?;
        self.give_names_back()?;
        let open = self.open()?;
        let mut done = 0;
        for piece in &self.pieces {
            let Some((rolled, file)) = open.get(&piece.id) else { continue };
            let Log { path, file: log, end } = &self.logs[piece.log];
            let record = record::read(log, path, piece.at, *end)?;
            let Some((Record::Bytes { offset, bytes, .. }, _)) = record else {
                return Err(damaged(path, piece.at, "the log changes while it is read"));
            };
            let put = file.write_all_at(&bytes, offset);
            put.map_err(failed("cannot be put back", &rolled.path))?;
            done += bytes.len() as u64;
        }
        for (rolled, file) in open.values() {
            if let Some(size) = rolled.size {
                file.set_len(size).map_err(failed("cannot be put back", &rolled.path))?;
            }
            file.sync_all().map_err(failed("fsync", &rolled.path))?;
        }
        Ok(done)
    }

    /// Gives all names back, and notes each in its log: a name may have gone more than once, and what was done for
    /// one cannot be told from what is still to be done for another.
    fn give_names_back(&self) -> Result<()> {
        let mut logs: BTreeMap<usize, File> = BTreeMap::new();
        let mut put = |log: usize, record: &Record| {
            let Log { path, end, .. } = &self.logs[log];
            let file = match logs.entry(log) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let file = OpenOptions::new().append(true).open(path);
                    let file = file.map_err(failed("cannot be opened", path))?;
                    // What was torn when the log's writer ended was not done.
                    file.set_len(*end).map_err(failed("cannot be cut", path))?;
                    new.insert(file)
                }
            };
            let bytes = record::append(path, record)?;
            file.write_all(&bytes).map_err(failed("cannot be written", path))
        };
        let mut again = self.again.clone();
        for (log, gone) in &self.names {
            let new = gone.undo(&mut again)?;
            put(*log, &Record::Returned { again: new })?;
        }
        match self.logs.len().checked_sub(1) {
            Some(oldest) if !self.names.is_empty() && !again.is_empty() => {
                put(oldest, &Record::MadeAgain { all: again.all() })
            }
            _ => Ok(()),
        }
    }

    /// Where a file is whose name went and was not given back yet.
    fn elsewhere(&self, file: FileId) -> Result<Option<&Path>> {
        for (now, id) in self.names.iter().filter_map(|(_, gone)| gone.now()) {
            if id == file && identity(now)? == Some(file) {
                return Ok(Some(now));
            }
        }
        Ok(None)
    }

    /// Opens the files that stay.
    fn open(&self) -> Result<BTreeMap<FileId, (&Rolled, File)>> {
        let stay = self.files.values().filter(|rolled| rolled.size.is_some());
        stay.map(|rolled| {
            let replaced = |what| Error::Replaced { file: rolled.path.clone(), what };
            let mut path = rolled.path.as_path();
            match identity(path)? {
                Some(id) if id == rolled.id => {}
                other => match self.elsewhere(rolled.id)? {
                    Some(now) => path = now,
                    None if other.is_none() => return Err(replaced("the file is gone")),
                    None => return Err(replaced("another file has its name")),
                },
            }
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(failed("cannot be opened for writing", &rolled.path))?;
            Ok((rolled.id, (rolled, file)))
        })
        .collect()
    }
}

fn own_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

fn rolled(path: &[u8], id: FileId, size: Option<u64>) -> Rolled {
    Rolled { path: PathBuf::from(OsStr::from_bytes(path)), id, size }
}

/// Which file has a name; none if there is none.
pub(super) fn identity(path: &Path) -> Result<Option<FileId>> {
    match fs::metadata(path) {
        Ok(facts) => Ok(Some(FileId::of(&facts))),
        Err(error) if is_not_there(&error) => Ok(None),
        Err(error) => Err(failed("stat", path)(error)),
    }
}

/// Whether a path led to nothing.
pub(super) fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
