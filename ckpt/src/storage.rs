//! Everything that a writer does to the disk, as a trait, so that a test can have it fail or the
//! process die at each single step.
//!
//! Invariant: [`Disk`] does what its names say and no more. Called by the writer and by `retain`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file being written.
pub trait Sink: Send {
    /// Appends all of `bytes` (write(2)).
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Waits until all of it is on the disk (fdatasync(2)).
    fn sync(&mut self) -> io::Result<()>;
}

/// The steps that change a checkpoint directory.
pub trait Storage: Sync {
    /// mkdir(2); it is an error if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file; it is an error if it exists (open(2), O_EXCL).
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;
    /// Waits until the names in a directory are on the disk (fsync(2)).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// unlink(2).
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// rmdir(2).
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// The file system itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}
