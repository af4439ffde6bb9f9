//! Going ahead: the first replica is answered where the result is certain, and what its ring and its
//! call write waits in the entry until K ballots have confirmed it.
//!
//! Invariant: entries are confirmed in their order, and no call that could see the files is decided
//! before all earlier ones have been carried out, because the K replicas that decide it have passed
//! them.

use chameleon_sys::inside::TABLE_LEN;
use chameleon_sys::raw;

use super::ring::{Record, has_writes, record};
use crate::arena::{CHUNK, Entry, commit};
use crate::dispatcher::Dispatcher;
use crate::dispatcher::work::is_placeless;

impl Dispatcher {
    /// Whether the first ballot is enough to answer the call at the head: it has no effect outside
    /// and does not see what earlier calls have left to be done, or its effect can wait, as that of
    /// its ring, until K ballots have confirmed it.
    pub(in crate::dispatcher) fn may_go_ahead(&mut self, t: usize, e: &Entry) -> bool {
        let task = self.arena.task(t);
        let i = &task.inside;
        if task.group != 0 {
            return false; // what others did after it could not be taken back
        }
        if e.ring != 0 && i.progress != 0 {
            return false; // a part of its ring has been carried out while it ran
        }
        let waits = e.ring != 0 || i.pending != 0;
        match i64::from(e.nr) {
            libc::SYS_write => self.is_certain_write(t, e),
            _ if !waits => self.is_free(t, e),
            libc::SYS_read => {
                self.is_free_read(t, e) && !self.is_written(t, e.args[0] as i32).unwrap_or(true)
            }
            _ => is_placeless(e.nr),
        }
    }

    /// Whether a write will return its length, so that it may be carried out later.
    fn is_certain_write(&self, t: usize, e: &Entry) -> bool {
        let i = &self.arena.task(t).inside;
        let fast = if i.full == 0 { i.fast } else { 0 };
        let number = e.args[0] as u32 as usize;
        let taken = self.arena.pieces(e.ins_at, e.ins).iter().find(|p| p.arg == 1);
        self.is_armed(t, e.seq)
            && number < TABLE_LEN
            && fast & 1 << number != 0
            && e.fault == 0
            && e.args[2] > 0
            && e.args[2] <= CHUNK as u64
            && taken.is_some_and(|p| u64::from(p.len) == e.args[2])
    }

    /// The call at the head is answered before K ballots are in: what its ring has read moves
    /// positions now, what it writes and the call itself writes waits.
    pub(in crate::dispatcher) fn go_ahead(&mut self, t: usize) -> bool {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let writes = i64::from(e.nr) == libc::SYS_write;
        if e.ring == 0 && !writes {
            return true;
        }
        let ring = self.ring_of(&e);
        self.note_consumed(t, ring);
        self.move_position(t, head, ring);
        if writes || has_writes(ring) {
            let i = &mut self.arena.task(t).inside;
            self.arena.entry(t, head).pending = 1;
            commit();
            if i.pending == 0 {
                i.pending = head + 1;
            }
            commit();
        }
        true
    }

    /// After a takeover: the predecessor was about to go ahead with the call at the head, which is decided
    /// anew. There may be K ballots by now, so that nothing of it waits.
    pub(super) fn undecide_ahead(&mut self, t: usize) {
        let head = self.arena.task(t).head;
        let e = self.arena.entry(t, head);
        if e.open == 0 || e.seq != head || e.pending == 0 {
            return;
        }
        let i = &mut self.arena.task(t).inside;
        if i.pending == head + 1 {
            i.pending = 0;
        }
        commit();
        e.pending = 0;
        commit();
    }

    /// Moves the position of the file that the ring of entry `seq` has read of, which is one at
    /// most; where it was is kept.
    fn move_position(&mut self, t: usize, seq: u64, ring: &[u8]) {
        let (mut at, mut fd, mut len) = (0, -1, 0);
        while let Some(r) = record(&ring[at..]) {
            if !r.writes {
                fd = r.fd;
                len += r.len;
            }
            at += r.size;
        }
        let Some(c) = self.quick_copy(t, fd).filter(|c| c.fd >= 0 && len > 0) else { return };
        let e = self.arena.entry(t, seq);
        if e.moved_fd == 0 {
            e.moved_at = raw::lseek(c.fd as u64, 0, libc::SEEK_CUR as u64).max(0) as u64;
            commit();
            e.moved_fd = fd as u32 + 1;
            commit();
        }
        raw::lseek(c.fd as u64, e.moved_at + len, libc::SEEK_SET as u64);
    }

    /// Puts the position back that the ring of entry `seq` has moved.
    pub(in crate::dispatcher) fn undo_moved(&mut self, t: usize, seq: u64) {
        let e = *self.arena.entry(t, seq);
        if let Some(fd) = e.moved_fd.checked_sub(1)
            && let Some(c) = self.quick_copy(t, fd as i32).filter(|c| c.fd >= 0)
        {
            raw::lseek(c.fd as u64, e.moved_at, libc::SEEK_SET as u64);
        }
        self.arena.entry(t, seq).moved_fd = 0;
    }

    /// Everything from entry `seq` on was only believed.
    pub(in crate::dispatcher) fn forget_pending(&mut self, t: usize, seq: u64) {
        let i = &mut self.arena.task(t).inside;
        if i.pending > seq {
            (i.pending, i.progress) = (0, 0);
        }
        // What the replicas that are left were given with earlier answers is not known here.
        i.stale = 1;
    }

    /// Carries out what calls have written that were answered before K ballots were in, as far as
    /// they are now, in their order. False if that failed: then the run ends.
    pub(in crate::dispatcher) fn flush_confirmed(&mut self, t: usize) -> bool {
        while let Some(seq) = self.arena.task(t).inside.pending.checked_sub(1) {
            let e = *self.arena.entry(t, seq);
            if e.pending != 0 {
                if e.votes.count_ones() < u32::from(self.votes_of(t).k) {
                    return true;
                }
                if let Err(errno) = self.carry_out_pending(t, &e) {
                    self.undelivered(t, errno);
                    return false;
                }
                let e = self.arena.entry(t, seq);
                (e.ring_done, e.pending) = (1, 0);
                commit();
            }
            let head = self.arena.task(t).head;
            let next = (seq + 1..=head).find(|s| {
                let e = self.arena.entry(t, *s);
                e.open != 0 && e.seq == *s && e.pending != 0
            });
            let i = &mut self.arena.task(t).inside;
            i.progress = 0;
            commit();
            i.pending = next.map_or(0, |s| s + 1);
            commit();
        }
        true
    }

    fn carry_out_pending(&mut self, t: usize, e: &Entry) -> Result<(), i32> {
        let ring = self.ring_of(e);
        self.carry_out_ring(t, ring, false)?;
        let piece = self.arena.pieces(e.ins_at, e.ins).iter().find(|p| p.arg == 1);
        if let Some(p) = piece.filter(|_| i64::from(e.nr) == libc::SYS_write)
            && self.arena.task(t).inside.done() <= ring.len()
        {
            let bytes = &*self.arena.region.bytes(p.offset(), p.len as usize);
            let fd = e.args[0] as i32;
            // Behind the ring, as if it were its last record.
            let own = Record { writes: true, fd, len: bytes.len() as u64, bytes, size: 8 };
            self.carry_out_record(t, ring.len(), &own)?;
        }
        Ok(())
    }
}
