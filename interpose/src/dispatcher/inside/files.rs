//! Which files' calls have a certain result: descriptors that may be written later, and what is read
//! ahead.
//!
//! Invariant: a file that is seen otherwise than by calls of this process (a mapping, a limit, a
//! synchronous descriptor) is not among them.

use chameleon_sys::inside::{BUFFER_LEN, TABLE_LEN};
use chameleon_sys::{fd, raw};

use super::ROOM;
use super::ring::record;
use crate::arena::{Entry, commit, how};
use crate::dispatcher::Dispatcher;
use crate::dispatcher::quick::Kind;

/// The file whose content or length a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatcher) enum Changes {
    None,
    /// The one behind this descriptor.
    Behind(i32),
    /// One that it names by its path: which, shows only when it is done.
    ByPath,
}

/// What the call of an entry changes.
pub(in crate::dispatcher) fn changes(e: &Entry) -> Changes {
    let truncates = |flags: u64| match flags as i32 & libc::O_TRUNC {
        0 => Changes::None,
        _ => Changes::ByPath,
    };
    match i64::from(e.nr) {
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_ftruncate
        | libc::SYS_fallocate
        | libc::SYS_sendfile => Changes::Behind(e.args[0] as i32),
        libc::SYS_splice | libc::SYS_copy_file_range => Changes::Behind(e.args[2] as i32),
        libc::SYS_truncate | libc::SYS_creat => Changes::ByPath,
        libc::SYS_open => truncates(e.args[1]),
        libc::SYS_openat => truncates(e.args[2]),
        libc::SYS_openat2 => Changes::ByPath, // its flags are in memory
        _ => Changes::None,
    }
}

/// Whether a call opens a file by its path.
pub(in crate::dispatcher) fn opens(e: &Entry) -> bool {
    let all = [libc::SYS_open, libc::SYS_openat, libc::SYS_openat2, libc::SYS_creat];
    all.contains(&i64::from(e.nr))
}

/// setrlimit or prlimit64 of RLIMIT_FSIZE: from then on the outside itself must do the writing,
/// so that the limit and its signal are the program's.
pub(in crate::dispatcher) fn changes_size_limit(e: &Entry) -> bool {
    match i64::from(e.nr) {
        libc::SYS_setrlimit => e.args[0] as u32 == libc::RLIMIT_FSIZE,
        libc::SYS_prlimit64 => e.args[1] as u32 == libc::RLIMIT_FSIZE,
        _ => false,
    }
}

impl Dispatcher {
    /// Keeps the set of descriptors whose writes may be put off.
    pub(super) fn note_descriptors(&mut self, t: usize, e: &Entry, ret: i64, how: u32) {
        let number = e.args[0] as u32;
        let bit = |n: u64| if n < TABLE_LEN as u64 { 1u64 << n } else { 0 };
        let mut fast = self.arena.task(t).inside.fast;
        match i64::from(e.nr) {
            libc::SYS_write if how == how::VALUE && ret > 0 => {
                let low = (number as usize) < TABLE_LEN;
                if low && fast & bit(number.into()) == 0 && self.may_put_off(t, number as i32) {
                    fast |= bit(number.into());
                }
            }
            libc::SYS_close | libc::SYS_ioctl | libc::SYS_fcntl => fast &= !bit(number.into()),
            libc::SYS_dup2 | libc::SYS_dup3 => fast &= !bit(e.args[1] & 0xffff_ffff),
            libc::SYS_close_range => fast = 0,
            _ => {}
        }
        let i = &mut self.arena.task(t).inside;
        i.fast = if self.quick.trust_writes && i.off == 0 { fast } else { 0 };
    }

    /// Whether a write to this descriptor is certain to succeed and nobody can see that it comes a
    /// little later.
    fn may_put_off(&mut self, t: usize, number: i32) -> bool {
        let Some(c) = self.quick_copy(t, number).filter(|c| c.fd >= 0) else { return false };
        match c.kind {
            Kind::Sink => true,
            Kind::Other => false,
            Kind::Regular { .. } => {
                let Some(place) = fd::place_of(c.fd) else { return false };
                let i = &self.arena.task(t).inside;
                let mapped = &i.mapped[..i.mapped_count as usize];
                let synchronous =
                    fd::kind(c.fd).map_or(true, |k| k.flags & (libc::O_SYNC | libc::O_DSYNC) != 0);
                let alone = !mapped.contains(&place.file) && !self.is_shadowed(t, number);
                place.is_local && place.room > ROOM && !synchronous && alone
            }
        }
    }

    /// Looks whether the files that writes are put off to still have room: if one has not, the rest is
    /// written at once, and the program itself is told that the disk is full. What has been put off
    /// so far is far less than the room that is asked for.
    pub(super) fn note_room(&mut self, t: usize) {
        let i = self.arena.task(t).inside;
        let low = (0..TABLE_LEN as i32).filter(|n| i.fast & 1 << n != 0).any(|n| {
            let c = self.quick_copy(t, n).filter(|c| matches!(c.kind, Kind::Regular { .. }));
            c.and_then(|c| fd::place_of(c.fd)).is_some_and(|p| p.room <= ROOM)
        });
        self.arena.task(t).inside.full |= u32::from(low);
    }

    /// The program maps a file into its memory, through which it sees what it writes to it at once.
    pub(in crate::dispatcher) fn note_mapping(&mut self, t: usize, copy: i32, flags: i32) {
        let leader = self.arena.task(t).leader as usize;
        let writable = fd::kind(copy).is_ok_and(|k| k.flags & libc::O_ACCMODE == libc::O_RDWR);
        if flags & libc::MAP_SHARED != 0 && writable {
            // What it writes there what it reads must show.
            self.arena.task(leader).inside.off = 1;
        }
        // The loader's mappings of programs and libraries.
        if flags & libc::MAP_DENYWRITE != 0 {
            return;
        }
        let Some(place) = fd::place_of(copy) else { return };
        let i = &mut self.arena.task(leader).inside;
        match i.mapped.get_mut(i.mapped_count as usize) {
            Some(free) => {
                *free = place.file;
                i.mapped_count += 1;
            }
            None => i.off = 1,
        }
        // Which of them is this file is not worth finding out.
        (i.fast, i.stale) = (0, 1);
    }

    /// Whether the call at the head changes a file that the program has mapped: then all replicas
    /// must stand there, for one that is behind would see in its memory what has not happened yet.
    pub(in crate::dispatcher) fn changes_mapping(&mut self, t: usize, e: &Entry) -> bool {
        if self.touches_shared(t, e) {
            return true;
        }
        let leader = self.arena.task(t).leader as usize;
        let i = &self.arena.task(leader).inside;
        let mapped = &i.mapped[..i.mapped_count as usize];
        if !self.lockstep() || mapped.is_empty() {
            return false;
        }
        let number = match changes(e) {
            Changes::Behind(number) => number,
            changed => return changed == Changes::ByPath,
        };
        let full = mapped.len() == i.mapped.len();
        self.quick_copy(t, number).is_some_and(|c| {
            mapped.contains(&c.file) || full && matches!(c.kind, Kind::Regular { .. })
        })
    }

    /// Whether the program has mapped this file, or so many that it is not known.
    pub(in crate::dispatcher) fn has_mapped(&self, t: usize, file: [u64; 2]) -> bool {
        let i = &self.arena.task(self.arena.task(t).leader as usize).inside;
        let mapped = &i.mapped[..i.mapped_count as usize];
        mapped.contains(&file) || mapped.len() == i.mapped.len()
    }

    /// The program has made a file that was not there. One that it has mapped would be held by whoever can
    /// still read there: that file is gone, and its number is this one's.
    pub(in crate::dispatcher) fn note_new_file(&mut self, t: usize, file: [u64; 2]) {
        let leader = self.arena.task(t).leader as usize;
        let i = &mut self.arena.task(leader).inside;
        let known = i.mapped[..i.mapped_count as usize].iter().position(|m| *m == file);
        if let (Some(at), false) = (known, i.mapped_count as usize == i.mapped.len()) {
            i.mapped[at] = i.mapped[i.mapped_count as usize - 1];
            commit();
            i.mapped_count -= 1;
        }
    }

    /// Whether a call that was performed has changed a file that the program has mapped: what a replica
    /// read there before, one made of a checkpoint would not read again.
    pub(in crate::dispatcher) fn has_changed_mapping(&mut self, t: usize, e: &Entry) -> bool {
        match changes(e) {
            Changes::None => false,
            _ if e.ret < 0 => false,
            Changes::ByPath if opens(e) => {
                let behind =
                    Entry { nr: libc::SYS_ftruncate as u32, args: [e.ret as u64; 6], ..*e };
                self.changes_mapping(t, &behind)
            }
            _ => self.changes_mapping(t, e),
        }
    }

    /// Whether the file behind a descriptor is one that writes may be put off to; `None` if there is
    /// no such file.
    pub(super) fn is_written(&mut self, t: usize, number: i32) -> Option<bool> {
        let file = fd::place_of(self.quick_copy(t, number).filter(|c| c.fd >= 0)?.fd)?.file;
        let fast = self.arena.task(t).inside.fast;
        Some((0..TABLE_LEN as i32).filter(|n| fast & 1 << n != 0).any(|n| {
            let other = self.quick_copy(t, n).filter(|c| c.fd >= 0);
            other.and_then(|c| fd::place_of(c.fd)).is_none_or(|p| p.file == file)
        }))
    }

    /// How much of what was read ahead the program has taken decides how much it gets next.
    pub(super) fn note_consumed(&mut self, t: usize, ring: &[u8]) {
        let i = &mut self.arena.task(t).inside;
        if i.ahead_given == 0 || i.done() > 0 {
            return;
        }
        let (mut at, mut taken) = (0, 0);
        while let Some(r) = record(&ring[at..]) {
            taken += if r.writes { 0 } else { r.len };
            at += r.size;
        }
        i.ahead_next = match taken * 2 >= i.ahead_given {
            true => (i.ahead_next * 2).min(BUFFER_LEN as u32),
            false => i.ahead_next / 2,
        };
    }

    /// After a read(2) that was filled: what follows in the file, kept in the task's data: where,
    /// and how much.
    pub(super) fn read_ahead(&mut self, t: usize, e: &Entry, ret: i64) -> Option<(usize, usize)> {
        let i = self.arena.task(t).inside;
        let read = i64::from(e.nr) == libc::SYS_read && ret > 0 && ret as u64 == e.args[2];
        let n = (i.ahead_next as usize).min(BUFFER_LEN);
        let fits = (e.args[0] as u32 as usize) < TABLE_LEN && e.args[2] <= n as u64;
        if !read || i.off != 0 || !fits {
            return None;
        }
        let c = self.quick_copy(t, e.args[0] as i32).filter(|c| c.fd >= 0)?;
        let Kind::Regular { .. } = c.kind else { return None };
        let place = fd::place_of(c.fd)?;
        // What the program writes to it meanwhile it must read.
        if !place.is_local || self.is_written(t, e.args[0] as i32)? {
            return None;
        }
        let from = raw::lseek(c.fd as u64, 0, libc::SEEK_CUR as u64);
        let at = self.arena.take_data(t, n).filter(|_| from >= 0)?;
        let got = fd::read_at(c.fd, self.arena.region.bytes(at, n), Some(from as u64));
        (got > 0).then_some((at, got as usize))
    }
}
