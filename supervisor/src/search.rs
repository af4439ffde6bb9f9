//! Finding the program as a shell does (execvp(3)) and saying why it cannot be run.
//!
//! Invariant: decides before anything is started, so that a program that is not there costs
//! nothing and leaves nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::launch::LaunchError;

/// Where `program` is.
pub fn find(program: &OsStr) -> Result<PathBuf, LaunchError> {
    if program.as_bytes().contains(&b'/') {
        return check(Path::new(program)).map(|()| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    let mut denied = None;
    for dir in std::env::split_paths(&path) {
        let candidate =
            if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir }.join(program);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(LaunchError::Missing(_)) => {}
            Err(other) => denied = denied.or(Some(other)),
        }
    }
    Err(denied.unwrap_or_else(|| LaunchError::Missing(program.to_string_lossy().into_owned())))
}

fn check(path: &Path) -> Result<(), LaunchError> {
    let name = || path.display().to_string();
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => {
            LaunchError::NotExecutable(name(), "permission denied")
        }
        _ => LaunchError::Missing(name()),
    })?;
    if meta.is_dir() {
        return Err(LaunchError::NotExecutable(name(), "it is a directory"));
    }
    if !chameleon_sys::image::may_execute(path) {
        return Err(LaunchError::NotExecutable(name(), "permission denied"));
    }
    Ok(())
}
