//! A replica's memory map (proc(5), /proc/PID/maps).
//!
//! Invariant: only reads; used for fault injection, for comparing donors, at an exec and when a replica is
//! armed, never on the hot path.

use std::hash::{DefaultHasher, Hash, Hasher};

use chameleon_sys::{memory, pagemap, shadow};

/// A range of addresses, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
}

impl Range {
    /// Bytes in it.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// One line of the map.
pub(crate) struct Line {
    pub range: Range,
    pub writable: bool,
    pub executable: bool,
    /// PROT_… (mmap(2)).
    pub prot: i32,
    /// Shared with others that map the same (mmap(2), MAP_SHARED).
    pub shared: bool,
    pub offset: u64,
    /// Major and minor number.
    pub device: (u32, u32),
    pub inode: u64,
    pub name: String,
}

/// The lines of a text of /proc/PID/smaps, each with its flags (proc_pid_smaps(5), VmFlags).
pub(crate) fn with_flags(text: &str) -> Vec<(Line, Vec<&str>)> {
    let mut found: Vec<(Line, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if let Some(l) = parse(line) {
            found.push((l, Vec::new()));
        } else if let (Some((_, flags)), Some(words)) =
            (found.last_mut(), line.strip_prefix("VmFlags:"))
        {
            *flags = words.split_ascii_whitespace().collect();
        }
    }
    found
}

/// Whether something is mapped in `part`, and is not one mapping.
pub(crate) fn are_several(pid: u32, part: std::ops::Range<u64>) -> bool {
    match pagemap::mapping_at(pid, part.start) {
        Ok(Some([_, end])) => end < part.end,
        Ok(None) => false, // to the kernel that is the end of it
        Err(_) => within(pid, part).len() > 1,
    }
}

/// The mappings of `part`, cut to it, if they follow one another without a gap and are alike in everything but that
/// the writes to some are watched (`chameleon_sys::pagemap`); empty if not.
pub(crate) fn alike(pid: u32, part: std::ops::Range<u64>) -> Vec<Range> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut all = with_flags(&text);
    all.retain(|(l, _)| l.range.start < part.end && l.range.end > part.start);
    for (_, flags) in &mut all {
        flags.retain(|flag| *flag != "uw" && *flag != "sd");
    }
    let follow = all.windows(2).all(|two| {
        let [(a, a_flags), (b, b_flags)] = two else { return false };
        let file = |l: &Line| (l.device, l.inode, l.name.clone());
        let behind = a.inode == 0 || a.offset + a.range.len() == b.offset;
        let same = file(a) == file(b) && (a.prot, a.shared) == (b.prot, b.shared);
        a.range.end == b.range.start && a_flags == b_flags && same && behind
    });
    let ends = all.first().is_some_and(|(l, _)| l.range.start <= part.start)
        && all.last().is_some_and(|(l, _)| l.range.end >= part.end);
    let cut = |(l, _): &(Line, Vec<&str>)| Range {
        start: l.range.start.max(part.start),
        end: l.range.end.min(part.end),
    };
    if follow && ends { all.iter().map(cut).collect() } else { Vec::new() }
}

/// Whether a line is of the kernel's own or of Chameleon's, which a new process has by itself.
pub(crate) fn is_ours(line: &Line) -> bool {
    line.range.start == chameleon_sys::filter::WINDOW
        || ["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]"]
            .contains(&line.name.as_str())
}

/// Whether a line is of the program's and private, and its pages are those of proc_pid_pagemap(5).
pub(crate) fn is_private(line: &Line) -> bool {
    !line.shared && !is_ours(line) && !line.name.starts_with("/anon_hugepage")
}

/// All lines but logs of clocks.
pub(crate) fn lines(pid: u32) -> Vec<Line> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    text.lines().filter_map(parse).filter(|l| !is_clock(l)).collect()
}

/// Whether a line is of a log of clocks (`chameleon_sys::clock`): all replicas of a task share it.
fn is_clock(l: &Line) -> bool {
    l.shared && l.offset >= shadow::CLOCKS && l.inode == shadow::inode() && l.name == shadow::NAME
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let (major, minor) = words.next()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = words.next()?.parse().ok()?;
    Some(Line {
        range: Range {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
        },
        writable: rights.starts_with("rw"),
        executable: rights.ends_with("xp"),
        prot: [("r", libc::PROT_READ), ("w", libc::PROT_WRITE), ("x", libc::PROT_EXEC)]
            .iter()
            .filter(|(letter, _)| rights.contains(letter))
            .fold(0, |all, (_, right)| all | right),
        shared: rights.ends_with('s'),
        offset,
        device,
        inode,
        name: line.splitn(6, ' ').nth(5).unwrap_or_default().trim_start().to_owned(),
    })
}

/// The numbers of a process by their fields (proc_pid_stat(5), from 4 on); 0 for what is none.
pub fn stat(pid: u32) -> impl Fn(usize) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The text behind the name, which may hold anything, begins with field 3.
    let behind = text.rsplit(')').next().unwrap_or_default();
    let words: Vec<u64> = behind.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
    move |n| words.get(n - 3).copied().unwrap_or(0)
}

/// Memory that a fork does not copy, or that it empties in the child (madvise(2), MADV_DONTFORK and
/// MADV_WIPEONFORK).
#[derive(Clone, Copy, Debug)]
pub struct Unforked {
    /// Where it is.
    pub range: Range,
    /// The advice that undoes that.
    pub undo: i32,
    /// The advice that says it.
    pub say: i32,
}

/// All such memory.
pub fn unforked(pid: u32) -> Vec<Unforked> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let mut found = Vec::new();
    for (line, flags) in with_flags(&text) {
        // What the kernel itself keeps from children (proc(5): "io") no advice changes.
        if flags.contains(&"dc") && !flags.contains(&"io") {
            let (undo, say) = (libc::MADV_DOFORK, libc::MADV_DONTFORK);
            found.push(Unforked { range: line.range, undo, say });
        } else if flags.contains(&"wf") {
            let (undo, say) = (libc::MADV_KEEPONFORK, libc::MADV_WIPEONFORK);
            found.push(Unforked { range: line.range, undo, say });
        }
    }
    found
}

/// Memory that a process keeps in RAM (mlock(2)): start and end of each part.
pub fn locked(pid: u32) -> Vec<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let all = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap_or_default();
    if all.trim_start().starts_with('0') {
        return Vec::new();
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let locked = with_flags(&text).into_iter().filter(|(_, flags)| flags.contains(&"lo"));
    locked.map(|(line, _)| (line.range.start, line.range.end)).collect()
}

/// Everything the process may write to.
pub fn writable(pid: u32) -> Vec<Range> {
    lines(pid).into_iter().filter(|l| l.writable).map(|l| l.range).collect()
}

/// The heap; without one, the largest anonymous mapping.
pub fn heap(pid: u32) -> Option<Range> {
    let all = lines(pid);
    let heap = all.iter().find(|l| l.name == "[heap]").map(|l| l.range);
    heap.or_else(|| {
        all.iter()
            .filter(|l| l.writable && l.inode == 0 && l.name.is_empty())
            .map(|l| l.range)
            .max_by_key(Range::len)
    })
}

/// The main stack; its upper 64 KiB, where frames are.
pub fn stack(pid: u32) -> Option<Range> {
    let r = lines(pid).into_iter().find(|l| l.name == "[stack]")?.range;
    Some(Range { start: r.start.max(r.end.saturating_sub(64 << 10)), end: r.end })
}

/// Writable data of the program's own file.
pub fn data(pid: u32) -> Option<Range> {
    lines(pid).into_iter().find(|l| l.writable && l.name.starts_with('/')).map(|l| l.range)
}

/// Code of a file that a process has mapped for itself.
#[derive(Debug)]
pub struct Code {
    /// Where it is.
    pub range: Range,
    /// Where it begins in the file.
    pub offset: u64,
    /// The file's inode number.
    pub inode: u64,
    /// The file's path as the kernel shows it.
    pub path: String,
}

/// All code of files.
pub fn code(pid: u32) -> Vec<Code> {
    let files = lines(pid).into_iter().filter(|l| l.executable && l.inode != 0);
    files.map(|l| Code { range: l.range, offset: l.offset, inode: l.inode, path: l.name }).collect()
}

/// Where the code of a file is that an address belongs to, if the process has mapped it for itself.
pub fn code_at(pid: u32, address: u64) -> Option<Range> {
    let in_it = |l: &Line| l.range.start <= address && address < l.range.end;
    lines(pid).into_iter().find(|l| l.executable && l.inode != 0 && in_it(l)).map(|l| l.range)
}

/// The first address in `range` where two processes differ, with up to 16 bytes of each:
/// of the other, of the donor.
pub fn first_difference(donor: u32, other: u32, range: Range) -> Option<(u64, Vec<u8>, Vec<u8>)> {
    let (mut a, mut b) = (vec![0u8; 64 << 10], vec![0u8; 64 << 10]);
    let mut at = range.start;
    while at < range.end {
        let n = (range.end - at).min(a.len() as u64) as usize;
        let both = memory::read(donor, at, &mut a[..n]).is_ok()
            && memory::read(other, at, &mut b[..n]).is_ok();
        if both && a[..n] != b[..n] {
            let i = a[..n].iter().zip(&b[..n]).position(|(x, y)| x != y)?;
            let end = (i + 16).min(n);
            return Some((at + i as u64, b[i..end].to_vec(), a[i..end].to_vec()));
        }
        at += n as u64;
    }
    None
}

/// A digest of all that `other` differs in from the donor, which stands still: while it is the same, so is `other`.
pub(crate) fn differences(donor: u32, other: u32) -> u64 {
    let (mut a, mut b) = (vec![0u8; 64 << 10], vec![0u8; 64 << 10]);
    let mut digest = DefaultHasher::new();
    for range in writable(donor) {
        for at in (range.start..range.end).step_by(a.len()) {
            let want = (range.end - at).min(a.len() as u64) as usize;
            let [n, m] = [(donor, &mut a), (other, &mut b)]
                .map(|(pid, part)| memory::read_some(pid, at, &mut part[..want]));
            if a[..n] != b[..m] {
                (at, &b[..m]).hash(&mut digest);
            }
        }
    }
    digest.finish()
}

/// A shared mapping of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Where it is.
    pub range: Range,
    /// Where it begins in the file.
    pub offset: u64,
    /// PROT_… (mmap(2)).
    pub prot: i32,
}

fn shared(pid: u32, wanted: impl Fn(&Line) -> bool) -> Vec<Shared> {
    let all = lines(pid).into_iter().filter(|l| l.shared && wanted(l));
    all.map(|l| Shared { range: l.range, offset: l.offset, prot: l.prot }).collect()
}

/// A part of a process that it may share with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Where it is.
    pub range: Range,
    /// Where it begins in its file.
    pub offset: u64,
    /// Device, of which the major number is in the upper half, and inode of that file.
    pub file: (u64, u64),
}

/// All shared mappings.
pub fn shared_memory(pid: u32) -> Vec<Common> {
    let all = lines(pid).into_iter().filter(|l| l.shared);
    let device = |l: &Line| u64::from(l.device.0) << 32 | u64::from(l.device.1);
    all.map(|l| Common { range: l.range, offset: l.offset, file: (device(&l), l.inode) }).collect()
}

/// All mappings of the shadow file (`chameleon_sys::shadow`).
pub fn shadows(pid: u32) -> Vec<Shared> {
    shared(pid, |l| l.inode == shadow::inode() && l.name == shadow::NAME)
}

/// Whether a line is of a file by its device and inode (stat(2)).
fn is_of(l: &Line, [device, inode]: [u64; 2]) -> bool {
    l.inode == inode && l.device == (libc::major(device), libc::minor(device))
}

/// All shared mappings of a file, by its device and inode.
pub fn of_file(pid: u32, file: [u64; 2]) -> Vec<Shared> {
    shared(pid, |l| is_of(l, file))
}

/// Whether any process that we may look into has a file mapped shared and writable.
pub fn is_written_to(file: [u64; 2]) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|p| p.file_name().to_str()?.parse().ok());
    pids.into_iter().any(|pid| lines(pid).iter().any(|l| l.shared && l.writable && is_of(l, file)))
}

/// The segments of shmget(2) that a process has attached: where, and which. The inode number of such a
/// mapping is the segment's identity (proc(5)).
pub fn segments(pid: u32) -> Vec<(u64, u64)> {
    let all = lines(pid).into_iter().filter(|l| l.name.starts_with("/SYSV"));
    all.map(|l| (l.range.start, l.inode)).collect()
}

/// Everything that is mapped within `part`, in ascending order.
pub fn within(pid: u32, part: std::ops::Range<u64>) -> Vec<Range> {
    let all = lines(pid).into_iter().map(|l| l.range);
    all.filter(|r| r.start < part.end && r.end > part.start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood() {
        let l = parse("7ffff7dd5000-7ffff7dd7000 rw-p 00000000 00:00 0 [heap]").unwrap();
        assert_eq!(l.range, Range { start: 0x7fff_f7dd_5000, end: 0x7fff_f7dd_7000 });
        assert!(l.writable && !l.executable && l.inode == 0);
        assert_eq!(l.name, "[heap]");
        let line = "401000-402000 r-xp 00001000 fe:00 123                                /a b/c";
        let l = parse(line).unwrap();
        assert!(l.executable && !l.writable);
        assert_eq!((l.offset, l.inode, l.name.as_str()), (0x1000, 123, "/a b/c"));
    }
}
