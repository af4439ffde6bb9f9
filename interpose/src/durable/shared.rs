//! Shared memory of a program in an image: what a checkpoint has of each object, and the way back into the
//! shadow file of another run.
//!
//! ```text
//!   extent of the checkpoint ─► pages of the object ─► extents of replica 0 and of what all agree on
//! ```
//!
//! Of a file that is mapped the image holds what the program had changed and not carried out yet; the file itself
//! is put back as any is. Of memory with a descriptor (memfd_create(2)), of a mapped file that was removed, and of
//! anonymous memory it holds all.
//!
//! Invariant: a checkpoint's extents are read only. Filling is done before anything runs.

use std::io;

use chameleon_ckpt::PAGE;
use chameleon_ckpt::image::{Backing, Image, Process, SharedKind};
use chameleon_ckpt::read::{Chain, Piece};
use chameleon_ckpt::source::{Pages, Run, Space, State};
use chameleon_sys::{fd, shadow};

use super::{Described, threads};
use crate::arena::{Arena, Object, commit, kind, ostate};

/// Bytes compared or copied at once.
const STEP: u64 = 128 << 10;

/// Where the bytes of a shared object are, by its place in the image.
#[derive(Clone, Debug)]
pub enum Source {
    /// In the extent that a checkpoint has of an object of the arena.
    Extent {
        /// Which object.
        object: usize,
        /// The place of the checkpoint.
        place: usize,
    },
    /// They were read at the cut: nobody maps it.
    Bytes(Vec<u8>),
}

/// The extent of an object at the place of a checkpoint.
#[derive(Debug)]
pub struct Extent {
    begin: u64,
}

impl Extent {
    /// That of an object of the arena.
    pub fn new(object: usize, place: usize) -> Self {
        Self { begin: shadow::extent(object, place as u64) }
    }
}

impl Pages for Extent {
    fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = shadow::file().ok_or_else(|| io::Error::other("there is no shadow file"))?;
        shadow::read(file, self.begin + addr, buf);
        Ok(())
    }
}

/// What was read at the cut.
#[derive(Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Pages for Bytes<'_> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        let rest = self.0.get(addr as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        buf[n..].fill(0);
        Ok(())
    }
}

/// All pages of something of `size` bytes.
pub fn all_of(size: u64) -> Vec<Run> {
    let pages = size.div_ceil(PAGE as u64);
    let run = Run { start: 0, pages, state: State::Changed };
    if pages == 0 { Vec::new() } else { vec![run] }
}

/// The pages of an extent that have anything; of a file's only those that differ from what all agree on.
pub fn runs(object: usize, place: usize, size: u64, of_file: bool) -> Vec<Run> {
    let Some(file) = shadow::file() else { return Vec::new() };
    let (begin, base) =
        (shadow::extent(object, place as u64), shadow::extent(object, shadow::BASE));
    let end = begin + size.next_multiple_of(PAGE as u64).min(shadow::EXTENT);
    let (mut own, mut agreed) = (vec![0; PAGE], vec![0; PAGE]);
    let (mut all, mut at) = (Vec::<Run>::new(), begin);
    while let Some(start) = shadow::next_data(file, at, end) {
        let stop = shadow::next_hole(file, start, end).next_multiple_of(PAGE as u64);
        at = start & !(PAGE as u64 - 1);
        while at < stop {
            if of_file {
                shadow::read(file, at, &mut own);
                shadow::read(file, at - begin + base, &mut agreed);
            }
            if !of_file || own != agreed {
                match all.last_mut() {
                    Some(last) if last.start + last.pages * PAGE as u64 == at - begin => {
                        last.pages += 1;
                    }
                    _ => all.push(Run { start: at - begin, pages: 1, state: State::Changed }),
                }
            }
            at += PAGE as u64;
        }
    }
    all
}

/// How much of an object a process maps at most.
fn mapped_by(process: &Process, number: u32) -> u64 {
    let ends = process.memory.ranges.iter().filter_map(|range| match range.backing {
        Backing::Shared { object, offset } if object == number => {
            Some(offset + range.end - range.start)
        }
        _ => None,
    });
    ends.max().unwrap_or(0)
}

/// How much of it the processes of an image do.
pub fn mapped_size(image: &Image, number: u32) -> u64 {
    image.processes.iter().map(|one| mapped_by(one, number)).max().unwrap_or(0)
}

/// Fills the records and the extents of the shared objects of an image; `files` are descriptors of what is
/// outside, -1 for memory that only replicas have.
///
/// # Errors
/// The image cannot be read, or there is no memory.
pub fn revive(arena: Arena, image: &Image, files: &[i32], chain: &mut Chain) -> Described<()> {
    if image.shared.is_empty() {
        return Ok(());
    }
    let shadows = shadow::file().ok_or("there is no file in memory for shared memory")?;
    for (o, (object, file)) in image.shared.iter().zip(files).enumerate() {
        let (what, id, size) = match (&object.kind, fd::kind(*file)) {
            (SharedKind::Anonymous, _) => (kind::ANONYMOUS, [0; 2], object.size),
            (_, Ok(found)) => (kind::FILE, found.file, fd::size(*file).unwrap_or(0)),
            (_, Err(e)) => return Err(e.to_string()),
        };
        if what == kind::FILE {
            copy(*file, size, shadows, o, &[0, shadow::BASE])?;
        }
        if matches!(object.kind, SharedKind::Anonymous | SharedKind::File(_)) {
            let most = object.size.next_multiple_of(PAGE as u64);
            let begin = shadow::extent(o, 0);
            read(chain, o, most, |at, bytes| {
                shadow::write(shadows, begin + at, bytes).map_err(|e| e.to_string())
            })?;
        }
        let living = image.processes.iter().filter(|one| one.ended.is_none());
        let maps = |(_, one): &(usize, &Process)| mapped_by(one, o as u32) > 0;
        let sharers: Vec<usize> = living.clone().enumerate().filter(maps).map(|(t, _)| t).collect();
        // One that nobody maps is a file like any.
        let Some(&leader) = sharers.first() else { continue };
        let mates = in_order_with(arena, leader, living.count());
        if sharers.iter().any(|t| !mates.contains(t)) {
            return Err("the image has memory of processes that are in no common order".to_owned());
        }
        let group = mates[0] as u32 + 1;
        *arena.object(o) = Object {
            kind: what,
            file: id,
            generation: 1,
            held: (*file + 1) as u32,
            size,
            group,
            ..bytemuck::Zeroable::zeroed()
        };
        commit();
        arena.object(o).state = ostate::USED;
        for mate in mates {
            threads::tasks_of(arena, mate).into_iter().for_each(|t| arena.task(t).shares = group);
            arena.task(mate).inside.off = 1;
        }
    }
    arena.header().objects = image.shared.len() as u32;
    Ok(())
}

/// The processes, of so many, that run in one order with that of task `leader`.
fn in_order_with(arena: Arena, leader: usize, processes: usize) -> Vec<usize> {
    let group = arena.task(leader).group;
    let mate = |t: &usize| *t == leader || group != 0 && arena.task(*t).group == group;
    (0..processes).filter(mate).collect()
}

/// Gives what an image holds of a shared object, in order.
///
/// # Errors
/// It cannot be read, or `take` failed.
pub fn read(
    chain: &mut Chain,
    number: usize,
    size: u64,
    mut take: impl FnMut(u64, &[u8]) -> Described<()>,
) -> Described<()> {
    let mut outcome = Ok(());
    let done = chain.read(Space::Shared(number as u32), 0, size, |at, piece| {
        if let (Piece::Data(bytes), true) = (piece, outcome.is_ok()) {
            outcome = take(at, bytes);
        }
    });
    done.map_err(|e| e.to_string())?;
    outcome
}

/// Copies a file into the extents of an object.
fn copy(file: i32, size: u64, shadows: i32, object: usize, places: &[u64]) -> Described<()> {
    let mut buffer = vec![0; STEP as usize];
    let mut at = 0;
    while let Some(next) = shadow::next_data(file, at, size) {
        at = next & !(PAGE as u64 - 1);
        let part = &mut buffer[..(size - at).min(STEP) as usize];
        shadow::read(file, at, part);
        for place in places {
            let to = shadow::extent(object, *place) + at;
            shadow::write(shadows, to, part).map_err(|e| e.to_string())?;
        }
        at += part.len() as u64;
    }
    Ok(())
}
