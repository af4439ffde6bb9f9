//! How long writing a checkpoint image takes: all of 1 GiB, and the hundredth of it that changed.
//!
//! The memory is this process's own, read as that of a frozen one is. Nothing is waited for on the
//! disk: that is the disk's speed, and the writer waits in the background.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use chameleon_ckpt::PAGE;
use chameleon_ckpt::dir::PAGES_BIN;
use chameleon_ckpt::image::{Image, Machine, Whole};
use chameleon_ckpt::read::{Chain, Piece};
use chameleon_ckpt::source::{ProcMem, Run, Space, State};
use chameleon_ckpt::storage::{Disk, Sink, Storage};
use chameleon_ckpt::write::{Compression, Contents, Writer};

use super::figure::Figures;
use super::launch::Bench;

const PART: &str = "images";

const BYTES: usize = 1 << 30;

/// Milliseconds asked for: 1 GB/s, and 20 ms of work.
const FULL_TARGET: f64 = BYTES as f64 / 1e6;
const INCREMENT_TARGET: f64 = 20.0;

/// A storage that waits for nothing.
struct Cached;

struct CachedSink(Box<dyn Sink>);

impl Sink for CachedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Cached {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(CachedSink(Disk.create(path)?)))
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        Disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Disk.remove_dir(path)
    }
}

/// Measures all.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: checkpoint images");
    let memory = fill();
    // A run needs whole pages.
    let start = (memory.as_ptr() as u64).next_multiple_of(PAGE as u64);
    let pages = (BYTES / PAGE) as u64 - 1;
    let whole = [Run { start, pages, state: State::Changed }];
    let hundredth = hundredth(start, pages);
    let [mut plain, mut packed, mut increment, mut read] = [const { Vec::new() }; 4];
    for _ in 0..bench.rounds {
        let home = bench.path("images");
        let writer = Writer::with(&home, Cached)?;
        plain.push(write(&writer, 1, None, &whole, Compression::None)?);
        packed.push(write(&writer, 2, None, &whole, Compression::Zstd)?);
        increment.push(write(&writer, 3, Some(2), &hundredth, Compression::Zstd)?);
        read.push(restore(&writer, start, pages)?);
        drop(writer);
        fs::remove_dir_all(&home).context("cannot remove the images")?;
    }
    let what = "full image of 1 GiB, not compressed";
    figures.add(PART, what, "ms", plain, Some(FULL_TARGET));
    figures.add(PART, "full image of 1 GiB, zstd", "ms", packed, None);
    let what = "increment of 1 % of 1 GiB, zstd";
    figures.add(PART, what, "ms", increment, Some(INCREMENT_TARGET));
    figures.add(PART, "reading both back", "ms", read, None);
    super::increments::measure(bench, figures)
}

/// Something that compresses as records do: numbers that grow, texts, some noise.
fn fill() -> Vec<u8> {
    let mut memory = Vec::with_capacity(BYTES);
    let mut noise = 1u64;
    for k in 0..(BYTES / 64) as u64 {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        memory.extend(k.to_le_bytes());
        memory.extend((noise >> 16).to_le_bytes());
        memory.extend(format!("user{:012}name{:012}the same text...", k % 5000, k).as_bytes());
        memory.resize((k as usize + 1) * 64, 0);
    }
    memory
}

/// Every hundredth page, alone.
fn hundredth(start: u64, pages: u64) -> Vec<Run> {
    let runs = (0..pages).step_by(100).flat_map(|first| {
        let changed = Run { start: start + first * PAGE as u64, pages: 1, state: State::Changed };
        let left = (pages - first - 1).min(99);
        let start = changed.start + PAGE as u64;
        [changed, Run { start, pages: left, state: State::Unchanged }]
    });
    runs.filter(|run| run.pages > 0).collect()
}

fn write(
    writer: &Writer<Cached>,
    sequence: u64,
    parent: Option<u64>,
    runs: &[Run],
    compression: Compression,
) -> anyhow::Result<f64> {
    let pages = ProcMem::open(std::process::id())?;
    let image = Image {
        sequence,
        parent,
        whole: parent.is_none().then_some(Whole::First),
        version: env!("CARGO_PKG_VERSION").into(),
        created_ns: 0,
        clocks: Default::default(),
        run: [0; 16],
        command: vec![],
        mode: "simplex".into(),
        machine: Machine::here()?,
        processes: vec![],
        shared: vec![],
        files: vec![],
        opaque: vec![],
    };
    let contents = [Contents { space: Space::Process(1), pages: &pages, runs }];
    let begun = Instant::now();
    writer.write(&image, &contents, compression)?;
    let passed = begun.elapsed().as_secs_f64() * 1e3;
    // Or the next one is slowed down for what this one has left to the disk.
    File::open(writer.dir().image(sequence).join(PAGES_BIN))?.sync_all()?;
    Ok(passed)
}

fn restore(writer: &Writer<Cached>, start: u64, pages: u64) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut chain = Chain::open(writer.dir(), 3)?;
    let mut bytes = 0;
    chain.read(Space::Process(1), start, start + pages * PAGE as u64, |_, piece| {
        if let Piece::Data(data) = piece {
            bytes += data.len();
        }
    })?;
    anyhow::ensure!(bytes == pages as usize * PAGE, "{bytes} bytes came back");
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
