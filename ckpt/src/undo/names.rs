//! Names that went: files that were removed, replaced or renamed, and how they come back.
//!
//! A file that is about to lose its last name gets another one in the checkpoint directory, so that its
//! bytes and its inode stay; where that cannot be (another file system), a copy of it is kept there.
//!
//! Invariant: undone in the opposite order, before any bytes are put back; doing the last one again changes
//! nothing more. Called by the log and by `rollback`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::rollback::identity;
use crate::dir::Dir;
use crate::error::{Result, io as failed};
use crate::image::FileId;

/// The longest file of which a copy is kept, in bytes.
pub const COPY_MOST: u64 = 64 << 20;

/// A name that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The file at a path was removed or replaced.
    Removed {
        /// Where it was.
        path: PathBuf,
        /// Which it was.
        id: FileId,
        /// Where it is kept.
        kept: PathBuf,
    },
    /// A file got another name.
    Renamed {
        /// Its name before.
        from: PathBuf,
        /// And afterwards.
        to: PathBuf,
        /// Which it is.
        id: FileId,
    },
}

impl Gone {
    /// Where the file is as long as this is not undone.
    pub fn now(&self) -> (&Path, FileId) {
        match self {
            Self::Removed { kept, id, .. } => (kept, *id),
            Self::Renamed { to, id, .. } => (to, *id),
        }
    }

    /// Gives it its name back.
    pub fn undo(&self) -> Result<()> {
        match self {
            Self::Removed { path, id, kept } => {
                if identity(path)? == Some(*id) {
                    return Ok(());
                }
                // What has the name now came later; it goes at once and not before.
                let beside = kept.with_extension("back");
                let _ = fs::remove_file(&beside);
                let linked = identity(kept)? == Some(*id) && fs::hard_link(kept, &beside).is_ok();
                if linked && fs::rename(&beside, path).is_ok() {
                    return Ok(());
                }
                let _ = fs::remove_file(&beside);
                fs::copy(kept, path).map(drop).map_err(failed("cannot be put back", path))
            }
            Self::Renamed { from, to, id } => {
                if identity(to)? != Some(*id) {
                    return Ok(());
                }
                if identity(from)? == Some(*id) {
                    // Both names: this was undone before, and what came later was again.
                    return fs::remove_file(to).map_err(failed("cannot be removed", to));
                }
                fs::rename(to, from).map_err(failed("cannot be renamed back", to))?;
                Ok(())
            }
        }
    }
}

/// Where the `number`-th file that went since checkpoint `sequence` is kept.
pub fn kept(dir: &Dir, sequence: u64, number: u32) -> PathBuf {
    dir.undo().join(format!("{sequence:06}.kept-{number}"))
}

/// Keeps the file at `path` under another name. None if it cannot be kept.
pub fn keep(path: &Path, kept: &Path) -> io::Result<Option<()>> {
    if fs::hard_link(path, kept).is_ok() {
        return Ok(Some(()));
    }
    if fs::metadata(path)?.size() > COPY_MOST {
        return Ok(None);
    }
    fs::copy(path, kept).map(|_| Some(()))
}

/// Removes what was kept for checkpoint `sequence`.
pub fn forget(dir: &Dir, sequence: u64) {
    let prefix = format!("{sequence:06}.kept-");
    for entry in fs::read_dir(dir.undo()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
