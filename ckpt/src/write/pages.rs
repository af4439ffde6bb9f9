//! The pages of an image: read here, packed and written by one thread beside, or packed here when
//! that one is behind.
//!
//! Invariant: at most [`BUFFERS`] MiB of pages are in memory; what the index says of a chunk is what
//! was handed to the storage. Called by the writer.

use std::mem;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Mutex, PoisonError};
use std::thread;

use zstd::bulk::Compressor;

use super::{Compression, Contents, Cut, Written};
use crate::PAGE;
use crate::error::{Error, Result, io as failed};
use crate::frame::checksum;
use crate::map::{Builder, CHUNK, Chunk, Content, Entry};
use crate::source::{Run, State};
use crate::storage::Sink;

/// Chunks between the two threads; their buffers go round, because touching new memory costs more
/// than copying a page.
const BUFFERS: usize = 6;

/// A faster level than zstd's 1: see [`Compression::Zstd`].
const LEVEL: i32 = -1;

const ZERO: [u8; PAGE] = [0; PAGE];

/// What became of the pages.
pub struct Packed {
    pub entries: Vec<Entry>,
    pub written: Written,
}

/// A chunk on its way to the file.
struct Parcel {
    entry: usize,
    chunk: usize,
    bytes: Vec<u8>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Still to be compressed.
    Raw,
    /// As it is to be stored.
    Ready { packed: bool },
}

/// Where a chunk has come to lie.
struct Stored {
    entry: usize,
    chunk: usize,
    chunk_is: Chunk,
}

/// Buffers that stay with a writer from one image to the next.
pub type Pool = Mutex<Vec<Vec<u8>>>;

/// Writes all pages of `cut` to `file`.
pub fn write(file: &mut dyn Sink, path: &Path, cut: &Cut<'_>, pool: &Pool) -> Result<Packed> {
    let mut kept = mem::take(&mut *pool.lock().unwrap_or_else(PoisonError::into_inner));
    let (parcels, incoming) = mpsc::sync_channel(BUFFERS / 2);
    let (back, empty) = mpsc::channel();
    for _ in 0..BUFFERS {
        let _ = back.send(kept.pop().unwrap_or_default());
    }
    thread::scope(|scope| {
        // Both ends move: when the worker stops early, nobody waits for it.
        let worker = scope.spawn(move || store(file, path, &incoming, &back));
        let mut reader = Reader::new(cut, parcels, empty);
        let read = cut.contents.iter().try_for_each(|part| reader.memory(part));
        let Reader { parcels, empty, mut entries, mut written, .. } = reader;
        drop(parcels);
        // The worker's error first: a reader that lost its worker only knows that.
        let stored = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        read?;
        pool.lock().unwrap_or_else(PoisonError::into_inner).extend(empty.try_iter());
        for one in stored {
            written.bytes += u64::from(one.chunk_is.stored);
            entries[one.entry].chunks[one.chunk] = one.chunk_is;
        }
        Ok(Packed { entries, written })
    })
}

/// The thread beside: packs what is raw, and writes everything.
fn store(
    file: &mut dyn Sink,
    path: &Path,
    incoming: &Receiver<Parcel>,
    spent: &mpsc::Sender<Vec<u8>>,
) -> Result<Vec<Stored>> {
    let mut packer = Packer::default();
    let (mut offset, mut all) = (0, Vec::new());
    for mut parcel in incoming {
        let packed = packer.pack(&mut parcel.bytes, parcel.form);
        let bytes = &parcel.bytes;
        file.write(bytes).map_err(failed("cannot be written", path))?;
        let stored = bytes.len() as u32;
        let chunk_is = Chunk { offset, stored, packed, sum: checksum(bytes) };
        all.push(Stored { entry: parcel.entry, chunk: parcel.chunk, chunk_is });
        offset += u64::from(stored);
        // A reader that has finished needs no buffers.
        let _ = spent.send(parcel.bytes);
    }
    Ok(all)
}

/// Compresses, if that is worth it.
#[derive(Default)]
struct Packer {
    zstd: Option<Compressor<'static>>,
    room: Vec<u8>,
}

impl Packer {
    /// Whether `bytes` are packed now.
    fn pack(&mut self, bytes: &mut Vec<u8>, form: Form) -> bool {
        if let Form::Ready { packed } = form {
            return packed;
        }
        if self.zstd.is_none() {
            self.zstd = Compressor::new(LEVEL).ok();
        }
        let Some(zstd) = &mut self.zstd else { return false };
        self.room.clear();
        self.room.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let packed = zstd.compress_to_buffer(bytes.as_slice(), &mut self.room);
        // Unpacking costs time, too: less than a sixteenth is not worth it.
        let worth = packed.is_ok_and(|len| len < bytes.len() - bytes.len() / 16);
        if worth {
            mem::swap(bytes, &mut self.room);
        }
        worth
    }
}

/// This thread's part: reads pages into chunks, leaves out zeros.
struct Reader<'a> {
    cut: &'a Cut<'a>,
    parcels: SyncSender<Parcel>,
    empty: Receiver<Vec<u8>>,
    packer: Packer,
    entries: Vec<Entry>,
    builder: Builder,
    buffer: Vec<u8>,
    /// How much of the buffer is data.
    full: usize,
    written: Written,
}

impl<'a> Reader<'a> {
    fn new(cut: &'a Cut<'a>, parcels: SyncSender<Parcel>, empty: Receiver<Vec<u8>>) -> Self {
        let (entries, buffer) = (Vec::new(), Vec::new());
        let (packer, builder) = (Packer::default(), Builder::default());
        let written = Written::default();
        Self { cut, parcels, empty, packer, entries, builder, buffer, full: 0, written }
    }

    fn memory(&mut self, part: &Contents<'_>) -> Result<()> {
        let entry = Entry { space: part.space, segments: Vec::new(), chunks: Vec::new() };
        self.entries.push(entry);
        self.builder = Builder::default();
        for run in part.runs {
            match run.state {
                State::Changed => self.changed(part, run)?,
                State::Unchanged => {
                    self.builder.push(run.start / PAGE as u64, run.pages, Content::Parent);
                    self.written.parent += run.pages;
                }
            }
        }
        self.flush();
        if let Some(entry) = self.entries.last_mut() {
            entry.segments = mem::take(&mut self.builder).finish();
        }
        Ok(())
    }

    fn changed(&mut self, part: &Contents<'_>, run: &Run) -> Result<()> {
        const WHOLE: usize = CHUNK as usize * PAGE;
        let mut done = 0;
        while done < run.pages {
            if self.buffer.len() < WHOLE {
                self.buffer.resize(WHOLE, 0);
            }
            let room = ((WHOLE - self.full) / PAGE) as u64;
            let count = room.min(run.pages - done);
            let addr = run.start + done * PAGE as u64;
            let bytes = count as usize * PAGE;
            let into = &mut self.buffer[self.full..self.full + bytes];
            part.pages.read(addr, into).map_err(|source| Error::Memory {
                sequence: self.cut.image.sequence,
                space: part.space.to_string(),
                addr,
                source,
            })?;
            self.keep(addr / PAGE as u64, count);
            done += count;
            if self.full == WHOLE {
                self.flush();
            }
        }
        Ok(())
    }

    /// Of `count` pages that were just read behind what is full, keeps those that are not zeros.
    fn keep(&mut self, first: u64, count: u64) {
        let from = self.full;
        for k in 0..count {
            let at = from + k as usize * PAGE;
            if self.buffer[at..at + PAGE] == ZERO {
                self.builder.push(first + k, 1, Content::Zero);
                self.written.zero += 1;
                continue;
            }
            if at != self.full {
                self.buffer.copy_within(at..at + PAGE, self.full);
            }
            self.builder.push(first + k, 1, Content::Data);
            self.written.data += 1;
            self.full += PAGE;
        }
    }

    /// Sends away what is in the buffer.
    fn flush(&mut self) {
        if self.full == 0 {
            return;
        }
        // None comes back from a worker that has stopped.
        let next = self.empty.recv().unwrap_or_default();
        let mut bytes = mem::replace(&mut self.buffer, next);
        bytes.truncate(self.full);
        self.full = 0;
        let entry = self.entries.len() - 1;
        let chunks = &mut self.entries[entry].chunks;
        let chunk = chunks.len();
        // Overwritten when the worker says where it is.
        chunks.push(Chunk { offset: 0, stored: 0, packed: false, sum: 0 });
        let form = match self.cut.compression {
            Compression::None => Form::Ready { packed: false },
            Compression::Zstd => Form::Raw,
        };
        let parcel = Parcel { entry, chunk, bytes, form };
        // A worker that stopped has an error to tell; nothing is gained by stopping at once.
        match self.parcels.try_send(parcel) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(mut parcel)) => {
                let packed = self.packer.pack(&mut parcel.bytes, parcel.form);
                parcel.form = Form::Ready { packed };
                let _ = self.parcels.send(parcel);
            }
        }
    }
}
