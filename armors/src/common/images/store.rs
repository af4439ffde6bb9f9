//! Where images of one run are kept, with the files that go along.
//!
//! Invariant: each step is on the disk before the next; the record names what was verified. Used by those who
//! take images and by those who serve what was taken.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chameleon_ckpt::dir::{Dir, INDEX, MANIFEST, PAGES_BIN};
use chameleon_ckpt::read::Opened;
use chameleon_ckpt::verify;
use chameleon_proto::codec;
use chameleon_proto::message::app::{Beside, Content, Listed, Part, What};

use super::super::pieces::{self, PIECE};
use super::shelf;

/// Images, and what is beside them.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub dir: Dir,
    beside: PathBuf,
}

/// The name of a part's file.
pub(super) const fn name(part: Part) -> &'static str {
    match part {
        Part::Pages => PAGES_BIN,
        Part::Index => INDEX,
        Part::Manifest => MANIFEST,
    }
}

impl Store {
    /// In the directory `base`, with what is beside the images in another one.
    pub fn at(base: &Path) -> Self {
        let mut beside = base.as_os_str().to_owned();
        beside.push(".beside");
        Self { dir: Dir::new(base), beside: PathBuf::from(beside) }
    }

    /// Makes its directories.
    pub fn make(&self) -> io::Result<()> {
        for path in [&self.dir.images(), &self.dir.undo(), &self.beside] {
            fs::create_dir_all(path)?;
        }
        Ok(())
    }

    /// Everything goes.
    pub fn remove(&self) {
        let _ = fs::remove_dir_all(self.dir.path());
        let _ = fs::remove_dir_all(&self.beside);
    }

    /// Where a file of a kept image is.
    pub fn file(&self, sequence: u64, number: usize) -> PathBuf {
        self.beside.join(format!("{sequence:06}.{number}"))
    }

    /// Where the rest is.
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    fn record(&self, sequence: u64) -> PathBuf {
        self.beside.join(format!("{sequence:06}.record"))
    }

    /// Whether this very image is here.
    pub fn has(&self, listed: &Listed) -> bool {
        Opened::open(&self.dir, listed.sequence).is_ok_and(|opened| opened.sum == listed.sum)
    }

    /// An image whose parts are all in the directory that it is taken into becomes one of that number.
    pub fn complete(&self, listed: &Listed) -> io::Result<()> {
        let (new, target) = (self.dir.temporary(listed.sequence), self.dir.image(listed.sequence));
        for part in [Part::Pages, Part::Index, Part::Manifest] {
            File::open(new.join(name(part)))?.sync_all()?;
        }
        File::open(&new)?.sync_all()?;
        if target.exists() {
            // The run has gone back behind it.
            self.drop_image(listed.sequence)?;
        }
        fs::rename(new, target)?;
        File::open(self.dir.images())?.sync_all()
    }

    fn drop_image(&self, sequence: u64) -> io::Result<()> {
        let (image, gone) = (self.dir.image(sequence), self.dir.gone(sequence));
        let _ = fs::remove_dir_all(&gone);
        fs::rename(&image, &gone)?;
        fs::remove_dir_all(gone)
    }

    /// Whether all of an image is as it was written; one that is not goes.
    pub fn verify(&self, sequence: u64) -> Result<(), String> {
        let wrong = verify::image(&self.dir, sequence, &mut |_| ()).into_iter().next();
        let wrong = wrong.or_else(|| verify::chain(&self.dir, sequence).err());
        wrong.map_or(Ok(()), |error| {
            let _ = self.drop_image(sequence);
            Err(error.to_string())
        })
    }

    /// The files beside an image are all here: they are compared and the record is written.
    pub fn keep(&self, beside: &Beside) -> Result<(), String> {
        let lost = |e: io::Error| format!("{}: {e}", self.beside.display());
        for (number, along) in beside.files.iter().enumerate() {
            let path = self.file(beside.sequence, number);
            let length = along.file.length.unwrap_or(0);
            let found = pieces::digest(&path, length).map_err(lost)?;
            if (found.length, &found.digest) != (along.file.length, &along.file.digest) {
                let _ = fs::remove_file(&path);
                let name = String::from_utf8_lossy(&along.path);
                return Err(format!("{name} is not what it was said to be"));
            }
            File::open(path).and_then(|file| file.sync_all()).map_err(lost)?;
        }
        let bytes = codec::encode(beside).map_err(|error| error.to_string())?;
        let (new, target) = (self.beside.join("new"), self.record(beside.sequence));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, target)?;
            File::open(&self.beside)?.sync_all()
        });
        written.map_err(lost)
    }

    /// What is kept: the newest image with a record that is its own.
    pub fn kept(&self) -> Option<Beside> {
        let names = fs::read_dir(&self.beside).ok()?.flatten();
        let number = |name: &Path| {
            let record = name.extension()? == "record";
            record.then(|| name.file_stem()?.to_str()?.parse::<u64>().ok()).flatten()
        };
        let mut numbers: Vec<u64> =
            names.filter_map(|entry| number(Path::new(&entry.file_name()))).collect();
        numbers.sort_unstable();
        numbers.into_iter().rev().find_map(|sequence| {
            let beside: Beside = codec::decode(&fs::read(self.record(sequence)).ok()?).ok()?;
            let opened = Opened::open(&self.dir, sequence).ok()?;
            (opened.sum == beside.sum && beside.sequence == sequence).then_some(beside)
        })
    }

    /// Only this image stays, and what it builds on.
    pub fn only(&self, sequence: u64, chain: &[u64]) {
        for other in self.dir.sequences().unwrap_or_default().into_iter().rev() {
            if !chain.contains(&other) {
                let _ = self.drop_image(other);
            }
        }
        let prefix = format!("{sequence:06}.");
        for entry in fs::read_dir(&self.beside).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Begins a file beside an image, unless it is to be taken `afresh` with what the one before has of it; how
    /// many bytes that is.
    pub fn begin(&self, beside: &Beside, number: usize, afresh: bool) -> io::Result<u64> {
        let path = self.file(beside.sequence, number);
        let before = self.kept().filter(|kept| kept.sequence != beside.sequence);
        let own = &beside.files[number];
        let same = before.as_ref().and_then(|kept| {
            let at = kept.files.iter().position(|file| file.path == own.path)?;
            let have = kept.files[at].file.length?;
            (have <= own.file.length?).then(|| (self.file(kept.sequence, at), have))
        });
        // Most only grow: the bytes that are here already are not asked for; the digest tells if they are others.
        let _ = fs::remove_file(&path);
        if let Some((old, have)) = same.filter(|_| !afresh)
            && fs::hard_link(&old, &path).is_ok()
        {
            File::options().write(true).open(&path)?.set_len(have)?;
            return Ok(have);
        }
        File::create(path)?;
        Ok(0)
    }

    /// What is asked for of what is kept here.
    pub fn serve(&self, what: What) -> Content {
        let refused = |why: &str| Content::Refused(why.to_owned());
        if let What::Image(sequence, part, at) = what {
            return shelf::image(&self.dir, sequence, part, at);
        }
        let Some(kept) = self.kept() else { return refused("no image is kept") };
        match what {
            What::Images => shelf::list(&self.dir, Some(kept.sequence))
                .map_or_else(Content::Refused, Content::Images),
            What::Beside(sequence) if sequence == kept.sequence => Content::Beside(kept),
            What::BesideFile(sequence, number, at) if sequence == kept.sequence => {
                let Some(along) = kept.files.get(number as usize) else {
                    return refused("there is no file of this number");
                };
                let end = along.file.length.unwrap_or(0);
                let piece = pieces::piece(&self.file(sequence, number as usize), at, end);
                piece.map_or_else(|e| Content::Refused(e.to_string()), Content::Bytes)
            }
            _ => refused("this is not kept"),
        }
    }
}

const _: () = assert!(PIECE < codec::LIMIT);
