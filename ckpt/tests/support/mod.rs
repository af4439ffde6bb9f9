//! A program that does not exist: memories in a map, and images made of them.
//!
//! Invariant: what [`Model::write`] puts into a directory, [`Model::check`] finds in it, page by page.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::image::{Image, Machine, Whole};
use chameleon_ckpt::read::{Chain, Piece};
use chameleon_ckpt::source::{Pages, Run, Space, State};
use chameleon_ckpt::storage::Storage;
use chameleon_ckpt::write::{Compression, Contents, Writer, Written};
use chameleon_ckpt::{PAGE, Result};

/// A description with nothing in it.
pub fn image(sequence: u64, parent: Option<u64>) -> Image {
    Image {
        sequence,
        parent,
        whole: parent.is_none().then_some(Whole::First),
        version: "0.1.0".into(),
        created_ns: 1,
        clocks: Default::default(),
        run: [7; 16],
        command: vec![b"prog".to_vec(), b"-x".to_vec()],
        mode: "tmr".into(),
        machine: Machine {
            kernel: "6.18".into(),
            arch: "x86_64".into(),
            cpu_vendor: "v".into(),
            cpu_model: "m".into(),
            cpu_features: vec!["sse2".into()],
            page_size: 4096,
        },
        processes: vec![],
        shared: vec![],
        files: vec![],
        opaque: b"own".to_vec(),
    }
}

/// What a page is filled with: 0 makes a page of zeros, odd numbers cannot be compressed.
pub fn page(fill: u64) -> Vec<u8> {
    let mut state = fill;
    let mut next = || {
        if fill % 2 == 1 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            state ^= state >> 29;
        }
        state
    };
    (0..PAGE / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// One memory: page numbers and what the pages are filled with.
pub type Memory = BTreeMap<u64, u64>;

struct Reader<'a>(&'a Memory);

impl Pages for Reader<'_> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        for (k, out) in buf.chunks_mut(PAGE).enumerate() {
            let fill = self.0.get(&(addr / PAGE as u64 + k as u64));
            let fill = fill.ok_or(io::Error::from_raw_os_error(14))?;
            out.copy_from_slice(&page(*fill));
        }
        Ok(())
    }
}

/// All memories of the program at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model(pub BTreeMap<Space, Memory>);

impl Model {
    /// The runs of a memory against what it was.
    fn runs(now: &Memory, before: Option<&Memory>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (number, fill) in now {
            let same = before.is_some_and(|before| before.get(number) == Some(fill));
            let state = if same { State::Unchanged } else { State::Changed };
            let start = number * PAGE as u64;
            match runs.last_mut() {
                Some(last)
                    if last.state == state && last.start + last.pages * PAGE as u64 == start =>
                {
                    last.pages += 1;
                }
                _ => runs.push(Run { start, pages: 1, state }),
            }
        }
        runs
    }

    /// Writes an image of it: an increment on `before`, if there is one.
    pub fn write<S: Storage>(
        &self,
        writer: &Writer<S>,
        sequence: u64,
        before: Option<(u64, &Model)>,
        compression: Compression,
    ) -> Result<Written> {
        let parts: Vec<(Space, Reader<'_>, Vec<Run>)> = self
            .0
            .iter()
            .map(|(space, memory)| {
                let old = before.and_then(|(_, model)| model.0.get(space));
                (*space, Reader(memory), Self::runs(memory, old))
            })
            .collect();
        let contents: Vec<Contents<'_>> = parts
            .iter()
            .map(|(space, pages, runs)| Contents { space: *space, pages, runs })
            .collect();
        writer.write(&image(sequence, before.map(|(n, _)| n)), &contents, compression)
    }

    /// Compares with image `sequence`; an error of reading is given back, a wrong page panics.
    pub fn check(&self, dir: &Path, sequence: u64) -> Result<()> {
        let mut chain = Chain::open(&Dir::new(dir), sequence)?;
        for (space, memory) in &self.0 {
            let last = memory.last_key_value().map_or(0, |(number, _)| number + 3);
            let mut number = 0;
            chain.read(*space, 0, last * PAGE as u64, |addr, piece| {
                assert_eq!(addr, number * PAGE as u64);
                let pages = match piece {
                    Piece::Data(bytes) => (bytes.len() / PAGE) as u64,
                    Piece::Zero(pages) | Piece::Hole(pages) => pages,
                };
                let there = memory.range(number..number + pages);
                match piece {
                    Piece::Hole(_) => assert_eq!(there.count(), 0, "{space} page {number}"),
                    Piece::Zero(_) => {
                        assert!(there.clone().all(|(_, fill)| *fill == 0), "{space} {number}");
                        assert_eq!(there.count() as u64, pages);
                    }
                    Piece::Data(bytes) => {
                        for (k, bytes) in (number..).zip(bytes.chunks(PAGE)) {
                            let fill = *memory.get(&k).expect("a page where there is none");
                            assert!(bytes == page(fill), "{space} page {k}");
                        }
                    }
                }
                number += pages;
            })?;
            assert_eq!(number, last);
        }
        Ok(())
    }
}

/// Copies a checkpoint directory.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap(), to.to_owned());
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A small program: one process, one shared object, every kind of page.
pub fn small() -> Model {
    let process = [(16, 1), (17, 2), (18, 0), (19, 3), (40, 4), (41, 4), (0x7_ffff_0000, 5)];
    let shared = [(0, 8), (1, 0), (5, 9)];
    Model(BTreeMap::from([
        (Space::Process(10), process.into_iter().collect()),
        (Space::Shared(0), shared.into_iter().collect()),
    ]))
}

/// What became of [`small`] a while later.
pub fn later() -> Model {
    let mut model = small();
    let process = model.0.get_mut(&Space::Process(10)).unwrap();
    process.insert(17, 20);
    process.insert(19, 0);
    process.remove(&40);
    process.insert(50, 11);
    model.0.insert(Space::Process(11), [(3, 13)].into_iter().collect());
    model
}
