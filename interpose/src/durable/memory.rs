//! The memory of a checkpoint: which ranges it has, what is behind them, and which pages have bytes of
//! their own.
//!
//! Invariant: reads only; a range whose file is not what it was when it was mapped counts as the
//! process's own bytes. Called by the process that writes an image.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chameleon_ckpt::PAGE;
use chameleon_ckpt::image::{Advice, Backing, FileId, MappedFile, Memory, Range, mtime_ns};
use chameleon_ckpt::source::{Run, State};
use chameleon_sys::pagemap::{self, Behind, Pagemap};
use chameleon_sys::shadow;

use super::Described;
use crate::maps::{self, Line};

/// The ranges of `pid`, which stands still, and the pages that an image has to hold. `shared` gives the place in
/// the image of an object of shared memory.
///
/// # Errors
/// Memory that is shared, or cannot be looked into.
pub fn describe(
    pid: u32,
    brk: u64,
    shared: impl Fn(usize) -> Option<u32>,
) -> Described<(Memory, Vec<Run>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps"))
        .map_err(|e| format!("its memory cannot be listed ({e})"))?;
    let pages = Pagemap::open(pid).map_err(|e| format!("its pages cannot be listed ({e})"))?;
    let (mut memory, mut runs) = (Memory::default(), Vec::new());
    for (line, flags) in maps::with_flags(&text) {
        if maps::is_ours(&line) {
            continue;
        }
        let (range, own) = one(&line, &flags, &shared)?;
        add(&pages, &range, own, &mut runs)?;
        memory.ranges.push(range);
    }
    let at = crate::maps::stat(pid);
    memory.brk = (at(47), brk);
    memory.arguments = (at(48), at(49));
    memory.environment = (at(50), at(51));
    memory.auxv = fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default();
    Ok((memory, runs))
}

/// What a line says, and whether all of its pages have to be kept.
fn one(
    line: &Line,
    flags: &[&str],
    shared: &impl Fn(usize) -> Option<u32>,
) -> Described<(Range, bool)> {
    let has = |flag: &str| flags.contains(&flag);
    let flag = |name: &str, value: i32| if has(name) { value as u32 } else { 0 };
    let switch = |on: &str, off: &str| match (has(on), has(off)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let advice = Advice {
        dont_fork: has("dc"),
        wipe_on_fork: has("wf"),
        dont_dump: has("dd"),
        huge: switch("hg", "nh"),
        mergeable: has("mg"),
        sequential: switch("sr", "rr"),
    };
    let of_shadow = line.shared && line.inode == shadow::inode() && line.name == shadow::NAME;
    let (backing, own) = match of_shadow {
        true => (in_shadow(line, shared)?, false),
        false => backing(line)?,
    };
    let name = line.name.strip_prefix("[anon:").and_then(|rest| rest.strip_suffix(']'));
    let range = Range {
        start: line.range.start,
        end: line.range.end,
        prot: line.prot as u32,
        flags: flag("gd", libc::MAP_GROWSDOWN)
            | flag("nr", libc::MAP_NORESERVE)
            | flag("lo", libc::MAP_LOCKED),
        advice,
        backing,
        name: name.map(str::to_owned),
    };
    Ok((range, own))
}

/// What is mapped of the shadow file.
fn in_shadow(line: &Line, shared: &impl Fn(usize) -> Option<u32>) -> Described<Backing> {
    let (object, place) = shadow::owner(line.offset);
    let number = shared(object).ok_or("it shares memory that is not known")?;
    Ok(Backing::Shared { object: number, offset: line.offset - shadow::extent(object, place) })
}

fn backing(line: &Line) -> Described<(Backing, bool)> {
    if line.inode == 0 {
        return Ok((Backing::Anonymous, false));
    }
    let path = Path::new(&line.name);
    let facts = fs::metadata(path).ok().filter(|facts| {
        let device = (libc::major(facts.dev()), libc::minor(facts.dev()));
        facts.ino() == line.inode && (device == line.device || !line.shared)
    });
    let writes = line.shared && line.prot & libc::PROT_WRITE != 0;
    match facts {
        Some(_) if writes => Err(format!("it shares memory through {}", line.name)),
        Some(facts) => {
            let file = MappedFile {
                path: path.as_os_str().as_bytes().to_vec(),
                id: FileId::of(&facts),
                size: facts.size(),
                mtime_ns: mtime_ns(&facts),
            };
            let (offset, private) = (line.offset, !line.shared);
            Ok((Backing::File { file, offset, private }, false))
        }
        None if line.shared => Err(format!("it shares memory ({})", line.name)),
        // Its file is gone, or another one by now.
        None => Ok((Backing::Anonymous, true)),
    }
}

/// Adds the pages of a range that have bytes of the process's own, or all.
fn add(pages: &Pagemap, range: &Range, all: bool, runs: &mut Vec<Run>) -> Described<()> {
    if matches!(range.backing, Backing::File { private: false, .. } | Backing::Shared { .. }) {
        return Ok(()); // the file or the object has them
    }
    let run = |start: u64, end: u64| Run {
        start,
        pages: (end - start) / PAGE as u64,
        state: State::Changed,
    };
    if all {
        runs.push(run(range.start, range.end));
        return Ok(());
    }
    let behind = match range.backing {
        Backing::File { .. } => Behind::File,
        _ => Behind::Nothing,
    };
    let found = pages
        .present(range.start, range.end, behind)
        .map_err(|e| format!("its pages cannot be listed ({e}); Linux 6.7 or newer is needed"))?;
    if found.iter().any(|found| found.state == pagemap::State::Guard) {
        return Err("it has guard pages (madvise(2), MADV_GUARD_INSTALL)".to_owned());
    }
    runs.extend(found.iter().map(|found| run(found.start, found.end)));
    Ok(())
}
