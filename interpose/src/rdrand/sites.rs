//! Where a file's code draws random numbers, looked for once for each file.
//!
//! Invariant: a file is known by device, inode, size and time of its last change; one that has
//! changed since is read again. A file that cannot be read has no such places.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;

use super::code::{CONTEXT, find};

/// Files remembered; more than these are begun again from none.
const FILES: usize = 4096;
/// Bytes read at once.
const STEP: usize = 256 << 10;

type Identity = (u64, u64, u64, i64, i64);

/// The places of all files seen so far, as offsets of opcodes in the file.
#[derive(Debug, Default)]
pub struct Sites {
    known: HashMap<Identity, Rc<[u64]>>,
}

impl Sites {
    /// Those of the file that `path` names, if it still is inode number `inode`. (Device numbers
    /// in /proc/PID/maps are not those of stat(2) on all file systems.)
    pub fn of_path(&mut self, path: &str, inode: u64) -> Rc<[u64]> {
        let Ok(m) = std::fs::metadata(path) else { return Rc::default() };
        if m.ino() != inode {
            return Rc::default();
        }
        self.of(&m, || File::open(path).ok(), &mut || {})
    }

    /// Those of an open file. `beat` is called now and then while it is read.
    pub fn of_file(&mut self, file: &File, beat: &mut dyn FnMut()) -> Rc<[u64]> {
        let Ok(m) = file.metadata() else { return Rc::default() };
        self.of(&m, || file.try_clone().ok(), beat)
    }

    fn of(
        &mut self,
        m: &std::fs::Metadata,
        open: impl FnOnce() -> Option<File>,
        beat: &mut dyn FnMut(),
    ) -> Rc<[u64]> {
        if !m.is_file() {
            return Rc::default();
        }
        let identity = (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec());
        if let Some(known) = self.known.get(&identity) {
            return known.clone();
        }
        if self.known.len() >= FILES {
            self.known.clear();
        }
        let found: Rc<[u64]> = open().map(|f| look_through(&f, beat)).unwrap_or_default().into();
        self.known.insert(identity, found.clone());
        found
    }
}

/// The places in the file's executable segments.
fn look_through(file: &File, beat: &mut dyn FnMut()) -> Vec<u64> {
    let mut found = Vec::new();
    let mut buf = Vec::new();
    for (start, end) in segments(file).unwrap_or_default() {
        let mut from = start;
        while from < end {
            beat();
            // A step, and what is around it.
            let low = from.saturating_sub(CONTEXT as u64).max(start);
            let high = from.saturating_add((STEP + CONTEXT) as u64).min(end);
            buf.resize((high - low) as usize, 0);
            if file.read_exact_at(&mut buf, low).is_err() {
                break;
            }
            let step = from..from + STEP as u64;
            found.extend(find(&buf).map(|at| low + at as u64).filter(|at| step.contains(at)));
            from = step.end;
        }
    }
    found
}

/// elf(5): where the file's executable segments begin and end, in order and not overlapping.
fn segments(file: &File) -> Option<Vec<(u64, u64)>> {
    const EM_X86_64: u16 = 62;
    let mut header = [0u8; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if header[..5] != *b"\x7fELF\x02" || half(18) != EM_X86_64 || half(54) != 56 {
        return None;
    }
    let mut table = vec![0u8; usize::from(half(56)) * 56];
    file.read_exact_at(&mut table, word(&header, 32)?).ok()?;
    let size = file.metadata().ok()?.len();
    let mut all: Vec<_> = table.chunks_exact(56).filter_map(|h| executable(h, size)).collect();
    all.sort_unstable();
    let mut covered = 0;
    for (start, end) in &mut all {
        *start = (*start).max(covered);
        covered = covered.max(*end);
    }
    Some(all)
}

/// What of a file of `size` bytes is loaded as code by this program header.
fn executable(h: &[u8], size: u64) -> Option<(u64, u64)> {
    let kind = u32::from_le_bytes(h[..4].try_into().ok()?);
    let flags = u32::from_le_bytes(h[4..8].try_into().ok()?);
    let (offset, len) = (word(h, 8)?, word(h, 32)?);
    (kind == libc::PT_LOAD && flags & libc::PF_X != 0)
        .then(|| (offset.min(size), offset.saturating_add(len).min(size)))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_what_it_is() {
        let exe = std::env::current_exe().unwrap();
        let (file, inode) = (File::open(&exe).unwrap(), std::fs::metadata(&exe).unwrap().ino());
        let (mut sites, mut beats) = (Sites::default(), 0);
        let found = sites.of_file(&file, &mut || beats += 1);
        assert!(beats > 0);
        let path = exe.to_str().unwrap();
        assert_eq!(sites.of_path(path, inode), found);
        assert_eq!(sites.known.len(), 1);
        assert!(sites.of_path(path, inode + 1).is_empty());
    }

    #[test]
    fn what_is_no_program_has_no_code() {
        let file = File::open("/etc/passwd").unwrap();
        assert!(segments(&file).is_none());
    }
}
