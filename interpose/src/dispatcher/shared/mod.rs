//! Writable shared memory with several replicas: each has a copy of its own of every object, in the
//! shadow file (`chameleon_sys::shadow`, docs/adr/0011), and what they change there goes out by a vote.
//!
//! ```text
//!  replica r ── its mapping ──► extent (object, r) ┐
//!  replica s ── its mapping ──► extent (object, s) ├─ compared with the base at calls ──► the object
//!                               extent (object, base) ┘      what others changed there  ◄──
//! ```
//!
//! Invariant: nothing of an object is written outside before K replicas hold it alike, and a replica's
//! extent is changed here only while all that share it stand at their calls. An object between two
//! writes outside and in the base is brought up to date again: that may be done any number of times.

mod map;
mod outside;
mod seen;
mod segments;
mod sync;

use std::collections::HashMap;

use chameleon_proto::event::Reason;
use chameleon_sys::segment::Segment;
use chameleon_sys::{fd, shadow};

use super::Dispatcher;
use super::ending::End;
use super::inside::{Changes, changes};
use super::quick::{Copy, Kind};
use super::rendezvous::row_of;
use crate::arena::{Entry, Object, how, kind, ostate, phase, rstate};
use crate::table::row::{Arg, Class, Row, Special};
use outside::Outside;

/// How often others are shown what the program changes without a call that says so, in nanoseconds.
const SHOWN_EVERY_NS: u64 = 10_000_000;
/// Of the time, at most one part in so many goes into that.
const SHARE_OF_TIME: u64 = 30;

/// Objects of at most so many bytes are brought up to date at every call that meets others.
const SMALL: u64 = 512 << 10;

/// What is remembered of objects, a cache, and room to compare them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Descriptors of their files, by index, with the generation they belong to.
    files: HashMap<usize, (u32, i32)>,
    buffers: sync::Buffers,
}

/// Which objects a call has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Nothing,
    /// A part of those that it names by descriptors.
    Named(Named),
    /// All that its task shares, and those that it names.
    Own(Named),
    /// Perhaps any: it names a file by its path.
    Any,
}

/// Objects named by descriptors.
type Named = [Option<(usize, Part)>; 2];

/// A part of an object, in bytes: from where, and up to where.
type Part = (u64, u64);

/// All of an object.
const WHOLE: Part = (0, u64::MAX);

/// The part of a file that a call on its descriptor sees or changes; `None` where it sees nothing of
/// what the file holds.
fn part_of(e: &Entry) -> Option<Part> {
    match i64::from(e.nr) {
        libc::SYS_pread64 | libc::SYS_pwrite64 => {
            Some((e.args[3], e.args[3].saturating_add(e.args[2])))
        }
        libc::SYS_fstat | libc::SYS_lseek | libc::SYS_dup => None,
        libc::SYS_fcntl => {
            let unrelated = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC];
            (!unrelated.contains(&(e.args[1] as i32))).then_some(WHOLE)
        }
        _ => Some(WHOLE),
    }
}

/// Those who share memory, at this moment.
#[derive(Clone, Copy, Debug)]
struct Sharers {
    /// Replicas of which all are alive, as a bit mask.
    voters: u32,
    /// All of them stand at calls.
    quiet: bool,
    /// Those that do not are about to: others of their process stand there already.
    gathers: bool,
    /// The program has just changed what is outside.
    changed: bool,
}

impl Dispatcher {
    fn used_objects(&self) -> impl Iterator<Item = usize> + use<> {
        let arena = self.arena;
        let most = arena.header().objects as usize;
        (0..most).filter(move |o| arena.object(*o).state == ostate::USED)
    }

    /// Whether the outside is at a call that will change an object in all replicas: a copy that is made
    /// meanwhile might have half of it.
    pub(super) fn is_changing_shared(&mut self, t: usize) -> bool {
        let task = self.arena.task(t);
        let e = *self.arena.entry(t, task.head);
        match changes(&e) {
            Changes::Behind(number) if task.phase == phase::WORK => {
                self.arena.header().objects != 0 && self.object_behind(t, number).is_some()
            }
            _ => false,
        }
    }

    /// The objects that exist outside, too.
    fn real_objects(&self) -> Vec<usize> {
        let arena = self.arena;
        self.used_objects().filter(|o| arena.object(*o).kind != kind::ANONYMOUS).collect()
    }

    /// Whether the call at the head must find all replicas there, because of memory they share: it sees
    /// or shows what is in an object, or another process may act upon what this one has done before it,
    /// and must find that in the memory of every replica.
    pub(super) fn touches_shared(&mut self, t: usize, e: &Entry) -> bool {
        self.arena.header().objects != 0
            && (self.shares_with_others(t) || self.touch(t, e) != Touch::Nothing)
    }

    fn touch(&mut self, t: usize, e: &Entry) -> Touch {
        let row = row_of(e.nr, &e.args);
        if changes(e) == Changes::ByPath && !self.real_objects().is_empty() {
            return Touch::Any;
        }
        let named = self.named(t, row, e);
        let shares = self.arena.task(t).shares;
        if shares != 0 {
            let own = matches!(
                row.class,
                Class::Special(
                    Special::Exec | Special::Exit | Special::SharedMemory | Special::SharedRange
                )
            );
            let guarded = matches!(row.class, Class::Special(Special::Mmap))
                && shadow::ADDRESSES.contains(&e.args[0]);
            let meets = self.meets_others(t, row, e);
            if own || guarded || self.is_to_be_shown(shares, meets) {
                return Touch::Own(named);
            }
        }
        if named == [None; 2] { Touch::Nothing } else { Touch::Named(named) }
    }

    /// The objects that a call names by descriptors, and the parts that it sees or changes.
    fn named(&mut self, t: usize, row: &Row, e: &Entry) -> Named {
        let mut named = [None; 2];
        let Some(part) = part_of(e) else { return named };
        let places = row.args.iter().enumerate().filter(|(_, arg)| **arg == Arg::Fd);
        for ((i, _), place) in places.zip(&mut named) {
            *place = self.object_behind(t, e.args[i] as i32).map(|o| (o, part));
        }
        named
    }

    /// Whether others have not been shown for long what this group changes; or whether that is done at
    /// once, because the call `meets` others and what is shared is small.
    fn is_to_be_shown(&self, group: u32, meets: bool) -> bool {
        self.real_objects().into_iter().map(|o| self.arena.object(o)).any(|o| {
            let wait = SHOWN_EVERY_NS.max(o.sync_ns * SHARE_OF_TIME);
            let due = self.now.saturating_sub(o.synced_at) > wait;
            o.group == group && (due || meets && o.size <= SMALL)
        })
    }

    /// Whether a call may wait for somebody, or tell somebody something: those who hear of one another
    /// expect to find in memory what was written before.
    fn meets_others(&mut self, t: usize, row: &Row, e: &Entry) -> bool {
        let file = |c: Copy| matches!(c.kind, Kind::Regular { .. } | Kind::Sink);
        let of_file = row.args.first() == Some(&Arg::Fd)
            && self.quick_copy(t, e.args[0] as i32).is_some_and(file);
        row.blocks && !of_file
    }

    /// The object behind a descriptor of the program, if that is one.
    fn object_behind(&mut self, t: usize, number: i32) -> Option<usize> {
        let file = self.quick_copy(t, number)?.file;
        self.object_of_file(kind::FILE, file)
    }

    fn object_of_file(&self, kind: u32, file: [u64; 2]) -> Option<usize> {
        self.used_objects().find(|o| {
            let object = self.arena.object(*o);
            object.kind == kind && object.file == file
        })
    }

    /// The objects, and which parts of them.
    fn touched(&self, t: usize, touch: Touch) -> Vec<(usize, Part)> {
        let whole = |all: Vec<usize>| -> Vec<(usize, Part)> {
            all.into_iter().map(|o| (o, WHOLE)).collect()
        };
        let group = self.arena.task(t).shares;
        match touch {
            Touch::Nothing => vec![],
            Touch::Named(named) => {
                let mut named: Vec<_> = named.into_iter().flatten().collect();
                named.dedup();
                named
            }
            Touch::Own(named) => {
                let mut own = self.real_objects();
                own.retain(|o| self.arena.object(*o).group == group);
                let others = named.into_iter().flatten().filter(|(o, _)| !own.contains(o));
                let others: Vec<_> = others.collect();
                whole(own).into_iter().chain(others).collect()
            }
            Touch::Any => whole(self.real_objects()),
        }
    }

    /// Before the call at the head is performed: what the program has changed in memory goes to the
    /// objects that the call has to do with. False if the run has ended over it.
    pub(super) fn share_before(&mut self, t: usize) -> bool {
        if self.arena.header().objects == 0 {
            return true;
        }
        let e = *self.arena.entry(t, self.arena.task(t).head);
        let touch = self.touch(t, &e);
        let touched = self.touched(t, touch);
        let gathers = |(o, _): &(usize, Part)| self.sharers(self.arena.object(*o).group).gathers;
        if touched.iter().any(gathers) {
            // They soon stand at calls, and then this is tried again: `drive_sharers`.
            self.behind = true;
            return false;
        }
        touched.into_iter().all(|(o, part)| self.sync(o, part, None))
    }

    /// A task has come to a call: those that share memory with it may have waited for that.
    pub(super) fn drive_sharers(&mut self, t: usize) {
        let group = self.arena.task(t).shares;
        if group == 0 {
            return;
        }
        for o in 0..self.tasks() {
            let task = self.arena.task(o);
            if o != t && task.used == 2 && task.shares == group && task.phase == phase::COLLECT {
                self.drive(o);
            }
        }
    }

    /// Behind the call at the head, which is about to be answered: what it has changed is seen in
    /// memory.
    pub(super) fn share_after(&mut self, t: usize, ret: i64, answer: u32) {
        if self.arena.header().objects == 0 || answer != how::VALUE || ret < 0 {
            return;
        }
        let e = *self.arena.entry(t, self.arena.task(t).head);
        let touch = self.touch(t, &e);
        let again = match touch {
            Touch::Nothing | Touch::Named(_) => false,
            Touch::Own(_) => row_of(e.nr, &e.args).blocks,
            Touch::Any => true,
        };
        // Whatever else is due: a call may take long enough for that.
        let changed = match touch {
            Touch::Named(named) | Touch::Own(named)
                if matches!(changes(&e), Changes::Behind(_)) =>
            {
                self.touched(t, Touch::Named(named))
            }
            _ => vec![],
        };
        let others = if again { self.touched(t, touch) } else { vec![] };
        let is_changed = |o: usize| changed.iter().any(|(c, _)| *c == o);
        let others = others.into_iter().filter(|(o, _)| !is_changed(*o)).map(|one| (one, false));
        for ((o, part), changed) in changed.iter().map(|one| (*one, true)).chain(others) {
            let sharers = self.sharers(self.arena.object(o).group);
            self.sync(o, part, Some(Sharers { changed, ..sharers }));
        }
    }

    /// A process is ended otherwise than by its own exit: what it has changed in memory goes out
    /// as far as K replicas hold it alike.
    pub(super) fn share_end(&mut self, leader: usize, end: End) {
        let (group, n) = (self.arena.task(leader).shares, self.arena.task(leader).n as usize);
        let End::Signal(signal) = end else { return };
        if group == 0 {
            return;
        }
        let replicas = &self.arena.task(leader).replicas[..n];
        let crashed = (0..n)
            .filter(|r| replicas[*r].state == rstate::DEAD && replicas[*r].died_by == signal as u32)
            .fold(0, |all, r| all | 1 << r);
        let mut who = Sharers { quiet: false, ..self.sharers(group) };
        if crashed != 0 {
            who.voters = crashed;
        }
        for o in self.real_objects() {
            if self.arena.object(o).group == group {
                self.sync(o, WHOLE, Some(who));
            }
        }
    }

    fn sharers(&self, group: u32) -> Sharers {
        let n = self.seats;
        let mut found =
            Sharers { voters: (1 << n) - 1, quiet: true, gathers: false, changed: false };
        let mut computes = false;
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used != 2 || task.shares != group {
                continue;
            }
            let (live, here) = self.masks(t);
            found.gathers |= here != 0 && here != live;
            let held = task.replicas[..task.n as usize].iter().any(|x| x.state == rstate::HELD);
            computes |= here == 0 && live != 0 && !held;
            for (r, x) in task.replicas[..task.n as usize].iter().enumerate() {
                match x.state {
                    rstate::DEAD | rstate::NONE => found.voters &= !(1 << r),
                    rstate::PARKED if x.seq == task.head => {}
                    rstate::HELD => {}
                    rstate::EXPECTED => {
                        found.voters &= !(1 << r);
                        found.quiet = false;
                    }
                    _ => found.quiet = false,
                }
            }
        }
        found.gathers &= !computes && !found.quiet;
        found
    }

    /// The tasks of other living processes that share memory with a task.
    fn other_sharers(&self, t: usize) -> impl Iterator<Item = usize> + '_ {
        let task = self.arena.task(t);
        let (shares, leader) = (task.shares, task.leader);
        let all = if shares == 0 { 0 } else { self.tasks() };
        (0..all).filter(move |o| {
            let x = self.arena.task(*o);
            matches!(x.used, 1 | 2) && x.shares == shares && x.leader != leader
        })
    }

    /// Whether a task shares memory with another process that lives.
    pub(super) fn shares_with_others(&self, t: usize) -> bool {
        self.other_sharers(t).next().is_some()
    }

    /// Whether all that share memory with a task are in one order with it.
    pub(in crate::dispatcher) fn shares_in_order(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        let mate = |o: usize| task.group != 0 && self.arena.task(o).group == task.group;
        self.other_sharers(t).all(mate)
    }

    /// Whether a replica of a task may be made anew from another one. One that shares memory cannot
    /// alone, but with all that do, if they are one group.
    pub(in crate::dispatcher) fn may_be_copied(&self, t: usize) -> bool {
        self.arena.task(t).no_repair == 0 && self.shares_in_order(t)
    }

    /// Replica `r` of a task is lost: what it would have written, those of other processes that share its
    /// memory will not find, so that they are lost with it.
    pub(super) fn lose_sharers(&mut self, t: usize, r: usize) {
        let task = self.arena.task(t);
        if task.shares == 0 {
            return;
        }
        for o in 0..self.tasks() {
            let x = self.arena.task(o);
            let lives = !matches!(x.replicas[r].state, rstate::DEAD | rstate::NONE);
            if x.used == 2 && x.shares == task.shares && x.leader != task.leader && lives {
                self.lose(o, r, Reason::Divergence);
            }
        }
    }

    /// Has a process belong to `group`, and all that shared memory with it before.
    fn join(&mut self, t: usize, group: u32) {
        let (leader, before) = (self.arena.task(t).leader, self.arena.task(t).shares);
        for o in 0..self.tasks() {
            let x = self.arena.task(o);
            if x.used != 0 && (x.leader == leader || before != 0 && x.shares == before) {
                x.shares = group;
            }
        }
        for o in self.used_objects() {
            let x = self.arena.object(o);
            if before != 0 && x.group == before {
                x.group = group;
            }
        }
    }

    /// An object as it is outside, if it is there any more.
    fn outside_of(&mut self, o: usize) -> Option<Outside> {
        let object = self.arena.object(o);
        match object.kind {
            kind::FILE => self.file_of(o).map(Outside::File),
            kind::SEGMENT => Segment::attach(object.file[1] as i32).map(Outside::Segment),
            _ => None,
        }
    }

    /// A descriptor of ours of an object's file.
    fn file_of(&mut self, o: usize) -> Option<i32> {
        let object: &Object = self.arena.object(o);
        match self.shared.files.get(&o) {
            Some((generation, f)) if *generation == object.generation => return Some(*f),
            _ => self.close_file(o),
        }
        let number = object.held.checked_sub(1)?;
        let f = shadow::open_again(self.settings.supervisor, number as i32)?;
        self.shared.files.insert(o, (object.generation, f));
        Some(f)
    }

    fn close_file(&mut self, o: usize) {
        if let Some((_, f)) = self.shared.files.remove(&o) {
            fd::close(f);
        }
    }
}
