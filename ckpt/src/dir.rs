//! The names in a checkpoint directory, and which images there are.
//!
//! Invariant: a directory with a plain number for a name is a whole image: it got that name when all
//! of it was on the disk. Names that are none of ours are never counted, changed or removed. Called
//! by the writer, the reader, `retain` and the undo log.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, io as failed};

/// The file with the description.
pub const MANIFEST: &str = "manifest";
/// The file that says where each page is.
pub const INDEX: &str = "index";
/// The file with the pages.
pub const PAGES_BIN: &str = "pages.bin";

const TEMPORARY: &str = "tmp";
const GONE: &str = "gone";

/// A checkpoint directory; nothing is opened by having one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dir(PathBuf);

impl Dir {
    /// The directory at `path`, whether or not it exists.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the images are.
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// Where the undo logs are.
    pub fn undo(&self) -> PathBuf {
        self.0.join("undo")
    }

    /// Whose lock the writer holds.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Where image `sequence` is.
    pub fn image(&self, sequence: u64) -> PathBuf {
        self.images().join(format!("{sequence:06}"))
    }

    /// Where image `sequence` is while it is written.
    pub fn temporary(&self, sequence: u64) -> PathBuf {
        self.images().join(format!("{sequence:06}.{TEMPORARY}"))
    }

    /// Where image `sequence` is while it is removed.
    pub fn gone(&self, sequence: u64) -> PathBuf {
        self.images().join(format!("{sequence:06}.{GONE}"))
    }

    /// The undo log of what came after checkpoint `sequence`.
    pub fn log(&self, sequence: u64) -> PathBuf {
        self.undo().join(format!("{sequence:06}.log"))
    }

    /// The numbers of all images, ascending.
    ///
    /// # Errors
    /// [`Error::NoImages`] when there are none; [`Error::Io`] when the directory cannot be read.
    pub fn sequences(&self) -> Result<Vec<u64>> {
        let found = numbers(&self.images(), |name| name.to_str().and_then(plain))?;
        if found.is_empty() { Err(Error::NoImages { dir: self.0.clone() }) } else { Ok(found) }
    }

    /// The numbers of all undo logs, ascending.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be read.
    pub fn logs(&self) -> Result<Vec<u64>> {
        numbers(&self.undo(), |name| plain(name.to_str()?.strip_suffix(".log")?))
    }

    /// What a writer that was killed has left: directories being written or removed.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be read.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let images = self.images();
        let left = numbers(&images, |name| ours(name, TEMPORARY))?.into_iter();
        let gone = numbers(&images, |name| ours(name, GONE))?.into_iter();
        Ok(left.map(|n| self.temporary(n)).chain(gone.map(|n| self.gone(n))).collect())
    }
}

fn ours(name: &OsStr, suffix: &str) -> Option<u64> {
    plain(name.to_str()?.strip_suffix(suffix)?.strip_suffix('.')?)
}

/// A number as it is written here, and in no other way.
fn plain(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    (text == format!("{number:06}")).then_some(number)
}

fn numbers(dir: &Path, of: impl Fn(&OsStr) -> Option<u64>) -> Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("cannot be listed", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("cannot be listed", dir))?;
        found.extend(of(&entry.file_name()));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_as_they_are_written_count() {
        assert_eq!(plain("000007"), Some(7));
        assert_eq!(plain("1000000"), Some(1_000_000));
        for other in ["7", "+00007", "0000007", "", "00000x", "000007.tmp"] {
            assert_eq!(plain(other), None, "{other}");
        }
        assert_eq!(ours(OsStr::new("000007.tmp"), TEMPORARY), Some(7));
        assert_eq!(ours(OsStr::new("000007.gone"), TEMPORARY), None);
        assert_eq!(ours(OsStr::new("notes.tmp"), TEMPORARY), None);
    }
}
