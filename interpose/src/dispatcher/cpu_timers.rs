//! setitimer(2) and getitimer(2) of ITIMER_VIRTUAL and ITIMER_PROF: the dispatcher watches the CPU
//! clock of one replica, and the outside is sent the signal, so that it is blocked, waited for and
//! taken by all replicas at one call as any signal is.
//!
//! Timers that the replicas set themselves were tried: what they send is pending where the program's
//! sigpending(2) and sigwaitinfo(2) do not look, and a copy of a replica does not have them (fork(2)).
//!
//! Invariant: what is armed stands in the leader's record, from which a successor makes the timers
//! again; those here are only the kernel's part of it.

use std::collections::HashMap;

use chameleon_ckpt::image::Timer;
use chameleon_sys::executor::slot;
use chameleon_sys::timer::{self, Counts, CpuTimer};
use chameleon_sys::{fd, process};

use super::work::{Outcome, process_steps};
use super::{Dispatcher, TIMERS};
use crate::arena::{Replica, commit, is_live, rstate};
use crate::outside::op;
use crate::procfile;
use crate::table::row::Row;

/// `si_code` by which the outside's signal is known to come from here: no program may send it to
/// another as the kernel's own, and the dispatcher turns it into that (sigaction(2), SI_KERNEL).
pub(super) const FROM_TIMER: i32 = -0x4368;

/// The kernel's timers of the armed ones, by leader and place in its record.
#[derive(Debug, Default)]
pub(super) struct Timers {
    signals: Option<i32>,
    /// `None` where the kernel has made none: its process had ended.
    live: HashMap<(usize, usize), Option<CpuTimer>>,
    /// Signals sent so far.
    told: usize,
}

/// What a timer counts, and what it sends, by its place in the record.
const KINDS: [(Counts, i32); 2] = [(Counts::User, libc::SIGVTALRM), (Counts::All, libc::SIGPROF)];

/// In `armed`: nobody's clock is watched yet, and `due` is what was left when an image was made.
pub(crate) const TIMER_OF_IMAGE: u32 = 2;

/// The place of an ITIMER_… number.
fn place_of(which: u64) -> usize {
    usize::from(which as i32 == libc::ITIMER_PROF)
}

/// Nanoseconds of a `struct timeval`, if it is a valid one.
fn nanoseconds([s, us]: [u64; 2]) -> Option<u64> {
    let valid = (s as i64) >= 0 && us < 1_000_000;
    // The kernel takes a time that is too long for the longest there is.
    valid.then(|| (s.min(9_000_000_000)) * 1_000_000_000 + us * 1000)
}

fn microseconds(ns: u64) -> [u64; 2] {
    [ns / 1_000_000_000, ns % 1_000_000_000 / 1000]
}

/// The kernel's own signal, as its timers send it, where `info` is ours of it.
pub(super) fn as_the_kernels(info: [u64; 16]) -> [u64; 16] {
    if info[1] as i32 != FROM_TIMER {
        return info;
    }
    let mut own = [0; 16];
    own[0] = info[0] & 0xffff_ffff;
    own[1] = libc::SI_KERNEL as u64;
    own
}

impl Dispatcher {
    /// getitimer(2) and setitimer(2) of CPU time, performed here.
    pub(super) fn cpu_timer(&mut self, t: usize, r: &'static Row) -> Outcome {
        let task = self.arena.task(t);
        let (head, leader) = (task.head, task.leader as usize);
        let e = *self.arena.entry(t, head);
        let place = place_of(e.args[0]);
        let sets = i64::from(e.nr) == libc::SYS_setitimer;
        let Some(args) = self.marshal(t).request(r) else { return self.no_room(t) };
        let region = self.arena.region;
        let record = |address: u64| region.offset_of(address);
        let mut wanted = [0; 2];
        if let (true, Some(o)) = (sets, record(args[1])) {
            let [is, ius, vs, vus] = *region.record::<[u64; 4]>(o);
            match (nanoseconds([is, ius]), nanoseconds([vs, vus])) {
                (Some(interval), Some(value)) => wanted = [interval, value],
                _ => return Outcome::Value(-i64::from(libc::EINVAL)),
            }
        }
        // A predecessor may have been here: the old value is then the one that it found.
        let task = self.arena.task(leader);
        if task.timer_asked != head + 1 || !sets {
            let left = self.left(leader, place);
            let interval = task.timers[place].interval;
            task.timer_was = [if left > 0 { interval } else { 0 }, left];
            commit();
            task.timer_asked = head + 1;
            commit();
        }
        let [interval, left] = task.timer_was;
        if sets {
            self.arm(t, leader, place, wanted);
        }
        self.fill(t, op::PERFORM, args);
        self.arena.task(t).step = process_steps::ANSWERED_HERE;
        if let Some(o) = record(args[if sets { 2 } else { 1 }]) {
            let [[a, b], [c, d]] = [microseconds(interval), microseconds(left)];
            *region.record::<[u64; 4]>(o) = [a, b, c, d];
        }
        Outcome::Value(0)
    }

    /// Those that are armed, with what is left of them.
    pub(super) fn cpu_timers_of(&self, leader: usize) -> Vec<Timer> {
        let all = [libc::ITIMER_VIRTUAL, libc::ITIMER_PROF].into_iter();
        let armed = all.filter_map(|which| {
            let place = place_of(which as u64);
            let timer = self.arena.task(leader).timers[place];
            let left_ns = self.left(leader, place);
            let every_ns = timer.interval;
            let runs = timer.armed != 0 && left_ns != 0;
            runs.then_some(Timer::Interval { which: which as u32, left_ns, every_ns })
        });
        armed.collect()
    }

    fn arm(&mut self, t: usize, leader: usize, place: usize, [interval, value]: [u64; 2]) {
        let winner = self.first_winner(t).and_then(process::of_thread);
        let watched = winner.unwrap_or(self.arena.task(leader).replicas[0].pid);
        let timer = &mut self.arena.task(leader).timers[place];
        timer.armed = 0;
        commit();
        self.timers.live.remove(&(leader, place));
        if value > 0 {
            timer.interval = interval;
            timer.watched = watched;
            timer.due = timer::cpu_clock_ns(watched, KINDS[place].0) + value;
            commit();
            timer.armed = 1;
            self.watch_cpu(leader, place);
        }
    }

    /// Makes the kernel's timer of an armed one.
    fn watch_cpu(&mut self, leader: usize, place: usize) {
        if self.timers.signals.is_none() {
            self.timers.signals = timer::signals().ok();
            if let Some(s) = self.timers.signals {
                let _ = fd::watch(self.epoll, s, TIMERS);
            }
        }
        let timer = self.arena.task(leader).timers[place];
        let token = (leader * KINDS.len() + place) as u32;
        let live = CpuTimer::new(timer.watched, KINDS[place].0, token).ok();
        if let Some(live) = &live {
            live.set(timer.due, timer.interval);
        }
        self.timers.live.insert((leader, place), live);
    }

    /// Nanoseconds until a timer expires, 0 if it will not.
    fn left(&self, leader: usize, place: usize) -> u64 {
        let live = self.timers.live.get(&(leader, place));
        live.and_then(Option::as_ref).map_or(0, CpuTimer::left)
    }

    /// Timers have expired: the outside is told, and so is the program.
    pub(super) fn timers_expired(&mut self) {
        let Some(signals) = self.timers.signals else { return };
        for token in timer::expired(signals) {
            let (leader, place) = (token as usize / KINDS.len(), token as usize % KINDS.len());
            let task = self.arena.task(leader);
            let timer = &mut task.timers[place];
            let Some(Some(live)) = self.timers.live.get(&(leader, place)) else { continue };
            if !self.has_threads(leader) || timer.armed == 0 {
                continue;
            }
            let (counts, signal) = KINDS[place];
            if timer.interval == 0 {
                timer.armed = 0;
            } else {
                timer.due = timer::cpu_clock_ns(timer.watched, counts) + live.left();
            }
            let watched = timer.watched;
            let thread = self.who_computes(leader, watched, signal);
            process::queue(task.tgid, thread, signal, FROM_TIMER);
        }
    }

    /// The thread that the kernel would interrupt: of several the one that runs in the replica whose
    /// clock is `watched`, each in its turn. `None` for a process with one, or when all of them block the
    /// signal.
    fn who_computes(&mut self, leader: usize, watched: u32, signal: i32) -> Option<u32> {
        let runs = |pid: u32| {
            let text = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
            procfile::state(procfile::File::Stat, &text) == Some(b'R')
        };
        let of_process = |t: &usize| {
            let task = self.arena.task(*t);
            task.used == 2 && task.leader as usize == leader
        };
        let threads: Vec<usize> = (0..self.tasks()).filter(of_process).collect();
        if threads.len() < 2 {
            return None;
        }
        let r = self.arena.find_pid(watched).map_or(0, |(_, r)| r);
        if let Some(g) = self.group_of(leader) {
            // Only this one runs, even if it is stopped at this moment.
            let last = (self.arena.group(g).last as usize).checked_sub(1)?;
            let task = self.arena.task(last);
            let open = task.mask & (1 << (signal - 1)) == 0;
            let computes = |x: &Replica| is_live(x) && x.state != rstate::PARKED;
            let runs = task.replicas[..task.n as usize].iter().any(computes);
            return (threads.contains(&last) && open && runs).then_some(task.tid);
        }
        let computing = threads.into_iter().filter(|t| {
            let task = self.arena.task(*t);
            let replica = task.replicas[r];
            let open = task.mask & (1 << (signal - 1)) == 0;
            open && replica.state == rstate::RUNNING && runs(replica.pid)
        });
        let computing: Vec<u32> = computing.map(|t| self.arena.task(t).tid).collect();
        self.timers.told = self.timers.told.wrapping_add(1);
        computing.get(self.timers.told % computing.len().max(1)).copied()
    }

    /// Whether any thread of a process is left: its first one may have ended.
    fn has_threads(&self, leader: usize) -> bool {
        (0..self.tasks()).any(|t| {
            let task = self.arena.task(t);
            task.used == 2 && task.leader as usize == leader
        })
    }

    /// Timers whose process has ended go; one whose replica has been lost begins its period anew
    /// with another, since what the lost one had used of it is not known any more.
    pub(super) fn look_after_timers(&mut self) {
        if self.timers.live.is_empty() {
            return;
        }
        let all: Vec<(usize, usize)> = self.timers.live.keys().copied().collect();
        for (leader, place) in all {
            let task = self.arena.task(leader);
            let timer = &mut task.timers[place];
            if !self.has_threads(leader) || timer.armed == 0 {
                self.timers.live.remove(&(leader, place));
                continue;
            }
            // It is known to the tracer until it has ended.
            let lives = self.timers.live[&(leader, place)].is_some();
            let own = |(t, _)| self.arena.task(t).leader as usize == leader;
            if lives && self.arena.find_pid(timer.watched).is_some_and(own) {
                continue;
            }
            let by_seq = |r: &usize| task.replicas[*r].seq;
            let others = (0..task.n as usize).filter(|r| self.process_of(leader, *r).is_some());
            let other = others.max_by_key(by_seq).and_then(|r| self.process_of(leader, r));
            let Some(other) = other else { continue };
            let left = self.left(leader, place);
            let period = if timer.interval > 0 { timer.interval } else { left.max(1) };
            timer.due = timer::cpu_clock_ns(other, KINDS[place].0) + period;
            timer.watched = other;
            self.watch_cpu(leader, place);
        }
    }

    /// After a takeover: the predecessor's timers ended with it.
    pub(super) fn settle_timers(&mut self, t: usize) {
        for (place, (counts, _)) in KINDS.iter().enumerate() {
            let of_image = self.arena.task(t).timers[place].armed == TIMER_OF_IMAGE;
            if let Some(pid) = self.process_of(t, 0).filter(|_| of_image) {
                let timer = &mut self.arena.task(t).timers[place];
                timer.watched = pid;
                timer.due += timer::cpu_clock_ns(pid, *counts);
                commit();
                timer.armed = 1;
            }
            if self.arena.task(t).timers[place].armed != 0 {
                self.watch_cpu(t, place);
            }
        }
    }

    /// rt_sigtimedwait(2) has taken a signal from the kernel's queue of the outside itself.
    pub(super) fn taken_by_wait(&self, t: usize) {
        let at = self.arena.slot(t) + slot::ARGS;
        let args = *self.arena.region.record::<[u64; 6]>(at);
        if let Some(o) = self.arena.region.offset_of(args[1]) {
            let info = self.arena.region.record::<[u64; 16]>(o);
            *info = as_the_kernels(*info);
        }
    }
}
