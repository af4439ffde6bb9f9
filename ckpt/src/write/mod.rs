//! Writing an image, so that it exists wholly or not at all.
//!
//! ```text
//! mkdir N.tmp ─► pages.bin ─► index ─► manifest ─► fsync of each ─► fsync N.tmp ─► rename to N ─► fsync images
//! ```
//!
//! A writer that is killed before the rename leaves `N.tmp`, which nobody reads and the next writer
//! removes; one killed behind it leaves a whole image.
//!
//! Invariant: an image that is there is never changed; one writer at a time has a directory. Called
//! by whoever takes checkpoints, and by `chameleon images prune`.

mod pages;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dir::{Dir, INDEX, MANIFEST, PAGES_BIN};
use crate::error::{Error, Result, io as failed};
use crate::frame::{self, Kind};
use crate::image::Image;
use crate::read::Opened;
use crate::source::{Pages, Run, Space, State};
use crate::storage::{Disk, Storage};

/// The pages of one memory.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// Which memory.
    pub space: Space,
    /// Where its bytes are read.
    pub pages: &'a dyn Pages,
    /// Its pages, by address and without overlap; what is in no run is a hole.
    pub runs: &'a [Run],
}

/// Whether pages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd at its level -1. Of the heap of an interpreter it makes an eighth at 0.9 GB/s, LZ4 a
    /// quarter at the same speed (measured); numbers that it cannot make shorter pass at 2 GB/s.
    #[default]
    Zstd,
}

/// What a writer wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Pages whose bytes are in the image.
    pub data: u64,
    /// Pages that were found to be all zeros.
    pub zero: u64,
    /// Pages left to the parent.
    pub parent: u64,
    /// Bytes of the image's files.
    pub bytes: u64,
}

/// What the manifest holds beside the description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The description.
    pub image: Image,
    /// The checksum of the parent's manifest.
    pub parent_sum: Option<u64>,
    /// The checksum of `index`.
    pub index_sum: u64,
    /// Bytes of `pages.bin`.
    pub pages_len: u64,
}

/// The one writer of a directory.
pub struct Writer<S: Storage = Disk> {
    dir: Dir,
    storage: S,
    pool: pages::Pool,
    /// None once it was handed over.
    lock: Option<File>,
}

impl<S: Storage> Drop for Writer<S> {
    fn drop(&mut self) {
        // Closing is not enough: a process that was forked meanwhile holds the same lock (flock(2)).
        // If the writer is killed instead, that one's end gives it back.
        if let Some(lock) = &self.lock {
            let _ = lock.unlock();
        }
    }
}

impl Writer<Disk> {
    /// Takes the directory, makes it if need be, and removes what a killed writer left.
    ///
    /// # Errors
    /// [`Error::Busy`] when another writer has it; [`Error::Io`], [`Error::NoSpace`].
    pub fn open(dir: &Path) -> Result<Self> {
        Self::with(dir, Disk)
    }

    /// Goes on in a process that has inherited the lock, which [`Writer::hand_over`] gave. Dropping it
    /// does not give the lock back.
    pub fn inherit(dir: &Path) -> Self {
        Self { dir: Dir::new(dir), storage: Disk, pool: pages::Pool::default(), lock: None }
    }
}

impl<S: Storage> Writer<S> {
    /// As [`Writer::open`], on another storage.
    ///
    /// # Errors
    /// As there.
    pub fn with(path: &Path, storage: S) -> Result<Self> {
        let dir = Dir::new(path);
        for path in [path.to_owned(), dir.images(), dir.undo()] {
            fs::create_dir_all(&path).map_err(failed("cannot be made", &path))?;
        }
        let name = dir.lock();
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&name);
        let lock = lock.map_err(failed("cannot be opened", &name))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { dir: path.to_owned() }),
            Err(TryLockError::Error(error)) => {
                return Err(failed("cannot be locked", &name)(error));
            }
        }
        let writer = Self { dir, storage, pool: pages::Pool::default(), lock: Some(lock) };
        for left in writer.dir.leftovers()? {
            writer.sweep(&left)?;
        }
        Ok(writer)
    }

    /// The lock, for whoever is to keep the directory: it is given back when every process that has
    /// this open has closed it (flock(2)). None if it was inherited.
    pub fn hand_over(mut self) -> Option<File> {
        self.lock.take()
    }

    /// The directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn storage(&self) -> &S {
        &self.storage
    }

    /// The number for the next checkpoint: above every image and every undo log, because the log
    /// of a checkpoint begins when it is taken, and its image may never have been finished.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be read.
    pub fn next_sequence(&self) -> Result<u64> {
        let images = match self.dir.sequences() {
            Err(Error::NoImages { .. }) => Vec::new(),
            found => found?,
        };
        let last = images.last().copied().max(self.dir.logs()?.last().copied());
        Ok(last.unwrap_or(0) + 1)
    }

    /// Writes an image. When this fails, what is there is as it was, and the next increment builds
    /// on the image before: its pages must be those changed since that one.
    ///
    /// # Errors
    /// [`Error::Unsound`] when the parts do not fit together, [`Error::MissingParent`],
    /// [`Error::Memory`], [`Error::NoSpace`], [`Error::Io`].
    pub fn write(
        &self,
        image: &Image,
        contents: &[Contents<'_>],
        compression: Compression,
    ) -> Result<Written> {
        let sequence = image.sequence;
        let parent_sum = self.check(image, contents)?;
        let (temporary, target) = (self.dir.temporary(sequence), self.dir.image(sequence));
        if target.exists() {
            return Err(unsound(sequence, "there is an image of this number already"));
        }
        let cut = Cut { image, contents, compression, parent_sum };
        let outcome = self.fill(&temporary, &cut).and_then(|written| {
            let rename = self.storage.rename(&temporary, &target);
            rename.map_err(failed("cannot be renamed to its number", &temporary))?;
            let images = self.dir.images();
            self.storage.sync_dir(&images).map_err(failed("fsync", &images))?;
            Ok(written)
        });
        if outcome.is_err() {
            // If this fails, too, the next writer does it.
            let _ = self.sweep(&temporary);
        }
        outcome
    }

    /// What the description and the pages must hold; the checksum of the parent's manifest.
    fn check(&self, image: &Image, contents: &[Contents<'_>]) -> Result<Option<u64>> {
        let sequence = image.sequence;
        for part in contents {
            sound(part).map_err(|what| unsound(sequence, &format!("{}: {what}", part.space)))?;
        }
        let Some(number) = image.parent else {
            let runs = contents.iter().flat_map(|part| part.runs);
            return match runs.filter(|run| run.state == State::Unchanged).count() {
                0 => Ok(None),
                _ => Err(unsound(sequence, "it has no parent, yet pages that are left to one")),
            };
        };
        if number >= sequence {
            return Err(unsound(sequence, "its parent is not older than itself"));
        }
        let missing = |what| Error::MissingParent { image: sequence, parent: number, what };
        let parent = match Opened::open(&self.dir, number) {
            Err(Error::NoImage { .. }) => return Err(missing("which is not there")),
            opened => opened?,
        };
        if parent.manifest.image.run != image.run {
            return Err(missing("which is of another run"));
        }
        Ok(Some(parent.sum))
    }

    fn fill(&self, dir: &Path, cut: &Cut<'_>) -> Result<Written> {
        let storage = &self.storage;
        storage.create_dir(dir).map_err(failed("cannot be made", dir))?;
        let bin = dir.join(PAGES_BIN);
        let mut file = storage.create(&bin).map_err(failed("cannot be made", &bin))?;
        let packed = pages::write(file.as_mut(), &bin, cut, &self.pool)?;
        file.sync().map_err(failed("fdatasync", &bin))?;
        let mut written = packed.written;
        let pages_len = written.bytes;
        let long = |what: String| unsound(cut.image.sequence, &what);
        let (index, index_sum) = frame::seal(Kind::Index, &packed.entries).map_err(long)?;
        self.put(&mut written, &dir.join(INDEX), &index)?;
        let (image, parent_sum) = (cut.image.clone(), cut.parent_sum);
        let manifest = Manifest { image, parent_sum, index_sum, pages_len };
        let (manifest, _) = frame::seal(Kind::Manifest, &manifest).map_err(long)?;
        self.put(&mut written, &dir.join(MANIFEST), &manifest)?;
        storage.sync_dir(dir).map_err(failed("fsync", dir))?;
        Ok(written)
    }

    fn put(&self, written: &mut Written, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.storage.create(path).map_err(failed("cannot be made", path))?;
        file.write(bytes).map_err(failed("cannot be written", path))?;
        file.sync().map_err(failed("fdatasync", path))?;
        written.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Removes a directory that is no image: our files in it, then itself if nothing else is there.
    pub(crate) fn sweep(&self, dir: &Path) -> Result<()> {
        for name in [MANIFEST, INDEX, PAGES_BIN] {
            let file = dir.join(name);
            if file.symlink_metadata().is_ok() {
                self.storage.remove_file(&file).map_err(failed("cannot be removed", &file))?;
            }
        }
        if dir.exists() {
            self.storage.remove_dir(dir).map_err(failed("cannot be removed", dir))?;
        }
        Ok(())
    }
}

/// What one image is made of.
pub(crate) struct Cut<'a> {
    image: &'a Image,
    contents: &'a [Contents<'a>],
    compression: Compression,
    parent_sum: Option<u64>,
}

fn unsound(sequence: u64, what: &str) -> Error {
    Error::Unsound { sequence, what: what.to_owned() }
}

/// Whether runs are whole pages, in order, without overlap, and of addresses that can be.
fn sound(part: &Contents<'_>) -> std::result::Result<(), &'static str> {
    let page = crate::PAGE as u64;
    let mut end = 0;
    for run in part.runs {
        if run.start % page != 0 || run.pages == 0 {
            return Err("a run that is not of whole pages");
        }
        if run.start < end {
            return Err("runs that overlap or are not in order");
        }
        let bytes = run.pages.checked_mul(page);
        end = bytes.and_then(|bytes| run.start.checked_add(bytes)).ok_or("a run beyond all")?;
    }
    Ok(())
}
