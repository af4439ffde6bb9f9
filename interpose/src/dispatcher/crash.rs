//! A replica of a process crashes whose memory others go on with: whether that is the program's own crash.
//!
//! With a replica that is lost those of its number in the other processes are, too; but if the
//! program itself crashes they are right, and the only ones that have what it wrote before. So they stand
//! until it is known.
//!
//! Invariant: a crash is open while `died_by` is set and the group counts the replica as crashed; no turn
//! is taken in it then.

use chameleon_policy::crash::{self, Crash};
use chameleon_proto::event::Reason;

use super::Dispatcher;
use crate::arena::{Replica, is_live, rstate};

impl Dispatcher {
    /// Whether other processes go on with a task's memory.
    pub(super) fn has_heirs(&self, t: usize) -> bool {
        let Some(g) = self.group_of(t) else { return false };
        let leader = self.arena.task(t).leader;
        self.members(g).any(|o| self.arena.task(o).used == 2 && self.arena.task(o).leader != leader)
    }

    /// Replica `r` of a process has crashed in task `t`, and has heirs: all its threads are dead. The one
    /// that ran.
    pub(super) fn process_died(&mut self, t: usize, r: usize) -> usize {
        let Some(g) = self.group_of(t) else { return t };
        let leader = self.arena.task(t).leader;
        let own: Vec<usize> =
            self.members(g).filter(|o| self.arena.task(*o).leader == leader).collect();
        self.are_dead(t, r, &own)
    }

    /// After a takeover: the same for crashes that a predecessor had begun to record. Of one that it
    /// had not, the death is still to be taken.
    pub(super) fn settle_crash(&mut self, g: usize, r: usize) {
        let begun = self.arena.group(g).crashed & (1 << r) != 0;
        let died = |t: &usize| begun && self.arena.task(*t).replicas[r].died_by != 0;
        let t = self.members(g).find(died);
        if let Some(t) = t {
            self.process_died(t, r);
        }
    }

    /// The replicas of a task that have crashed while it is not known what that was.
    pub(super) fn open_crashes(&self, t: usize) -> u32 {
        let Some(g) = self.group_of(t) else { return 0 };
        let (task, crashed) = (self.arena.task(t), self.arena.group(g).crashed);
        if crashed == 0 {
            return 0;
        }
        let own = |r: &usize| {
            let x = &task.replicas[*r];
            crashed & (1 << r) != 0 && x.state == rstate::DEAD && x.died_by != 0
        };
        (0..task.n as usize).filter(own).fold(0, |all, r| all | 1 << r)
    }

    /// Says what is to be said of crashes of a task's replicas. False as long as others have to come before
    /// that, or if the process ends of it.
    pub(super) fn crash_is_judged(&mut self, t: usize) -> bool {
        let open = self.open_crashes(t);
        if open == 0 {
            return true;
        }
        let task = self.arena.task(t);
        if task.used != 2 || task.dying != 0 {
            return false;
        }
        let replicas = task.replicas;
        let first = replicas[open.trailing_zeros() as usize];
        let those = |is: &dyn Fn(u32, &Replica) -> bool| {
            let all = replicas[..task.n as usize].iter().enumerate();
            all.filter(|(r, x)| is(1 << r, x)).fold(0u32, |all, (r, _)| all | 1 << r)
        };
        let died =
            those(&|bit, x| open & bit != 0 && x.died_by == first.died_by && x.seq == first.seq);
        let called = |x: &Replica| x.state == rstate::PARKED && x.seq == first.seq;
        let went_on = those(&|_, x| is_live(x) && (x.seq > first.seq || called(x)));
        let coming = those(&|bit, x| is_live(x) && went_on & bit == 0);
        match crash::judge(died, went_on, coming, self.votes_of(t).k) {
            _ if task.head > first.seq => self.crashes_are_faults(t, died),
            Crash::Fault => self.crashes_are_faults(t, died),
            Crash::Wait => {
                self.behind = true;
                false
            }
            Crash::Last => self.wait_for_all(t),
            Crash::Own => {
                self.are_faults(t, open & !died);
                for r in (0..u32::BITS as usize).filter(|r| went_on & (1 << r) != 0) {
                    self.lose(t, r, Reason::Divergence);
                }
                self.program_crashed(t, first.died_by);
                false
            }
        }
    }

    /// The same once these are known to be faults. The others may have crashed otherwise.
    fn crashes_are_faults(&mut self, t: usize, died: u32) -> bool {
        self.are_faults(t, died);
        if self.masks(t).0 == 0 && self.open_crashes(t) == 0 {
            self.majority_lost(t, died.count_ones() as u8);
            return false;
        }
        self.crash_is_judged(t)
    }

    /// Replicas that crashed by a fault are lost, and with them those of the other processes.
    fn are_faults(&mut self, t: usize, died: u32) {
        for r in (0..u32::BITS as usize).filter(|r| died & (1 << r) != 0) {
            let signal = std::mem::take(&mut self.arena.task(t).replicas[r].died_by);
            self.group_lost(t, r);
            self.say_outvoted(t, r, Reason::Crash, Some(signal as u8));
        }
    }

    /// A process ends: whatever its replicas crashed of, those of its heirs go on.
    pub(super) fn crash_is_past(&mut self, leader: usize) {
        for t in 0..self.tasks() {
            let task = self.arena.task(t);
            if task.used != 0
                && task.leader as usize == leader
                && let Some(g) = self.group_of(t)
            {
                self.arena.group(g).crashed &= !self.open_crashes(t);
            }
        }
    }
}
