//! Which pages a replica has written to since an image: asked of the kernel as a checkpoint is made of it.
//!
//! ```text
//!   look 1 ─► all of it is watched; image A is made of it
//!   look 2 ─► unchanged since 1: an image can build on A
//!   look 3 ─► unchanged since 2 and, if there was no image at 2, also since 1
//! ```
//!
//! Invariant: what is said to be unchanged is so in the memory of this one process. Of another replica,
//! which was not watched, of one that was just made or has executed a program, and of whatever the
//! kernel is not sure of, nothing is said. The replica stands still from the look until it has been copied.

use chameleon_sys::filter::WINDOW;
use chameleon_sys::pagemap::{self, Behind, Pagemap};
use chameleon_sys::tracee::Regs;
use chameleon_sys::{Errno, Error, Result, raw};

use super::Tracer;
use crate::arena::{Known, commit};
use crate::maps;

/// A replica whose writes are watched.
#[derive(Debug)]
pub(super) struct Watched {
    tracker: pagemap::Tracker,
    pages: Pagemap,
    /// Its latest look.
    look: u64,
    /// The look since which `unchanged` is so; or 0.
    since: u64,
    unchanged: Vec<[u64; 2]>,
}

/// A look that is not written down yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    donor: u32,
    ns: u64,
}

impl Tracer {
    /// Looks through the memory of the stopped replica `pid`, the first thread of the process of task
    /// `leader`, of which a checkpoint is about to be made. None if it is not to be looked through or cannot
    /// be: its image is a whole one then.
    pub(super) fn look(&mut self, pid: u32, regs: &Regs, leader: usize) -> Option<Look> {
        let known = self.arena.known(leader);
        let written = self.arena.task(leader).recovery.pinned != 0;
        if self.arena.header().images == 0 || !self.may_watch || written {
            return None;
        }
        known.made = 0;
        commit();
        let base = *self.arena.base(leader);
        if !base.worth().looks() {
            return None;
        }
        let begun = raw::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        if !self.watched.contains_key(&pid) {
            let watched = self.begin_to_watch(pid, regs).ok()?;
            self.watched.insert(pid, watched);
        }
        self.looks += 1;
        let (look, watched) = (self.looks, self.watched.get_mut(&pid)?);
        if watched.look(pid, look, base.look).is_err() {
            self.watched.remove(&pid);
            return None;
        }
        Some(Look {
            donor: pid,
            ns: raw::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(begun),
        })
    }

    /// The checkpoint has been made of the replica as it was looked through.
    pub(super) fn note_look(&mut self, leader: usize, look: Option<Look>, made: u32) {
        let Some((look, watched)) = look.and_then(|l| Some((l, self.watched.get(&l.donor)?)))
        else {
            return;
        };
        let fits = self.arena.keep_known(leader, &watched.unchanged);
        let known = self.arena.known(leader);
        *known = Known {
            made: 0,
            donor: look.donor,
            look: watched.look,
            since: if fits { watched.since } else { 0 },
            count: known.count,
            ns: look.ns,
            ..*known
        };
        commit();
        known.made = made;
    }

    /// A replica has executed a program: the memory that was watched is gone.
    pub(super) fn watch_no_more(&mut self, pid: u32) {
        self.watched.remove(&pid);
    }

    fn begin_to_watch(&mut self, pid: u32, regs: &Regs) -> Result<Watched> {
        let (nr, flags) = pagemap::CALL;
        let fd = self.call_at(pid, regs, WINDOW, nr, [flags, 0, 0, 0, 0, 0])?;
        if fd < 0 {
            return Err(Error { operation: "userfaultfd", errno: Errno::from_raw(-fd as i32) });
        }
        let tracker = pagemap::Tracker::take(pid, fd as i32);
        self.call_at(pid, regs, WINDOW, libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0])?;
        let (tracker, pages) = (tracker?, Pagemap::open(pid)?);
        Ok(Watched { tracker, pages, look: 0, since: 0, unchanged: Vec::new() })
    }
}

impl Watched {
    /// Look number `look`; an image has been made at look `base`.
    fn look(&mut self, pid: u32, look: u64, base: u64) -> Result<()> {
        let mut found = Vec::new();
        for line in maps::lines(pid).iter().filter(|line| maps::is_private(line)) {
            let (start, end) = (line.range.start, line.range.end);
            if self.tracker.watch(&self.pages, start, end).is_err() {
                continue; // it counts as changed
            }
            let behind = if line.inode == 0 { Behind::Nothing } else { Behind::File };
            self.pages.unchanged(start, end, behind, &mut found)?;
        }
        let before = std::mem::take(&mut self.unchanged);
        (self.since, self.unchanged) = match base {
            0 => (0, Vec::new()),
            _ if base == self.look => (base, found),
            _ if base == self.since => (base, common(&found, &before)),
            _ => (0, Vec::new()),
        };
        self.look = look;
        Ok(())
    }
}

/// What is in both.
fn common(a: &[[u64; 2]], b: &[[u64; 2]]) -> Vec<[u64; 2]> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut found = Vec::new();
    while let (Some([a_start, a_end]), Some([b_start, b_end])) = (a.peek(), b.peek()) {
        let (start, end) = (*a_start.max(b_start), *a_end.min(b_end));
        if start < end {
            found.push([start, end]);
        }
        if a_end <= b_end {
            a.next()
        } else {
            b.next()
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn what_is_in_both() {
        let a = [[0, 10], [20, 30], [40, 50]];
        assert_eq!(
            common(&a, &[[5, 25], [29, 41], [50, 60]]),
            [[5, 10], [20, 25], [29, 30], [40, 41]]
        );
        assert_eq!(common(&a, &a), a);
        assert_eq!(common(&a, &[]), [[0u64; 2]; 0]);
    }
}
