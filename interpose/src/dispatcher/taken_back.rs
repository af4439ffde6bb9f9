//! Decided calls that are taken back: a program that failed by itself goes another way when it is executed
//! again, and nothing of what it had done since has an effect outside.
//!
//! ```text
//!  journal  write │ rt_sigprocmask, gettid, getpid, tgkill(SIGABRT)
//!  replay   write │ read …
//!                 └─ the head is here again, and what the replay calls is decided
//! ```
//!
//! What was wrong in memory shows first in a call without an effect more often than not: those that abort(3)
//! makes before it kills, a look at a clock. A call that was performed (a message of assert(3)) is not taken
//! back: the outside has seen what an execution without the fault does not do, and the verdict names it.
//!
//! Invariant: all or nothing, from the call on at which the replay differs, and only if K replicas differ
//! alike. What the dispatcher knows (mask, positions of files, order of turns, log of clocks) is what it was
//! before that call; checkpoints from behind it are ended. Each step can be taken again by a successor.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::slot;
use chameleon_sys::{clock, memory, process, raw, shadow};

use super::Dispatcher;
use super::inside::RING_ARG;
use super::process::is_fork;
use super::quick::Kind;
use super::rendezvous::row_of;
use super::signals::UNBLOCKABLE;
use super::threads::WAKE;
use crate::arena::{Entry, Inside, commit, is_live, phase, rolling, rstate};
use crate::outside::op;
use crate::table::row::{Class, Special};

/// What becomes of a replay that differs from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// The calls are taken back.
    Taken,
    /// Other replicas have to come first.
    Wait,
    /// It is the replay that is given up.
    Refused,
}

/// From which call on those of a task are to be taken back.
#[derive(Clone, Copy, Debug)]
struct Gap {
    task: usize,
    from: u64,
    /// The call at which its replicas stand.
    at: u64,
}

impl Dispatcher {
    /// Replica `r`, which is made to pass the decided call `seq` once more, makes another one.
    pub(super) fn takes_back(&mut self, t: usize, r: usize, seq: u64) -> Back {
        let recovery = self.recovery_of(t);
        let replays = recovery.rolling == rolling::REPLAY;
        if !replays || !recovery.failures.history().doubts_journal() {
            return Back::Refused;
        }
        if seq >= self.arena.task(t).head {
            self.note_performed(t, seq);
            return Back::Refused;
        }
        let passed = match self.otherwise(t, r, seq) {
            Ok(passed) => passed,
            Err(back) => return back,
        };
        let gaps = match self.gaps(t, r, seq) {
            Ok(gaps) => gaps,
            Err(back) => return back,
        };
        let Some(ring) = self.ring_in_common(t, r, seq) else {
            self.note_performed(t, seq);
            self.recovery_of(t).performed_inside = 1;
            return Back::Refused;
        };
        for c in &gaps {
            let head = self.arena.task(c.task).head;
            let held = (c.from..head).find(|s| !self.leaves_nothing(c.task, *s));
            if let Some(seq) = held {
                self.note_performed(c.task, seq);
                let ring = self.arena.entry(c.task, seq).ring;
                self.recovery_of(t).performed_inside = u32::from(ring != 0 && seq > c.from);
                return Back::Refused;
            }
            if c.from < head && !self.can_be_cut(c.task, c.from) {
                return Back::Refused;
            }
        }
        let mut let_off = true;
        for c in gaps.iter().filter(|c| c.from < self.arena.task(c.task).head) {
            let_off = let_off && self.is_let_off(c.task);
        }
        if !let_off {
            return Back::Wait;
        }
        for l in (0..u32::BITS as usize).filter(|l| passed & (1 << l) != 0) {
            self.lose(t, l, chameleon_proto::event::Reason::Divergence);
        }
        self.cut_clocks(t, r);
        self.take_gaps(t, r, &gaps);
        if ring != 0 {
            self.arena.task(t).inside.progress = Inside::at(ring);
        }
        Back::Taken
    }

    /// The replicas that have gone the journal's way, as a bit mask. Not before all have come, and not if those
    /// that differ as `r` does are too few.
    fn otherwise(&mut self, t: usize, r: usize, seq: u64) -> Result<u32, Back> {
        let n = self.arena.task(t).n as usize;
        let (mut passed, mut coming) = (0u32, false);
        for (o, x) in self.arena.task(t).replicas[..n].iter().enumerate() {
            let votes = self.arena.entry(t, seq).votes & (1 << o) != 0;
            let here = x.state == rstate::PARKED && x.seq == seq;
            match is_live(x) {
                true if x.seq > seq || here && votes => passed |= 1 << o,
                true => coming |= !here,
                false => {}
            }
        }
        if coming {
            return Err(Back::Wait);
        }
        let alike = (self.equal_at(t, r, seq) & !passed).count_ones();
        let k = u32::from(self.votes_of(t).k);
        let enough = alike >= k && alike > passed.count_ones();
        enough.then_some(passed).ok_or(Back::Refused)
    }

    /// Where the task and those of its group stand in a replica.
    fn gaps(&mut self, t: usize, r: usize, seq: u64) -> Result<Vec<Gap>, Back> {
        let Some(g) = self.group_of(t) else {
            return Ok(vec![Gap { task: t, from: seq, at: seq }]);
        };
        let mut gaps = Vec::new();
        let others: Vec<usize> = self.members(g).filter(|o| *o != t).collect();
        for o in others {
            let task = self.arena.task(o);
            let x = task.replicas[r];
            if !is_live(&x) {
                continue; // it has ended by then; or it is born later, which is not taken back
            }
            if x.state != rstate::PARKED || !self.has_been_compared(o, r) {
                return Err(Back::Wait);
            }
            let decided = x.seq < task.head;
            let e = *self.arena.entry(o, x.seq);
            let class = row_of(e.nr, &e.args).class;
            let carried_out = decided
                && (is_fork(e.nr)
                    || matches!(class, Class::Special(Special::Exec | Special::Exit)));
            if task.used != 2 || task.exiting != 0 || task.exec_pending != 0 || carried_out {
                self.note_performed(o, x.seq);
                return Err(Back::Refused);
            }
            gaps.push(Gap { task: o, from: x.seq + u64::from(decided), at: x.seq });
        }
        // The last: as long as it is there, a successor finds that this is to be done.
        gaps.push(Gap { task: t, from: seq, at: seq });
        Ok(gaps)
    }

    /// The bytes of the ring that came with the ballot of call `seq`, and were carried out: the ring of the
    /// replica must begin with them.
    fn ring_in_common(&mut self, t: usize, r: usize, seq: u64) -> Option<usize> {
        let e = *self.arena.entry(t, seq);
        if e.ring == 0 {
            return Some(0);
        }
        let task = self.arena.task(t);
        let keep = (task.data_head, task.long_used);
        let mut pieces = Vec::new();
        let gathered = self.gather_ring(t, task.replicas[r].pid, &mut pieces);
        let ring = self.ring_of(&e);
        let same = gathered.is_ok()
            && pieces.iter().any(|p| {
                let own = p.arg == RING_ARG && p.len as usize >= ring.len() && p.sub != 0;
                own && self.arena.region.bytes(p.offset(), ring.len()) == ring
            });
        self.give_back(t, keep);
        (same && e.ring_done != 0).then_some(ring.len())
    }

    /// Whether nothing is left outside of the decided call `seq`, but what can be put back.
    fn leaves_nothing(&mut self, t: usize, seq: u64) -> bool {
        let e = *self.arena.entry(t, seq);
        let first = self.arena.task(t).replicas.iter().any(|x| is_live(x) && x.seq == seq);
        // The ring of the first is that of the replay.
        let plain = e.signal == 0 && e.pending == 0 && e.long == 0 && (e.ring == 0 || first);
        if e.seq != seq || !plain || e.child != 0 {
            return false;
        }
        match i64::from(e.nr) {
            libc::SYS_read | libc::SYS_pread64 => self.is_free_read(t, &e),
            libc::SYS_rt_sigaction => e.args[1] == 0,
            // Nobody was woken, or it did not wait.
            libc::SYS_futex => e.ret < 0 || e.ret == 0 && is_wake(e.args[1]),
            libc::SYS_lseek => e.ret < 0 || (e.args[1], e.args[2]) == (0, libc::SEEK_CUR as u64),
            _ => row_of(e.nr, &e.args).can_be_taken_back(),
        }
    }

    /// Whether a task is in a state in which its head can be put back.
    fn can_be_cut(&mut self, t: usize, seq: u64) -> bool {
        let task = self.arena.task(t);
        let own = task.inside;
        let e = *self.arena.entry(t, task.head);
        let waits = i64::from(e.nr) == libc::SYS_futex && task.wait.woken == 0;
        let behind = |p: &usize| {
            let x = &task.replicas[*p];
            x.state == rstate::FROZEN && x.seq > seq && task.recovery.pinned as usize == p + 1
        };
        (task.phase == phase::COLLECT || waits || self.leaves_nothing(t, task.head))
            && task.exec_pending == 0
            && (own.pending, own.progress) == (0, 0)
            && (self.arena.header().objects == 0 || task.shares == 0)
            && !self.is_being_made(t)
            && !self.places().any(|p| behind(&p))
            && self.positions_are_known(t, seq)
    }

    /// Whether the executor of a task has nothing to do; one that waits in a call that is to be taken back is
    /// interrupted.
    fn is_let_off(&self, t: usize) -> bool {
        let idle = self.executor_idle(t);
        if !idle {
            process::tgkill_any(self.arena.task(t).tid, WAKE);
        }
        idle
    }

    /// Whether files stand where the reads from `seq` on have left them: then nobody has read on there.
    fn positions_are_known(&mut self, t: usize, seq: u64) -> bool {
        let mut seen: Vec<u64> = Vec::new();
        for s in (seq..self.arena.task(t).head).rev() {
            let e = *self.arena.entry(t, s);
            if i64::from(e.nr) != libc::SYS_read || e.ret <= 0 || seen.contains(&e.args[0]) {
                continue;
            }
            seen.push(e.args[0]);
            let Some(c) = self.quick_copy(t, e.args[0] as i32) else { return false };
            let at = raw::lseek(c.fd as u64, 0, libc::SEEK_CUR as u64);
            if !matches!(c.kind, Kind::Regular { .. }) || at as i64 != e.position as i64 + e.ret {
                return false;
            }
        }
        true
    }

    /// Times that were read inside by what is taken back are not to be read again: the outside's clocks
    /// have gone on.
    fn cut_clocks(&mut self, t: usize, r: usize) {
        let leader = self.arena.task(t).leader as usize;
        let pid = self.arena.task(t).replicas[r].pid;
        if let Ok(readings) = memory::read_value::<u64>(pid, clock::PRIVATE + 8) {
            shadow::cut_clocks(leader, readings);
        }
    }

    fn take_gaps(&mut self, t: usize, r: usize, gaps: &[Gap]) {
        let group = self.group_of(t);
        if let Some(g) = group {
            let group = self.arena.group(g);
            let end = group.passed[r];
            for p in self.places().filter(|p| group.frozen & (1 << p) != 0) {
                if group.passed[p] > end {
                    self.forget_checkpoint_of_group(g, p);
                }
            }
            group.head = end;
            (group.last, group.next, group.alone) = (t as u32 + 1, 0, 0);
            (group.attempts, group.next_attempt) = (0, 0);
            for c in gaps {
                self.arena.task(c.task).released = c.at;
            }
        }
        for c in gaps {
            self.take_gap(*c);
        }
        let recovery = self.recovery_of(t);
        recovery.resume = match group {
            Some(g) => self.arena.group(g).head,
            None => self.arena.task(t).head,
        };
    }

    /// Puts the head of a task back.
    fn take_gap(&mut self, c: Gap) {
        let (t, seq) = (c.task, c.from);
        let head = self.arena.task(t).head;
        if seq >= head {
            return;
        }
        if self.group_of(t).is_none() {
            let task = self.arena.task(t);
            for p in self.places().filter(|p| task.replicas[*p].seq > seq) {
                self.forget_checkpoint(t, p);
            }
        }
        let of_mask = |e: &Entry| i64::from(e.nr) == libc::SYS_rt_sigprocmask && e.fault == 0;
        let begun = self.arena.task(t).step != 0;
        let first = (seq..head + u64::from(begun)).map(|s| *self.arena.entry(t, s)).find(of_mask);
        if let Some(e) = first {
            self.arena.task(t).mask = e.position;
        }
        let inside = &mut self.arena.task(t).inside;
        if inside.armed != 0 && inside.from > seq {
            inside.armed = 0; // what it was to be armed behind is taken back
        }
        for x in &mut self.arena.task(t).replicas {
            x.class = 255;
        }
        self.arena.task(t).wait = bytemuck::Zeroable::zeroed();
        self.recovery_of(t).taken_back += head - seq;
        commit();
        self.put_head_back(t, seq);
    }

    /// A call of a task was performed that the replay does not make.
    fn note_performed(&mut self, t: usize, seq: u64) {
        let recovery = self.recovery_of(t);
        (recovery.performed_by, recovery.performed_seq) = (t as u32 + 1, seq);
        recovery.performed_inside = 0;
    }

    /// The name of that call; empty if there is none, or it is not known any more.
    pub(super) fn performed_call(&self, t: usize) -> &'static str {
        let recovery = self.recovery_of(t);
        let Some(by) = (recovery.performed_by as usize).checked_sub(1) else { return "" };
        let e = self.arena.entry(by, recovery.performed_seq);
        match e.seq == recovery.performed_seq {
            true if recovery.performed_inside != 0 => "write",
            true => self.call_name(e.nr, &e.args),
            false => "",
        }
    }

    /// Whether the executor holds back no signal that the program does not, once its mask was put back.
    pub(super) fn outside_has_mask(&mut self, t: usize) -> bool {
        if self.arena.task(t).phase != phase::COLLECT {
            return true;
        }
        if !self.executor_idle(t) {
            return false;
        }
        let task = self.arena.task(t);
        let at = self.arena.slot(t) + slot::MASK;
        let outside = self.arena.region.atomic_u64(at).load(Ordering::Relaxed);
        if outside & !task.mask & !UNBLOCKABLE != 0 {
            self.request_then(t, op::MASK, [0; 6], 1);
            return false;
        }
        if task.step != 0 {
            task.step = 0;
            self.take_signals(t);
            self.sort_out_defaults(t);
        }
        self.arena.task(t).used == 2
    }
}

/// Whether an operation of futex(2) wakes others and does nothing else.
fn is_wake(operation: u64) -> bool {
    let plain = operation as i32 & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    matches!(plain, libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET)
}
