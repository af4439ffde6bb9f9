//! Cuts of a process with several threads: where each of them stands in the group's order goes into the image.
//!
//! ```text
//!   nothing of the group runs ─► every thread stands at a call that can be kept? ─► cut ─► frozen ─► written
//!                                        └─ not now ─► the group goes on for a moment
//! ```
//!
//! Invariant: nothing of the outside changes between the looks at the executors that sleep in a call, or there is
//! no cut. A checkpoint whose outside cannot be kept is made all the same, in memory.

use chameleon_ckpt::image::{Image, Thread};
use chameleon_sys::executor::{slot, state};
use chameleon_sys::raw;

use super::cut::{asleep, can_be_made_again};
use super::{Cut, Dispatcher, Part, Stage};
use crate::arena::{how, phase, want};
use crate::dispatcher::journal::needs_file;
use crate::dispatcher::process::is_fork;
use crate::dispatcher::waits::{QUEUED, TIMED};
use crate::durable::threads::{Standing, keep, stands};

/// From a moment that cannot be kept to the next look, in nanoseconds.
const SOON_NS: u64 = 3_000_000;
/// How long a checkpoint is put off for the sake of an image.
const LONGEST_NS: u64 = 1_000_000_000;

/// A thread at a cut, and how often its executor had gone to sleep, if it sleeps in a call.
struct Stood {
    task: usize,
    standing: Standing,
    sleeps: Option<u64>,
}

impl Dispatcher {
    /// A checkpoint of group `g` is about to be made of replica `donor`, in which nothing runs but the thread
    /// `computes`, if any: its outside is described. False if that is to be tried again in a moment.
    pub(in crate::dispatcher) fn cut_group(
        &mut self,
        g: usize,
        donor: usize,
        computes: Option<usize>,
    ) -> bool {
        let Some(durable) = &self.durable else { return true };
        let why = self.wanted_of_group(g);
        let due = matches!(why, want::TIME | want::CALLS | want::ASKED | want::JOURNAL);
        let due = due || self.image_is_due();
        let busy = durable.cut.is_some() || durable.writing.is_some();
        if !due || busy || durable.stage != Stage::No {
            return true;
        }
        let began = raw::now_ns();
        self.serve_requests();
        match self.describe_group(g, donor, computes) {
            Ok(found) => {
                if found.is_none() {
                    self.answer_requests_again();
                }
                // None if there is one of this very moment.
                let cut = found.filter(|(_, image)| self.begin_log(image.sequence));
                if let Some(durable) = &mut self.durable {
                    durable.cut = cut.map(|(part, image)| Cut { part, image, began });
                    (durable.image_at, durable.put_off_since, durable.missed) = (began, 0, 0);
                }
                true
            }
            Err((why, passes)) => {
                let Some(durable) = &mut self.durable else { return true };
                if durable.put_off_since == 0 {
                    durable.put_off_since = began;
                }
                if passes && began - durable.put_off_since < LONGEST_NS {
                    self.arena.group(g).next_freeze = self.now + SOON_NS;
                    self.behind = true;
                    return false;
                }
                durable.put_off_since = 0;
                durable.image_at = began;
                durable.missed += u32::from(passes);
                let first = self.threads_of(g).first().copied().unwrap_or(g);
                self.say_no_image(self.arena.task(first).leader as usize, 0, began, why);
                true
            }
        }
    }

    /// The threads of a group as they stand, and the outside; or why not, and whether that passes.
    fn describe_group(
        &mut self,
        g: usize,
        donor: usize,
        computes: Option<usize>,
    ) -> Result<Option<(Part, Image)>, (String, bool)> {
        let never = |why: &str| (why.to_owned(), false);
        let mut threads = self.threads_of(g);
        let leader = threads.first().map_or(g, |t| self.arena.task(*t).leader as usize);
        threads.sort_by_key(|t| (*t != leader, *t));
        if threads.first() != Some(&leader) {
            return Err(never("its first thread has ended"));
        }
        if threads.iter().any(|t| self.arena.task(*t).leader as usize != leader) {
            return Err(never("it shares memory with others"));
        }
        let mut all = Vec::new();
        for t in threads {
            let standing = match computes {
                Some(one) if one == t => Ok((stands::MAKES, self.arena.task(t).head, None)),
                _ => self.stands_at(t, donor),
            };
            let (stands, seq, sleeps) = standing.map_err(|why| (why, true))?;
            let task = self.arena.task(t);
            let waited = raw::now_ns().saturating_sub(task.asked_at);
            let last = self.arena.group(g).last == t as u32 + 1;
            all.push(Stood { task: t, standing: Standing { stands, seq, last, waited }, sleeps });
        }
        let part = Part {
            threads: all.iter().map(|one| (one.task, one.standing.seq)).collect(),
            place: 0, // until it has been made
            written: 0,
        };
        // Nothing has been called since the latest one.
        if self.durable.as_ref().is_some_and(|durable| durable.latest == part.threads) {
            return Ok(None);
        }
        let asked = all.iter().map(|one| one.task).find(|t| {
            let task = self.arena.task(*t);
            let free = task.phase == phase::COLLECT || task.step == QUEUED;
            free && self.executor_idle(*t) && task.drafting == 0
        });
        if self.processes().into_iter().any(|t| t != leader) {
            return Err(never("one of several processes has several threads"));
        }
        let mut image = self.describe_outside(&[(leader, asked)]).map_err(|(_, why)| {
            let passes = why.contains("signal") || why.contains("timer");
            (why, passes)
        })?;
        let same = |one: &Stood| {
            let task = self.arena.task(one.task);
            one.sleeps.is_none() || asleep(task.tid) == one.sleeps && self.taken(one.task).is_none()
        };
        if !all.iter().all(same) {
            return Err(("a call was answered meanwhile".to_owned(), true));
        }
        let process = &mut image.processes[0];
        process.threads = all
            .iter()
            .map(|one| Thread {
                name: name_of(self.arena.task(one.task).tid),
                opaque: keep(self.arena, one.task, one.standing),
                ..Thread::default()
            })
            .collect();
        Ok(Some((part, image)))
    }

    /// How thread `t` stands in a replica, before which call, and how often its executor has slept; or why that
    /// cannot be kept now.
    fn stands_at(&self, t: usize, donor: usize) -> Result<(u32, u64, Option<u64>), String> {
        let task = self.arena.task(t);
        let x = &task.replicas[donor];
        if x.deliver != 0 || task.dying != 0 {
            return Err("a signal is on its way to it".to_owned());
        }
        let e = *self.arena.entry(t, x.seq);
        let name = || format!("a thread is in {}", self.call_name(e.nr, &e.args));
        let believed = e.provisional != 0 && e.votes.count_ones() < self.votes_of(t).k.into();
        if e.open == 0 || e.seq != x.seq || task.drafting != 0 || believed {
            return Err(name());
        }
        if x.seq < task.head {
            // What a replica does itself with a file that it is lent is done with before.
            let itself = e.how == how::CONTINUE && e.once == 0 && !needs_file(&e);
            let plain = e.signal == 0 && e.inside == 0 && e.long == 0 && task.exec_pending == 0;
            let kept = (e.how == how::VALUE || itself) && plain;
            let between = x.seq + 1 == task.head && task.phase == phase::COLLECT;
            let forks = is_fork(e.nr) && e.child != 0;
            return match kept && between && !forks && self.executor_idle(t) {
                true => Ok((stands::ANSWERED, x.seq, None)),
                false => Err(name()),
            };
        }
        let word = self.arena.region.atomic_u32(self.arena.slot(t) + slot::STATE);
        let works = word.load(std::sync::atomic::Ordering::Acquire) == state::RUNNING;
        let waits = match task.step {
            _ if task.phase != phase::WORK => false,
            QUEUED if task.wait.woken == 0 => return Ok((stands::QUEUED, x.seq, None)),
            TIMED => task.wait.woken == 0,
            1 => !is_fork(e.nr) && can_be_made_again(&e),
            _ => false,
        };
        let kind = if task.step == TIMED { stands::TIMED } else { stands::REPEATS };
        match asleep(task.tid).filter(|_| waits && works) {
            Some(sleeps) => Ok((kind, x.seq, Some(sleeps))),
            None => Err(name()),
        }
    }

    /// The checkpoint of a group at a place has been made: if it was cut, a process writes it.
    pub(in crate::dispatcher) fn write_group(&mut self, g: usize, place: usize) {
        if let Some(Cut { part, image, began }) = self.take_cut(g) {
            self.write_cut(vec![Part { place, ..part }], image, began);
        }
    }

    /// No checkpoint came of a cut.
    pub(in crate::dispatcher) fn forget_cut_of_group(&mut self, g: usize) {
        self.take_cut(g);
    }

    fn take_cut(&mut self, g: usize) -> Option<Cut> {
        let leaders = self.leaders_of(g);
        let durable = self.durable.as_mut()?;
        durable.cut.take_if(|cut| leaders.contains(&cut.part.leader()))
    }

    /// Whether the checkpoint of a group at a place is being read.
    pub(in crate::dispatcher) fn is_pinned(&self, g: usize, place: usize) -> bool {
        self.durable.is_some()
            && self
                .leaders_of(g)
                .into_iter()
                .any(|t| self.arena.task(t).recovery.pinned as usize == place + 1)
    }

    /// Ends what was kept of a group for a reader alone.
    pub(in crate::dispatcher) fn forget_unused_of_group(&mut self, g: usize) {
        for p in self.places() {
            if self.arena.group(g).frozen & (1 << p) == 0
                && self.arena.group(g).making & (1 << p) == 0
            {
                self.forget_checkpoint_of_group(g, p);
            }
        }
    }

    fn leaders_of(&self, g: usize) -> Vec<usize> {
        let mut all: Vec<usize> =
            self.members(g).map(|t| self.arena.task(t).leader as usize).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The name of a thread of the outside (pthread_setname_np(3)).
fn name_of(tid: u32) -> Vec<u8> {
    let name = std::fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
    name.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(name)
}
