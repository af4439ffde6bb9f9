//! Names that went or came: what was removed, replaced, renamed or made, and how that is undone.
//!
//! A file that is about to lose its last name gets another one in the checkpoint directory, so that its
//! bytes and its inode stay; where that cannot be (another file system), a copy of it is kept there.
//!
//! Invariant: undone in the opposite order, before any bytes are put back; doing the last one again changes
//! nothing more. Called by the log and by `rollback`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::rollback::is_not_there;
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
    /// A file was made.
    MadeFile {
        /// Where.
        path: PathBuf,
        /// Which it is.
        id: FileId,
    },
    /// A directory was made.
    MadeDirectory(PathBuf),
    /// A name was made that is no new file.
    MadeName {
        /// Where.
        path: PathBuf,
        /// Which file has it, if it is one that was there.
        file: Option<FileId>,
    },
    /// What is no file was removed, and can be made again.
    Unmade {
        /// Where it was.
        path: PathBuf,
        /// Which it was.
        id: FileId,
        /// What it was.
        make: Make,
    },
}

/// What can be made again: another one then, as the kernel numbers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// A directory with its permissions, its user and group.
    Directory { mode: u32, owner: [u32; 2] },
    /// A symbolic link and what it led to.
    Link { target: PathBuf },
    /// A FIFO with its permissions.
    Fifo { mode: u32 },
}

/// What was made again: by what it was, which it is now. Numbers are given again and again (inode(7)), so that only
/// what is there counts.
#[derive(Clone, Debug, Default)]
pub struct Again(BTreeMap<FileId, FileId>);

impl Again {
    /// `old` was made again, as `new`.
    pub fn note(&mut self, (old, new): (FileId, FileId)) {
        self.0.insert(old, new);
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it.
    pub fn all(&self) -> Vec<(FileId, FileId)> {
        self.0.iter().map(|(old, new)| (*old, *new)).collect()
    }

    /// That is no longer there.
    fn forget(&mut self, gone: Option<FileId>) {
        self.0.retain(|_, now| Some(*now) != gone);
    }

    /// Whether what was found is that one, or what was made again for it: a link or FIFO may be there as both, by two
    /// names.
    pub fn is(&self, found: Option<FileId>, id: FileId) -> bool {
        let mut one = id;
        // In each life of the program it may have been removed, and was made again then.
        for _ in 0..=self.0.len() {
            if found == Some(one) {
                return true;
            }
            match self.0.get(&one) {
                Some(now) => one = *now,
                None => return false,
            }
        }
        false
    }
}

impl Gone {
    /// Where the file is as long as this is not undone.
    pub fn now(&self) -> Option<(&Path, FileId)> {
        match self {
            Self::Removed { kept, id, .. } => Some((kept, *id)),
            Self::Renamed { to, id, .. } => Some((to, *id)),
            _ => None,
        }
    }

    /// Undoes it; what had to be made again for that, and which it is now.
    pub fn undo(&self, again: &mut Again) -> Result<Option<(FileId, FileId)>> {
        match self {
            Self::Removed { path, id, kept } => {
                if again.is(identity(path)?, *id) {
                    return Ok(None);
                }
                // What has the name now came later; it goes at once and not before.
                let beside = kept.with_extension("back");
                let _ = fs::remove_file(&beside);
                let linked = identity(kept)? == Some(*id) && fs::hard_link(kept, &beside).is_ok();
                if linked && fs::rename(&beside, path).is_ok() {
                    return Ok(None);
                }
                let _ = fs::remove_file(&beside);
                fs::copy(kept, path).map_err(failed("cannot be put back", path))?;
                let new = identity(path)?.map(|new| (*id, new));
                new.into_iter().for_each(|new| again.note(new));
                Ok(new)
            }
            Self::Renamed { from, to, id } => {
                if !again.is(identity(to)?, *id) {
                    return Ok(None);
                }
                if again.is(identity(from)?, *id) {
                    // Both names: this was undone before, and what came later was again.
                    fs::remove_file(to).map_err(failed("cannot be removed", to))?;
                } else {
                    fs::rename(to, from).map_err(failed("cannot be renamed back", to))?;
                }
                Ok(None)
            }
            Self::MadeFile { path, id } => {
                // Another file of that name is none that the lost time made.
                let ours = again.is(identity(path)?, *id);
                let done = if ours { fs::remove_file(path) } else { Ok(()) };
                unless_gone(done).map_err(failed("cannot be removed", path))?;
                Ok(None)
            }
            Self::MadeDirectory(path) => {
                let there = identity(path)?;
                match fs::remove_dir(path) {
                    // What others have put there stays, and it with that.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    done => {
                        unless_gone(done).map_err(failed("cannot be removed", path))?;
                        again.forget(there);
                    }
                }
                Ok(None)
            }
            Self::MadeName { path, file } => {
                let Ok(facts) = path.symlink_metadata() else { return Ok(None) };
                let ours = match file {
                    Some(file) => again.is(Some(FileId::of(&facts)), *file),
                    None => !facts.is_file() && !facts.is_dir(),
                };
                let done = if ours { fs::remove_file(path) } else { Ok(()) };
                unless_gone(done).map_err(failed("cannot be removed", path))?;
                Ok(None)
            }
            Self::Unmade { path, id, make } => {
                // It may not have been removed after all.
                if path.symlink_metadata().is_ok() {
                    return Ok(None);
                }
                make.again(path).map_err(failed("cannot be made again", path))?;
                let new = identity(path)?.map(|new| (*id, new));
                new.into_iter().for_each(|new| again.note(new));
                Ok(new)
            }
        }
    }
}

impl Make {
    fn again(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Directory { mode, owner: [user, group] } => {
                fs::create_dir(path)?;
                // One's own without asking, others' where it may be given away; permissions after that.
                let _ = chown(path, Some(*user), Some(*group));
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            Self::Link { target } => symlink(target, path),
            Self::Fifo { mode } => {
                mkfifo(path, Mode::from_bits_truncate(*mode))?;
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
        }
    }
}

fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if is_not_there(&error) => Ok(()),
        done => done,
    }
}

/// What has a name itself, were it a link; none if nothing has it.
pub(super) fn identity(path: &Path) -> Result<Option<FileId>> {
    match path.symlink_metadata() {
        Ok(facts) => Ok(Some(FileId::of(&facts))),
        Err(error) if is_not_there(&error) => Ok(None),
        Err(error) => Err(failed("stat", path)(error)),
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
