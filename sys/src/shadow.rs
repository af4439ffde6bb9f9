//! The shadow file: one file in memory that holds, for each replica, its own copy of every object
//! that the program shares memory through.
//!
//! It is divided into extents, one for each (object, place); the places of an object are its replicas
//! and, last, what all of them last agreed on. A mapping of an object in a replica is a mapping of its
//! extent here, so that two processes of the program share memory within one replica and never beyond.
//!
//! Invariant: made before the first fork and inherited, so that it outlives any process but the
//! supervisor. A replica holds it under the number of the outside's bell, which the program has not.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::error::Result;
use crate::raw;

/// The addresses that mappings of the shadow file are given: calls that unmap, move or write back
/// memory are trapped there and nowhere else. Above the heap, far below what the kernel places.
pub const ADDRESSES: std::ops::Range<u64> = 0x5800_0000_0000..0x5c00_0000_0000;
/// Bytes of the file that one extent has.
pub const EXTENT: u64 = 1 << 40;
/// Extents of one object.
pub const PLACES: u64 = 16;
/// The place of what all replicas last agreed on.
pub const BASE: u64 = PLACES - 1;
/// Objects that there can be.
pub const OBJECTS: usize = 1024;
/// Where the logs of clocks begin, behind all objects: one for each process (`crate::clock`).
pub const CLOCKS: u64 = OBJECTS as u64 * PLACES * EXTENT;
/// Logs that there can be.
const LOGS: u64 = 1024;
/// How /proc/PID/maps names it (memfd_create(2)).
pub const NAME: &str = "/memfd:shadow (deleted)";

static FILE: AtomicI32 = AtomicI32::new(-1);
static INODE: AtomicU64 = AtomicU64::new(0);

/// Makes the file. None is made where there are no files in memory, or where the program may not write
/// files of any size: it could not be given its length (setrlimit(2), RLIMIT_FSIZE).
pub fn create() {
    if raw::file_size_is_limited() {
        return;
    }
    // SAFETY: the name is a NUL-terminated string.
    let fd = unsafe { libc::memfd_create(c"shadow".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return;
    }
    let len = CLOCKS + LOGS * crate::clock::LOG_LEN;
    // SAFETY: a descriptor of our own and a number.
    let sized = unsafe { libc::ftruncate(fd, len as libc::off_t) } == 0;
    match crate::fd::kind(fd) {
        Ok(kind) if sized => {
            INODE.store(kind.file[1], Ordering::Relaxed);
            FILE.store(fd, Ordering::Relaxed);
        }
        _ => crate::fd::close(fd),
    }
}

/// The descriptor of the file in our own processes, if there is one.
pub fn file() -> Option<i32> {
    Some(FILE.load(Ordering::Relaxed)).filter(|f| *f >= 0)
}

/// Its inode number, as /proc/PID/maps shows it.
pub fn inode() -> u64 {
    INODE.load(Ordering::Relaxed)
}

/// Its descriptor in a replica.
pub fn file_in_replica() -> i32 {
    crate::executor::bell_fd()
}

/// Where the extent of an object at a place begins in the file.
pub fn extent(object: usize, place: u64) -> u64 {
    (object as u64 * PLACES + place) * EXTENT
}

/// Where the log of clocks of a process begins in the file, by its task.
pub fn clocks(task: usize) -> u64 {
    CLOCKS + task as u64 * crate::clock::LOG_LEN
}

/// Empties that log: its process is to begin.
pub fn clear_clocks(task: usize) {
    if let Some(f) = file() {
        clear(f, clocks(task), crate::clock::LOG_LEN);
    }
}

/// Empties the places of that log behind so many readings.
pub fn cut_clocks(task: usize, readings: u64) {
    let Some(f) = file() else { return };
    let mut log = vec![0; crate::clock::LOG_LEN as usize];
    read(f, clocks(task), &mut log);
    for (i, place) in log.chunks_exact(16).enumerate() {
        let number = place.first_chunk().map_or(0, |n| u64::from_ne_bytes(*n));
        if number > readings {
            // What is not emptied is a time that has been.
            let _ = write(f, clocks(task) + i as u64 * 16, &[0; 16]);
        }
    }
}

/// Object and place that a position of the file belongs to.
pub fn owner(position: u64) -> (usize, u64) {
    let extent = position / EXTENT;
    ((extent / PLACES) as usize, extent % PLACES)
}

/// The first position from `from` on, below `end`, of a file of ours where something was ever
/// written (lseek(2), SEEK_DATA).
pub fn next_data(fd: i32, from: u64, end: u64) -> Option<u64> {
    let at = raw::lseek(fd as u64, from, libc::SEEK_DATA as u64);
    (at >= 0 && (at as u64) < end).then_some(at as u64)
}

/// The first position from `from` on, at most `end`, where nothing was written (SEEK_HOLE).
pub fn next_hole(fd: i32, from: u64, end: u64) -> u64 {
    let at = raw::lseek(fd as u64, from, libc::SEEK_HOLE as u64);
    if at < 0 { end } else { (at as u64).min(end) }
}

/// Fills `buf` from a position of a file of ours; what is behind its end reads as zeros.
pub fn read(fd: i32, at: u64, buf: &mut [u8]) {
    let mut done = 0;
    while done < buf.len() {
        match crate::fd::read_at(fd, &mut buf[done..], Some(at + done as u64)) {
            n if n > 0 => done += n as usize,
            n if -n as i32 == libc::EINTR => {}
            _ => break,
        }
    }
    buf[done..].fill(0);
}

/// Writes `bytes` at a position of a file of ours.
pub fn write(fd: i32, at: u64, bytes: &[u8]) -> Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match crate::fd::write_at(fd, &bytes[done..], Some(at + done as u64)) {
            n if n > 0 => done += n as usize,
            n if -n as i32 == libc::EINTR => {}
            n => {
                crate::error::check("pwrite64", if n == 0 { -libc::EIO as isize } else { n })?;
            }
        }
    }
    Ok(())
}

/// Makes `len` bytes of a file of ours read as zeros, and gives their whole pages back
/// (fallocate(2), FALLOC_FL_PUNCH_HOLE).
pub fn clear(fd: i32, at: u64, len: u64) {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain numbers.
    unsafe { libc::fallocate(fd, mode, at as libc::off_t, len as libc::off_t) };
}

/// Opens descriptor `number` of process `pid` anew, for reading and writing: a position, flags and
/// locks of its own (open(2) of /proc/PID/fd/N).
pub fn open_again(pid: u32, number: i32) -> Option<i32> {
    let path = std::ffi::CString::new(format!("/proc/{pid}/fd/{number}")).ok()?;
    // SAFETY: a NUL-terminated path.
    let new = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    (new >= 0).then_some(new)
}

/// Opens a file by its path and has what was written to it kept for good (fsync(2)); the raw answer.
/// Uses no heap.
pub fn keep_for_good(path: &std::ffi::CStr) -> isize {
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u64;
    // SAFETY: a NUL-terminated path, then plain numbers.
    unsafe {
        let fd = raw::syscall(libc::SYS_open, [path.as_ptr() as u64, flags, 0, 0, 0, 0]);
        if fd < 0 {
            return fd;
        }
        let ret = raw::syscall(libc::SYS_fsync, [fd as u64, 0, 0, 0, 0, 0]);
        raw::close(fd as u64);
        ret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_belongs_to_the_extent_it_was_made_for() {
        assert_eq!(owner(extent(7, 3) + 12345), (7, 3));
        assert_eq!(owner(extent(OBJECTS - 1, BASE)), (OBJECTS - 1, BASE));
    }

    #[test]
    fn what_is_written_is_found_and_cleared() {
        create();
        let Some(f) = file() else { return };
        let at = extent(3, 2) + 8192;
        write(f, at, b"abc").unwrap();
        assert_eq!(next_data(f, extent(3, 2), extent(3, 3)), Some(at));
        assert_eq!(next_hole(f, at, extent(3, 3)), at + 4096);
        let mut three = [0; 3];
        read(f, at, &mut three);
        assert_eq!(&three, b"abc");
        clear(f, extent(3, 2), EXTENT);
        assert_eq!(next_data(f, extent(3, 2), extent(3, 3)), None);
    }
}
