//! What is in a program's directory, to be compared between two nodes.
//!
//! Invariant: two looks are equal only if both have the same names with the same kinds, lengths and times of
//! change; what is left out is named by the caller. Nothing is followed, nothing is opened. Used by the EXECUTION ARMOR for
//! images that go on elsewhere.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

/// The most that is looked at.
const MOST: usize = 10_000;
/// The most bytes of names right in the directory: they go in one message.
const NAMES: usize = 256 << 10;
/// Times of files are those of the last tick of the kernel's clock, which is at most so old.
const TICK_NS: i128 = 20_000_000;

/// Each name right in the directory, with a digest of all that is there.
pub(crate) type Around = BTreeMap<Vec<u8>, Vec<u8>>;

struct Look<'a> {
    except: &'a [PathBuf],
    /// What was changed then or later is named.
    since_ns: Option<i128>,
    count: usize,
    changed: Option<PathBuf>,
}

/// Looks at all that is below `directory`, but for these files.
///
/// # Errors
/// In words: something was changed at `since_ns` (of the epoch) or later, there is too much, or it cannot be read.
pub(crate) fn look(
    directory: &Path,
    except: &[PathBuf],
    since_ns: Option<u64>,
) -> Result<Around, String> {
    let since_ns = since_ns.map(|at| i128::from(at) - TICK_NS);
    let mut look = Look { except, since_ns, count: 0, changed: None };
    let named = |e: io::Error| format!("{} cannot be looked through: {e}", directory.display());
    let mut around = Around::new();
    look.time(directory, &fs::metadata(directory).map_err(named)?);
    for (name, path, facts) in look.entries(directory).map_err(named)? {
        let mut sum = Context::new(&SHA256);
        look.add(&mut sum, &path, &facts).map_err(named)?;
        around.insert(name, sum.finish().as_ref()[..16].to_vec());
    }
    if let Some(path) = look.changed {
        return Err(format!("{} was changed since", path.display()));
    }
    let names: usize = around.keys().map(|name| name.len() + 32).sum();
    if look.count > MOST || names > NAMES {
        let place = directory.display();
        return Err(format!("{place} has too many files to be compared on two nodes"));
    }
    Ok(around)
}

/// A name that is not the same in both.
pub(crate) fn differs(one: &Around, other: &Around) -> Option<Vec<u8>> {
    let all = one.keys().chain(other.keys());
    all.into_iter().find(|name| one.get(*name) != other.get(*name)).cloned()
}

impl Look<'_> {
    fn entries(&mut self, directory: &Path) -> io::Result<Vec<(Vec<u8>, PathBuf, Metadata)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            self.count += 1;
            if self.count > MOST {
                break;
            }
            let path = entry.path();
            if !self.except.contains(&path) {
                match entry.metadata() {
                    // It went just now, which the directory's time says.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    facts => found.push((entry.file_name().as_bytes().to_vec(), path, facts?)),
                }
            }
        }
        found.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        Ok(found)
    }

    fn add(&mut self, sum: &mut Context, path: &Path, facts: &Metadata) -> io::Result<()> {
        self.time(path, facts);
        let name = path.file_name().unwrap_or_default().as_bytes();
        sum.update(&(name.len() as u64).to_le_bytes());
        sum.update(name);
        // The kind is in the upper bits (inode(7)).
        sum.update(&facts.mode().to_le_bytes());
        if facts.is_dir() {
            let entries = self.entries(path)?;
            sum.update(&(entries.len() as u64).to_le_bytes());
            for (_, path, facts) in entries {
                self.add(sum, &path, &facts)?;
            }
        } else if facts.is_symlink() {
            sum.update(fs::read_link(path)?.as_os_str().as_bytes());
        } else {
            sum.update(&facts.len().to_le_bytes());
            sum.update(&facts.mtime().to_le_bytes());
            sum.update(&facts.mtime_nsec().to_le_bytes());
        }
        Ok(())
    }

    fn time(&mut self, path: &Path, facts: &Metadata) {
        let at = i128::from(facts.ctime()) * 1_000_000_000 + i128::from(facts.ctime_nsec());
        if self.since_ns.is_some_and(|since| at >= since) && self.changed.is_none() {
            self.changed = Some(path.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    fn scene() -> tempfile::TempDir {
        let scene = tempfile::tempdir().unwrap();
        fs::create_dir_all(scene.path().join("a/b")).unwrap();
        for name in ["x", "a/y", "a/b/z"] {
            let file = File::create(scene.path().join(name)).unwrap();
            let at = UNIX_EPOCH + Duration::from_secs(1_000_000);
            file.set_times(FileTimes::new().set_modified(at)).unwrap();
        }
        scene
    }

    #[test]
    fn copies_are_equal_and_changes_are_found() {
        let (one, other) = (scene(), scene());
        let seen = |scene: &tempfile::TempDir| look(scene.path(), &[], None).unwrap();
        assert_eq!(differs(&seen(&one), &seen(&other)), None);
        for (name, top) in [("a/b/z", "a"), ("x", "x"), ("new", "new"), ("a/b/new", "a")] {
            let scene = scene();
            fs::write(scene.path().join(name), "other").unwrap();
            assert_eq!(differs(&seen(&one), &seen(&scene)), Some(top.into()), "{name}");
            let except = [scene.path().join(name)];
            let without = look(scene.path(), &except, None).unwrap();
            let own = look(one.path(), &[one.path().join(name)], None).unwrap();
            assert_eq!(differs(&own, &without), None, "{name}");
        }
        fs::remove_file(other.path().join("a/y")).unwrap();
        assert_eq!(differs(&seen(&one), &seen(&other)), Some(b"a".to_vec()));
    }

    #[test]
    fn what_was_changed_since_is_named() {
        let scene = scene();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(look(scene.path(), &[], Some(now + 1_000_000_000)).is_ok());
        let error = look(scene.path(), &[], Some(now)).unwrap_err();
        assert!(error.ends_with("was changed since"), "{error}");
        assert!(look(&scene.path().join("none"), &[], None).is_err());
    }
}
