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

use chameleon_sys::inside::{
    self, AHEAD, BUFFER, BUFFER_LEN, DATA, ON, RECORD, RING, RING_LEN, TABLE, TABLE_LEN, USED,
};
use chameleon_sys::{fd, memory, raw};

use super::Dispatcher;
use super::quick::{Copy, Kind};
use crate::arena::{CHUNK, Entry, HEAD_LEN, Inside, Piece, commit, how, is_live, phase, rstate};
use crate::ballot::Trouble;

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

/// A record of a ring.
struct Record<'a> {
    writes: bool,
    fd: i32,
    len: u64,
    /// What is written.
    bytes: &'a [u8],
    /// Bytes of the whole record.
    size: usize,
}

/// The record at the start of `ring`, if it is a whole one.
fn record(ring: &[u8]) -> Option<Record<'_>> {
    let head: &[u8; RECORD] = ring.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let len = u64::from(word(16)) | u64::from(word(20)) << 32;
    let writes = word(0) == 1;
    let kept = if writes { usize::try_from(len).ok().filter(|n| *n <= RING_LEN)? } else { 0 };
    let size = RECORD + kept.next_multiple_of(8);
    let whole = word(0) <= 1 && size <= ring.len();
    whole.then(|| Record {
        writes,
        fd: word(4) as i32,
        len,
        bytes: &ring[RECORD..RECORD + kept],
        size,
    })
}

/// Whether a ring writes.
fn has_writes(ring: &[u8]) -> bool {
    let mut at = 0;
    while let Some(r) = record(&ring[at..]) {
        if r.writes {
            return true;
        }
        at += r.size;
    }
    false
}

/// Bytes at the start of `ring` that are whole records and not more than `most`.
fn whole_records(ring: &[u8], most: usize) -> usize {
    let mut at = 0;
    while let Some(r) = record(&ring[at..]).filter(|r| at + r.size <= most) {
        at += r.size;
    }
    at
}

impl Dispatcher {
    /// Whether the replicas of `t` are armed when they stand at call `seq`.
    pub(super) fn is_armed(&self, t: usize, seq: u64) -> bool {
        let i = &self.arena.task(t).inside;
        i.armed != 0 && seq >= i.from
    }

    /// Adds the ring of a replica to its ballot; how many bytes it holds. An error is that of a
    /// replica that cannot be read, or of a data ring that is full.
    pub(super) fn gather_ring(
        &mut self,
        t: usize,
        pid: u32,
        pieces: &mut Vec<Piece>,
    ) -> Result<u32, Trouble> {
        let used: u32 = memory::read_value(pid, DATA + USED).map_err(|_| Trouble::Fault)?;
        let n = (used as usize).min(RING_LEN);
        let at = self.arena.take_data(t, 8).ok_or(Trouble::Full)?;
        *self.arena.region.record::<u32>(at) = used;
        let count =
            Piece { addr: DATA + USED, len: 4, at: at as u64, arg: RING_ARG, sub: 0, spare: 0 };
        pieces.push(count);
        if n > 0 {
            let at = self.arena.take_data(t, n).ok_or(Trouble::Full)?;
            memory::read(pid, DATA + RING, self.arena.region.bytes(at, n))
                .map_err(|_| Trouble::Fault)?;
            let (addr, len) = (DATA + RING, n as u32);
            pieces.push(Piece { addr, len, at: at as u64, arg: RING_ARG, sub: BYTES, spare: 0 });
        }
        Ok(n as u32)
    }

    /// The ring that came with the decided ballot at the head is carried out, before the call
    /// itself. False if that failed: then the run ends.
    pub(super) fn flush_ring(&mut self, t: usize) -> bool {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        if e.ring == 0 {
            return true;
        }
        if e.ring_done == 0 {
            // A predecessor may have gone ahead with it.
            self.undo_moved(t, head);
            let ring = self.ring_of(&e);
            self.note_consumed(t, ring);
            if let Err(errno) = self.carry_out_ring(t, ring, true) {
                self.undelivered(t, errno);
                return false;
            }
            self.arena.entry(t, head).ring_done = 1;
            commit();
        }
        self.arena.task(t).inside.progress = 0;
        true
    }

    /// The ring that came with a ballot.
    fn ring_of(&self, e: &Entry) -> &'static [u8] {
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        match pieces.iter().find(|p| p.arg == RING_ARG && p.sub == BYTES) {
            Some(p) => self.arena.region.bytes(p.offset(), p.len as usize),
            None => &[],
        }
    }

    /// Whether the first ballot is enough to answer the call at the head: it has no effect outside
    /// and does not see what earlier calls have left to be done, or its effect can wait, as that of
    /// its ring, until K ballots have confirmed it.
    pub(super) fn may_go_ahead(&mut self, t: usize, e: &Entry) -> bool {
        let i = &self.arena.task(t).inside;
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
            _ => super::work::is_placeless(e.nr),
        }
    }

    /// Whether a write will return its length, so that it may be carried out later.
    fn is_certain_write(&self, t: usize, e: &Entry) -> bool {
        let fast = self.arena.task(t).inside.fast;
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
    pub(super) fn go_ahead(&mut self, t: usize) -> bool {
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
    pub(super) fn undo_moved(&mut self, t: usize, seq: u64) {
        let e = *self.arena.entry(t, seq);
        if let Some(fd) = e.moved_fd.checked_sub(1)
            && let Some(c) = self.quick_copy(t, fd as i32).filter(|c| c.fd >= 0)
        {
            raw::lseek(c.fd as u64, e.moved_at, libc::SEEK_SET as u64);
        }
        self.arena.entry(t, seq).moved_fd = 0;
    }

    /// Everything from entry `seq` on was only believed.
    pub(super) fn forget_pending(&mut self, t: usize, seq: u64) {
        let i = &mut self.arena.task(t).inside;
        if i.pending > seq {
            (i.pending, i.progress) = (0, 0);
        }
        // What the replicas that are left were given with earlier answers is not known here.
        i.stale = 1;
    }

    /// Carries out what calls have written that were answered before K ballots were in, as far as
    /// they are now, in their order. False if that failed: then the run ends.
    pub(super) fn flush_confirmed(&mut self, t: usize) -> bool {
        while let Some(seq) = self.arena.task(t).inside.pending.checked_sub(1) {
            let e = *self.arena.entry(t, seq);
            if e.pending != 0 {
                if e.votes.count_ones() < u32::from(self.settings.mode.k) {
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

    /// Carries out the records of a ring from where `progress` stands; its reads only `with_reads`.
    fn carry_out_ring(&mut self, t: usize, ring: &[u8], with_reads: bool) -> Result<(), i32> {
        loop {
            let done = self.arena.task(t).inside.done();
            let Some(r) = ring.get(done..).and_then(record) else { return Ok(()) };
            if r.writes || with_reads {
                self.carry_out_record(t, done, &r)?;
            } else {
                self.arena.task(t).inside.progress = Inside::at(done + r.size);
            }
        }
    }

    fn carry_out_record(&mut self, t: usize, done: usize, r: &Record<'_>) -> Result<(), i32> {
        let copy = self.quick_copy(t, r.fd).filter(|c| c.fd >= 0).ok_or(libc::EBADF)?;
        match copy.kind {
            Kind::Regular { append } => self.do_record(t, &copy, r, append && r.writes)?,
            Kind::Sink => {}
            Kind::Other => return Err(libc::EBADF),
        }
        let i = &mut self.arena.task(t).inside;
        i.skip = 0;
        commit();
        i.progress = Inside::at(done + r.size);
        commit();
        Ok(())
    }

    fn do_record(&mut self, t: usize, c: &Copy, r: &Record<'_>, appends: bool) -> Result<(), i32> {
        let i = &mut self.arena.task(t).inside;
        if i.skip == 0 {
            i.doing_at = match appends {
                true => fd::size(c.fd).unwrap_or(0),
                false => raw::lseek(c.fd as u64, 0, libc::SEEK_CUR as u64).max(0) as u64,
            };
        }
        (i.doing_fd, i.doing_len) = (r.fd, r.len);
        commit();
        i.progress |= if appends { Inside::APPENDS } else { Inside::DOING };
        commit();
        if !r.writes {
            let moved = raw::lseek(c.fd as u64, r.len, libc::SEEK_CUR as u64);
            return if moved < 0 { Err(-moved as i32) } else { Ok(()) };
        }
        let mut from = (i.skip as usize).min(r.bytes.len());
        while from < r.bytes.len() {
            match fd::write_at(c.fd, &r.bytes[from..], None) {
                0 => return Err(libc::EIO),
                n if n > 0 => from += n as usize,
                n if -n as i32 == libc::EINTR => {}
                n => return Err(-n as i32),
            }
        }
        Ok(())
    }

    /// After a takeover: a record that the predecessor was carrying out is begun again from where
    /// its file was; of an append, what is missing is added.
    pub(super) fn settle_inside(&mut self, t: usize) {
        let head = self.arena.task(t).head;
        let i = self.arena.task(t).inside;
        if i.armed != 0 && i.from > head {
            self.arena.task(t).inside.armed = 0; // the call that was to arm it is begun again
        }
        let doing = i.progress & (Inside::DOING | Inside::APPENDS);
        if doing == 0 {
            return;
        }
        if let Some(c) = self.quick_copy(t, i.doing_fd).filter(|c| c.fd >= 0) {
            if doing == Inside::APPENDS {
                let added = fd::size(c.fd).unwrap_or(0).saturating_sub(i.doing_at);
                self.arena.task(t).inside.skip = added.min(i.doing_len) as u32;
            } else {
                raw::lseek(c.fd as u64, i.doing_at, libc::SEEK_SET as u64);
            }
        }
        commit();
        self.arena.task(t).inside.progress = Inside::at(i.done());
    }

    /// What was put off cannot be carried out: the program has been told that it was, so it must
    /// not go on.
    fn undelivered(&mut self, t: usize, errno: i32) {
        let answer = format!("{:?}", chameleon_sys::Errno::from_raw(errno));
        self.report.say(chameleon_proto::event::Event::Undelivered(
            chameleon_proto::event::Undelivered {
                process: self.arena.task(t).tgid,
                program: self.name(t),
                answer: answer.into(),
            },
        ));
        self.give_up();
    }

    /// Whether the rings of the replicas at the head hold anything that was not carried out.
    fn is_between_flushes(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let e = self.arena.entry(t, task.head);
        let flushed = e.open != 0 && e.seq == task.head && e.ring_done != 0;
        let next = self.is_armed(t, task.head) && task.inside.pending == 0;
        next && task.phase == phase::COLLECT && !flushed
    }

    /// Carries out what the rings of K running replicas begin with alike.
    pub(super) fn flush_running(&mut self, t: usize) {
        if !self.is_between_flushes(t) || self.arena.task(t).inside.fast == 0 {
            return;
        }
        let task = self.arena.task(t);
        let there = |r: &&crate::arena::Replica| {
            is_live(r) && r.seq == task.head && matches!(r.state, rstate::RUNNING | rstate::PARKED)
        };
        let running = task.replicas[..task.n as usize].iter().any(|r| r.state == rstate::RUNNING);
        self.behind |= running && task.used == 2;
        let mut rings = Vec::new();
        for r in task.replicas[..task.n as usize].iter().filter(there) {
            let used: u32 = memory::read_value(r.pid, DATA + USED).unwrap_or(0);
            let mut ring = vec![0; (used as usize).min(RING_LEN)];
            if memory::read(r.pid, DATA + RING, &mut ring).is_ok() {
                rings.push(ring);
            }
        }
        self.flush_alike(t, &rings);
    }

    /// The replicas died by what is the program's own crash: their rings were kept.
    pub(super) fn flush_crashed(&mut self, t: usize, signal: u32) {
        if !self.is_between_flushes(t) {
            return;
        }
        let task = self.arena.task(t);
        let mut rings = Vec::new();
        for r in 0..task.n as usize {
            let x = &task.replicas[r];
            if x.state == rstate::DEAD && x.died_by == signal && x.seq == task.head {
                let n = (self.arena.kept_ring(t, r).used as usize).min(RING_LEN);
                rings.push(self.arena.kept_ring_bytes(t, r, n).to_vec());
            }
        }
        self.flush_alike(t, &rings);
    }

    fn flush_alike(&mut self, t: usize, rings: &[Vec<u8>]) {
        let k = usize::from(self.settings.mode.k);
        let best = rings.iter().map(|base| {
            let mut alike: Vec<usize> = rings
                .iter()
                .map(|other| base.iter().zip(other).take_while(|(a, b)| a == b).count())
                .collect();
            alike.sort_unstable_by(|a, b| b.cmp(a));
            (alike.get(k - 1).copied().unwrap_or(0), base)
        });
        let Some((most, base)) = best.max_by_key(|(n, _)| *n) else { return };
        let whole = whole_records(base, most);
        if whole > self.arena.task(t).inside.done() {
            // A failure shows again at the next trapped call, which then cannot be answered.
            let _ = self.carry_out_ring(t, &base[..whole], true);
        }
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
        i.armed == 0
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
            if quick && how == how::VALUE && signal == 0 && self.is_to_be_armed(t) {
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
        let ahead = if how == how::VALUE { self.read_ahead(t, &e, ret) } else { None };
        let i = &mut self.arena.task(t).inside;
        i.ahead_fd = ahead.map_or(0, |_| e.args[0] as u32 + 1);
        i.ahead_given = ahead.map_or(0, |(_, n)| n as u64);
        let stale = std::mem::take(&mut i.stale) != 0;
        let changed = i.fast != before.fast || i.off != before.off;
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
        let bytes = self.arena.inside_head(t, seq);
        bytes.fill(0);
        let mut put =
            |at: u64, b: &[u8]| bytes[at as usize..at as usize + b.len()].copy_from_slice(b);
        put(ON, &u32::from(i.off == 0).to_le_bytes());
        let (fd, n) = ahead.map_or((u64::MAX, 0), |(fd, n)| (u64::from(fd), n as u64));
        put(AHEAD, &fd.to_le_bytes());
        put(AHEAD + 16, &n.to_le_bytes());
        for number in 0..TABLE_LEN {
            put(TABLE + number as u64, &[u8::from(i.fast & 1 << number != 0)]);
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
        }
    }

    /// The path inside of a new process, whose memory is a copy of its parent's or shared with it.
    pub(super) fn inside_of_child(parent: &Inside, shares: bool) -> Inside {
        if shares {
            return Inside { off: 1, ..bytemuck::Zeroable::zeroed() };
        }
        Inside { from: 0, progress: 0, skip: 0, ahead_fd: 0, ..*parent }
    }

    /// Keeps the set of descriptors whose writes may be put off.
    fn note_descriptors(&mut self, t: usize, e: &Entry, ret: i64, how: u32) {
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
                place.is_local && place.room > ROOM && !synchronous && !mapped.contains(&place.file)
            }
        }
    }

    /// The program maps a file into its memory, through which it sees what it writes to it at once.
    pub(super) fn note_mapping(&mut self, t: usize, copy: i32, flags: i32) {
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

    /// Whether the file behind a descriptor is one that writes may be put off to; `None` if there is
    /// no such file.
    fn is_written(&mut self, t: usize, number: i32) -> Option<bool> {
        let file = fd::place_of(self.quick_copy(t, number).filter(|c| c.fd >= 0)?.fd)?.file;
        let fast = self.arena.task(t).inside.fast;
        Some((0..TABLE_LEN as i32).filter(|n| fast & 1 << n != 0).any(|n| {
            let other = self.quick_copy(t, n).filter(|c| c.fd >= 0);
            other.and_then(|c| fd::place_of(c.fd)).is_none_or(|p| p.file == file)
        }))
    }

    /// How much of what was read ahead the program has taken decides how much it gets next.
    fn note_consumed(&mut self, t: usize, ring: &[u8]) {
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
    fn read_ahead(&mut self, t: usize, e: &Entry, ret: i64) -> Option<(usize, usize)> {
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

/// Where in a ring's record a byte stands: the number of the argument it belongs to, and its offset
/// in what that argument leads to.
pub(super) fn place_in_record(ring: &[u8], at: usize) -> (u8, Option<u64>) {
    let mut from = 0;
    while let Some(r) = record(&ring[from..]) {
        if at < from + r.size {
            return match at - from {
                0..8 => (0, None),
                8..16 => (1, None),
                16..RECORD => (2, None),
                n => (1, Some((n - RECORD) as u64)),
            };
        }
        from += r.size;
    }
    (1, None)
}

const _: () = assert!(HEAD_LEN as u64 == TABLE + TABLE_LEN as u64 && inside::SAVED < TABLE);

#[cfg(test)]
mod tests {
    use super::*;

    fn write(fd: u32, bytes: &[u8]) -> Vec<u8> {
        let mut r = Vec::new();
        r.extend(1u32.to_le_bytes());
        r.extend(fd.to_le_bytes());
        r.extend(0x1000u64.to_le_bytes());
        r.extend((bytes.len() as u64).to_le_bytes());
        r.extend(bytes);
        r.resize(r.len().next_multiple_of(8), 0);
        r
    }

    #[test]
    fn records_are_taken_apart_and_only_whole_ones_count() {
        let mut ring = write(5, b"hello");
        let first = ring.len();
        ring.extend(write(6, b"0123456789"));
        let r = record(&ring).unwrap();
        assert!(r.writes);
        assert_eq!((r.fd, r.bytes, r.size), (5, b"hello".as_slice(), first));
        assert_eq!(whole_records(&ring, ring.len()), ring.len());
        assert_eq!(whole_records(&ring, ring.len() - 1), first);
        assert_eq!(whole_records(&ring, 3), 0);
        assert!(record(&ring[..20]).is_none());
    }

    #[test]
    fn a_byte_is_found_in_its_record() {
        let mut ring = write(5, b"hello");
        let first = ring.len();
        ring.extend(write(6, b"0123456789"));
        assert_eq!(place_in_record(&ring, first + RECORD + 3), (1, Some(3)));
        assert_eq!(place_in_record(&ring, 16), (2, None));
        assert_eq!(place_in_record(&ring, first + 4), (0, None));
    }

    #[test]
    fn what_no_library_writes_is_no_record() {
        let mut ring = write(1, b"x");
        ring[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(record(&ring).is_none());
        ring[0] = 2;
        assert!(record(&ring).is_none());
    }
}
