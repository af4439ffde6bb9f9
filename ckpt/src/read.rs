//! Reading images: what one says, and any page of it through the images that it builds on.
//!
//! Invariant: a page comes out only if the checksum of the bytes it was stored in is right; the chain
//! is exactly the one that was written, manifest by manifest. Nothing is locked: an image that is
//! there does not change. Called by whoever restores, by `verify` and by the writer.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zstd::bulk::Decompressor;

use crate::PAGE;
use crate::dir::{Dir, INDEX, MANIFEST, PAGES_BIN};
use crate::error::{Error, Result, damaged, io as failed};
use crate::frame::{self, Kind, checksum};
use crate::image::Image;
use crate::map::{CHUNK, Chunk, Content, Entry, Map};
use crate::source::Space;
use crate::write::Manifest;

/// One image, without those it builds on.
#[derive(Debug)]
pub struct Opened {
    /// What it says.
    pub manifest: Manifest,
    /// The checksum of its manifest, which its children know it by.
    pub sum: u64,
    /// Its memories.
    pub maps: Vec<Map>,
    bin: PathBuf,
    file: File,
}

impl Opened {
    /// Opens image `sequence` and checks everything but the pages.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::NotAnImage`], [`Error::OtherVersion`], [`Error::Truncated`],
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn open(dir: &Dir, sequence: u64) -> Result<Self> {
        let home = dir.image(sequence);
        if !home.is_dir() {
            return Err(Error::NoImage { dir: dir.path().to_owned(), sequence });
        }
        let path = home.join(MANIFEST);
        let (manifest, sum) = frame::open::<Manifest>(&path, Kind::Manifest, &load(&path)?, 0)?;
        let image = &manifest.image;
        if image.sequence != sequence {
            let what = format!("it is the manifest of image {}", image.sequence);
            return Err(damaged(&path, 0, what));
        }
        if image.parent.is_some_and(|parent| parent >= sequence)
            || image.parent.is_some() != manifest.parent_sum.is_some()
        {
            return Err(damaged(&path, 0, "its parent cannot be"));
        }
        let path = home.join(INDEX);
        let (entries, found) = frame::open::<Vec<Entry>>(&path, Kind::Index, &load(&path)?, 0)?;
        if found != manifest.index_sum {
            return Err(damaged(&path, 0, "it is the index of another image"));
        }
        let maps = entries.into_iter().map(|entry| Map::new(entry, manifest.pages_len));
        let maps: std::result::Result<Vec<Map>, _> = maps.collect();
        let maps = maps.map_err(|what| damaged(&path, 0, what))?;
        let bin = home.join(PAGES_BIN);
        let file = File::open(&bin).map_err(missing(&bin))?;
        let found = file.metadata().map_err(failed("stat", &bin))?.len();
        let wanted = manifest.pages_len;
        if found < wanted {
            return Err(Error::Truncated { file: bin, found, wanted });
        }
        if found > wanted {
            return Err(damaged(&bin, wanted, "there are bytes behind its end"));
        }
        Ok(Self { manifest, sum, maps, bin, file })
    }

    /// The description.
    pub fn image(&self) -> &Image {
        &self.manifest.image
    }

    /// What it holds of a memory.
    pub fn map(&self, space: Space) -> Option<&Map> {
        self.maps.iter().find(|map| map.space == space)
    }

    /// Unpacks chunk `k` of a memory into `out`.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the process and the address of what is lost.
    pub fn chunk(&self, map: &Map, k: u64, with: &mut Unpacker, out: &mut Vec<u8>) -> Result<()> {
        let Chunk { offset, stored: len, packed, sum } = map.chunks[k as usize];
        let lost = |why: &str| {
            let what = format!(
                "pages of {} from {:#x} on, image {} ({why})",
                map.space,
                map.chunk_addr(k),
                self.image().sequence
            );
            damaged(&self.bin, offset, what)
        };
        let stored = if packed { &mut with.stored } else { &mut *out };
        stored.resize(len as usize, 0);
        self.file.read_exact_at(stored, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => lost("the file is shorter now"),
            _ => failed("cannot be read", &self.bin)(error),
        })?;
        if checksum(stored) != sum {
            return Err(lost("checksum"));
        }
        if packed {
            out.resize(map.chunk_bytes(k), 0);
            let zstd = match &mut with.zstd {
                Some(zstd) => zstd,
                none => none.insert(Decompressor::new().map_err(failed("zstd", &self.bin))?),
            };
            let unpacked = zstd.decompress_to_buffer(&with.stored, out.as_mut_slice());
            if unpacked.ok() != Some(out.len()) {
                return Err(lost("compression"));
            }
        }
        Ok(())
    }
}

/// What unpacking chunks needs; the same one serves all.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<Decompressor<'static>>,
    stored: Vec<u8>,
}

fn load(path: &Path) -> Result<Vec<u8>> {
    let limit = (frame::LIMIT + frame::HEADER) as u64;
    let long = fs::metadata(path).map_err(missing(path))?.len();
    if long > limit {
        return Err(damaged(path, limit, format!("it is {long} bytes long")));
    }
    fs::read(path).map_err(missing(path))
}

/// A file that an image must have.
fn missing(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::NotAnImage { file: path.to_owned(), what: "it is missing" }
        }
        _ => failed("cannot be read", path)(error),
    }
}

/// What an image says of some pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Their bytes.
    Data(&'a [u8]),
    /// So many pages of zeros.
    Zero(u64),
    /// So many pages that were never touched: zeros, or what the mapped file says.
    Hole(u64),
}

/// An image with all that it builds on.
pub struct Chain {
    /// The image itself, its parent, and so on to a full one.
    images: Vec<Opened>,
    /// The chunk that was unpacked last, of each.
    recent: Vec<Recent>,
    unpacker: Unpacker,
}

#[derive(Debug, Default)]
struct Recent {
    of: Option<(Space, u64)>,
    bytes: Vec<u8>,
}

impl Chain {
    /// Opens the image asked for, or the newest that can be read.
    ///
    /// # Errors
    /// As [`Chain::open`], of the newest if none can be read; [`Error::NoImages`].
    pub fn open_at(dir: &Dir, at: Option<u64>) -> Result<Self> {
        if let Some(sequence) = at {
            return Self::open(dir, sequence);
        }
        let mut first = None;
        for sequence in dir.sequences()?.into_iter().rev() {
            match Self::open(dir, sequence) {
                Ok(chain) => return Ok(chain),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::NoImages { dir: dir.path().to_owned() }))
    }

    /// Opens image `sequence` and its ancestors.
    ///
    /// # Errors
    /// As [`Opened::open`], and [`Error::MissingParent`].
    pub fn open(dir: &Dir, sequence: u64) -> Result<Self> {
        let mut images = vec![Opened::open(dir, sequence)?];
        while let Some(child) = images.last()
            && let Some(parent) = child.image().parent
        {
            let image = child.image().sequence;
            let missing = |what| Error::MissingParent { image, parent, what };
            let opened = match Opened::open(dir, parent) {
                Err(Error::NoImage { .. }) => return Err(missing("which is not there")),
                opened => opened?,
            };
            if Some(opened.sum) != child.manifest.parent_sum {
                return Err(missing("but another image has that number"));
            }
            images.push(opened);
        }
        let recent = images.iter().map(|_| Recent::default()).collect();
        Ok(Self { images, recent, unpacker: Unpacker::default() })
    }

    /// The description.
    pub fn image(&self) -> &Image {
        self.images[0].image()
    }

    /// The image and those it builds on, itself first.
    pub fn images(&self) -> &[Opened] {
        &self.images
    }

    /// Gives `take` everything from address `start` to `end`, both at the border of a page, by
    /// address and in pieces of at most a chunk. `take` gets the address of each piece.
    ///
    /// # Errors
    /// [`Error::Damaged`]; what `take` was given until then is right.
    pub fn read(
        &mut self,
        space: Space,
        start: u64,
        end: u64,
        mut take: impl FnMut(u64, Piece<'_>),
    ) -> Result<()> {
        let (mut page, end) = (start / PAGE as u64, end / PAGE as u64);
        while page < end {
            let place = self.find(space, page, end - page)?;
            let addr = page * PAGE as u64;
            page += match place {
                Place::Zero(pages) => {
                    take(addr, Piece::Zero(pages));
                    pages
                }
                Place::Hole(pages) => {
                    take(addr, Piece::Hole(pages));
                    pages
                }
                Place::Data { level, rank, pages } => {
                    let pages = pages.min(CHUNK - rank % CHUNK);
                    self.unpack(level, space, rank / CHUNK)?;
                    let from = (rank % CHUNK) as usize * PAGE;
                    let bytes = &self.recent[level].bytes[from..from + pages as usize * PAGE];
                    take(addr, Piece::Data(bytes));
                    pages
                }
            };
        }
        Ok(())
    }

    /// Whether every page that an image leaves to its parent is known there.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the index, the memory and the address.
    pub fn check(&self) -> Result<()> {
        for (level, opened) in self.images.iter().enumerate() {
            let parent = self.images.get(level + 1);
            for map in &opened.maps {
                let mut left = map.segments().iter().filter(|s| s.content == Content::Parent);
                let known = parent.is_some_and(|parent| parent.map(map.space).is_some());
                if let (false, Some(segment)) = (known, left.next()) {
                    return Err(self.unknown(level + 1, map.space, segment.first));
                }
            }
        }
        Ok(())
    }

    /// Newest first: the first image that does not leave the page to its parent says what it is.
    fn find(&self, space: Space, page: u64, most: u64) -> Result<Place> {
        let mut most = most;
        for (level, opened) in self.images.iter().enumerate() {
            let Some(map) = opened.map(space) else {
                return match level {
                    0 => Ok(Place::Hole(most)),
                    _ => Err(self.unknown(level, space, page)),
                };
            };
            let found = map.find(page);
            most = most.min(found.pages);
            match found.content {
                None => return Ok(Place::Hole(most)),
                Some(Content::Zero) => return Ok(Place::Zero(most)),
                Some(Content::Data) => {
                    return Ok(Place::Data { level, rank: found.rank, pages: most });
                }
                Some(Content::Parent) => {}
            }
        }
        Err(self.unknown(self.images.len(), space, page))
    }

    /// A page was left to a parent that has no such memory.
    fn unknown(&self, level: usize, space: Space, page: u64) -> Error {
        let child = &self.images[level - 1];
        let addr = page * PAGE as u64;
        let what = format!("{space} at {addr:#x} is left to a parent that does not know it");
        damaged(&child.bin.with_file_name(INDEX), 0, what)
    }

    fn unpack(&mut self, level: usize, space: Space, k: u64) -> Result<()> {
        let recent = &mut self.recent[level];
        if recent.of == Some((space, k)) {
            return Ok(());
        }
        recent.of = None;
        let opened = &self.images[level];
        if let Some(map) = opened.map(space) {
            opened.chunk(map, k, &mut self.unpacker, &mut recent.bytes)?;
            recent.of = Some((space, k));
        }
        Ok(())
    }
}

/// Where pages are.
enum Place {
    Data { level: usize, rank: u64, pages: u64 },
    Zero(u64),
    Hole(u64),
}
