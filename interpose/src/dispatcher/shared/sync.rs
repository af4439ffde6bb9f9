//! Carrying out what replicas have changed in an object of shared memory, and showing them what others
//! have.
//!
//! Of each stretch there are the base (what all last agreed on), what is outside now, and each
//! replica's. A byte that a replica has not changed since is what is outside, any other its own: that
//! is its vote.
//!
//! Invariant: written outside first, to the replicas next, to the base last. Cut short anywhere and
//! begun again it comes to the same.

use chameleon_proto::event::{Bytes, Divergence, Event, Reason};
use chameleon_sys::{raw, shadow};

use super::outside::Outside;
use super::{Part, Sharers, WHOLE};
use crate::arena::{MAX_REPLICAS, commit, rstate};
use crate::dispatcher::Dispatcher;

/// Bytes compared at once.
const STEP: usize = 128 << 10;
/// Differences as near as this are written together.
const NEAR: usize = 32;

/// Room for a stretch of an object as everyone has it.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    base: Vec<u8>,
    outside: Vec<u8>,
    /// What each replica has.
    has: Vec<Vec<u8>>,
    /// What each replica votes for.
    votes: Vec<Vec<u8>>,
    /// What is to be outside.
    wanted: Vec<u8>,
}

impl Buffers {
    fn size(&mut self, len: usize) {
        self.has.resize(MAX_REPLICAS, Vec::new());
        self.votes.resize(MAX_REPLICAS, Vec::new());
        let own = [&mut self.base, &mut self.outside, &mut self.wanted].into_iter();
        for b in own.chain(&mut self.has).chain(&mut self.votes) {
            b.resize(len, 0);
        }
    }
}

/// What an object's replica votes for: its own changes since the base, over what is outside.
fn merge(base: &[u8], outside: &[u8], own: &[u8], vote: &mut [u8]) {
    for (i, v) in vote.iter_mut().enumerate() {
        *v = if own[i] == base[i] { outside[i] } else { own[i] };
    }
}

/// Stretches in which `new` differs from `old`, near ones together.
fn changes(old: &[u8], new: &[u8]) -> Vec<std::ops::Range<usize>> {
    stretches(old, new, NEAR)
}

/// The same without a byte that does not differ.
fn changes_only(old: &[u8], new: &[u8]) -> Vec<std::ops::Range<usize>> {
    stretches(old, new, 0)
}

fn stretches(old: &[u8], new: &[u8], near: usize) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..new.len()).filter(|i| old[*i] != new[*i]) {
        match found.last_mut() {
            Some(last) if at - last.end <= near => last.end = at + 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// Looking at an object.
struct Look {
    o: usize,
    /// The shadow file.
    shadows: i32,
    outside: Outside,
    who: Sharers,
}

/// The program itself has changed what is outside, by a call, while another process that shares it runs.
/// Whoever has not changed the same bytes sees it now: the other one cannot be reading them without a
/// race of the program's own.
fn bring_in(look: &Look, at: u64, voters: &[usize], b: &mut Buffers) {
    let begin = |place: u64| shadow::extent(look.o, place) + at;
    for r in voters {
        merge(&b.base, &b.outside, &b.has[*r], &mut b.wanted);
        for run in changes_only(&b.has[*r], &b.wanted) {
            let place = begin(*r as u64) + run.start as u64;
            let _ = shadow::write(look.shadows, place, &b.wanted[run]);
        }
        b.has[*r].copy_from_slice(&b.wanted);
    }
    for run in changes_only(&b.base, &b.outside) {
        let place = begin(shadow::BASE) + run.start as u64;
        let _ = shadow::write(look.shadows, place, &b.outside[run]);
    }
    b.base.copy_from_slice(&b.outside);
}

impl Dispatcher {
    /// Fills the extents of a new object with what is outside.
    pub(super) fn fill_extents(&mut self, o: usize, outside: &Outside) {
        let Some(shadows) = shadow::file() else { return };
        let size = outside.size();
        let places = (0..u64::from(self.seats)).chain([shadow::BASE]);
        let mut buffers = std::mem::take(&mut self.shared.buffers);
        buffers.size(STEP);
        let mut at = 0;
        while let Some(next) = outside.next_data(at..size) {
            self.beat(true);
            at = next & !4095;
            let part = &mut buffers.outside[..(size - at).min(STEP as u64) as usize];
            outside.read(at, part);
            for place in places.clone() {
                // Out of memory, it would be another's file: the program finds zeros, as in no file.
                let _ = shadow::write(shadows, shadow::extent(o, place) + at, part);
            }
            at += part.len() as u64;
        }
        self.shared.buffers = buffers;
        self.arena.object(o).size = size;
    }

    /// Carries out what has been changed in a part of object `o`, and shows what others have changed there. Those
    /// who vote are the living replicas that share it, if nobody else is named. False if the run has
    /// ended over it.
    pub(super) fn sync(&mut self, o: usize, part: Part, who: Option<Sharers>) -> bool {
        let who = who.unwrap_or_else(|| self.sharers(self.arena.object(o).group));
        let (Some(shadows), Some(outside)) = (shadow::file(), self.outside_of(o)) else {
            return true;
        };
        let began = raw::now_ns();
        let mut size = outside.size();
        // Where the program itself has changed the size, whoever made that call goes on to use what is new: were it
        // cleared later, what has been written there since would be lost.
        if who.quiet || who.changed {
            self.resize(o, shadows, size);
        } else {
            size = size.min(self.arena.object(o).size);
        }
        let mut buffers = std::mem::take(&mut self.shared.buffers);
        let (mut at, size) = (part.0, size.min(part.1));
        let look = Look { o, shadows, outside, who };
        let mut goes_on = true;
        while goes_on && let Some(next) = self.next_of_any(&look, at..size) {
            self.beat(true);
            at = next & !4095;
            buffers.size((size - at).min(STEP as u64) as usize);
            goes_on = self.sync_part(&look, at, &mut buffers);
            at += buffers.base.len() as u64;
        }
        self.shared.buffers = buffers;
        if part == WHOLE {
            let now = raw::now_ns();
            let object = self.arena.object(o);
            object.sync_ns = now - began;
            object.synced_at = now;
        }
        goes_on
    }

    /// The first position in a part from which on anybody has anything of an object.
    fn next_of_any(&self, look: &Look, part: std::ops::Range<u64>) -> Option<u64> {
        if part.is_empty() {
            return None;
        }
        let places = (0..u64::from(self.seats)).filter(|r| look.who.voters & (1 << r) != 0);
        let in_extent = |place: u64| {
            let begin = shadow::extent(look.o, place);
            let found = shadow::next_data(look.shadows, begin + part.start, begin + part.end);
            found.map(|at| at - begin)
        };
        let extents = places.chain([shadow::BASE]).filter_map(in_extent);
        extents.chain(look.outside.next_data(part.clone())).min()
    }

    /// The object has another size outside than when it was last looked at: what lies behind the lesser
    /// of both was cut off, or is new.
    fn resize(&self, o: usize, shadows: i32, size: u64) {
        let object = self.arena.object(o);
        if size == object.size {
            return;
        }
        let (from, to) = (size.min(object.size), size.max(object.size).next_multiple_of(4096));
        for place in (0..u64::from(self.seats)).chain([shadow::BASE]) {
            shadow::clear(shadows, shadow::extent(o, place) + from, to - from);
        }
        commit();
        object.size = size;
    }

    /// Brings the stretch at `at` up to date for which there is room in the buffers. False if the run has
    /// ended over it.
    fn sync_part(&mut self, look: &Look, at: u64, b: &mut Buffers) -> bool {
        let Look { o, shadows, outside, who } = look;
        let (o, shadows) = (*o, *shadows);
        let voters: Vec<usize> =
            (0..self.seats.into()).filter(|r| who.voters & (1 << r) != 0).collect();
        shadow::read(shadows, shadow::extent(o, shadow::BASE) + at, &mut b.base);
        outside.read(at, &mut b.outside);
        for r in &voters {
            shadow::read(shadows, shadow::extent(o, *r as u64) + at, &mut b.has[*r]);
        }
        if b.base == b.outside && voters.iter().all(|r| b.has[*r] == b.base) {
            return true;
        }
        if who.changed && !who.quiet {
            bring_in(look, at, &voters, b);
        }
        for r in &voters {
            // What others have changed is shown while nobody looks.
            let theirs = if who.quiet { &b.outside } else { &b.base };
            merge(&b.base, theirs, &b.has[*r], &mut b.votes[*r]);
        }
        let support = |r: usize| voters.iter().filter(|x| b.votes[**x] == b.votes[r]).count();
        let mode = self.a_sharer(o).map_or(self.settings.mode, |t| self.votes_of(t));
        let (k, first) = (usize::from(mode.k), mode.first);
        let Some(winner) = voters.iter().copied().find(|r| first || support(*r) >= k) else {
            let best = voters.iter().map(|r| support(*r)).max().unwrap_or(0);
            if who.quiet && !voters.is_empty() {
                self.no_majority_in(o, best as u8);
                return false;
            }
            return true; // they do not stand at one call: another time
        };
        let votes = support(winner) as u8;
        let losers: Vec<usize> =
            voters.iter().copied().filter(|r| b.votes[*r] != b.votes[winner]).collect();
        if who.quiet {
            for r in &losers {
                self.lose_sharer(o, *r, at, &b.votes[winner], &b.votes[*r], votes);
            }
        }
        let agreed = &b.votes[winner];
        merge(&b.base, &b.outside, agreed, &mut b.wanted);
        for run in changes(&b.outside, &b.wanted) {
            let bytes = &b.wanted[run.clone()];
            if let Outside::File(own) = outside {
                self.before_shared_change(*own, at + run.start as u64, bytes.len() as u64);
            }
            if let Err(e) = outside.write(at + run.start as u64, bytes) {
                if let Some(t) = self.a_sharer(o) {
                    self.undelivered(t, e.errno as i32);
                }
                return false;
            }
        }
        for r in voters.iter().filter(|r| who.quiet && !losers.contains(r)) {
            for run in changes(&b.has[*r], agreed) {
                let place = shadow::extent(o, *r as u64) + at + run.start as u64;
                let _ = shadow::write(shadows, place, &agreed[run]);
            }
        }
        for run in changes(&b.base, agreed) {
            let place = shadow::extent(o, shadow::BASE) + at + run.start as u64;
            let _ = shadow::write(shadows, place, &agreed[run]);
        }
        true
    }

    /// Tasks that share object `o`.
    fn tasks_sharing(&self, o: usize) -> Vec<usize> {
        let group = self.arena.object(o).group;
        let shares = |t: &usize| {
            let task = self.arena.task(*t);
            task.used == 2 && task.shares == group
        };
        (0..self.tasks()).filter(shares).collect()
    }

    fn a_sharer(&self, o: usize) -> Option<usize> {
        self.tasks_sharing(o).into_iter().next()
    }

    fn no_majority_in(&mut self, o: usize, best: u8) {
        if let Some(t) = self.a_sharer(o) {
            self.majority_lost(t, best);
        }
    }

    /// Replica `r` holds something else in object `o` than the majority: it is taken out of all
    /// processes that share it.
    fn lose_sharer(&mut self, o: usize, r: usize, at: u64, right: &[u8], got: &[u8], votes: u8) {
        let first = (0..right.len()).find(|i| right[*i] != got[*i]).unwrap_or(0);
        let end = (first + 16).min(right.len());
        for t in self.tasks_sharing(o) {
            let task = self.arena.task(t);
            if matches!(task.replicas[r].state, rstate::DEAD | rstate::NONE) {
                continue;
            }
            self.report.say(Event::Divergence(Divergence {
                offset: Some(at + first as u64),
                expected: Bytes::of(&right[first..end]),
                got: Bytes::of(&got[first..end]),
                votes,
                ..self.divergence(t, r, task.head)
            }));
            self.say_race(t, task.head);
            self.lose(t, r, Reason::Divergence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_changes_stand_over_those_of_others() {
        let mut vote = [0; 4];
        merge(b"abcd", b"aXcY", b"abZd", &mut vote);
        assert_eq!(&vote, b"aXZY");
        // What others changed has been shown to it already: the same.
        merge(b"abcd", b"aXcY", b"aXZd", &mut vote);
        assert_eq!(&vote, b"aXZY");
    }

    #[test]
    fn near_changes_are_one_stretch() {
        let old = [0u8; 200];
        let mut new = old;
        (new[3], new[20], new[199]) = (1, 1, 1);
        assert_eq!(changes(&old, &new), [3..21, 199..200]);
        assert!(changes(&old, &old).is_empty());
    }
}
