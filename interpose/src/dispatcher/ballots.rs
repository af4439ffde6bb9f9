//! Ballots at a call: collecting the first, comparing the others with it, and telling a replica
//! that differs from one that was killed while it waited.
//!
//! Invariant: what is collected is kept with the entry; whatever else is read for a comparison is
//! given back before the call goes on.

use chameleon_sys::notify;

use super::Dispatcher;
use super::rendezvous::row_of;
use crate::arena::{commit, rstate};
use crate::ballot::{self, Difference, Gather, Trouble};

/// Bytes of the data ring that are used before it begins again when nobody is behind.
const HOT: u64 = 256 << 10;

impl Dispatcher {
    /// Replicas that stand at `seq` with the same ballot as replica `r`, itself included.
    pub(super) fn equal_at(&mut self, t: usize, r: usize, seq: u64) -> u32 {
        let n = self.arena.task(t).n as usize;
        (0..n).filter(|o| self.same_ballot(t, r, *o, seq)).fold(0, |m, o| m | 1 << o)
    }

    /// Whether two parked replicas stand at `seq` with equal ballots.
    pub(super) fn same_ballot(&mut self, t: usize, a: usize, b: usize, seq: u64) -> bool {
        let task = self.arena.task(t);
        let (first, second) = (task.replicas[a], task.replicas[b]);
        if [first, second].iter().any(|x| x.state != rstate::PARKED || x.seq != seq) {
            return false;
        }
        if a == b {
            return true;
        }
        let keep = (task.data_head, task.long_used);
        let wanted = row_of(first.nr, &first.args);
        let in_pieces = self.goes_in_pieces(t, first.nr, &first.args);
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut gather = Gather::new(self.arena, t, &first, in_pieces, &mut pieces);
        let collected = gather.all(wanted).is_ok()
            && (!self.is_armed(t, seq) || self.gather_ring(t, first.pid, &mut pieces).is_ok());
        let equal = collected
            && ballot::compare(
                self.arena,
                first.nr,
                &first.args,
                wanted.args.len(),
                &pieces,
                &second,
                &mut self.scratch,
            )
            .is_none();
        self.pieces = pieces;
        self.give_back(t, keep);
        equal
    }

    /// Gives back what was taken of the data ring and of the long area since they stood so.
    pub(super) fn give_back(&self, t: usize, (data, long): (u64, u64)) {
        self.arena.task(t).data_head = data;
        self.arena.cut_long(t, long);
    }

    /// Collects the ballot of the replica that came first.
    pub(super) fn open(&mut self, t: usize, here: u32) -> bool {
        let task = self.arena.task(t);
        let Some(r) = (0..task.n as usize)
            .filter(|r| here & (1 << r) != 0)
            .min_by_key(|r| task.replicas[*r].arrived)
        else {
            return false;
        };
        for o in 0..task.n as usize {
            task.replicas[o].class = 255;
        }
        self.open_with(t, r)
    }

    pub(super) fn open_with(&mut self, t: usize, r: usize) -> bool {
        let task = self.arena.task(t);
        let replica = task.replicas[r];
        if task.tail == task.head && task.data_head % self.arena.data_len() > HOT {
            // Nobody is behind: begin again where the processor's cache still is.
            task.data_head = task.data_head.next_multiple_of(self.arena.data_len());
        }
        let (head, start) = (task.head, task.data_head);
        self.arena.drop_long(t, head);
        let in_pieces = self.goes_in_pieces(t, replica.nr, &replica.args);
        let e = self.arena.entry(t, head);
        *e = bytemuck::Zeroable::zeroed();
        e.seq = head;
        e.nr = replica.nr;
        e.args = replica.args;
        e.data = start;
        let wanted = row_of(e.nr, &e.args);
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut gather = Gather::new(self.arena, t, &replica, in_pieces, &mut pieces);
        let outcome = gather.all(wanted);
        let long = gather.long;
        let ring = match self.is_armed(t, head) {
            true => self.gather_ring(t, replica.pid, &mut pieces),
            false => Ok(0),
        };
        // Of one that was killed while a long buffer was read, a part was read.
        if (outcome.is_err() || ring.is_err() || long)
            && !notify::is_waiting(replica.listener as i32, replica.id)
        {
            self.pieces = pieces;
            self.arena.task(t).data_head = start;
            self.arena.drop_long(t, head);
            self.vanished(t, r);
            return false;
        }
        let table = match outcome {
            Err(Trouble::Full) => None,
            _ => self.arena.keep_pieces(t, &pieces, long),
        };
        let count = pieces.len();
        self.pieces = pieces;
        let e = self.arena.entry(t, head);
        e.ring = ring.unwrap_or(0);
        let table = table.filter(|_| ring != Err(Trouble::Full));
        e.fault = match (outcome, table) {
            (Err(Trouble::Fault), Some(_)) => libc::EFAULT as u32,
            (Err(Trouble::TooLong), Some(_)) => libc::ENAMETOOLONG as u32,
            (Err(Trouble::TooMuch), Some(_)) => libc::EINVAL as u32,
            (Err(_), _) | (Ok(()), None) => {
                self.arena.task(t).data_head = start;
                self.arena.drop_long(t, head);
                if self.arena.task(t).tail < head {
                    return false; // replicas that are behind will make room
                }
                libc::ENOMEM as u32
            }
            (Ok(()), Some(_)) => 0,
        };
        if let Some(at) = table {
            (e.ins, e.ins_at) = (count as u32, at);
        }
        e.long = u32::from(long);
        e.long_end = if long { self.arena.task(t).long_used } else { 0 };
        self.arena.task(t).replicas[r].class = 0;
        commit();
        e.open = 1;
        true
    }

    /// In what the ballot of replica `r` differs from the one collected for entry `seq`.
    pub(super) fn difference(&mut self, t: usize, r: usize, seq: u64) -> Option<Difference> {
        let e = *self.arena.entry(t, seq);
        let replica = self.arena.task(t).replicas[r];
        let wanted = row_of(e.nr, &e.args);
        let pieces = self.arena.pieces(e.ins_at, e.ins);
        let used = wanted.args.len();
        let found =
            ballot::compare(self.arena, e.nr, &e.args, used, pieces, &replica, &mut self.scratch);
        if found.is_some() || e.fault == 0 {
            return found;
        }
        // What was collected ended at an address that cannot be read: so must this one.
        let keep = (self.arena.task(t).data_head, self.arena.task(t).long_used);
        let in_pieces = self.goes_in_pieces(t, replica.nr, &replica.args);
        let mut pieces = std::mem::take(&mut self.pieces);
        let outcome = Gather::new(self.arena, t, &replica, in_pieces, &mut pieces).all(wanted);
        self.pieces = pieces;
        self.give_back(t, keep);
        outcome.is_ok().then_some(Difference::Unreadable(0))
    }

    /// Whether a replica whose ballot seems to differ has in fact been killed while it waited.
    pub(super) fn has_vanished(&mut self, t: usize, r: usize, found: Option<Difference>) -> bool {
        let replica = self.arena.task(t).replicas[r];
        if found.is_none() || notify::is_waiting(replica.listener as i32, replica.id) {
            return false;
        }
        self.vanished(t, r);
        true
    }

    /// Gives each ballot at the head its equality class, numbered in the order of arrival.
    pub(super) fn classify(&mut self, t: usize, here: u32) {
        let n = self.arena.task(t).n as usize;
        for r in (0..n).filter(|r| here & (1 << r) != 0) {
            let task = self.arena.task(t);
            let replica = task.replicas[r];
            if replica.class != 255 {
                continue;
            }
            let head = task.head;
            let difference = self.difference(t, r, head);
            if self.has_vanished(t, r, difference) {
                continue;
            }
            let equal = difference.is_none();
            let class = if equal {
                0
            } else {
                let known = (0..n).find(|o| {
                    let c = self.arena.task(t).replicas[*o].class;
                    *o != r && c != 255 && c != 0 && self.same_ballot(t, *o, r, head)
                });
                match known {
                    Some(o) => self.arena.task(t).replicas[o].class,
                    None => {
                        let used = self.arena.task(t).replicas[..n].iter();
                        1 + used.filter(|x| x.class != 255).map(|x| x.class).max().unwrap_or(0)
                    }
                }
            };
            self.arena.task(t).replicas[r].class = class;
        }
    }

    /// The collected ballot lost: collects one of the class that won, which is class 0 from now
    /// on. False if none was collected.
    pub(super) fn swap_ballot(&mut self, t: usize, class: u8, classes: &[u8; 16]) -> bool {
        let Some(r) = classes.iter().position(|c| *c == class) else { return false };
        let (head, old) = (self.arena.task(t).head, *self.arena.entry(t, self.arena.task(t).head));
        self.arena.task(t).data_head = old.data;
        self.arena.entry(t, head).open = 0;
        // Replicas that come later are compared with the ballot that is kept: so they must count
        // with these.
        for (replica, old) in self.arena.task(t).replicas.iter_mut().zip(classes) {
            match *old {
                0 => replica.class = class.into(),
                c if c == class => replica.class = 0,
                _ => {}
            }
        }
        self.open_with(t, r)
    }
}
