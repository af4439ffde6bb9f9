//! Which pages of a memory an image holds, and where in its `pages.bin` each of them is.
//!
//! A memory is a list of segments, by address: pages whose bytes are in the image, pages of zeros,
//! pages that are as in the parent. What is in none is a hole: it was never touched, and is zero or
//! the mapped file's. The bytes lie in the order of the addresses in chunks of [`CHUNK`] pages each,
//! so that the place of a page follows from how many are before it.
//!
//! Invariant: a [`Map`] that came through [`Map::new`] has segments in order without overlap, below
//! 2^52, and exactly the chunks that its pages need. Called by the writer and the reader.

use serde::{Deserialize, Serialize};

use crate::PAGE;
use crate::source::Space;

/// Pages of a full chunk: 1 MiB, which compresses as well as more does and is one write.
pub const CHUNK: u64 = 256;

/// The first page number that no address has.
const PAGES: u64 = 1 << 52;

/// What an image says of the pages of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Their bytes are in this image.
    Data,
    /// They are all zeros.
    Zero,
    /// The parent says it.
    Parent,
}

/// Pages one after the other, as they are stored: relative to the end of the segment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Pages between the end of the segment before and this one.
    pub gap: u64,
    /// How many pages.
    pub pages: u64,
    /// What they are.
    pub content: Content,
}

/// Some pages' bytes in `pages.bin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub stored: u32,
    /// Whether they are compressed (zstd); else they are the pages as they were.
    pub packed: bool,
    /// XXH3 of the stored bytes.
    pub sum: u64,
}

/// One memory, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which memory.
    pub space: Space,
    /// Its segments, by address.
    pub segments: Vec<Segment>,
    /// Its chunks, by address.
    pub chunks: Vec<Chunk>,
}

/// A segment with absolute numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its first page.
    pub first: u64,
    /// How many pages.
    pub pages: u64,
    /// What they are.
    pub content: Content,
    /// How many pages of data lie before it.
    pub rank: u64,
}

/// One memory, to look things up in.
#[derive(Clone, Debug)]
pub struct Map {
    /// Which memory.
    pub space: Space,
    /// Its chunks.
    pub chunks: Vec<Chunk>,
    segments: Vec<Placed>,
    data: u64,
}

/// What an image says of a page and some behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Nothing for a hole; else what the pages are.
    pub content: Option<Content>,
    /// Of how many pages, from the one asked for on, this is so.
    pub pages: u64,
    /// The rank of the page asked for, if it is data.
    pub rank: u64,
}

impl Map {
    /// Checks what was stored.
    ///
    /// # Errors
    /// What is not as a writer writes it.
    pub fn new(entry: Entry, pages_len: u64) -> Result<Self, &'static str> {
        let Entry { space, segments: stored, chunks } = entry;
        let (mut end, mut data) = (0u64, 0u64);
        let mut segments = Vec::with_capacity(stored.len());
        for Segment { gap, pages, content } in stored {
            let first = end.checked_add(gap).ok_or("an address beyond all")?;
            let behind = first.checked_add(pages).filter(|end| *end <= PAGES);
            end = behind.ok_or("an address beyond all")?;
            segments.push(Placed { first, pages, content, rank: data });
            if content == Content::Data {
                data += pages;
            }
        }
        if chunks.len() as u64 != data.div_ceil(CHUNK) {
            return Err("more or fewer chunks than its pages need");
        }
        let map = Self { space, chunks, segments, data };
        for (k, chunk) in map.chunks.iter().enumerate() {
            let raw = map.chunk_bytes(k as u64) as u64;
            let stored = u64::from(chunk.stored);
            if stored == 0 || stored > raw || (!chunk.packed && stored != raw) {
                return Err("a chunk of an impossible length");
            }
            if chunk.offset.checked_add(stored).is_none_or(|end| end > pages_len) {
                return Err("a chunk beyond the end of pages.bin");
            }
        }
        Ok(map)
    }

    /// How many pages are data.
    pub fn data(&self) -> u64 {
        self.data
    }

    /// All segments, by address.
    pub fn segments(&self) -> &[Placed] {
        &self.segments
    }

    /// Bytes of chunk `k` once it is unpacked.
    pub fn chunk_bytes(&self, k: u64) -> usize {
        (self.data - k * CHUNK).min(CHUNK) as usize * PAGE
    }

    /// What is known of `page` (an address divided by the size of a page).
    pub fn find(&self, page: u64) -> Found {
        let behind = self.segments.partition_point(|segment| segment.first <= page);
        if let Some(segment) = behind.checked_sub(1).map(|k| &self.segments[k]) {
            let into = page - segment.first;
            if into < segment.pages {
                let content = Some(segment.content);
                let (pages, rank) = (segment.pages - into, segment.rank + into);
                return Found { content, pages, rank };
            }
        }
        let next = self.segments.get(behind).map_or(PAGES, |segment| segment.first);
        Found { content: None, pages: next.saturating_sub(page).max(1), rank: 0 }
    }

    /// The first address of chunk `k`, for whoever has to say what is lost with it.
    pub fn chunk_addr(&self, k: u64) -> u64 {
        let rank = k * CHUNK;
        let data = self.segments.iter().filter(|segment| segment.content == Content::Data);
        let holder = data.take_while(|segment| segment.rank <= rank).last();
        holder.map_or(0, |segment| (segment.first + rank - segment.rank) * PAGE as u64)
    }
}

/// Segments as they are found, by address.
#[derive(Debug, Default)]
pub struct Builder {
    segments: Vec<Segment>,
    end: u64,
}

impl Builder {
    /// Adds pages from `first` on; they must lie behind all that were added before.
    pub fn push(&mut self, first: u64, pages: u64, content: Content) {
        debug_assert!(first >= self.end);
        let gap = first - self.end;
        self.end = first + pages;
        match self.segments.last_mut() {
            Some(last) if gap == 0 && last.content == content => last.pages += pages,
            _ => self.segments.push(Segment { gap, pages, content }),
        }
    }

    /// All of them.
    pub fn finish(self) -> Vec<Segment> {
        self.segments
    }
}
