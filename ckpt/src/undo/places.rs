//! Where files are now that will have other names when all is undone, without doing anything.
//!
//! Invariant: the same steps as those of `names`, on a map instead of the file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::names::{Again, Gone, identity};
use crate::error::Result;
use crate::image::FileId;

/// Names, and what they will lead to.
#[derive(Debug, Default)]
pub struct Names {
    /// What differs from the file system as it is: where it is now, or that it will not be there.
    places: BTreeMap<PathBuf, Option<PathBuf>>,
    /// What is made again, and which it was.
    made_again: BTreeMap<PathBuf, FileId>,
    /// What was made again, and which it is now.
    again: Again,
}

impl Names {
    pub(super) fn new(again: Again) -> Self {
        Self { again, ..Self::default() }
    }

    /// Where that is now which will be at `path`; none if nothing will.
    pub fn now(&self, path: &Path) -> Option<PathBuf> {
        let known = path.ancestors().find_map(|above| Some((above, self.places.get(above)?)));
        match known {
            None => Some(path.to_owned()),
            Some((above, now)) => {
                let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
                let now = now.as_ref()?;
                Some(if rest.as_os_str().is_empty() { now.clone() } else { now.join(rest) })
            }
        }
    }

    /// Whether it is made again.
    pub fn is_made_again(&self, path: &Path) -> bool {
        self.made_again.contains_key(path)
    }

    /// One step back.
    pub(super) fn undo(&mut self, gone: &Gone) -> Result<()> {
        let which = |path: &Path| self.now(path).map_or(Ok(None), |now| identity(&now));
        match gone {
            Gone::Removed { path, id, kept } => {
                if !self.again.is(which(path)?, *id) {
                    self.places.insert(path.clone(), Some(kept.clone()));
                }
            }
            Gone::Renamed { from, to, id } => {
                let again = self.made_again.get(to) == Some(id);
                if !again && !self.again.is(which(to)?, *id) {
                    return Ok(());
                }
                let both = self.again.is(which(from)?, *id);
                let there = if again { None } else { self.now(to) };
                let below: Vec<PathBuf> =
                    self.places.keys().filter(|path| path.starts_with(to)).cloned().collect();
                for path in below {
                    let (now, rest) = (self.places.remove(&path), path.strip_prefix(to));
                    if let (Some(now), Ok(rest), false) = (now, rest, &path == to) {
                        self.places.insert(from.join(rest), now);
                    }
                }
                let (again, others): (BTreeMap<_, _>, _) = std::mem::take(&mut self.made_again)
                    .into_iter()
                    .partition(|(path, _)| path.starts_with(to));
                self.made_again = others;
                for (path, id) in again {
                    let rest = path.strip_prefix(to).unwrap_or(Path::new(""));
                    let moved = if &path == to { from.clone() } else { from.join(rest) };
                    self.made_again.insert(moved, id);
                }
                self.places.insert(to.clone(), None);
                if !both {
                    self.places.insert(from.clone(), there);
                }
            }
            Gone::Unmade { path, id, .. } => {
                if !self.again.is(which(path)?, *id) {
                    self.made_again.insert(path.clone(), *id);
                }
            }
            Gone::MadeDirectory(path) => {
                self.made_again.remove(path);
            }
            Gone::MadeFile { .. } | Gone::MadeName { .. } => {}
        }
        Ok(())
    }
}
