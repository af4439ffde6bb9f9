//! Where the directories of runs are.
//!
//! Invariant: a directory is used only if it is the caller's own and nobody else may look into it,
//! whoever made it: names in `/tmp` can be taken by anybody.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// The directories that may hold runs, the best first. A run takes the first in which it can be
/// made; who looks for runs looks into all.
pub(super) fn bases() -> Vec<PathBuf> {
    let user = geteuid();
    let mut bases = Vec::with_capacity(4);
    if let Some(named) = std::env::var_os("XDG_RUNTIME_DIR") {
        bases.push(PathBuf::from(named));
    }
    bases.push(PathBuf::from(format!("/run/user/{user}")));
    // The XDG specification: a relative path is to be passed over, and it belongs to the user.
    bases.retain(|base| base.is_absolute() && is_own(base).is_ok());
    for base in &mut bases {
        base.push("chameleon");
    }
    if user.is_root() {
        bases.push(PathBuf::from("/run/chameleon"));
    }
    bases.push(PathBuf::from(format!("/tmp/chameleon-{user}")));
    bases.dedup();
    bases
}

/// The directory of the runs of a base.
pub(super) fn runs(base: &Path) -> PathBuf {
    base.join("runs")
}

/// Whether it is a directory of the caller's.
fn is_own(path: &Path) -> io::Result<fs::Metadata> {
    let meta = fs::symlink_metadata(path)?;
    let own = meta.is_dir() && meta.uid() == geteuid().as_raw();
    if own { Ok(meta) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whether it is a directory of the caller's that nobody else can use.
pub(super) fn is_private(path: &Path) -> io::Result<()> {
    let meta = is_own(path)?;
    if meta.mode() & 0o077 == 0 { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Makes such a directory, or finds it made.
pub(super) fn private(path: &Path) -> io::Result<()> {
    match make(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => is_private(path),
        other => other,
    }
}

/// Makes such a directory anew.
pub(super) fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Takes away the directory of a run, and those above it that nothing else is in.
pub(super) fn remove(run: &Path) {
    for file in [super::CONTROL, super::INFO, super::INFO_NEW] {
        let _ = fs::remove_file(run.join(file));
    }
    // One that is not empty stays.
    let _ = fs::remove_dir(run);
    let _ = run.parent().map(fs::remove_dir);
    let _ = run.parent().and_then(Path::parent).map(fs::remove_dir);
}
