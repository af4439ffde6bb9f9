//! The call path inside replicas, seen from here (`chameleon_sys::inside`, docs/adr/0008): when a task
//! is armed, what its rings hold, and which descriptors' results are certain.
//!
//! ```text
//!  replica: write, write, read, … into its ring ──► a trapped call: the ring is part of its ballot
//!  here:    K equal ballots ──► the ring is carried out, then the call ──► answer, ring empty again
//! ```
//!
//! A program that makes no trapped call for long has its rings looked at while it runs: what K of
//! them begin with alike is carried out then, so that others see it in time.
//!
//! Invariant: what a ring holds is carried out once, in its order, before any other call of its
//! process; nothing of it is before K rings hold it alike. `progress` says how far that is, in one
//! word, so that a successor goes on from there.

mod ahead;
mod files;
mod flush;
mod ring;

use chameleon_sys::inside::{self, AHEAD, BUFFER, DATA, ON, TABLE, TABLE_LEN};
use chameleon_sys::memory;

pub(super) use files::{Changes, changes, changes_size_limit, opens};
pub(super) use ring::place_in_record;

use super::Dispatcher;
use crate::arena::{CHUNK, Entry, HEAD_LEN, Inside, commit, how, is_live, rstate};

/// Under which argument the ring stands among the pieces of a ballot: behind the last.
pub(crate) const RING_ARG: u32 = 6;
/// Which of its pieces the bytes are; the other is their number.
const BYTES: u32 = 1;
/// Reads and writes of files after which a task is armed.
const HOT: u32 = 24;
/// Bytes that are read ahead at first.
const FIRST_AHEAD: u32 = 32 << 10;
/// Room on its file system that a write needs to be put off: it must not fail later.
const ROOM: u64 = 64 << 20;

impl Dispatcher {
    /// Whether the replicas of `t` are armed when they stand at call `seq`.
    pub(super) fn is_armed(&self, t: usize, seq: u64) -> bool {
        let i = &self.arena.task(t).inside;
        i.armed != 0 && seq >= i.from
    }

    /// A call of the quick way has been made that the path inside could have carried.
    pub(super) fn note_hot(&mut self, t: usize) {
        let i = &mut self.arena.task(t).inside;
        i.hot = i.hot.saturating_add(1);
    }

    /// Whether the replicas of `t` are to be armed behind the call at the head.
    fn is_to_be_armed(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let i = &task.inside;
        let alone = (0..self.arena.header().tasks as usize).all(|o| {
            let x = self.arena.task(o);
            o == t || x.used == 0 || x.leader != task.leader
        });
        // What its ring kept would be neither in the outside nor in the undo log.
        self.settings.images.is_none()
            && i.armed == 0
            && i.off == 0
            && i.hot >= HOT
            && i.handlers == 0
            && task.leader as usize == t
            && task.no_repair == 0
            && task.exec_pending == 0
            && task.replicas[..task.n as usize].iter().all(is_live)
            && alone
    }

    /// The call at the head is about to be completed: what of the path inside goes to the replicas
    /// with its answer is drawn up.
    pub(super) fn inside_results(&mut self, t: usize, ret: i64, how: u32, signal: u32) {
        let head = self.arena.task(t).head;
        if !self.is_armed(t, head) {
            let quick =
                matches!(i64::from(self.arena.entry(t, head).nr), libc::SYS_read | libc::SYS_write);
            // Behind a long one a checkpoint is made, which the tracer cannot do with this.
            let long = self.arena.entry(t, head).args[2] > CHUNK as u64;
            let may_be = quick && !long && how == how::VALUE && signal == 0;
            if may_be && self.is_to_be_armed(t) {
                let i = &mut self.arena.task(t).inside;
                (i.from, i.ahead_next) = (head + 1, FIRST_AHEAD);
                commit();
                i.armed = 1;
                self.arena.entry(t, head).arm = 1;
            }
            return;
        }
        let e = *self.arena.entry(t, head);
        let before = self.arena.task(t).inside;
        self.note_descriptors(t, &e, ret, how);
        if e.ring != 0 || e.pending != 0 {
            self.note_room(t);
        }
        let ahead = if how == how::VALUE { self.read_ahead(t, &e, ret) } else { None };
        let i = &mut self.arena.task(t).inside;
        i.ahead_fd = ahead.map_or(0, |_| e.args[0] as u32 + 1);
        i.ahead_given = ahead.map_or(0, |(_, n)| n as u64);
        let stale = std::mem::take(&mut i.stale) != 0;
        let changed = i.fast != before.fast || i.off != before.off || i.full != before.full;
        if e.ring != 0 || before.ahead_fd != 0 || ahead.is_some() || changed || stale {
            self.draw_head(t, head, ahead.map(|(_, n)| (e.args[0] as u32, n)));
            let e = self.arena.entry(t, head);
            (e.ahead_at, e.ahead_len) = ahead.map_or((0, 0), |(at, n)| (at as u64, n as u32));
            e.inside = 1;
        }
    }

    /// Draws up the header that goes with entry `seq`: an empty ring, the table, and what was read
    /// ahead for which descriptor.
    fn draw_head(&mut self, t: usize, seq: u64, ahead: Option<(u32, usize)>) {
        let i = self.arena.task(t).inside;
        let allowed = if i.full == 0 { i.fast } else { 0 };
        let bytes = self.arena.inside_head(t, seq);
        bytes.fill(0);
        let mut put =
            |at: u64, b: &[u8]| bytes[at as usize..at as usize + b.len()].copy_from_slice(b);
        put(ON, &u32::from(i.off == 0).to_le_bytes());
        let (fd, n) = ahead.map_or((u64::MAX, 0), |(fd, n)| (u64::from(fd), n as u64));
        put(AHEAD, &fd.to_le_bytes());
        put(AHEAD + 16, &n.to_le_bytes());
        for number in 0..TABLE_LEN {
            put(TABLE + number as u64, &[u8::from(allowed & 1 << number != 0)]);
        }
    }

    /// Gives a replica that is about to be answered what was drawn up for entry `seq`.
    pub(super) fn write_inside(&self, t: usize, pid: u32, e: &Entry) {
        if e.ahead_len > 0 {
            let bytes = &*self.arena.region.bytes(e.ahead_at as usize, e.ahead_len as usize);
            let _ = memory::write(pid, DATA + BUFFER, bytes);
        }
        // One that is not armed has no room for it, and needs none.
        let _ = memory::write(pid, DATA, self.arena.inside_head(t, e.seq));
    }

    /// A fork is about to copy or share the memory of the replicas at the head: their rings, which
    /// have been carried out, are emptied first; in memory that two will share, the path is closed.
    pub(super) fn empty_rings(&mut self, t: usize, shares: bool, thread: bool) {
        let head = self.arena.task(t).head;
        if !self.is_armed(t, head) {
            return;
        }
        let i = &mut self.arena.task(t).inside;
        if shares {
            (i.fast, i.stale) = (0, 1);
        }
        i.off |= u32::from(thread);
        i.ahead_fd = 0;
        let off = i.off;
        i.off |= u32::from(shares);
        self.draw_head(t, head, None);
        self.arena.task(t).inside.off = off;
        let task = self.arena.task(t);
        for r in &task.replicas[..task.n as usize] {
            if r.state == rstate::PARKED && r.seq == head {
                let _ = memory::write(r.pid, DATA, self.arena.inside_head(t, head));
            }
        }
        if thread {
            // What two threads would write into one ring at once nobody could tell apart.
            self.arena.task(t).inside.armed = 0;
            self.arena.entry(t, head).inside = 1; // for one that makes the thread again
        }
    }

    /// The path inside of a new process, whose memory is a copy of its parent's or shared with it.
    pub(super) fn inside_of_child(parent: &Inside, shares: bool) -> Inside {
        if shares {
            return Inside { off: 1, ..bytemuck::Zeroable::zeroed() };
        }
        Inside { from: 0, progress: 0, skip: 0, ahead_fd: 0, ..*parent }
    }
}

const _: () = assert!(HEAD_LEN as u64 == TABLE + TABLE_LEN as u64 && inside::SAVED < TABLE);
