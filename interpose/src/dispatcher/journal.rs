//! The journal between a checkpoint and now: what of decided calls has to be kept beside their results
//! so that a replica made of the checkpoint can be given them again.
//!
//! A file that a replica maps is lent to it; the program may have closed it since, so that it is kept
//! here under the call. What cannot be kept ends the use of older checkpoints once a replica has
//! passed it.
//!
//! Invariant: a call counts as one that cannot be given again only when a replica is behind it: one that
//! died at it finds it as the first did.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;

use chameleon_sys::{Errno, clock, fd, notify};

use super::Dispatcher;
use super::inside::{Changes, changes, opens};
use super::process::{clone_args, is_fork};
use super::work::process_steps;
use crate::arena::{CHUNK, Entry, Piece, Replica, commit, how, is_live, phase, want};

/// Files that are kept at most.
const MOST: usize = 512;
const VM: u64 = libc::CLONE_VM as u64;

/// Files lent at a call: by task and call.
pub(super) type Lent = BTreeMap<(usize, u64), Lend>;

/// A file that was lent.
#[derive(Debug)]
pub(super) struct Lend {
    /// The application's number of it.
    number: u32,
    file: File,
    /// The program cannot write to it: mapped again later, it has the same content.
    stays: bool,
}

impl Dispatcher {
    /// The application's descriptor `number`, of which `copy` is a duplicate, is being lent at the head.
    pub(super) fn keep_lent(&mut self, t: usize, number: u32, copy: i32) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        self.make_lent_room(t);
        if self.lent.len() >= MOST {
            return;
        }
        // Opened anew it has no part in the locks of the program's own (flock(2)).
        if let Some(file) = fd::reopen_read_only(copy) {
            let head = self.arena.task(t).head;
            let reads = |k: fd::Kind| k.flags & libc::O_ACCMODE == libc::O_RDONLY;
            let stays = fd::kind(copy).is_ok_and(reads);
            let file = File::from(fd::owned(file));
            self.lent.insert((t, head), Lend { number, file, stays });
        }
    }

    /// Without room for one more file the older checkpoints of a task go, for which some are kept.
    fn make_lent_room(&mut self, t: usize) {
        while self.lent.len() >= MOST && self.group_of(t).is_none() {
            let usable = self.usable(t);
            let [_, .., oldest] = usable[..] else { return };
            self.forget_checkpoint(t, oldest);
            self.retire(t);
        }
    }

    /// Lends a replica that is made to pass call `seq` once more what was lent there.
    pub(super) fn lend_again(&mut self, t: usize, r: usize, seq: u64) {
        let x = self.arena.task(t).replicas[r];
        if !self.is_rolling(t) {
            return;
        }
        if let Some(Lend { number, file, .. }) = self.lent.get(&(t, seq)) {
            let _ = notify::lend_fd(x.listener as i32, x.id, file.as_raw_fd(), *number, true);
        }
    }

    /// Lets go of the files of calls before the oldest that is kept.
    pub(super) fn forget_lent(&mut self, t: usize) {
        if self.lent.is_empty() {
            return;
        }
        let (used, tail) = (self.arena.task(t).used, self.arena.task(t).tail);
        let end = if used == 0 { u64::MAX } else { tail };
        let old: Vec<_> = self.lent.range((t, 0)..(t, end)).map(|(key, _)| *key).collect();
        for key in old {
            self.lent.remove(&key);
        }
    }

    /// After a takeover: the files that a predecessor kept are gone.
    pub(super) fn settle_lent(&mut self, t: usize) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        let task = self.arena.task(t);
        for seq in task.tail..task.head {
            let e = self.arena.entry(t, seq);
            if e.seq == seq && needs_file(e) {
                e.once = 1;
                self.passes(t, seq);
            }
        }
    }

    /// The call at the head is about to be completed: whether its results can be had again. What is in the
    /// `long` area cannot.
    pub(super) fn note_once(&mut self, t: usize, how: u32, long: bool) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        let unkept = [process_steps::IN_PIECES, process_steps::APPENDING];
        let vm = is_fork(e.nr) && clone_args(e.nr, &e.args)[0] & VM != 0 && !self.is_born_again(t);
        let stays = || self.lent.get(&(t, task.head)).is_some_and(|file| file.stays);
        let file = || needs_file(&Entry { how, ..e }) && !stays();
        let once = match how {
            how::REMAP => true,
            how::PATCH | how::CONTINUE => file(),
            _ => long || unkept.contains(&task.step) || vm,
        };
        let reads = [libc::SYS_clock_gettime, libc::SYS_gettimeofday, libc::SYS_time];
        if reads.contains(&e.nr.into()) {
            let leader = self.arena.task(t).leader as usize;
            self.arena.task(leader).recovery.clocks += 1;
        }
        let kept = task.group == 0 && task.recovery.from == task.head;
        if once || !kept && self.has_changed_mapping(t, &e) {
            self.arena.entry(t, task.head).once = 1;
            // Of a group one is taken when its turn is over.
            if task.group == 0 {
                task.recovery.wanted = want::CALL;
            }
            // A fork is answered before it is completed.
            let passed = |x: &Replica| is_live(x) && x.seq > task.head;
            if task.replicas[..task.n as usize].iter().any(passed) {
                self.passes(t, task.head);
            }
        }
    }

    /// The call at the head is about to be carried out. One that changes a file which the program has
    /// mapped has a checkpoint made at it first, and older ones are of no use from then on: what a replica
    /// has read there before, one made of those would not read again. False as long as there is none.
    pub(super) fn is_kept_before_change(&mut self, t: usize) -> bool {
        let head = self.arena.task(t).head;
        let e = *self.arena.entry(t, head);
        let concerned = self.settings.checkpoints.is_some() && changes(&e) != Changes::None;
        if !concerned || self.arena.task(t).group != 0 || !self.will_change_mapping(t, &e) {
            return true;
        }
        if self.all_are_killed(t) {
            self.behind = true; // killed meanwhile: made anew, they come here again
            return false;
        }
        let task = self.arena.task(t);
        let at_call = task.recovery.at_call;
        let here = |p: usize| {
            at_call & (1 << p) != 0 && task.replicas[p].seq == head && self.is_usable(t, p)
        };
        if !self.places().any(here) {
            let may_be = self.now >= task.recovery.retry_at;
            if may_be && task.recovery.wanted == want::NOT {
                task.recovery.wanted = want::CALL;
            }
            if may_be && self.freeze_parked(t) || self.is_being_made(t) {
                return false;
            }
        }
        if !self.all_are_parked(t) {
            return false;
        }
        (task.recovery.from, task.recovery.changes) = (head, head + 1);
        commit();
        true
    }

    /// Whether the call at the head, not carried out yet, will change a file that the program has mapped.
    fn will_change_mapping(&mut self, t: usize, e: &Entry) -> bool {
        if self.arena.header().objects != 0 || !self.changes_mapping(t, e) {
            return false; // what is shared is kept in another way
        }
        let (arg, from) = match (changes(e), i64::from(e.nr)) {
            (Changes::ByPath, libc::SYS_openat | libc::SYS_openat2) => (1, Some(e.args[0] as i32)),
            (Changes::ByPath, _) => (0, None),
            _ => return true,
        };
        match self.file_at(t, arg, from) {
            Ok(file) => self.has_mapped(t, file),
            Err(Errno::ENOENT) => {
                let task = self.arena.task(t);
                task.makes = if opens(e) { task.head + 1 } else { 0 };
                false
            }
            Err(_) => true,
        }
    }

    /// Whether all replicas stand at the call at the head; they are waited for.
    pub(super) fn all_are_parked(&mut self, t: usize) -> bool {
        let (live, here) = self.masks(t);
        live == here || self.wait_for_all(t)
    }

    /// The call at the head is about to be completed with `outs`: of the room that was taken for its answer
    /// only what was used is kept, and in the ring if that is not much, however much the program allowed
    /// for. Whether anything of the call is in the long area, which does not keep it.
    pub(super) fn keep_used(&self, t: usize, how: u32, signal: u32, outs: &mut [Piece]) -> bool {
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        if how != how::VALUE || signal != 0 || task.phase != phase::WORK {
            return e.long != 0;
        }
        if e.long == 0 {
            self.arena.give_back_behind(t, outs);
            return false;
        }
        let used: usize = outs.iter().map(|p| p.len as usize).sum();
        if e.ins != 0 || used > CHUNK / 2 {
            return true;
        }
        for p in outs {
            let Some(at) = self.arena.take_for_answer(t, p.len as usize) else { return true };
            let bytes = &*self.arena.region.bytes(p.offset(), p.len as usize);
            self.arena.region.bytes(at, bytes.len()).copy_from_slice(bytes);
            p.at = at as u64;
        }
        false
    }

    /// How many readings of clocks, or of what else the processor tells, a replica made of the checkpoint at
    /// a place may have to make again: of clocks at most (`chameleon_sys::clock`).
    pub(super) fn readings_since(&self, t: usize, place: usize) -> u64 {
        let leader = &self.arena.task(self.arena.task(t).leader as usize).recovery;
        let outside = leader.clocks.saturating_sub(leader.clocks_at[place]);
        let drawn = leader.drawn.saturating_sub(leader.drawn_at[place]);
        drawn.max(outside * clock::OUTSIDE_EVERY)
    }

    /// A replica goes on behind call `seq`.
    pub(super) fn passes(&mut self, t: usize, seq: u64) {
        let e = self.arena.entry(t, seq);
        if e.seq == seq && e.once != 0 {
            let group = self.group_of(t);
            // No checkpoint of a group is made while a thread has its turn, but in that.
            let behind = group.map_or(seq + 1, |g| self.arena.group(g).head);
            let recovery = self.recovery_of(t);
            if group.is_some() && recovery.from < behind {
                recovery.wanted = want::CALL;
            }
            recovery.from = recovery.from.max(behind);
        }
    }

    /// The ring is filling up: checkpoints that keep too much of it go.
    pub(super) fn make_journal_room(&mut self, t: usize) {
        if self.settings.checkpoints.is_none() {
            return;
        }
        self.note_journal(t);
        loop {
            let task = self.arena.task(t);
            let (calls, first) = (task.head - task.tail, self.arena.entry(t, task.tail).data);
            let data = if calls == 0 { 0 } else { task.data_head.saturating_sub(first) };
            let (entries, room) = (self.arena.entries(), self.arena.data_len());
            if calls < entries / 4 * 3 && data < room / 4 * 3 {
                return;
            }
            if let Some(g) = self.group_of(t) {
                if !self.drop_oldest_of_group(t, g) {
                    return;
                }
                self.retire(t);
                continue;
            }
            let held = |x: &Replica| x.seq < task.slowest;
            let oldest = self
                .places()
                .filter(|p| self.is_usable(t, *p) && held(&task.replicas[*p]))
                .min_by_key(|p| task.replicas[*p].seq);
            let Some(oldest) = oldest else { return };
            self.forget_checkpoint(t, oldest);
            self.retire(t);
        }
    }
}

/// Whether the replicas execute a call with a descriptor that is lent to them.
pub(super) fn needs_file(e: &Entry) -> bool {
    let anonymous = e.args[3] as i32 & libc::MAP_ANONYMOUS != 0;
    match i64::from(e.nr) {
        libc::SYS_mmap => matches!(e.how, how::CONTINUE | how::PATCH) && !anonymous,
        libc::SYS_fchdir => e.how == how::CONTINUE,
        _ => false,
    }
}
