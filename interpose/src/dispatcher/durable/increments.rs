//! What the next image can build on, and of which replica it is to be made for that.
//!
//! Invariant: a process's pages are left to an image only if they are known to be unchanged since the
//! very look whose checkpoint went into that image ([`crate::tracer`]).

use chameleon_ckpt::image::Whole;
use chameleon_policy::increments::Written;

use super::{Dispatcher, Part, Writing};
use crate::arena::{Base, Known, is_live, want};
use crate::durable::increment;
use crate::durable::writer::Done;

/// For how long a checkpoint that is due waits for the replica that is watched, in nanoseconds: of
/// another one the image is a whole one.
const PATIENCE_NS: u64 = 100_000_000;

impl Dispatcher {
    /// What is known of the checkpoint `pid` of the process of task `leader`.
    pub(super) fn known(&self, leader: usize, pid: u32) -> Option<increment::Known> {
        let (known, base) = (self.arena.known(leader), self.arena.base(leader));
        let is = known.made == pid && known.since != 0 && known.since == base.look;
        is.then(|| increment::Known { image: base.image, ranges: self.arena.known_ranges(leader) })
    }

    /// Why an image of which nothing is known is a whole one.
    pub(super) fn why_whole(&self) -> Whole {
        let leads = |t: &usize| self.arena.task(*t).leader as usize == *t;
        let mut bases = (0..self.tasks()).filter(leads).map(|t| *self.arena.base(t));
        if self.arena.header().image_good == 0 {
            Whole::First
        } else if bases.any(|base| base.rest != 0 || base.rests != 0 && base.look == 0) {
            Whole::Rewritten
        } else {
            Whole::Unknown
        }
    }

    /// An image is on the disk: the next one can build on it. For how long its processes stood still to be
    /// looked through, in nanoseconds.
    pub(super) fn image_is_good(&mut self, writing: &Writing, done: &Done) -> u64 {
        self.arena.header().image_good = writing.image;
        let known = |part: &Part| *self.arena.known(part.leader);
        let pages = |known: &Known| known.changed + known.unchanged;
        let all: u64 = writing.parts.iter().map(|part| pages(&known(part))).sum();
        let mut stood = 0;
        for part in &writing.parts {
            let (leader, known) = (part.leader, known(part));
            let pid = self.arena.task(leader).replicas[part.place].pid;
            let looked = known.made != 0 && known.made == pid;
            let looked_ns = if looked { known.ns.max(1) } else { 0 };
            stood += looked_ns;
            // Of the writer's time it gets as much as it has of the pages.
            let written_ns = u128::from(done.work_ns) * u128::from(pages(&known));
            let base = self.arena.base(leader);
            let worth = base.worth().after(Written {
                looked_ns,
                compared: known.since != 0,
                before: base.pages,
                changed: known.changed,
                unchanged: known.unchanged,
                whole: done.whole.is_some(),
                written_ns: written_ns.checked_div(u128::from(all)).unwrap_or(0) as u64,
            });
            *base = Base {
                look: if looked { known.look } else { 0 },
                image: writing.image,
                pages: pages(&known),
                page_ns: worth.page_ns,
                rest: worth.rest,
                rests: worth.rests,
            };
        }
        stood
    }

    /// Whether a checkpoint that is due of task `t` is better made of another replica than `r`, which is
    /// about to be answered: the one whose writes are watched, unless it keeps one waiting.
    pub(in crate::dispatcher) fn another_is_watched(&mut self, t: usize, r: usize) -> bool {
        let (task, donor) = (self.arena.task(t), self.arena.known(t).donor);
        // One without which there is nothing to go back to is made at once.
        let wanted = self.wanted(t);
        let may_wait = matches!(wanted, want::TIME | want::CALLS | want::ASKED)
            || wanted == want::NOT && self.cut_wants(t);
        let looks = may_wait && self.arena.base(t).worth().looks();
        let Some(durable) = &mut self.durable else { return false };
        let watched = |x: &crate::arena::Replica| donor != 0 && x.pid == donor && is_live(x);
        let all = &task.replicas[..task.n as usize];
        if !looks || watched(&task.replicas[r]) || !all.iter().any(watched) {
            return false;
        }
        if durable.waiting == 0 {
            durable.waiting = self.now;
        }
        self.now - durable.waiting < PATIENCE_NS
    }

    /// A checkpoint has been asked for.
    pub(in crate::dispatcher) fn waits_no_more(&mut self) {
        if let Some(durable) = &mut self.durable {
            durable.waiting = 0;
        }
    }

    /// Whether replica `r` of task `t` is the one whose writes are watched.
    pub(in crate::dispatcher) fn is_watched(&self, t: usize, r: usize) -> bool {
        let donor = self.arena.known(t).donor;
        donor != 0 && self.arena.task(t).replicas[r].pid == donor
    }
}
