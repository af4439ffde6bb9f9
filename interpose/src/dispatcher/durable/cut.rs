//! The moment of a cut: no process performs a call, and each has a checkpoint behind its last one.
//!
//! ```text
//!   No ──(a checkpoint is due)──► Due ──(each is expected at a call soon)──► Held ──(all are there)──► cut
//!   ▲                              │                                           │
//!   └────────(image, or not)───────┴───────────────────(too long)──────────────┘
//! ```
//!
//! While calls are held, one that is decided is not begun; those that are being performed come back, and
//! what they answer runs on to its next call. A process that waits in a call which takes nothing before it
//! comes back is cut there, and makes the call again.
//!
//! Invariant: calls are held for [`HOLD_NS`] at most, and only while a cut is being made.

use std::sync::atomic::Ordering;

use chameleon_sys::executor::slot;
use chameleon_sys::{describe, fd, raw};

use super::{Part, Stage};
use crate::arena::{Entry, commit, phase, rstate, timed, want};
use crate::dispatcher::{Dispatcher, process};
use crate::durable::threads::{Standing, stands};
use crate::outside::op;

/// How long calls are held at most, in nanoseconds.
const HOLD_NS: u64 = 150_000_000;
/// Whoever has made a call so shortly ago is expected to make another one soon, in nanoseconds.
const SOON_NS: u64 = 20_000_000;
/// From a cut that did not come about to the next try, at first, in nanoseconds; doubled up to a second.
const PAUSE_NS: u64 = 50_000_000;
/// After a cut calls are performed for so many times as long as they were held, at least.
const REST: u64 = 9;
/// How often it is looked whether a cut can be made, in milliseconds.
pub(in crate::dispatcher) const LOOK_MS: i32 = 2;

/// Calls that take nothing before they come back, so that they can be made again.
const WAITS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_pause,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_flock,
    libc::SYS_open, // a FIFO that nobody has open at its other end: nothing else is waited
    libc::SYS_openat, // for in a sleep that a signal ends
    libc::SYS_connect,
];

/// Whether a call can be made again when it has not come back.
pub(super) fn can_be_made_again(e: &Entry) -> bool {
    match i64::from(e.nr) {
        // A part may have been taken.
        libc::SYS_recvfrom => e.args[3] as i32 & libc::MSG_WAITALL == 0,
        libc::SYS_recvmsg => e.args[2] as i32 & libc::MSG_WAITALL == 0,
        libc::SYS_fcntl => matches!(e.args[1] as i32, libc::F_SETLKW | libc::F_OFD_SETLKW),
        nr => WAITS.contains(&nr),
    }
}

/// A process that stands where it can be cut.
pub(super) struct Ready {
    pub(super) part: Part,
    /// The thread whose executor can be asked for timers.
    pub(super) asked: Option<usize>,
    /// Threads that wait in a call, and how often each has gone to sleep.
    pub(super) slept: Vec<(usize, u64)>,
    /// Of a process in a group: how its threads stand in the group's order.
    pub(super) standings: Vec<Standing>,
}

impl Ready {
    /// Whether nothing of the process can have run since it made the calls that it stands at.
    fn waits(&self) -> bool {
        let waits = |one: &Standing| !matches!(one.stands, stands::MAKES | stands::ANSWERED);
        match self.standings.is_empty() {
            true => !self.slept.is_empty(),
            false => self.standings.iter().all(waits),
        }
    }
}

/// Where a process that is in no group stands, as far as a cut is concerned.
enum Stand {
    /// Between two calls, at most held before the next.
    Between,
    /// It waits in a call, and has slept so often.
    Waits(u64),
    /// It is not known, or has to change first, and why.
    Amid(&'static str),
}

/// How often a thread has gone to sleep, if it sleeps in a call (proc_pid_status(5)): the same number later
/// means that it has slept all the time.
pub(super) fn asleep(tid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
    };
    let sleeps = value("State")?.starts_with('S');
    let often = value("voluntary_ctxt_switches")?.parse().ok()?;
    sleeps.then_some(often)
}

impl Dispatcher {
    /// Whether no call is to be begun, because a cut is being made.
    pub(in crate::dispatcher) fn holds_calls(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| matches!(durable.stage, Stage::Held(_)))
    }

    /// Whether a cut is to be made.
    pub(in crate::dispatcher) fn cuts(&self) -> bool {
        self.durable.as_ref().is_some_and(|d| d.stage != Stage::No) || self.owes_image()
    }

    /// Whether a checkpoint is to be made of task `t` at the call that it is about to be given an answer
    /// to, because a cut is.
    pub(in crate::dispatcher) fn cut_wants(&self, t: usize) -> bool {
        match self.durable.as_ref().map(|durable| durable.stage) {
            Some(Stage::Due(since)) => self.arena.task(t).recovery.taken_at < since,
            Some(Stage::Held(_)) => true,
            _ => false,
        }
    }

    /// The tracer has been asked for a checkpoint, for the reason `why`: perhaps the others are to have
    /// one, too.
    pub(in crate::dispatcher) fn begin_cut(&mut self, why: u32) {
        let (now, by_time) = (self.now, self.image_is_due());
        let Some(durable) = &mut self.durable else { return };
        let due = matches!(why, want::TIME | want::CALLS | want::ASKED | want::JOURNAL) || by_time;
        let free = durable.stage == Stage::No && durable.writing.is_none();
        if due && free && now >= durable.retry_at {
            (durable.stage, durable.image_at) = (Stage::Due(now), now);
        }
    }

    /// A checkpoint is due of a task that waits in a call for long: it is made there, and the call made
    /// again by whoever goes on from it.
    pub(in crate::dispatcher) fn cut_waiting(&mut self, t: usize) {
        let Some(durable) = &self.durable else { return };
        if durable.stage != Stage::No || durable.writing.is_some() || self.group_of(t).is_some() {
            return;
        }
        if self.arena.task(t).phase != phase::WORK {
            return;
        }
        let known = |t: &usize| durable.latest.contains(&(*t, self.arena.task(*t).head));
        let latest = self.processes().iter().all(known);
        match self.wanted(t) {
            want::ASKED if latest => {
                self.serve_requests();
                self.answer_requests_again(); // they wait where they did then
            }
            want::TIME | want::JOURNAL | want::ASKED if !latest => self.begin_cut(want::TIME),
            _ => {}
        }
    }

    /// The first threads of all processes that are there, a parent before its children.
    pub(super) fn processes(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.tasks())
            .filter(|t| {
                let task = self.arena.task(*t);
                task.used != 0 && task.leader as usize == *t
            })
            .collect();
        all.sort_by_key(|t| self.arena.task(*t).ordinal);
        all
    }

    /// Goes on with a cut that is due.
    pub(in crate::dispatcher) fn advance_cut(&mut self) {
        let Some(durable) = &self.durable else { return };
        let now = raw::now_ns();
        match durable.stage {
            // A checkpoint was taken for somebody when no cut could be made.
            Stage::No if self.owes_image() => self.begin_cut(want::ASKED),
            Stage::No => {}
            Stage::Due(_) => {
                if let Some((t, why)) = self.prevents_image() {
                    return self.no_cut(t, now, why);
                }
                self.hold_if_expected(now);
                if self.holds_calls() {
                    self.try_to_cut(now, now);
                }
            }
            Stage::Held(since) => self.try_to_cut(now, since),
        }
    }

    /// Calls are held if a cut is due and all processes will soon stand where they can be cut.
    pub(super) fn hold_if_expected(&mut self, now: u64) {
        let due = |d: &super::Durable| matches!(d.stage, Stage::Due(_));
        if self.durable.as_ref().is_some_and(due)
            && self.prevents_image().is_none()
            && self.processes().into_iter().all(|t| self.is_expected(t))
        {
            self.set_stage(Stage::Held(now));
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(durable) = &mut self.durable {
            durable.stage = stage;
        }
        commit();
    }

    /// Whether a process will soon stand where it can be cut.
    fn is_expected(&mut self, t: usize) -> bool {
        let soon = |at: u64| raw::now_ns().saturating_sub(at) < SOON_NS;
        if let Some(g) = self.group_of_process(t) {
            return self.is_group_expected(g, soon);
        }
        let task = self.arena.task(t);
        let here = self.masks(t).1 != 0 || task.phase == phase::WORK;
        let alone = task.n == 1;
        let coming = task.replicas.iter().any(|x| x.state == rstate::EXPECTED);
        here || alone || coming || soon(task.decided_at) || self.copy_at_head(t).is_some()
    }

    /// The checkpoint of a task that stands behind its last decided call: its place.
    fn copy_at_head(&self, t: usize) -> Option<usize> {
        let task = self.arena.task(t);
        self.places().find(|p| {
            let x = &task.replicas[*p];
            let there = x.state == rstate::FROZEN && x.seq == task.head && x.deliver == 0;
            there && x.pid != 0 && self.arena.stopped(t, *p).made == x.pid
        })
    }

    fn try_to_cut(&mut self, now: u64, since: u64) {
        let (mut all, mut missing) = (Vec::new(), None);
        for t in self.processes() {
            let ready = match self.group_of_process(t) {
                None => self.part_alone(t),
                Some(g) => match self.copy_of_group(g) {
                    Some(place) => self.part_of_group(t, place),
                    None => {
                        self.drive_group(g);
                        Err("it computes, and makes no call".to_owned())
                    }
                },
            };
            match ready {
                Ok(ready) => all.push(ready),
                Err(why) => missing = missing.or(Some((t, why))),
            }
        }
        // A copy of much memory takes its time.
        let copied = self.groups().into_iter().any(|g| self.arena.group(g).making != 0);
        match missing {
            // The last one was just killed.
            None if all.is_empty() => {}
            None => self.cut(&all, since),
            Some((t, why)) if now - since > HOLD_NS && !copied => self.no_cut(t, since, why),
            Some(_) => {}
        }
    }

    /// A process that is in no group, with a checkpoint behind its last call; or what is missing.
    fn part_alone(&mut self, t: usize) -> Result<Ready, String> {
        let slept = match self.stands_for_cut(t) {
            Stand::Amid(why) => return Err(why.to_owned()),
            Stand::Waits(often) => vec![(t, often)],
            Stand::Between => Vec::new(),
        };
        let Some(place) = self.copy_at_head(t) else {
            self.freeze_for_cut(t);
            return Err("it computes, and makes no call".to_owned());
        };
        let task = self.arena.task(t);
        let waits = task.phase == phase::WORK;
        let written = if waits { self.pieces_written(t) } else { 0 };
        let part = Part { leader: t, threads: vec![(t, task.head)], place, written };
        let asked = Some(t).filter(|_| slept.is_empty());
        Ok(Ready { part, asked, slept, standings: Vec::new() })
    }

    /// All are there: what the outside is now goes with their checkpoints.
    fn cut(&mut self, all: &[Ready], began: u64) {
        let tasks: Vec<(usize, Option<usize>)> =
            all.iter().map(|one| (one.part.leader, one.asked)).collect();
        let stands = all.iter().flat_map(|one| one.part.threads.iter().copied());
        self.serve_requests();
        let latest = |d: &super::Durable| stands.eq(d.latest.iter().copied());
        if self.durable.as_ref().is_some_and(latest) && all.iter().all(Ready::waits) {
            // Nothing has been called or computed since the latest one.
            self.answer_requests_again();
            return self.go_on_after_cut();
        }
        let described = self.describe_outside(&tasks);
        // What one waits for has come meanwhile: perhaps a part of it was taken.
        let mut slept = all.iter().flat_map(|one| &one.slept);
        if slept.any(|(t, often)| {
            self.taken(*t).is_some() || asleep(self.arena.task(*t).tid) != Some(*often)
        }) {
            return;
        }
        let first = all[0].part.leader;
        match described {
            Ok(mut image) if self.begin_log(image.sequence) => {
                let now = raw::now_ns();
                for (ready, process) in all.iter().zip(&mut image.processes) {
                    // The cadence is that of all.
                    self.arena.task(ready.part.leader).recovery.taken_at = now;
                    if !ready.standings.is_empty() {
                        self.keep_standings(ready, process);
                    }
                }
                if let Some(durable) = &mut self.durable {
                    durable.failed = 0;
                    durable.retry_at = now + (now - began) * REST;
                }
                self.write_cut(all.iter().map(|one| one.part.clone()).collect(), image, began);
                self.go_on_after_cut();
            }
            Ok(_) => self.no_cut(first, began, String::new()),
            Err((t, why)) => self.no_cut(t, began, why),
        }
    }

    /// There is no cut now; the program goes on.
    fn no_cut(&mut self, t: usize, began: u64, why: String) {
        if let Some(durable) = &mut self.durable {
            durable.failed += 1;
            let pause = PAUSE_NS << durable.failed.min(5);
            durable.retry_at = raw::now_ns() + pause;
        }
        if !why.is_empty() {
            self.serve_requests();
            self.say_no_image(t, 0, began, why);
        }
        self.go_on_after_cut();
    }

    /// Calls that were held are begun.
    fn go_on_after_cut(&mut self) {
        self.set_stage(Stage::No);
        for t in 0..self.tasks() {
            if self.arena.task(t).used == 2 {
                self.drive_task(t);
            }
        }
        self.groups().into_iter().for_each(|g| self.drive_group(g));
        if self.uniting {
            self.unite_waiting();
        }
    }

    /// Where a process that is in no group stands.
    fn stands_for_cut(&mut self, t: usize) -> Stand {
        self.take_signals(t);
        let task = self.arena.task(t);
        match task.used {
            2 => {}
            1 => return Stand::Amid("a process is being made"),
            _ => return Stand::Amid("a process is ending"),
        }
        if task.exec_pending != 0 || task.vfork_parent != 0 {
            return Stand::Amid("it is about to become another program");
        }
        if task.dying != 0 || task.exiting != 0 || task.drafting != 0 {
            return Stand::Amid("a process is ending");
        }
        if task.pending != 0 {
            return Stand::Amid("a signal is on its way to it");
        }
        if task.phase == phase::COLLECT {
            return match self.executor_idle(t) {
                true => Stand::Between,
                false => Stand::Amid("its outside is busy"),
            };
        }
        let e = *self.arena.entry(t, task.head);
        let again = can_be_made_again(&e) || self.is_write_that_waits(t);
        if process::is_fork(e.nr) || !again || task.step != 1 {
            return Stand::Amid("it is in the midst of a call");
        }
        if task.timed != timed::NO {
            return Stand::Amid("it waits, and has a timer that cannot be asked meanwhile");
        }
        match asleep(task.tid) {
            Some(often) if !self.executor_idle(t) => Stand::Waits(often),
            _ => Stand::Amid("it is in the midst of a call"),
        }
    }

    /// Whether the executor is in a write of which it is known how much has been written; or to a peer that
    /// will find the connection reset.
    pub(super) fn is_write_that_waits(&mut self, t: usize) -> bool {
        let (at, e) = (self.arena.slot(t), *self.arena.entry(t, self.arena.task(t).head));
        let what = self.arena.region.atomic_u32(at + slot::OP).load(Ordering::Relaxed);
        let writes = [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto, libc::SYS_sendmsg];
        if what == op::PIECES || !writes.contains(&i64::from(e.nr)) {
            return what == op::PIECES;
        }
        let Some(copy) = self.copy_of(t, e.args[0] as i32) else { return false };
        let (kind, family) = (fd::kind(copy), describe::socket_number(copy, libc::SO_DOMAIN));
        fd::close(copy);
        let short = i64::from(e.nr) == libc::SYS_write && e.args[2] <= libc::PIPE_BUF as u64;
        let pipe = kind.is_ok_and(|kind| kind.format == libc::S_IFIFO);
        pipe && short || matches!(family, Some(libc::AF_INET | libc::AF_INET6))
    }

    /// Has a checkpoint made of a task that stands at its head, or of a single replica that computes.
    fn freeze_for_cut(&mut self, t: usize) {
        let task = self.arena.task(t);
        if task.replicas.iter().any(|x| matches!(x.state, rstate::EXPECTED | rstate::JOB)) {
            return; // it is being made
        }
        if !self.freeze_parked(t) {
            self.freeze_where_it_computes(t);
        }
    }

    /// A process is about to make a call: its timer is asked for, if that is not known.
    pub(in crate::dispatcher) fn note_timer(&mut self, t: usize) {
        let nr = self.arena.entry(t, self.arena.task(t).head).nr;
        let leader = self.arena.task(t).leader as usize;
        if self.durable.is_none() {
            return;
        }
        if [libc::SYS_setitimer, libc::SYS_alarm].contains(&i64::from(nr)) {
            self.arena.task(leader).timed = timed::PERHAPS;
            return;
        }
        if self.arena.task(leader).timed != timed::PERHAPS {
            return;
        }
        if let Ok(timer) = self.real_timer(t) {
            self.arena.task(leader).timed = if timer.is_some() { timed::YES } else { timed::NO };
        }
    }
}
