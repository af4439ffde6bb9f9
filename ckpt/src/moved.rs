//! An image that goes on on another machine than it was written on.
//!
//! Files lie outside of an image, and the undo log, which puts them back, is lost with the machine. So those
//! that the program had open for writing go along with the image, as they were at the cut ([`along`]), and
//! of all others it must be known that none was changed since ([`left_alone`]). Where a file has another
//! place there, that is written down ([`note`]), and a restart reads it ([`apply`]).
//!
//! Invariant: nothing is changed here but the note of one image; what cannot be known is in the way. Called by
//! whoever keeps images on another machine, and before a restart.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::dir::Dir;
use crate::error::{Result, io as failed};
use crate::frame::{self, Kind};
use crate::image::{FileId, Image, OpenKind, Regular, SharedKind};
use crate::undo::Rollback;

/// A file that goes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Along {
    /// Where it is.
    pub path: PathBuf,
    /// Which file that is.
    pub id: FileId,
    /// Its length in bytes at the cut.
    pub size: u64,
}

/// The files that the program had open for writing, each once.
pub fn along(image: &Image) -> Vec<Along> {
    let mut seen = BTreeSet::new();
    regular(image)
        .filter(|file| file.writable && seen.insert(file.id))
        .map(|file| Along { path: path(&file.path), id: file.id, size: file.size })
        .collect()
}

/// Why the files of an image cannot be had as they were at its cut, if they cannot: one that goes along has
/// lost bytes that it had, another one was changed. To be asked after those that go along were read.
///
/// # Errors
/// The undo log is not there, or is not what was written.
pub fn left_alone(dir: &Dir, image: &Image) -> Result<Option<String>> {
    let rollback = Rollback::of(dir, image.sequence)?;
    let along = along(image);
    if let Some(file) = along.iter().find(|file| rollback.puts_back(file.id)) {
        return Ok(Some(format!("{} was overwritten since", file.path.display())));
    }
    let other = rollback.files().find(|other| along.iter().all(|file| file.id != other.id));
    if let Some(other) = other {
        return Ok(Some(format!("{} was changed since", other.path.display())));
    }
    if let Some(path) = rollback.named().next() {
        return Ok(Some(format!("{} was made, removed or renamed since", path.display())));
    }
    if let Some(note) = rollback.notes().first() {
        return Ok(Some(format!("{note}, since")));
    }
    let shared = image.shared.iter().find_map(|object| match &object.kind {
        SharedKind::File(file) => Some(path(&file.path)),
        _ => None,
    });
    Ok(shared.map(|path| format!("{} is mapped and shared", path.display())))
}

/// The files that were changed, made, removed or renamed since the oldest checkpoint whose log is there; what was
/// noted of one is behind its path.
///
/// # Errors
/// A log is not what was written.
pub fn changed(dir: &Dir) -> Result<BTreeSet<PathBuf>> {
    let Some(oldest) = dir.logs()?.first().copied() else { return Ok(BTreeSet::new()) };
    let rollback = Rollback::of(dir, oldest)?;
    let files = rollback.files().map(|file| file.path.clone());
    // A note begins with the path that it is of, if it is of one.
    let noted = rollback.notes().iter().filter(|note| note.starts_with('/')).map(PathBuf::from);
    Ok(files.chain(rollback.named().map(Path::to_owned)).chain(noted).collect())
}

/// Which file that the program reads is not here as it was, if one is: those that went along aside, one of its
/// length must be where it was.
pub fn missing(image: &Image) -> Option<String> {
    let along = along(image);
    let read = regular(image).filter(|file| along.iter().all(|one| one.id != file.id));
    let other = |file: &&Regular| {
        fs::metadata(path(&file.path)).map_or(true, |facts| facts.len() != file.size)
    };
    read.into_iter().find(other).map(|file| {
        format!("{}, which it reads, is not here as it was", path(&file.path).display())
    })
}

/// Where the note of image `sequence` is.
fn place(dir: &Dir, sequence: u64) -> PathBuf {
    dir.undo().join(format!("{sequence:06}.moved"))
}

/// Writes down where files of image `sequence` are here: their paths in the image, and here.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::NoSpace`].
pub fn note(dir: &Dir, sequence: u64, files: &[(PathBuf, PathBuf)]) -> Result<()> {
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let pairs: Vec<_> = files.iter().map(|(there, here)| (bytes(there), bytes(here))).collect();
    let target = place(dir, sequence);
    let (sealed, _) = frame::seal(Kind::Moved, &pairs)
        .map_err(|what| failed("cannot be written", &target)(io::Error::other(what)))?;
    let new = target.with_extension("moved-new");
    let mut file = File::create(&new).map_err(failed("cannot be made", &new))?;
    file.write_all(&sealed).map_err(failed("cannot be written", &new))?;
    file.sync_all().map_err(failed("fsync", &new))?;
    fs::rename(&new, &target).map_err(failed("cannot be renamed", &new))?;
    let undo = dir.undo();
    File::open(&undo).and_then(|dir| dir.sync_all()).map_err(failed("fsync", &undo))
}

/// Puts the places that files have here into an image that came from elsewhere.
///
/// # Errors
/// The note is not what was written.
pub fn apply(dir: &Dir, image: &mut Image) -> Result<()> {
    let noted = place(dir, image.sequence);
    let bytes = match fs::read(&noted) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(failed("cannot be read", &noted))?,
    };
    let (pairs, _) = frame::open::<Vec<(Vec<u8>, Vec<u8>)>>(&noted, Kind::Moved, &bytes, 0)?;
    for file in &mut image.files {
        let OpenKind::Regular(file) = &mut file.kind else { continue };
        let moved = pairs.iter().find(|(there, _)| !file.unlinked && *there == file.path);
        let Some((_, here)) = moved else { continue };
        file.path.clone_from(here);
        // One that is not there is found missing by its path.
        if let Ok(facts) = fs::metadata(path(here)) {
            file.id = FileId::of(&facts);
        }
    }
    Ok(())
}

/// Forgets the note of an image that is no longer gone back to.
pub(crate) fn forget(dir: &Dir, sequence: u64) {
    let _ = fs::remove_file(place(dir, sequence));
}

fn regular(image: &Image) -> impl Iterator<Item = &Regular> {
    image.files.iter().filter_map(|open| match &open.kind {
        OpenKind::Regular(file) if !file.unlinked => Some(file),
        _ => None,
    })
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
