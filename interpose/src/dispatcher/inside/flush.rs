//! Carrying out what the rings hold: with the ballot they came with, while their replicas run, and
//! when those have crashed.
//!
//! Invariant: a record is carried out once, whoever is in charge: `progress` is written before and
//! after, in one word.

use chameleon_sys::inside::{DATA, RING, RING_LEN, USED};
use chameleon_sys::{fd, memory, raw};

use super::ring::{Record, record, whole_records};
use super::{BYTES, RING_ARG};
use crate::arena::{Entry, Inside, Piece, commit, is_live, phase, rstate};
use crate::ballot::Trouble;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::quick::{Copy, Kind};

impl Dispatcher {
    /// Adds the ring of a replica to its ballot; how many bytes it holds. An error is that of a
    /// replica that cannot be read, or of a data ring that is full.
    pub(in crate::dispatcher) fn gather_ring(
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
    pub(in crate::dispatcher) fn flush_ring(&mut self, t: usize) -> bool {
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
    pub(in crate::dispatcher) fn ring_of(&self, e: &Entry) -> &'static [u8] {
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        match pieces.iter().find(|p| p.arg == RING_ARG && p.sub == BYTES) {
            Some(p) => self.arena.region.bytes(p.offset(), p.len as usize),
            None => &[],
        }
    }

    /// Carries out the records of a ring from where `progress` stands; its reads only `with_reads`.
    pub(super) fn carry_out_ring(
        &mut self,
        t: usize,
        ring: &[u8],
        with_reads: bool,
    ) -> Result<(), i32> {
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

    pub(super) fn carry_out_record(
        &mut self,
        t: usize,
        done: usize,
        r: &Record<'_>,
    ) -> Result<(), i32> {
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
    pub(in crate::dispatcher) fn settle_inside(&mut self, t: usize) {
        let head = self.arena.task(t).head;
        let i = self.arena.task(t).inside;
        if i.armed != 0 && i.from > head {
            self.arena.task(t).inside.armed = 0; // the call that was to arm it is begun again
        }
        if self.arena.task(t).phase == phase::COLLECT {
            self.undecide_ahead(t);
        }
        let i = self.arena.task(t).inside;
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
    pub(in crate::dispatcher) fn undelivered(&mut self, t: usize, errno: i32) {
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
    pub(in crate::dispatcher) fn flush_running(&mut self, t: usize) {
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
    pub(in crate::dispatcher) fn flush_crashed(&mut self, t: usize, signal: u32) {
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
        let k = usize::from(self.votes_of(t).k);
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
}
