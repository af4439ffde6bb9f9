//! Votes on results that come as bytes, in parts, at different times (paper 4.2.4, 4.6, 6.1).
//!
//! ```text
//!   open ─► parts come ─► all parts of K alike results ─► decided ─► all have come, ─► closed
//!                │                                           late ones are judged   or the timeout
//!                └─► too few can still be alike, or the timeout ───────────────────────► closed
//! ```
//!
//! Invariant: what is decided stays decided. A result is some replica's own, never made of several (but
//! for its parts: those of one replica, in order). K results decide if **each is alike to each of the
//! others**: within a tolerance, alike is not transitive, and K that are alike to one in their middle
//! would let in two that contradict each other. Of such K the lowest-numbered replica's is the result.
//! Within a tolerance the order of arrival can make the difference which K decide; since K is a
//! majority, any two possible decisions share a replica, and are at most two tolerances apart.
//! A replica is blamed only if its result is not alike to the one that was decided, or if it said two
//! different things about one part; of what it says before the decision nothing counts then.
//!
//! Called by the Voter ARMOR's blocks; time comes in.

use std::time::Duration;

use chameleon_proto::ids::MAX_REPLICAS;
use chameleon_proto::message::env::{Ballot, Voted};

use super::scheme::Scheme;
use crate::mode::Mode;
use crate::timeout::VotingTimeout;

/// Most parts of one result.
pub const MOST_PARTS: u32 = 1024;

/// What a ballot, or the passing of time, has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    Wait,
    /// There is a result now: this replica's. Others are still waited for, to judge them.
    Decided(u8),
    /// It is over.
    Closed(Voted),
    /// The ballot was not taken, for this reason.
    Refused(&'static str),
}

/// What one replica has handed in.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    parts: Vec<Option<Vec<u8>>>,
    /// It said two different things about one part.
    contradicts: bool,
    /// The longest time of its parts.
    took: Duration,
}

/// One vote.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    round: u64,
    mode: Mode,
    scheme: Scheme,
    entries: Vec<Entry>,
    /// Replicas whose result is complete.
    complete: u16,
    /// `alike[i]` has a bit for each complete replica whose result is alike to `i`'s.
    alike: [u16; MAX_REPLICAS as usize],
    decided: Option<u8>,
    closed: bool,
    opened_ns: u64,
    first_ns: Option<u64>,
    limit_ns: Option<u64>,
}

impl Vote {
    /// Opens vote number `round` on results of `parts` parts (at least one) at `now_ns`. With a limit,
    /// it is over then even if nothing has come at all.
    pub fn open(
        round: u64,
        mode: Mode,
        scheme: Scheme,
        parts: u32,
        now_ns: u64,
        limit: Option<Duration>,
    ) -> Self {
        let parts = parts.clamp(1, MOST_PARTS) as usize;
        let entry = Entry { parts: vec![None; parts], ..Entry::default() };
        Self {
            round,
            mode,
            scheme,
            entries: vec![entry; usize::from(mode.n)],
            complete: 0,
            alike: [0; MAX_REPLICAS as usize],
            decided: None,
            closed: false,
            opened_ns: now_ns,
            first_ns: None,
            limit_ns: limit.map(nanos),
        }
    }

    /// Takes a part of a replica's result.
    pub fn cast(&mut self, ballot: Ballot, now_ns: u64) -> Progress {
        if ballot.round != self.round {
            return Progress::Refused("it is for another vote");
        }
        if self.closed {
            return Progress::Refused("the vote is over");
        }
        let replica = ballot.replica;
        let Some(entry) = self.entries.get_mut(usize::from(replica)) else {
            return Progress::Refused("there is no replica of this number");
        };
        let Some(part) = entry.parts.get_mut(ballot.part as usize) else {
            return Progress::Refused("a result does not have so many parts");
        };
        entry.took = entry.took.max(Duration::from_nanos(ballot.took_ns));
        match part {
            Some(known) if *known == ballot.bytes => return Progress::Wait,
            // What the decision stands on, or was compared with it, is not unsaid.
            Some(_) => {
                entry.contradicts = true;
                self.withdraw(replica);
            }
            None => *part = Some(ballot.bytes),
        }
        if self.entries[usize::from(replica)].is_complete() {
            self.first_ns.get_or_insert(now_ns);
            self.complete(replica);
        }
        self.judge()
    }

    /// Lets time pass; what has not come by the deadline is late.
    pub fn expire(&mut self, now_ns: u64, timeout: &VotingTimeout) -> Progress {
        match self.deadline_ns(timeout) {
            Some(deadline) if now_ns >= deadline && !self.closed => self.close(),
            _ => Progress::Wait,
        }
    }

    /// When the vote is over at the latest: the voting timeout after the first complete result, or the
    /// limit after the opening. Nothing if it never is.
    pub fn deadline_ns(&self, timeout: &VotingTimeout) -> Option<u64> {
        let late = self.first_ns.map(|first| first.saturating_add(nanos(timeout.current())));
        let limit = self.limit_ns.map(|limit| self.opened_ns.saturating_add(limit));
        match (late, limit) {
            (Some(late), Some(limit)) => Some(late.min(limit)),
            (late, limit) => late.or(limit),
        }
    }

    /// The parts of the result, if there is one.
    pub fn result(&self) -> Option<Vec<&[u8]>> {
        let entry = &self.entries[usize::from(self.decided?)];
        Some(entry.parts.iter().flatten().map(Vec::as_slice).collect())
    }

    /// Tells the timeout how long each replica took, and tunes it: worst over best (paper 4.2.4).
    pub fn tune(&self, timeout: &mut VotingTimeout) {
        for (replica, entry) in self.entries.iter().enumerate() {
            if self.complete & (1 << replica) != 0 {
                timeout.measure(replica as u8, entry.took);
            }
        }
        timeout.retune();
    }

    /// Notes a complete result, and whom it is alike to.
    fn complete(&mut self, replica: u8) {
        let bit = 1u16 << replica;
        if self.complete & bit != 0 {
            return;
        }
        self.complete |= bit;
        for other in 0..self.entries.len() {
            let theirs = 1u16 << other;
            let both = self.complete & theirs != 0 && self.same(usize::from(replica), other);
            if both {
                self.alike[usize::from(replica)] |= theirs;
                self.alike[other] |= bit;
            }
        }
    }

    /// A replica that contradicts itself supports nothing, unless its first word has decided already.
    fn withdraw(&mut self, replica: u8) {
        if self.decided.is_some() {
            return;
        }
        self.complete &= !(1 << replica);
        self.alike[usize::from(replica)] = 0;
        for mask in &mut self.alike {
            *mask &= !(1 << replica);
        }
    }

    fn same(&self, one: usize, other: usize) -> bool {
        let parts = self.entries[one].parts.iter().zip(&self.entries[other].parts);
        parts.into_iter().all(|pair| match pair {
            (Some(a), Some(b)) => self.scheme.alike(a, b),
            _ => false,
        })
    }

    fn judge(&mut self) -> Progress {
        let fresh = self.decided.is_none();
        if fresh {
            self.decided = agreement(&self.alike, self.complete, self.mode.k);
        }
        let contradict = self.mask(|entry| entry.contradicts);
        let missing = self.mode.all() & !(self.complete | contradict);
        if missing == 0 || self.decided.is_none() && !self.possible(missing) {
            return self.close();
        }
        match self.decided {
            Some(replica) if fresh => Progress::Decided(replica),
            _ => Progress::Wait,
        }
    }

    /// Whether K could still be alike if all that are missing were alike to whatever helps.
    fn possible(&self, missing: u16) -> bool {
        let wanted = u32::from(self.mode.k).saturating_sub(missing.count_ones());
        wanted == 0 || agreement(&self.alike, self.complete, wanted as u8).is_some()
    }

    fn close(&mut self) -> Progress {
        self.closed = true;
        let contradict = self.mask(|entry| entry.contradicts);
        let differ = match self.decided {
            Some(winner) => {
                let agree = self.alike[usize::from(winner)];
                (self.complete & !agree) | contradict
            }
            None => contradict,
        };
        Progress::Closed(Voted {
            round: self.round,
            result: self.result().map(|parts| parts.into_iter().map(<[u8]>::to_vec).collect()),
            differ: numbers(differ),
            late: numbers(self.mode.all() & !(self.complete | contradict)),
        })
    }

    fn mask(&self, wanted: impl Fn(&Entry) -> bool) -> u16 {
        let with = self.entries.iter().enumerate().filter(|(_, entry)| wanted(entry));
        with.fold(0, |mask, (replica, _)| mask | 1 << replica)
    }
}

impl Entry {
    fn is_complete(&self) -> bool {
        !self.contradicts && self.parts.iter().all(Option::is_some)
    }
}

/// The lowest member of `k` replicas of `among` that are each alike to each other; of several such
/// sets, the one with the lowest members.
fn agreement(alike: &[u16; MAX_REPLICAS as usize], among: u16, k: u8) -> Option<u8> {
    fn reach(alike: &[u16; MAX_REPLICAS as usize], candidates: u16, wanted: u32) -> bool {
        if wanted == 0 {
            return true;
        }
        let mut rest = candidates;
        while rest.count_ones() >= wanted {
            let replica = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            if reach(alike, rest & alike[replica], wanted - 1) {
                return true;
            }
        }
        false
    }
    let wanted = u32::from(k.max(1)) - 1;
    let members = (0..MAX_REPLICAS).filter(|replica| among & (1 << replica) != 0);
    let above = |replica: u8| among & !((1u16 << replica) - 1) & !(1 << replica);
    members
        .into_iter()
        .find(|replica| reach(alike, above(*replica) & alike[usize::from(*replica)], wanted))
}

fn numbers(mask: u16) -> Vec<u8> {
    (0..16).filter(|replica| mask & (1 << replica) != 0).collect()
}

/// Nanoseconds of a duration, saturating.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
