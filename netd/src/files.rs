//! Files that must be whole or not there, and secrets that nobody else may read.
//!
//! Invariant: a reader sees the old content or the new one; a secret is never open to others, not even
//! while it is written. Used by `state`, `identity`, `authority`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{NetError, file};

/// Whether a write must outlive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It must.
    Yes,
    /// It is of no use after one.
    No,
}

/// Makes a directory that is open to this user alone.
pub fn directory(path: &Path) -> Result<(), NetError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file("make", path))
}

/// Puts this content in the place of the file's, all at once; readable for this user alone.
pub fn replace(path: &Path, content: &[u8], lasting: Lasting) -> Result<(), NetError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    // What a daemon that was killed left is nobody's, and may be open to others.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(file("remove", &new)(error));
        }
        _ => {}
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(file("make", &new))?;
    out.write_all(content).map_err(file("write", &new))?;
    if lasting == Lasting::Yes {
        out.sync_all().map_err(file("write", &new))?;
    }
    fs::rename(&new, path).map_err(file("replace", path))?;
    if lasting == Lasting::Yes
        && let Some(parent) = path.parent()
    {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let directory = fs::File::open(parent).map_err(file("open", parent))?;
        directory.sync_all().map_err(file("write", parent))?;
    }
    Ok(())
}

/// The content of a file that holds a secret.
///
/// # Errors
/// [`NetError::Permissions`] if anyone but its owner may read it, or it is another user's.
pub fn secret(path: &Path) -> Result<String, NetError> {
    let metadata = fs::metadata(path).map_err(file("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    let user = rustix::process::geteuid();
    if mode & 0o077 != 0 || metadata.uid() != user.as_raw() && !user.is_root() {
        return Err(NetError::Permissions { path: path.to_owned(), mode });
    }
    fs::read_to_string(path).map_err(file("read", path))
}

/// The content of a file, or nothing if it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, NetError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("read", path)(error)),
    }
}

/// The value that a file of JSON holds, or nothing if it is not there.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NetError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| NetError::Content { path: path.to_owned(), why: error.to_string() })
}

/// Puts a value into a file of JSON.
pub fn replace_json<T: Serialize>(
    path: &Path,
    value: &T,
    lasting: Lasting,
) -> Result<(), NetError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| NetError::Content { path: path.to_owned(), why: error.to_string() })?;
    replace(path, &bytes, lasting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(directory.path().join(".key.new"), "left over").unwrap();
        replace(&path, b"one", Lasting::Yes).unwrap();
        replace(&path, b"two", Lasting::No).unwrap();
        assert_eq!(secret(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(secret(&path), Err(NetError::Permissions { mode: 0o640, .. })));
    }
}
