//! The runs of the calling user that live, for `chameleon ps` and `chameleon checkpoint`.
//!
//! Invariant: a run is listed if and only if its supervisor lives, which holds a lock on its file.
//! What others have left is taken away.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chameleon_proto::runs::{Info, LINE, from_line};
use nix::fcntl::{Flock, FlockArg};

use super::place;

/// How old a directory without a file must be before it is taken for left behind: making a run's
/// entry takes far less.
const YOUNG: Duration = Duration::from_secs(10);

/// A run that lives.
#[derive(Clone, Debug)]
pub struct Living {
    /// What it says of itself.
    pub info: Info,
    /// Its directory.
    pub(super) directory: PathBuf,
}

/// The runs of the calling user that live, the oldest first. What a killed run has left behind is
/// taken away.
pub fn list() -> Vec<Living> {
    let mut all: Vec<Living> = place::bases()
        .iter()
        .filter(|base| place::is_private(base).is_ok())
        .filter_map(|base| fs::read_dir(place::runs(base)).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| look(&entry.path()))
        .collect();
    all.sort_by(|a, b| a.info.started.total_cmp(&b.info.started));
    // Two of the places may be one by a link.
    all.dedup_by(|a, b| a.info.id == b.info.id && a.info.pid == b.info.pid);
    all
}

fn look(directory: &Path) -> Option<Living> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(directory.join(super::INFO));
    let Ok(file) = file else {
        if is_old(directory) {
            place::remove(directory);
        }
        return None;
    };
    let file = match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => {
            place::remove(directory);
            return None;
        }
        Err((file, _)) => file,
    };
    let info: Info = from_line(&content(file)?).ok()?;
    Some(Living { info, directory: directory.to_owned() })
}

fn content(file: File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LINE as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn is_old(directory: &Path) -> bool {
    let modified = fs::symlink_metadata(directory).and_then(|meta| meta.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG))
}
