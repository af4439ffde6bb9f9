//! Which pages a process has, and which of them it has written to since it was last asked
//! (userfaultfd(2), PAGEMAP_SCAN(2const)).
//!
//! The process makes a userfaultfd itself, by an injected call ([`CALL`]); it is taken over here and
//! set to asynchronous write protection, which no write notices but by taking one fault more. Unlike
//! a comparison of what two frozen forks still share (pagemap's bit 56), this is exact: that bit says
//! "shared" of a page that a third process holds, of one that mremap(2) moved elsewhere, and of every
//! page of a huge one, although the process has another page there by now (each was tried). It needs
//! no rights, and writes by the kernel (read(2) into the page, process_vm_writev(2)) count as well.
//!
//! Invariant: a page is called unchanged only if it was there, was protected by the scan before, and
//! has not been written since; whatever is new, moved, not watched or not certain is changed. Only
//! for private memory: what others write to shared memory is not seen. Called by whoever freezes
//! processes.

use std::fs::File;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Errno, Error, Result, check};
use crate::raw;

/// The call that the process has to make: its number and its only argument. UFFD_USER_MODE_ONLY (1)
/// needs no rights; faults of the kernel are resolved all the same, since none is ever waited for.
pub const CALL: (i64, u64) =
    (libc::SYS_userfaultfd, (libc::O_CLOEXEC | libc::O_NONBLOCK) as u64 | 1);

// <linux/userfaultfd.h>, <linux/fs.h>
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u64 = 0x8010_aa01;
const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
const API: u64 = 0xaa;
const WP_ASYNC: u64 = 1 << 15;
const MODE_WP: u64 = 1 << 1;
const PROCMAP_QUERY: u64 = 0xc068_6611;
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const WP_MATCHING: u64 = 1;
const CHECK_WPASYNC: u64 = 1 << 1;
const IS_WPALLOWED: u64 = 1 << 0;
const IS_WRITTEN: u64 = 1 << 1;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_GUARD: u64 = 1 << 8;

/// What is known of some pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They have bytes, which may be any.
    Changed,
    /// A guard (madvise(2), MADV_GUARD_INSTALL): it has no bytes and cannot be read.
    Guard,
}

/// Pages that a process has, one after the other. What is in none was never touched, or is the
/// mapped file's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// What is known of them.
    pub state: State,
}

/// Has writes of one process watched. Dropping it ends that, if the process has closed its own
/// descriptor: all pages count as changed from then on.
#[derive(Debug)]
pub struct Tracker(OwnedFd);

impl Tracker {
    /// Takes the descriptor that [`CALL`] gave `pid`; the process should close its own.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` from a kernel before 6.7, which has no asynchronous protection.
    pub fn take(pid: u32, fd: i32) -> Result<Self> {
        let pidfd = check("pidfd_open", raw::pidfd_open(u64::from(pid), 0))?;
        // SAFETY: just made, and nobody else knows it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as i32) };
        let found = raw::pidfd_getfd(pidfd.as_raw_fd() as u64, fd as u64, 0);
        let found = check("pidfd_getfd", found)?;
        // SAFETY: as above.
        Self::new(unsafe { OwnedFd::from_raw_fd(found as i32) })
    }

    fn new(fd: OwnedFd) -> Result<Self> {
        #[repr(C)]
        struct Api {
            api: u64,
            features: u64,
            ioctls: u64,
        }
        let mut api = Api { api: API, features: WP_ASYNC, ioctls: 0 };
        // SAFETY: `api` is the structure of this request, valid to read and write.
        let done = unsafe { ioctl(fd.as_raw_fd(), UFFDIO_API, &raw mut api as u64) };
        check("ioctl(UFFDIO_API)", done)?;
        Ok(Self(fd))
    }

    /// Watches all mappings from `start` to `end` of the process whose `pages` these are, again if they are
    /// watched. A mapping that is made, moved or grown later is not, and counts as changed until this is
    /// called for it; its pages then count as changed at the next scan as well.
    ///
    /// That takes more than to register them. Where a page is moved (mremap(2)) from one watched mapping to
    /// the border of another that it fits, because it was never touched or came from there, the kernel makes
    /// them one mapping and then watches none of it, but leaves what was in it marked as protected (tried on
    /// Linux 6.18). Such pages keep the mark when they are written to and when they are moved on, and would be
    /// called unchanged; so marks that are found on what was not watched are taken away.
    ///
    /// # Errors
    /// `ENOMEM` when nothing is mapped there, `EINVAL` of memory that cannot be watched.
    pub fn watch(&self, pages: &Pagemap, start: u64, end: u64) -> Result<()> {
        let known = pages.is_watched(start, end);
        self.request("ioctl(UFFDIO_REGISTER)", UFFDIO_REGISTER, [start, end - start, MODE_WP, 0])?;
        if known {
            return Ok(());
        }
        let unmarked = pages.marked(start, end).and_then(|marked| {
            let mut marked = marked.into_iter();
            marked.try_for_each(|[from, to]| {
                let what = "ioctl(UFFDIO_WRITEPROTECT)";
                self.request(what, UFFDIO_WRITEPROTECT, [from, to - from, 0, 0])
            })
        });
        if unmarked.is_err() {
            // Or they would count as watched the next time.
            self.request(
                "ioctl(UFFDIO_UNREGISTER)",
                UFFDIO_UNREGISTER,
                [start, end - start, 0, 0],
            )?;
        }
        unmarked
    }

    /// A request about some memory: its first address, its length, and what else the request takes.
    fn request(&self, operation: &'static str, number: u64, mut of: [u64; 4]) -> Result<()> {
        // SAFETY: `of` is valid to read and write and at least as long as the structure of each of these
        // requests, which begin with the range; the memory that it names keeps its bytes.
        let done = unsafe { ioctl(self.0.as_raw_fd(), number, of.as_mut_ptr() as u64) };
        check(operation, done).map(drop)
    }
}

/// The mapping of process `pid` that an address is in: its first address and the one behind its last; none if there
/// is none there.
///
/// # Errors
/// `ENOTTY` from a kernel before 6.11, `ESRCH` and the like of a process that is gone.
pub fn mapping_at(pid: u32, address: u64) -> Result<Option<[u64; 2]>> {
    /// struct procmap_query of <linux/fs.h>, of which the rest is for names.
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        size: u64,
        flags: u64,
        address: u64,
        found: [u64; 2],
        rest: [u64; 8],
    }
    let failed = |error: std::io::Error| Error {
        operation: "opening /proc/PID/maps",
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    };
    let maps = File::open(format!("/proc/{pid}/maps")).map_err(failed)?;
    let mut query = Query { size: size_of::<Query>() as u64, address, ..Query::default() };
    // SAFETY: `query` is the structure of this request, valid to read and write; it asks for no names.
    let done = unsafe { ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query as u64) };
    match check("ioctl(PROCMAP_QUERY)", done) {
        Ok(_) => Ok(Some(query.found)),
        Err(error) if error.errno == Errno::ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is behind a range, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Anonymous private memory.
    Nothing,
    /// A private mapping of a file. There the kernel leaves a mark like that of a page in swap where
    /// a written page was dropped (MADV_DONTNEED), so one in swap is never called unchanged.
    File,
}

impl Behind {
    /// The categories of pages that are not the process's own: in the page cache are the file's bytes. The
    /// kernel looks at each page for that, which takes three times as long as all else; so not where there
    /// is no file.
    fn others(self) -> u64 {
        if self == Self::File { IS_FILE } else { 0 }
    }
}

/// The page tables of one process (proc_pid_pagemap(5)).
#[derive(Debug)]
pub struct Pagemap(File);

impl Pagemap {
    /// Opens those of `pid`.
    ///
    /// # Errors
    /// The process is gone, or may not be traced.
    pub fn open(pid: u32) -> Result<Self> {
        let file = File::open(format!("/proc/{pid}/pagemap"));
        file.map(Self).map_err(|error| Error {
            operation: "opening /proc/PID/pagemap",
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        })
    }

    /// The pages from `start` to `end` that have bytes of the process's own, all as changed; no
    /// mapping among them may be of another kind than `behind` says.
    ///
    /// # Errors
    /// `ENOTTY` from a kernel before 6.7.
    pub fn present(&self, start: u64, end: u64, behind: Behind) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        self.scan(start, end, 0, behind.others(), |from, to, categories| {
            let state = if categories & IS_GUARD == 0 { State::Changed } else { State::Guard };
            add(&mut runs, from, to, state);
        })?;
        Ok(runs)
    }

    /// Adds to `known` the pages from `start` to `end` that are as they were at the last call of this,
    /// and begins anew: the process must stand still from before this until whatever copies the
    /// pages (its fork) is made. They are of one mapping that a [`Tracker`] watches, or none is added.
    ///
    /// # Errors
    /// `ENOTTY` from a kernel before 6.7.
    pub fn unchanged(
        &self,
        start: u64,
        end: u64,
        behind: Behind,
        known: &mut Vec<[u64; 2]>,
    ) -> Result<()> {
        let there = match behind {
            Behind::Nothing => IS_PRESENT | IS_SWAPPED,
            Behind::File => IS_PRESENT,
        };
        // The kernel passes over what it cannot protect.
        self.scan(start, end, WP_MATCHING, behind.others(), |from, to, categories| {
            let watched = categories & (IS_WRITTEN | IS_WPALLOWED) == IS_WPALLOWED;
            if !watched || categories & there == 0 || categories & IS_GUARD != 0 {
                return;
            }
            match known.last_mut() {
                Some([_, last]) if *last == from => *last = to,
                _ => known.push([from, to]),
            }
        })
    }

    /// Whether all mappings from `start` to `end` are watched, and have been since they were made or a
    /// [`Tracker`] came to them.
    fn is_watched(&self, start: u64, end: u64) -> bool {
        // What is watched is passed over; the first that is not is an error.
        self.scan(start, end, CHECK_WPASYNC, IS_WPALLOWED, |_, _, _| ()).is_ok()
    }

    /// The pages from `start` to `end`, which are watched, that are marked as protected.
    fn marked(&self, start: u64, end: u64) -> Result<Vec<[u64; 2]>> {
        let mut found = Vec::new();
        self.scan(start, end, 0, IS_WRITTEN, |from, to, _| found.push([from, to]))?;
        Ok(found)
    }

    /// Tells `each` of pages that are there or in swap and are of none of the categories `but`, by address,
    /// with what they are.
    fn scan(
        &self,
        start: u64,
        end: u64,
        flags: u64,
        but: u64,
        mut each: impl FnMut(u64, u64, u64),
    ) -> Result<()> {
        let mut regions = [Region::default(); 256];
        let mut at = start;
        while at < end {
            let mut args = Scan {
                size: size_of::<Scan>() as u64,
                flags,
                start: at,
                end,
                walk_end: 0,
                vec: regions.as_mut_ptr() as u64,
                vec_len: regions.len() as u64,
                max_pages: 0,
                category_inverted: but,
                category_mask: but,
                category_anyof_mask: IS_PRESENT | IS_SWAPPED,
                return_mask: IS_WPALLOWED
                    | IS_WRITTEN
                    | IS_PRESENT
                    | IS_SWAPPED
                    | GUARD_KNOWN.get(),
            };
            // SAFETY: `args` is the structure of this request; its vector is valid for the length
            // that it gives, and lives across the call.
            let found = unsafe { ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN, &raw mut args as u64) };
            if found == -(libc::EINVAL as isize) && GUARD_KNOWN.forget() {
                continue;
            }
            let found = check("ioctl(PAGEMAP_SCAN)", found)?;
            for region in &regions[..found] {
                each(region.start, region.end, region.categories);
            }
            if args.walk_end <= at {
                break;
            }
            at = args.walk_end;
        }
        Ok(())
    }
}

/// Whether the kernel knows IS_GUARD; before 6.16 it refuses a mask that has it.
struct GuardKnown(std::sync::atomic::AtomicBool);

static GUARD_KNOWN: GuardKnown = GuardKnown(std::sync::atomic::AtomicBool::new(true));

impl GuardKnown {
    fn get(&self) -> u64 {
        if self.0.load(std::sync::atomic::Ordering::Relaxed) { IS_GUARD } else { 0 }
    }

    /// Whether this is new.
    fn forget(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::Relaxed)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// # Safety
/// `arg` must be what `request` wants.
unsafe fn ioctl(fd: i32, request: u64, arg: u64) -> isize {
    // SAFETY: the caller vouches for the argument.
    unsafe { raw::syscall(libc::SYS_ioctl, [fd as u64, request, arg, 0, 0, 0]) }
}

fn add(runs: &mut Vec<Run>, start: u64, end: u64, state: State) {
    match runs.last_mut() {
        Some(last) if last.end == start && last.state == state => last.end = end,
        _ => runs.push(Run { start, end, state }),
    }
}

#[cfg(test)]
mod tests;
