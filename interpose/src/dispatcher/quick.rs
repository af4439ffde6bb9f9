//! The quick way: reading, writing and asking of regular files and /dev/null through duplicates of
//! the application's descriptors, without waking its executor.
//!
//! A duplicate shares the open file, so position and flags are the application's own. Only files
//! that never make the caller wait for somebody else are done here; pipes, sockets and terminals
//! are the executor's.
//!
//! Invariant: a duplicate is dropped before the application's descriptor is closed or replaced.
//! The position before a call is in its entry, so that a successor can tell whether the call was
//! performed (read and write of one file move its position by what they did).

use std::collections::HashMap;

use chameleon_sys::{executor, fd, raw};

use super::Dispatcher;
use super::own_status::About;
use super::work::{Outcome, process_steps};
use crate::arena::{CHUNK, Entry, commit, phase, rstate};
use crate::outside::op;
use crate::table::row::Row;

/// A duplicate and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) fd: i32,
    pub(super) kind: Kind,
    /// Device and inode.
    pub(super) file: [u64; 2],
    /// A file of the program's own in /proc, whose text is drawn up here.
    about: Option<About>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file; whether it is opened for appending.
    Regular { append: bool },
    /// /dev/null or /dev/zero: nothing to settle.
    Sink,
    /// Anything else: the executor's.
    Other,
}

/// Step of a call that is performed here and whose outcome a successor must settle.
const HERE: u32 = 50;

/// The duplicates, a cache.
#[derive(Debug)]
pub(super) struct Quick {
    copies: HashMap<(u32, i32), Copy>,
    /// Texts of own files in /proc that reads go on with.
    pub(super) texts: HashMap<(u32, i32), Vec<u8>>,
    /// False once the program has limited its file size: the kernel must see the program's limit.
    pub(super) trust_writes: bool,
}

impl Quick {
    pub(super) fn new() -> Self {
        Self {
            copies: HashMap::with_capacity(256),
            texts: HashMap::new(),
            trust_writes: !raw::file_size_is_limited(),
        }
    }

    /// Drops the duplicate of one descriptor.
    pub(super) fn forget(&mut self, table: u32, number: i32) {
        self.texts.remove(&(table, number));
        if let Some(c) = self.copies.remove(&(table, number))
            && c.fd >= 0
        {
            fd::close(c.fd);
        }
    }

    /// Drops all duplicates of a descriptor table.
    pub(super) fn forget_table(&mut self, table: u32) {
        self.texts.retain(|(t, _), _| *t != table);
        self.copies.retain(|(t, _), c| {
            if *t == table && c.fd >= 0 {
                fd::close(c.fd);
            }
            *t != table
        });
    }
}

fn kind_of(k: &fd::Kind) -> Kind {
    let device = (k.rdev >> 8 & 0xfff, k.rdev & 0xff);
    if k.flags & libc::O_DIRECT != 0 || k.flags & libc::O_PATH != 0 {
        return Kind::Other;
    }
    match k.format {
        libc::S_IFREG => Kind::Regular { append: k.flags & libc::O_APPEND != 0 },
        libc::S_IFCHR if matches!(device, (1, 3) | (1, 5)) => Kind::Sink,
        _ => Kind::Other,
    }
}

impl Dispatcher {
    pub(super) fn quick_copy(&mut self, t: usize, number: i32) -> Option<Copy> {
        let key = (self.arena.task(t).table, number);
        if let Some(c) = self.quick.copies.get(&key) {
            return Some(*c);
        }
        let copy = self.copy_of(t, number)?;
        let found = fd::kind(copy).ok();
        let kind = found.as_ref().map_or(Kind::Other, kind_of);
        let file = found.map_or([0; 2], |k| k.file);
        let mut c = Copy { fd: copy, kind, file, about: None };
        if matches!(c.kind, Kind::Regular { .. }) {
            c.about = self.about_own(copy);
        }
        if c.kind == Kind::Other {
            // Held, it would keep a pipe or a socket open.
            fd::close(copy);
            c.fd = -1;
        }
        self.quick.copies.insert(key, c);
        Some(c)
    }

    /// Calls that may change what a cached duplicate is taken for.
    pub(super) fn forget_copies(&mut self, t: usize) {
        let task = self.arena.task(t);
        let (e, table) = (*self.arena.entry(t, task.head), task.table);
        match i64::from(e.nr) {
            libc::SYS_fcntl if e.args[1] as i32 == libc::F_SETFL => {
                self.quick.forget(table, e.args[0] as i32);
            }
            libc::SYS_ioctl => self.quick.forget(table, e.args[0] as i32),
            // A number that was free until now may have been looked up before.
            libc::SYS_open
            | libc::SYS_openat
            | libc::SYS_openat2
            | libc::SYS_creat
            | libc::SYS_dup
            | libc::SYS_pipe
            | libc::SYS_pipe2
            | libc::SYS_recvmsg
            | libc::SYS_accept
            | libc::SYS_accept4
            | libc::SYS_socket
            | libc::SYS_fcntl => self.quick.copies.retain(|(t, _), c| *t != table || c.fd >= 0),
            _ => {}
        }
    }

    /// fstat(2) on a duplicate; `None` where the executor must do the call.
    pub(super) fn performed_on_copy(&mut self, t: usize, r: &'static Row) -> Option<Outcome> {
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        if task.step != 0 || i64::from(e.nr) != libc::SYS_fstat {
            return None;
        }
        let c = self.quick_copy(t, e.args[0] as i32).filter(|c| c.fd >= 0)?;
        let mut args = self.marshal(t).request(r)?;
        args[0] = c.fd as u64;
        let at = self.fill(t, op::PERFORM, args);
        self.arena.task(t).step = process_steps::ANSWERED_HERE;
        Some(Outcome::Value(executor::perform_here(self.arena.region, at)))
    }

    /// Whether a read moves nothing but a file's position, so that the first ballot may have it.
    pub(super) fn is_free_read(&mut self, t: usize, e: &Entry) -> bool {
        let read = matches!(i64::from(e.nr), libc::SYS_read | libc::SYS_pread64);
        read && e.args[2] <= CHUNK as u64
            && self
                .quick_copy(t, e.args[0] as i32)
                .is_some_and(|c| matches!(c.kind, Kind::Regular { .. }))
    }

    /// Whether a read or write is carried piece by piece: a long one of a file, straight between
    /// it and the replicas, or a write of more than the long area is for.
    pub(super) fn goes_in_pieces(&mut self, t: usize, nr: u32, args: &[u64; 6]) -> bool {
        let writes = matches!(i64::from(nr), libc::SYS_write | libc::SYS_pwrite64);
        let reads = matches!(i64::from(nr), libc::SYS_read | libc::SYS_pread64);
        if !(writes || reads) || args[2] <= CHUNK as u64 {
            return false;
        }
        if self.settings.checkpoints.is_some() && args[2] <= self.arena.most() as u64 {
            return false; // what went straight to a replica could not be given again
        }
        let quick = (self.quick.trust_writes || reads)
            && self.quick_copy(t, args[0] as i32).is_some_and(|c| c.kind != Kind::Other);
        quick || writes && args[2] > self.arena.most() as u64
    }

    /// read(2), write(2), pread64(2), pwrite64(2).
    pub(super) fn read_write(&mut self, t: usize, r: &'static Row) -> Outcome {
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        let writes = matches!(i64::from(e.nr), libc::SYS_write | libc::SYS_pwrite64);
        if writes && e.pending != 0 {
            return Outcome::Value(e.args[2] as i64); // carried out when it is confirmed
        }
        if task.step == 0 && (self.quick.trust_writes || !writes) && e.long == 0 {
            let here = self
                .quick_copy(t, e.args[0] as i32)
                .filter(|c| c.fd >= 0 && (c.kind != Kind::Other));
            if let Some(c) = here {
                if e.args[2] > CHUNK as u64 && c.about.is_none() {
                    self.note_position(t, &e, c);
                    self.arena.task(t).step = process_steps::IN_PIECES;
                    return Outcome::Value(self.in_pieces(t, &e, c.fd, 0));
                }
                return self.read_write_here(t, r, &e, c);
            }
        }
        if task.step == process_steps::APPENDING {
            let done = task.kept;
            let here = self.quick_copy(t, e.args[0] as i32).filter(|c| c.fd >= 0);
            return Outcome::Value(here.map_or(done as i64, |c| self.in_pieces(t, &e, c.fd, done)));
        }
        if writes && e.args[2] > CHUNK as u64 && e.long == 0 && e.fault == 0 {
            return self.long_write(t, r, &e);
        }
        self.performed(t, r)
    }

    /// A write to a pipe, a socket or a terminal of more than the long area is for: all replicas
    /// stand there, and the executor writes piece after piece, each compared before; `kept` is how much has been written.
    fn long_write(&mut self, t: usize, r: &'static Row, e: &Entry) -> Outcome {
        let total = e.args[2].min(0x7fff_f000);
        let mut done = 0;
        if self.arena.task(t).step != 0 {
            let Some(ret) = self.taken(t) else { return Outcome::Wait };
            done = self.arena.task(t).kept;
            if ret <= 0 {
                let ret = if done > 0 { done as i64 } else { ret };
                return self.judge(t, r, ret);
            }
            done += ret as u64;
            if done >= total || ret < CHUNK as i64 {
                return self.judge(t, r, done as i64);
            }
        }
        let n = (total - done).min(CHUNK as u64) as usize;
        let place = match self.arena.task(t).step {
            0 => match self.arena.take_data(t, CHUNK) {
                Some(p) => p,
                None => return Outcome::Value(-i64::from(libc::ENOMEM)),
            },
            _ => {
                let at = self.arena.slot(t) + executor::slot::ARGS;
                let args = *self.arena.region.record::<[u64; 6]>(at);
                self.arena.region.offset_of(args[1]).unwrap_or_default()
            }
        };
        let buf = self.arena.region.bytes(place, n);
        if !self.agree_on(t, e.args[1] + done, buf) {
            let errno = -i64::from(libc::EFAULT);
            return Outcome::Value(if done > 0 { done as i64 } else { errno });
        }
        let offset = e.args[3] + done;
        let args =
            [e.args[0], self.arena.region.address(place), n as u64, offset, e.args[4], e.args[5]];
        self.draft(t);
        self.arena.task(t).kept = done;
        self.request_then(t, op::PERFORM, args, 1);
        Outcome::Wait
    }

    /// readv(2) of a file that is drawn up here; `None` where the executor must do the call.
    pub(super) fn vector_read_here(&mut self, t: usize, r: &'static Row) -> Option<Outcome> {
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        if task.step != 0 || i64::from(e.nr) != libc::SYS_readv {
            return None;
        }
        let c = self.quick_copy(t, e.args[0] as i32).filter(|c| c.about.is_some())?;
        Some(self.read_write_here(t, r, &e, c))
    }

    /// Keeps the position before a call, by which a successor tells how much of it was done.
    fn note_position(&mut self, t: usize, e: &Entry, c: Copy) {
        let moves = [libc::SYS_read, libc::SYS_write, libc::SYS_readv];
        let by_position = moves.contains(&i64::from(e.nr));
        if let (true, Kind::Regular { append }) = (by_position, c.kind) {
            // For appending, only the size says it.
            let before = if append && i64::from(e.nr) == libc::SYS_write {
                fd::size(c.fd).unwrap_or(0)
            } else {
                raw::lseek(c.fd as u64, 0, libc::SEEK_CUR as u64).max(0) as u64
            };
            let head = self.arena.task(t).head;
            self.arena.entry(t, head).position = before;
        }
        commit();
    }

    fn read_write_here(&mut self, t: usize, r: &'static Row, e: &Entry, c: Copy) -> Outcome {
        let Some(mut args) = self.marshal(t).request(r) else {
            return if self.arena.task(t).tail < self.arena.task(t).head {
                self.behind = true;
                Outcome::Wait
            } else {
                Outcome::Value(-i64::from(libc::ENOMEM))
            };
        };
        args[0] = c.fd as u64;
        let at = self.fill(t, op::PERFORM, args);
        self.note_position(t, e, c);
        self.arena.task(t).step = HERE;
        commit();
        self.note_hot(t);
        let reads = [libc::SYS_read, libc::SYS_pread64, libc::SYS_readv].contains(&i64::from(e.nr));
        Outcome::Value(match c.about {
            Some(about) if reads => self.read_own(t, e, c.fd, about),
            _ => executor::perform_here(self.arena.region, at),
        })
    }

    /// After a takeover: a call that the predecessor was performing itself is begun again from the
    /// position where it began; of an append, which cannot be, what is missing is added.
    pub(super) fn settle_quick(&mut self, t: usize) {
        let task = self.arena.task(t);
        let begun = matches!(task.step, HERE | process_steps::IN_PIECES | process_steps::APPENDING);
        if task.step == process_steps::ANSWERED_HERE {
            task.step = 0;
        }
        if task.used != 2 || task.phase == phase::COLLECT || !begun {
            return;
        }
        let e = *self.arena.entry(t, task.head);
        let write = i64::from(e.nr) == libc::SYS_write;
        let read = matches!(i64::from(e.nr), libc::SYS_read | libc::SYS_readv);
        let mut step = 0;
        if let Some(Copy { fd, kind: Kind::Regular { append }, .. }) =
            self.quick_copy(t, e.args[0] as i32)
        {
            if write && append {
                let done = fd::size(fd).unwrap_or(0).saturating_sub(e.position).min(e.args[2]);
                self.arena.task(t).kept = done;
                step = if done > 0 { process_steps::APPENDING } else { 0 };
            } else if read || write {
                raw::lseek(fd as u64, e.position, libc::SEEK_SET as u64);
            }
        }
        self.arena.task(t).step = step;
    }

    /// Puts positions back that reads from entry `seq` on have moved, because those were believed
    /// of a replica that turned out wrong.
    pub(super) fn undo_positions(&mut self, t: usize, seq: u64) {
        let head = self.arena.task(t).head;
        for s in (seq..head).rev() {
            self.undo_read(t, s);
            self.undo_moved(t, s);
        }
    }

    /// Puts the position back that the read at entry `seq` has moved, if it is one.
    fn undo_read(&mut self, t: usize, seq: u64) {
        let e = *self.arena.entry(t, seq);
        if i64::from(e.nr) == libc::SYS_read
            && e.ret > 0
            && let Some(c) = self.quick_copy(t, e.args[0] as i32)
            && matches!(c.kind, Kind::Regular { .. })
        {
            raw::lseek(c.fd as u64, e.position, libc::SEEK_SET as u64);
        }
    }

    /// What a read of a file brought cannot be written where the program wants it: the call has
    /// failed for all replicas, and the position is what it was.
    pub(super) fn not_taken(&mut self, t: usize, seq: u64) {
        let e = *self.arena.entry(t, seq);
        let first = e.ret > 0 && seq + 1 == self.arena.task(t).head;
        if first && i64::from(e.nr) == libc::SYS_read {
            self.undo_read(t, seq);
            let e = self.arena.entry(t, seq);
            (e.ret, e.outs) = (-i64::from(libc::EFAULT), 0);
        }
    }

    /// A long read or write of a file: all replicas stand there, and it is carried piece by piece;
    /// what goes out is compared before each piece is written.
    fn in_pieces(&mut self, t: usize, e: &Entry, file: i32, from: u64) -> i64 {
        let writes = matches!(i64::from(e.nr), libc::SYS_write | libc::SYS_pwrite64);
        let placed = matches!(i64::from(e.nr), libc::SYS_pread64 | libc::SYS_pwrite64);
        let Some(at) = self.arena.take_data(t, CHUNK) else { return -i64::from(libc::ENOMEM) };
        let total = e.args[2].min(0x7fff_f000); // the kernel's own limit, read(2)
        let mut done = from;
        while done < total {
            self.beat(true);
            let n = (total - done).min(CHUNK as u64) as usize;
            let addr = e.args[1] + done;
            let buf = self.arena.region.bytes(at, n);
            if writes && !self.agree_on(t, addr, buf) {
                return if done > 0 { done as i64 } else { -i64::from(libc::EFAULT) };
            }
            let offset = placed.then(|| e.args[3] + done);
            let ret = if writes {
                fd::write_at(file, buf, offset)
            } else {
                fd::read_at(file, buf, offset)
            };
            if ret <= 0 {
                return if done > 0 { done as i64 } else { ret as i64 };
            }
            if !writes && !self.hand_out(t, addr, &buf[..ret as usize]) {
                return -i64::from(libc::EFAULT);
            }
            done += ret as u64;
            if (ret as usize) < n {
                break;
            }
        }
        done as i64
    }

    /// Fills `buf` from the replicas at the head and takes out those whose bytes differ.
    fn agree_on(&mut self, t: usize, addr: u64, buf: &mut [u8]) -> bool {
        let n = self.arena.task(t).n as usize;
        let head = self.arena.task(t).head;
        let here: Vec<usize> = (0..n)
            .filter(|r| {
                let x = &self.arena.task(t).replicas[*r];
                x.state == rstate::PARKED && x.seq == head
            })
            .collect();
        let k = self.votes_of(t).k as usize;
        for &candidate in &here {
            let pid = self.arena.task(t).replicas[candidate].pid;
            if chameleon_sys::memory::read(pid, addr, buf).is_err() {
                continue;
            }
            let (mut same, mut others) = (Vec::new(), Vec::new());
            for &r in &here {
                let pid = self.arena.task(t).replicas[r].pid;
                if same_bytes(pid, addr, buf, &mut self.scratch) {
                    same.push(r)
                } else {
                    others.push(r)
                }
            }
            if same.len() >= k || self.votes_of(t).first {
                for r in others {
                    self.report_far_difference(t, r, addr, buf, same.len() as u8);
                    self.lose(t, r, chameleon_proto::event::Reason::Divergence);
                }
                return true;
            }
        }
        if !here.is_empty() && here.len() >= k {
            self.majority_lost(t, 1);
        }
        false
    }

    fn hand_out(&mut self, t: usize, addr: u64, bytes: &[u8]) -> bool {
        let task = self.arena.task(t);
        let mut all = true;
        for r in &task.replicas[..task.n as usize] {
            if r.state == rstate::PARKED && r.seq == task.head {
                all &= chameleon_sys::memory::write(r.pid, addr, bytes).is_ok()
                    || !chameleon_sys::notify::is_waiting(r.listener as i32, r.id);
            }
        }
        all
    }
}

fn same_bytes(pid: u32, addr: u64, bytes: &[u8], scratch: &mut [u8]) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let n = (bytes.len() - done).min(scratch.len());
        if chameleon_sys::memory::read(pid, addr + done as u64, &mut scratch[..n]).is_err()
            || scratch[..n] != bytes[done..done + n]
        {
            return false;
        }
        done += n;
    }
    true
}
