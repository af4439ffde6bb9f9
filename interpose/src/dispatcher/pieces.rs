//! Long writes to pipes and sockets of one machine, where images are written: in pieces of which the
//! kernel takes each wholly or not at all (pipe(7), PIPE_BUF), so that it is known at any moment how much
//! of a write that waits has been written.
//!
//! Invariant: the program sees one write; what was written before the image that it goes on from is not
//! written again.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::{NOT_STARTED, slot};
use chameleon_sys::{describe, fd};

use super::Dispatcher;
use super::work::Outcome;
use crate::outside::op;
use crate::table::row::Row;

impl Dispatcher {
    /// Whether the call at the head, of which nothing has been done, is such a write.
    pub(super) fn writes_in_pieces(&mut self, t: usize) -> bool {
        if self.durable.is_none() {
            return false;
        }
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        let len = match i64::from(e.nr) {
            libc::SYS_write | libc::SYS_sendto => e.args[2],
            libc::SYS_writev => {
                let pieces = self.arena.pieces(e.ins_at, e.ins);
                pieces.iter().map(|piece| u64::from(piece.len)).sum()
            }
            _ => return false,
        };
        let written = if task.head == 0 { std::mem::take(&mut task.written) } else { 0 };
        if len <= libc::PIPE_BUF as u64 || !self.is_taken_piecewise(t, e.args[0] as i32) {
            return false;
        }
        let at = self.arena.slot(t) + slot::WRITTEN;
        self.arena.region.atomic_u64(at).store(written, Ordering::Relaxed);
        true
    }

    fn is_taken_piecewise(&mut self, t: usize, number: i32) -> bool {
        let Some(copy) = self.copy_of(t, number) else { return false };
        let found = match fd::kind(copy).map(|kind| kind.format) {
            Ok(libc::S_IFIFO) => true,
            Ok(libc::S_IFSOCK) => {
                let is = |name, value| describe::socket_number(copy, name) == Some(value);
                is(libc::SO_DOMAIN, libc::AF_UNIX) && is(libc::SO_TYPE, libc::SOCK_STREAM)
            }
            _ => false,
        };
        fd::close(copy);
        found
    }

    /// How much the executor has written of a write that it makes in pieces.
    pub(super) fn pieces_written(&self, t: usize) -> u64 {
        let (at, region) = (self.arena.slot(t), self.arena.region);
        match region.atomic_u32(at + slot::OP).load(Ordering::Relaxed) {
            op::PIECES => region.atomic_u64(at + slot::WRITTEN).load(Ordering::Acquire),
            _ => 0,
        }
    }

    /// A piece has come back with `ret` when so much had been written.
    pub(super) fn judge_pieces(
        &mut self,
        t: usize,
        r: &'static Row,
        ret: i64,
        written: u64,
    ) -> Outcome {
        self.take_signals(t);
        if self.arena.task(t).used != 2 {
            return Outcome::Gone;
        }
        let interrupted = ret == NOT_STARTED || ret == -i64::from(libc::EINTR);
        if interrupted && self.deliverable(t).is_none() {
            self.reissue(t); // goes on behind what was written
            return Outcome::Wait;
        }
        self.judge(t, r, written as i64)
    }
}
