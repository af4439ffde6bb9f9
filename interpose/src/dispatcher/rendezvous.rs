//! The rendezvous: ballots of one call are collected, compared and decided; replicas that are
//! behind are fed what was decided and checked as they come.
//!
//! Invariant: an entry below the head is decided for good unless it is provisional; a provisional
//! one has no effect outside, and K equal ballots confirm it before any call with an effect is
//! decided, because those K replicas have all passed it.

use chameleon_policy::vote::{self, Verdict};
use chameleon_sys::memory;

use super::Dispatcher;
use super::taken_back::Back;
use super::work::process_steps;
use crate::arena::{CHUNK, Entry, Piece, commit, how, phase, rstate};
use crate::ballot::Difference;
use crate::table::row::{Class, Row, Special};
use crate::table::{resolve, row};

/// A row for ballots of requests that no row describes.
pub(super) fn row_of(nr: u32, args: &[u64; 6]) -> &'static Row {
    resolve(nr, args).unwrap_or_else(|_| row(nr))
}

impl Dispatcher {
    /// Does everything that is due for a task, and for those that share its memory.
    pub(super) fn drive(&mut self, t: usize) {
        let group = self.group_of(t);
        self.drive_task(t);
        if let Some(g) = self.group_of(t).or(group) {
            self.drive_group(g);
        }
        if self.uniting {
            self.unite_waiting();
        }
    }

    /// Goes on with the order of a group as far as that can be.
    pub(super) fn drive_group(&mut self, g: usize) {
        while let Some(o) = self.schedule(g) {
            self.drive_task(o);
        }
    }

    pub(super) fn drive_task(&mut self, t: usize) {
        loop {
            if self.arena.task(t).used != 2 {
                return;
            }
            if self.arena.task(t).dying != 0 && self.executor_idle(t) && !self.is_being_made(t) {
                let signal = self.arena.task(t).dying as i32;
                self.end_process(t, super::ending::End::Signal(signal));
                return;
            }
            if self.arena.task(t).n > self.seats.into() {
                self.dismiss_third(t);
            }
            if !self.rolls_on(t) {
                break;
            }
            self.feed(t);
            if self.arena.task(t).used != 2 || !self.crash_is_judged(t) {
                return;
            }
            let went_on = match self.arena.task(t).phase {
                phase::COLLECT => self.collect(t),
                _ => self.work(t),
            };
            if !went_on {
                break;
            }
        }
        self.freeze_without(t);
        self.retire(t);
    }

    /// Answers replicas that stand at a decided call.
    pub(super) fn feed(&mut self, t: usize) {
        let n = self.arena.task(t).n as usize;
        let grouped = self.arena.task(t).group != 0;
        let compares = grouped || self.arena.task(t).unites != 0;
        let mut differing = [None; crate::arena::MAX_REPLICAS];
        for (r, different) in differing.iter_mut().enumerate().take(n) {
            let task = self.arena.task(t);
            let replica = &task.replicas[r];
            // Of a group, one that comes while the call is worked on is compared at once, so that
            // its other threads can go on.
            let worked_on = compares && task.phase == phase::WORK && replica.seq == task.head;
            if replica.state != rstate::PARKED || replica.seq >= task.head && !worked_on {
                continue;
            }
            let seq = replica.seq;
            let e = self.arena.entry(t, seq);
            if worked_on && (e.open == 0 || e.seq != seq) {
                continue;
            }
            if e.votes & (1 << r) == 0 {
                let difference = self.difference(t, r, seq);
                if self.has_vanished(t, r, difference) {
                    continue;
                }
                let e = self.arena.entry(t, seq);
                if difference.is_some() {
                    // Judged when all that have come have been compared.
                    *different = difference;
                    continue;
                }
                e.votes |= 1 << r;
                self.arena.task(t).replicas[r].class = 0;
                if e.sets_at != 0 {
                    let pid = self.arena.task(t).replicas[r].pid;
                    let _ = memory::write_value(pid, e.sets_at, &e.sets);
                }
                if e.votes.count_ones() == u32::from(self.votes_of(t).k) {
                    self.arena.header().votes += 1;
                }
                if !self.flush_confirmed(t) {
                    return;
                }
            }
            if !grouped && seq < self.arena.task(t).head && !self.is_held(t, seq) {
                self.answer(t, r, seq);
            }
        }
        for (r, d) in differing.into_iter().enumerate() {
            let x = self.arena.task(t).replicas[r.min(n - 1)];
            if let Some(d) = d
                && (self.arena.task(t).used == 2 || self.is_rolling(t))
                && x.state == rstate::PARKED
                && (x.seq < self.arena.task(t).head || grouped)
            {
                self.late_difference(t, r, x.seq, d);
            }
        }
    }

    /// A replica's ballot differs from an entry that was decided before it came.
    fn late_difference(&mut self, t: usize, r: usize, seq: u64, d: Difference) {
        if self.is_rolling(t) {
            match self.takes_back(t, r, seq) {
                Back::Refused => {}
                Back::Taken => return,
                Back::Wait => {
                    self.behind = true;
                    return;
                }
            }
        }
        let e = self.arena.entry(t, seq);
        let k = u32::from(self.votes_of(t).k);
        if e.provisional == 0 || e.votes.count_ones() >= k || self.votes_of(t).first {
            self.report_difference(t, r, seq, d, e.votes.count_ones() as u8, 1);
            self.lose(t, r, chameleon_proto::event::Reason::Divergence);
            return;
        }
        // Provisional: those that took it are few; if the others agree among themselves, they win.
        let others = self.equal_at(t, r, seq);
        if others.count_ones() < k {
            let task = self.arena.task(t);
            let coming = task.replicas[..task.n as usize].iter().any(|x| {
                let there = x.state == rstate::PARKED && x.seq == seq;
                crate::arena::is_live(x) && !there && x.seq <= seq
            });
            if !coming {
                self.majority_lost(t, others.count_ones().max(e.votes.count_ones()) as u8);
            }
            return; // the rest decides
        }
        if !self.executor_idle(t) {
            self.behind = true;
            return; // it works on a call that is about to be forgotten
        }
        let losers = e.votes;
        let n = self.arena.task(t).n as usize;
        for l in (0..n).filter(|l| losers & (1 << l) != 0) {
            self.report_difference(t, l, seq, d, others.count_ones() as u8, 1);
            self.lose(t, l, chameleon_proto::event::Reason::Divergence);
        }
        self.rewind(t, seq);
    }

    /// Makes `seq` the head again: everything from there on was only believed.
    pub(super) fn rewind(&mut self, t: usize, seq: u64) {
        self.put_head_back(t, seq);
        self.replay_ends_at(t);
    }

    /// Makes `seq` the head of a task again.
    pub(super) fn put_head_back(&mut self, t: usize, seq: u64) {
        self.undo_positions(t, seq);
        let data = self.arena.entry(t, seq).data;
        for s in seq..=self.arena.task(t).head {
            self.arena.entry(t, s).open = 0;
        }
        let task = self.arena.task(t);
        task.phase = phase::COLLECT;
        task.step = 0;
        task.data_head = data;
        task.quorum_at = 0;
        self.arena.drop_long(t, task.head);
        task.head = seq;
        self.forget_pending(t, seq);
    }

    /// Collects the ballots at the head; true when something was decided.
    fn collect(&mut self, t: usize) -> bool {
        let (live, here) = self.masks(t);
        if here == 0 || live == 0 {
            return false;
        }
        let task = self.arena.task(t);
        if task.exec_pending != 0 {
            return if here == live { self.exec_came_back(t) } else { self.wait_for_all(t) };
        }
        self.make_journal_room(t);
        if self.is_too_far_behind(t) {
            self.retire(t);
            if self.is_too_far_behind(t) {
                return false;
            }
        }
        let head = self.arena.task(t).head;
        let e = self.arena.entry(t, head);
        if (e.open == 0 || e.seq != head) && !self.open(t, here) {
            // Its replica may have been killed while it waited: then the next one opens it.
            return self.arena.task(t).used == 2 && self.masks(t).1 != here;
        }
        self.classify(t, here);
        let (live, here) = self.masks(t);
        if here == 0 {
            return false;
        }
        let task = self.arena.task(t);
        let mut classes = [vote::MISSING; 16];
        for (r, class) in classes.iter_mut().enumerate().take(task.n as usize) {
            if here & (1 << r) != 0 {
                *class = task.replicas[r].class as u8;
            }
        }
        let k = self.votes_of(t).k;
        let mut e = self.arena.entry(t, head);
        let mut wanted = row_of(e.nr, &e.args);
        let signal = self.deliverable(t).is_some();
        let early = self.votes_of(t).first
            || (self.votes_of(t).slack && !signal && self.may_go_ahead(t, e));
        let all = self.needs_all(t, wanted, e);
        let verdict = if early && self.lag_calls != 0 && !all {
            Verdict::Decided { class: 0, losers: 0 }
        } else {
            vote::tally(&classes[..task.n as usize], live as u16, k)
        };
        match verdict {
            Verdict::Wait => {
                self.behind = true;
                return false;
            }
            Verdict::Lost { votes, .. } => {
                self.majority_lost(t, votes);
                return false;
            }
            Verdict::Decided { class, losers } => {
                if class != 0 {
                    if !self.swap_ballot(t, class, &classes) {
                        return self.arena.task(t).used == 2 && self.masks(t).1 != here;
                    }
                    e = self.arena.entry(t, head);
                    wanted = row_of(e.nr, &e.args);
                }
                let winners =
                    (0..16).filter(|r| classes[*r] == class).fold(0u32, |m, r| m | 1 << r);
                e.votes = winners;
                if losers != 0 && !early {
                    self.outvote(t, losers.into(), winners);
                }
            }
        }
        let (live, here) = self.masks(t);
        let leaving = matches!(wanted.class, Class::Special(Special::Exit | Special::Exec));
        if leaving && self.is_being_made(t) {
            return false; // the tracer's word comes soon
        }
        let all = self.needs_all(t, wanted, e);
        if (all || signal || self.lag_calls == 0) && here != live {
            return self.wait_for_all(t);
        }
        let task = self.arena.task(t);
        if task.used != 2 || self.holds_calls() && !signal {
            return false;
        }
        self.reach_mode(t);
        let k = self.votes_of(t).k;
        task.quorum_at = 0;
        let task_n = task.n;
        e.provisional = u32::from(e.votes.count_ones() < u32::from(k));
        self.arena.header().votes += u64::from(e.provisional == 0 && task_n > 1);
        let flushed = match e.provisional != 0 && !self.votes_of(t).first {
            true => self.go_ahead(t),
            false => self.flush_confirmed(t) && self.flush_ring(t) && self.share_before(t),
        };
        if !flushed {
            return false;
        }
        let e = self.arena.entry(t, head);
        if signal {
            // signal(7): taken before the call, which is then made again.
            let mask = self.arena.task(t).mask;
            let again = -super::arrive::ERESTARTNOINTR;
            return self.complete_with_signal(t, again, mask, how::VALUE);
        }
        let task = self.arena.task(t);
        task.step = 0;
        e.end = task.data_head;
        commit();
        task.phase = phase::WORK;
        true
    }

    /// Whether the tracer is still making replicas of this task.
    pub(super) fn is_being_made(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let places = task.n as usize..self.places().end.max(task.n as usize);
        task.replicas[..places.end].iter().any(|r| r.state == rstate::EXPECTED)
    }

    pub(super) fn wait_for_all(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        if task.quorum_at == 0 {
            task.quorum_at = self.now;
        }
        self.behind = true;
        false
    }

    /// Whether the call at the head has no effect outside, so that the first ballot may have it
    /// performed.
    pub(super) fn is_free(&mut self, t: usize, e: &Entry) -> bool {
        match row_of(e.nr, &e.args).class {
            Class::First | Class::Special(Special::CpuTime | Special::TidAddress) => true,
            Class::Special(Special::CpuTimer) => i64::from(e.nr) == libc::SYS_getitimer,
            Class::Special(Special::ReadWrite) => self.is_free_read(t, e),
            _ => false,
        }
    }

    /// The call at the head is decided: what came out is kept for all, and the head moves on.
    pub(super) fn complete(&mut self, t: usize, ret: i64, how: u32, signal: u32) {
        let head = self.arena.task(t).head;
        let e = self.arena.entry(t, head);
        let wanted = row_of(e.nr, &e.args);
        let mut outs = std::mem::take(&mut self.outs);
        outs.clear();
        let unkept = [0, process_steps::IN_PIECES, process_steps::APPENDING];
        if how == how::VALUE && e.fault == 0 && !unkept.contains(&self.arena.task(t).step) {
            self.marshal(t).result(wanted, ret, &mut outs);
        }
        let long = self.keep_used(t, how, signal, &mut outs);
        self.words_written(t, &mut outs);
        self.share_after(t, ret, how);
        self.inside_results(t, ret, how, signal);
        let e = self.arena.entry(t, head);
        let table = self.arena.keep_answer(t, &outs);
        (e.outs, e.outs_at) = (outs.len() as u32, table.unwrap_or(0));
        let kept = table.is_some();
        self.outs = outs;
        if !kept {
            e.outs = 0;
            self.undelivered(t, libc::ENOMEM);
        }
        let e = self.arena.entry(t, head);
        e.ret = ret;
        e.how = how;
        e.signal = signal;
        e.decided_at = self.now;
        self.note_once(t, how, long);
        self.note_ipc(e.nr, ret);
        self.note_said(t, ret);
        let e = self.arena.entry(t, head);
        let task = self.arena.task(t);
        e.end = task.data_head;
        task.decided_at = e.decided_at;
        self.arena.entry(t, head + 1).open = 0;
        self.arena.header().calls += 1;
        self.timeout.round();
        self.became_ready(t);
        commit();
        task.head = head + 1;
        // A successor that finds only the line above done sees it by the entry, which is not open.
        commit();
        task.phase = phase::COLLECT;
        commit();
        task.step = 0;
        if !long {
            self.arena.drop_long(t, head);
        }
        self.note_progress(t);
        self.group_progresses(t);
        self.let_woken_go(t);
    }

    /// What `words` asks for becomes part of the answer.
    fn words_written(&mut self, t: usize, outs: &mut Vec<Piece>) {
        let arena = self.arena;
        self.words.retain(|&(of, addr, word)| {
            if of == t
                && let Some(at) = arena.take_for_answer(t, 4)
            {
                *arena.region.record::<u32>(at) = word;
                outs.push(Piece { addr, at: at as u64, len: 4, ..Piece::default() });
            }
            of != t
        });
    }

    fn needs_all(&mut self, t: usize, wanted: &Row, e: &Entry) -> bool {
        let modelled = wanted.class == Class::Special(Special::Thread);
        let task = self.arena.task(t);
        if task.group == 0 && (task.unites != 0 || !self.has_mode(t)) {
            return true;
        }
        !modelled && needs_all(wanted, e) || self.changes_mapping(t, e)
    }
}

/// Whether a call needs all replicas to stand there: it is run by the replicas themselves with
/// what the outside has at that moment, in pieces that are not kept, or with buffers in the long
/// area, which holds one call only.
pub(super) fn needs_all(wanted: &Row, e: &Entry) -> bool {
    if e.long != 0 {
        return true;
    }
    match wanted.class {
        Class::Mirror => true,
        Class::Special(s) => match s {
            Special::Fork
            | Special::Exec
            // The last look at every replica: what is not compared now never will be.
            | Special::Exit
            | Special::Mmap
            | Special::Fchdir
            | Special::MaskedWait
            | Special::Thread
            | Special::SharedMemory
            | Special::SharedRange => true,
            Special::ReadWrite => e.args[2] > CHUNK as u64,
            _ => false,
        },
        _ => false,
    }
}
