//! The one error type of this crate: which file, what is wrong with it, what to do.
//!
//! Invariant: whoever gets one of these may go on with every other image of the directory.

use std::io;
use std::path::{Path, PathBuf};

/// Why an image cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory holds no images at all.
    #[error("{dir}: no checkpoint images here; name the directory given to --checkpoint-dir",
        dir = .dir.display())]
    NoImages {
        /// The directory.
        dir: PathBuf,
    },
    /// There is no image of this number.
    #[error("{dir}: no image {sequence} here; `chameleon images list` shows which there are",
        dir = .dir.display())]
    NoImage {
        /// The checkpoint directory.
        dir: PathBuf,
        /// The number asked for.
        sequence: u64,
    },
    /// The file is no file of an image.
    #[error("{file}: not a file of a checkpoint image ({what}); restore another image, and remove \
        this one", file = .file.display())]
    NotAnImage {
        /// The file.
        file: PathBuf,
        /// What it should have been.
        what: &'static str,
    },
    /// The file is of another version of the format.
    #[error("{file}: written in format {found}, this chameleon knows format {known}; \
        use the chameleon that wrote it", file = .file.display())]
    OtherVersion {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The one that is known: [`crate::FORMAT`].
        known: u32,
    },
    /// The file is shorter than it was written.
    #[error("{file}: cut off after {found} of {wanted} bytes; restore an older image (--at)",
        file = .file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length it must have.
        wanted: u64,
    },
    /// The bytes of a file are not those that were written.
    #[error("{file}: damaged at byte {offset}: {what}; restore an older image (--at)",
        file = .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it the damaged part begins, in bytes.
        offset: u64,
        /// What is there.
        what: String,
    },
    /// An incremental image whose parent is not there or is another one.
    #[error("image {image} needs image {parent}, {what}; restore an image before {parent} (--at)")]
    MissingParent {
        /// The incremental image.
        image: u64,
        /// The image it builds on.
        parent: u64,
        /// What is wrong with that one.
        what: &'static str,
    },
    /// No room to write to (write(2): ENOSPC, EDQUOT, EFBIG).
    #[error("{file}: no room for a checkpoint ({source}); free some, keep fewer images, or name \
        another --checkpoint-dir", file = .file.display())]
    NoSpace {
        /// The file being written.
        file: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// Another writer has the directory.
    #[error("{dir}: another chameleon writes checkpoints here; name another --checkpoint-dir",
        dir = .dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// A file that was to be rolled back is another one now.
    #[error("{file}: {what}, it cannot be rolled back; put the file of the program's back",
        file = .file.display())]
    Replaced {
        /// The file of the program.
        file: PathBuf,
        /// What is in its place.
        what: &'static str,
    },
    /// What the writer was given makes no image.
    #[error("checkpoint {sequence}: {what}")]
    Unsound {
        /// The image that was to be written.
        sequence: u64,
        /// What does not fit.
        what: String,
    },
    /// The memory of the program cannot be read.
    #[error("checkpoint {sequence}: memory of {space} at {addr:#x} cannot be read: {source}")]
    Memory {
        /// The image that was to be written.
        sequence: u64,
        /// Whose memory.
        space: String,
        /// The address, or the offset in a shared object.
        addr: u64,
        /// The kernel's word.
        source: io::Error,
    },
    /// Another operation on a file failed.
    #[error("{file}: {operation}: {source}", file = .file.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        file: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Names operation and file of an I/O error; a full disk gets its own kind.
pub(crate) fn io(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Error::NoSpace { file, source },
            _ => Error::Io { operation, file, source },
        }
    }
}

/// A part of a file is not what was written.
pub(crate) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> Error {
    Error::Damaged { file: file.to_owned(), offset, what: what.into() }
}
