//! Calls that the replicas execute themselves with a descriptor of the outside: it is lent to them
//! under its own number.
//!
//! Invariant: replicas hold no descriptor but lent ones; a lent one is close-on-exec, is replaced
//! when lent again, and is closed when the program closes its number.

use chameleon_sys::{executor, fd, notify};

use super::Dispatcher;
use super::work::Outcome;
use crate::arena::rstate;
use crate::outside::op;
use crate::table::row::Row;

impl Dispatcher {
    /// Puts the application's descriptor `number` into every replica at the head. Whether the
    /// program has such a descriptor.
    pub(super) fn lend(&mut self, t: usize, number: u32) -> bool {
        let Some(copy) = self.copy_of(t, number as i32) else { return false };
        // The kernel does not lend what was opened with O_PATH (open(2)); the file itself it does.
        let is_path = fd::kind(copy).is_ok_and(|k| k.flags & libc::O_PATH != 0);
        let file = if is_path { fd::reopen_read_only(copy) } else { None };
        self.lend_copy(t, number, file.unwrap_or(copy));
        if let Some(f) = file {
            fd::close(f);
        }
        fd::close(copy);
        true
    }

    fn lend_copy(&mut self, t: usize, number: u32, copy: i32) {
        let task = self.arena.task(t);
        for r in &task.replicas[..task.n as usize] {
            if r.state == rstate::PARKED && r.seq == task.head {
                let _ = notify::lend_fd(r.listener as i32, r.id, copy, number, true);
            }
        }
        self.keep_lent(t, number, copy);
        let leader = self.arena.task(self.arena.task(t).leader as usize);
        if let Some(word) = leader.lent.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// A duplicate of a descriptor of the application; the caller closes it.
    pub(super) fn copy_of(&mut self, t: usize, number: i32) -> Option<i32> {
        let leader = self.arena.task(t).leader as usize;
        self.watch_executor(leader);
        let pidfd = self.pidfds[leader];
        if number < 0
            || pidfd < 0
            || number == chameleon_sys::executor::bell_fd()
            || number == chameleon_sys::executor::lifeline_fd()
        {
            return None;
        }
        fd::take(pidfd, number).ok()
    }

    /// mmap(2) of what is not private and anonymous.
    pub(super) fn map(&mut self, t: usize) -> Outcome {
        let head = self.arena.task(t).head;
        let args = self.arena.entry(t, head).args;
        let (prot, flags, number) = (args[2] as i32, args[3] as i32, args[4] as i32);
        let shared = flags & libc::MAP_SHARED != 0; // also in MAP_SHARED_VALIDATE
        let anonymous = flags & libc::MAP_ANONYMOUS != 0;
        let writes = shared && prot & libc::PROT_WRITE != 0;
        if writes && !anonymous && !self.may_map_writable(t, number) {
            return Outcome::Value(-i64::from(libc::EACCES));
        }
        let many = self.lockstep();
        if many && shared && (writes || anonymous || self.is_shadowed(t, number)) {
            return self.map_shared(t);
        }
        if anonymous {
            return Outcome::Continue;
        }
        let Some(copy) = self.copy_of(t, number) else {
            return Outcome::Value(-i64::from(libc::EBADF));
        };
        self.note_mapping(t, copy, flags);
        // A shared mapping that is only read could be made writable later without a call that is
        // trapped; a descriptor without the right to write keeps the kernel from that.
        // And a checkpoint keeps what it was lent: it must have no part in its locks (flock(2)).
        let own = shared && self.lockstep() || self.settings.checkpoints.is_some();
        let lent = if own { fd::reopen_read_only(copy) } else { None };
        self.lend_copy(t, number as u32, lent.unwrap_or(copy));
        if let Some(l) = lent {
            fd::close(l);
        }
        let code = prot & libc::PROT_EXEC != 0 && !shared && self.lockstep();
        let file = std::fs::File::from(fd::owned(copy));
        if code && self.draws_numbers(&file, args[5], args[1]) {
            return Outcome::Patch;
        }
        Outcome::Continue
    }

    /// Whether random numbers of the processor are drawn in a part of a file.
    fn draws_numbers(&mut self, file: &std::fs::File, offset: u64, len: u64) -> bool {
        let mut sites = std::mem::take(&mut self.sites);
        let found = sites.of_file(file, &mut || self.beat(true));
        self.sites = sites;
        let part = offset..offset.saturating_add(len);
        found.iter().any(|s| part.contains(s))
    }

    /// mmap(2), EACCES: a shared writable mapping needs a descriptor open for reading and writing.
    fn may_map_writable(&mut self, t: usize, number: i32) -> bool {
        let Some(copy) = self.copy_of(t, number) else { return true };
        let flags = fd::kind(copy).map_or(libc::O_RDWR, |k| k.flags);
        fd::close(copy);
        flags & libc::O_ACCMODE == libc::O_RDWR
    }

    /// close(2), close_range(2), dup2(2), dup3(2).
    pub(super) fn closes(&mut self, t: usize, r: &'static Row) -> Outcome {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let table = self.arena.task(t).table;
        let reserved = |n: u64| {
            n as i32 == chameleon_sys::executor::bell_fd()
                || n as i32 == chameleon_sys::executor::lifeline_fd()
        };
        match i64::from(e.nr) {
            libc::SYS_close_range if self.arena.task(t).step == 0 => {
                self.quick.forget_table(table);
                self.descriptor_slots(self.arena.task(t).leader as usize);
                let args = [e.args[0] & 0xffff_ffff, e.args[1] & 0xffff_ffff, e.args[2], 0, 0, 0];
                self.request_then(t, op::CLOSE_RANGE, args, 1);
                return Outcome::Wait;
            }
            libc::SYS_close if reserved(e.args[0]) => {
                return Outcome::Value(-i64::from(libc::EBADF));
            }
            libc::SYS_close => self.quick.forget(table, e.args[0] as i32),
            libc::SYS_dup2 | libc::SYS_dup3 if reserved(e.args[0]) || reserved(e.args[1]) => {
                return Outcome::Value(-i64::from(libc::EBADF));
            }
            libc::SYS_dup2 | libc::SYS_dup3 => self.quick.forget(table, e.args[1] as i32),
            _ => {}
        }
        let outcome = self.performed(t, r);
        let closed = matches!(outcome, Outcome::Value(ret) if ret >= 0);
        if closed && i64::from(e.nr) == libc::SYS_close {
            self.had_descriptor(t, e.args[0] as u32);
        }
        if closed && i64::from(e.nr) == libc::SYS_close && self.take_lent(t, e.args[0] as u32) {
            return Outcome::Continue;
        }
        outcome
    }

    fn take_lent(&mut self, t: usize, number: u32) -> bool {
        let leader = self.arena.task(self.arena.task(t).leader as usize);
        let Some(word) = leader.lent.get_mut(number as usize / 64) else { return false };
        let was = *word & (1 << (number % 64)) != 0;
        *word &= !(1 << (number % 64));
        was
    }

    /// A listing of the program's own descriptors (/proc/self/fd) does not show ours. `n` bytes of
    /// `struct linux_dirent64` have come out (getdents64(2)).
    pub(super) fn hide_own(&mut self, t: usize, n: i64) -> Outcome {
        let at = self.arena.slot(t) + executor::slot::ARGS;
        let args = *self.arena.region.record::<[u64; 6]>(at);
        let Some(place) = self.arena.region.offset_of(args[1]) else { return Outcome::Value(n) };
        let list = self.arena.region.bytes(place, n as usize);
        let own = [executor::bell_fd(), executor::lifeline_fd()].map(|f| f.to_string());
        let (mut from, mut to, mut hidden) = (0, 0, false);
        let mut is_fd_dir = None;
        while from + 19 < list.len() {
            let len = usize::from(u16::from_ne_bytes([list[from + 16], list[from + 17]])).max(19);
            let name = list[from + 19..from + len].split(|b| *b == 0).next().unwrap_or(&[]);
            let ours = own.iter().any(|o| o.as_bytes() == name)
                && *is_fd_dir.get_or_insert_with(|| self.lists_descriptors(t, args[0] as i32));
            if ours {
                hidden = true;
            } else {
                list.copy_within(from..from + len, to);
                to += len;
            }
            from += len;
        }
        if hidden && to == 0 {
            // Only ours were in this part: the next one is the answer.
            self.reissue(t);
            return Outcome::Wait;
        }
        Outcome::Value(if hidden { to as i64 } else { n })
    }

    fn lists_descriptors(&self, t: usize, number: i32) -> bool {
        let tgid = self.arena.task(t).tgid;
        std::fs::read_link(format!("/proc/{tgid}/fd/{number}")).is_ok_and(|p| {
            let p = p.to_string_lossy();
            p.starts_with("/proc/") && (p.ends_with("/fd") || p.ends_with("/fdinfo"))
        })
    }
}
