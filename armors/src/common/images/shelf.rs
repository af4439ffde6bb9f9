//! What of a run's images can be fetched while it goes on.
//!
//! Invariant: what is beside an image is said only if it is known to be as it was at the cut. Served by the EXECUTION
//! ARMOR of the run; the images of a store are served from here, too.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::moved;
use chameleon_ckpt::read::{Chain, Opened};
use chameleon_proto::message::app::{Along, Beside, Content, Listed, Part, What};

use super::super::around;
use super::super::pieces;
use super::store::name;

/// The newest image, or the one asked for, with all that it builds on; the oldest first.
pub(super) fn list(dir: &Dir, at: Option<u64>) -> Result<Vec<Listed>, String> {
    let chain = Chain::open_at(dir, at).map_err(|error| error.to_string())?;
    let listed = |opened: &Opened| {
        let image = opened.image();
        let length = |part| {
            let facts = fs::metadata(dir.image(image.sequence).join(name(part)));
            facts.map(|facts| facts.len()).map_err(|error| error.to_string())
        };
        Ok(Listed {
            run: image.run,
            sequence: image.sequence,
            sum: opened.sum,
            created_ns: image.created_ns,
            lengths: [length(Part::Pages)?, length(Part::Index)?, length(Part::Manifest)?],
        })
    };
    chain.images().iter().rev().map(listed).collect()
}

/// A piece of an image.
pub(super) fn image(dir: &Dir, sequence: u64, part: Part, at: u64) -> Content {
    let piece = pieces::piece(&dir.image(sequence).join(name(part)), at, u64::MAX);
    piece.map_or_else(|e| Content::Refused(format!("image {sequence}: {e}")), Content::Bytes)
}

/// The images of a run, and where it works.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub images: PathBuf,
    /// The directory of its own files on this node.
    pub home: PathBuf,
    /// Where the program works.
    pub directory: PathBuf,
    /// Where its streams lead that have a name of their own.
    pub streams: Vec<PathBuf>,
    /// The list that was made last, and of which newest image.
    listed: Option<((u64, u64), Vec<Listed>)>,
    /// What the program has changed that does not go along, once it has.
    outside: Option<String>,
    /// What was last found beside an image, and where that is here.
    beside: Option<(Beside, Vec<PathBuf>)>,
}

impl Run {
    /// Of images in a directory.
    pub fn new(images: PathBuf, home: PathBuf, directory: PathBuf, streams: Vec<PathBuf>) -> Self {
        Self { images, home, directory, streams, listed: None, outside: None, beside: None }
    }

    /// What is asked for.
    pub fn serve(&mut self, what: What) -> Content {
        let dir = Dir::new(&self.images);
        match what {
            What::Images => self.list(&dir).map_or_else(Content::Refused, Content::Images),
            What::Image(sequence, part, at) => image(&dir, sequence, part, at),
            What::Beside(sequence) => {
                let found = self.look(&dir, sequence);
                match (&self.outside, found) {
                    (Some(why), _) => Content::Shared(why.clone()),
                    (None, Ok(found)) => Content::Beside(self.beside.insert(found).0.clone()),
                    (None, Err(why)) => Content::Refused(why),
                }
            }
            What::BesideFile(sequence, number, at) => {
                let known = self.beside.as_ref().filter(|(known, _)| known.sequence == sequence);
                let file = known.and_then(|(known, paths)| {
                    Some((known.files.get(number as usize)?, paths.get(number as usize)?))
                });
                let Some((along, path)) = file else {
                    return Content::Refused("it was not asked what is beside it".to_owned());
                };
                let piece = pieces::piece(path, at, along.file.length.unwrap_or(0));
                piece.map_or_else(|e| Content::Refused(e.to_string()), Content::Bytes)
            }
            What::Digest | What::File(..) => Content::Refused("this is no image".to_owned()),
        }
    }

    /// The list, made anew when there is another newest image.
    fn list(&mut self, dir: &Dir) -> Result<Vec<Listed>, String> {
        let newest = dir.sequences().map_err(|error| error.to_string())?;
        let newest = newest.last().copied().unwrap_or(0);
        let inode = fs::metadata(dir.image(newest)).map(|facts| facts.ino()).unwrap_or(0);
        if let Some((at, list)) = &self.listed
            && *at == (newest, inode)
        {
            return Ok(list.clone());
        }
        let list = list(dir, None)?;
        self.listed = Some(((newest, inode), list.clone()));
        Ok(list)
    }

    /// What goes along with an image, and where it is.
    fn look(&mut self, dir: &Dir, sequence: u64) -> Result<(Beside, Vec<PathBuf>), String> {
        let chain = Chain::open(dir, sequence).map_err(|error| error.to_string())?;
        let mut image = chain.image().clone();
        let named = moved::along(&image);
        moved::apply(dir, &mut image).map_err(|error| error.to_string())?;
        let along = moved::along(&image);
        self.outside = self.outside.take().or(self.strays(dir, &along));
        let mut files = Vec::new();
        for (named, one) in named.iter().zip(&along) {
            let file = pieces::digest(&one.path, one.size)
                .map_err(|error| format!("{}: {error}", one.path.display()))?;
            if file.length != Some(one.size) {
                return Err(format!("{} is shorter than it was", one.path.display()));
            }
            let path = named.path.as_os_str().as_bytes().to_vec();
            files.push(Along { path, at: self.place(&one.path)?, file });
        }
        let paths: Vec<PathBuf> = along.into_iter().map(|one| one.path).collect();
        let mut except = paths.clone();
        except.push(self.home.clone());
        let around = around::look(&self.directory, &except, Some(image.created_ns))?;
        // Last: what was read before anything was changed is as it was.
        if let Some(why) = moved::left_alone(dir, &image).map_err(|error| error.to_string())? {
            return Err(why);
        }
        let (sum, created_ns) = (chain.images()[0].sum, image.created_ns);
        Ok((Beside { sequence, sum, created_ns, files, around }, paths))
    }

    /// A file of those that go along, or that were changed since any image that is here, which is somewhere else than
    /// all that is compared on the other node: if that is the same file there, what is done would be done twice.
    fn strays(&self, dir: &Dir, along: &[moved::Along]) -> Option<String> {
        let open = along.iter().find_map(|one| self.place(&one.path).err());
        open.or_else(|| {
            let changed = moved::changed(dir).unwrap_or_default();
            // A name may have been given by way of others.
            let leads_away = |path: &Path| path.components().any(|at| at == Component::ParentDir);
            let stray = |path: &&PathBuf| leads_away(path) || self.place(path).is_err();
            let stray = changed.iter().find(stray)?;
            let (path, directory) = (stray.display(), self.directory.display());
            Some(format!("it changed {path}, which is not below {directory}"))
        })
    }

    /// Where a file is to be on another node: below its ARMOR's directory there, or where it is here.
    fn place(&self, path: &Path) -> Result<Vec<u8>, String> {
        if let Ok(name) = path.strip_prefix(&self.home) {
            return Ok(name.as_os_str().as_bytes().to_vec());
        }
        if path.starts_with(&self.directory) || self.streams.iter().any(|stream| stream == path) {
            return Ok(path.as_os_str().as_bytes().to_vec());
        }
        let (path, directory) = (path.display(), self.directory.display());
        Err(format!("{path} is open for writing and not below {directory}"))
    }
}
