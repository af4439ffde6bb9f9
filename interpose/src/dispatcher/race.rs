//! Telling a divergence that may be a race of the program's own from one that may not.
//!
//! Invariant: in one order for all replicas a race has one outcome, so that nothing is said of it; it is
//! only where memory was changed outside of that order.

use chameleon_proto::event::{Event, Race, ThreadOrder, ThreadTurn};

use super::Dispatcher;

/// Turns of each replica that are told.
const TURNS: u64 = 8;

impl Dispatcher {
    /// The replicas of task `t` differ at call `seq`: says once for its process if that may be a race.
    pub(super) fn say_race(&mut self, t: usize, seq: u64) {
        let process = self.arena.task(t).tgid;
        let others = self.outside_its_order(t);
        let unvoted = self.group_of(t).is_some_and(|g| self.arena.group(g).unvoted != 0);
        let apart = self.arena.task(t).apart != 0;
        let raced = unvoted || apart || !others.is_empty();
        if !raced || !self.settings.injections.is_empty() || self.races_told.contains(&process) {
            return;
        }
        self.races_told.push(process);
        let e = *self.arena.entry(t, seq);
        let call = if e.open != 0 && e.seq == seq { self.call_name(e.nr, &e.args) } else { "" };
        let orders = (0..usize::from(self.seats)).map(|r| self.last_turns(t, r)).collect();
        let program = self.name(t);
        let call = call.into();
        self.report.say(Event::Race(Race { process, program, seq: seq + 1, call, others, orders }));
    }

    /// The processes that share memory with a task and are not scheduled together with it.
    fn outside_its_order(&self, t: usize) -> Vec<u32> {
        let own = self.arena.task(t);
        let all = (0..self.tasks()).filter(|o| {
            let x = self.arena.task(*o);
            let shares = own.shares != 0 && x.shares == own.shares && x.leader != own.leader;
            x.used == 2
                && x.leader as usize == *o
                && shares
                && (x.group == 0 || x.group != own.group)
        });
        all.map(|o| self.arena.task(o).tgid).collect()
    }

    /// What ran last in replica `r` of a task's group; of a task alone, its own last answer.
    fn last_turns(&self, t: usize, r: usize) -> ThreadOrder {
        let replica = r as u8;
        let Some(g) = self.group_of(t) else {
            let task = self.arena.task(t);
            let turn = ThreadTurn { thread: task.tid, seq: task.replicas[r].seq };
            return ThreadOrder { replica, turns: vec![turn] };
        };
        let passed = self.arena.group(g).passed[r];
        let turns = (passed.saturating_sub(TURNS)..passed).map(|item| {
            let turn = *self.arena.log(g, item);
            ThreadTurn { thread: self.arena.task(turn.task as usize).tid, seq: turn.seq + 1 }
        });
        ThreadOrder { replica, turns: turns.collect() }
    }
}
