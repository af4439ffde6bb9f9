//! What the ARMOR's blocks set and ask between two turns of the dispatcher.
//!
//! Invariant: whatever is set is kept in the arena, so that a successor goes on with it; nothing
//! here has an effect on calls that are decided already.

use std::time::Duration;

use chameleon_policy::checkpoint::Cadence;
use chameleon_policy::mode::Mode;
use chameleon_policy::timeout::VotingTimeout;

use super::{Dispatcher, Turn};
use crate::arena::{DATA_LEN, ENTRIES, commit};

/// The longest queue of decided calls that the rings have room for.
const MOST_CALLS: u32 = ENTRIES as u32 - 2;

impl Dispatcher {
    /// Turns until the program has ended or the control descriptor has something.
    pub fn run(&mut self) -> Turn {
        loop {
            match self.turn() {
                Turn::Continue => {
                    if let Some(turn) = self.has_answer() {
                        return turn;
                    }
                }
                other => return other,
            }
        }
    }

    /// Calls decided so far.
    pub fn calls(&self) -> u64 {
        self.arena.header().calls
    }

    /// The mode that ballots are counted in.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// How long a late replica is waited for now.
    pub fn timeout(&self) -> Duration {
        self.timeout.current()
    }

    /// How far a replica may be behind: calls, bytes of results.
    pub fn slack(&self) -> (u32, u64) {
        (self.lag_calls, self.lag_bytes)
    }

    /// Waits `user` for a late replica, before any tuning.
    pub fn set_timeout(&mut self, user: Duration) {
        self.settings.timeout = user;
        self.timeout = VotingTimeout::new(user);
        self.arena.header().told_timeout =
            u64::try_from(user.as_nanos()).unwrap_or(u64::MAX).max(1);
    }

    /// How often checkpoints are taken, if they are.
    pub fn cadence(&self) -> Option<Cadence> {
        self.settings.checkpoints.map(|c| c.cadence)
    }

    /// Takes checkpoints so often from now on; the next is due so long after the last one.
    ///
    /// # Errors
    /// It takes none, in plain words.
    pub fn set_cadence(&mut self, cadence: Cadence) -> Result<(), &'static str> {
        let Some(checkpoints) = &mut self.settings.checkpoints else {
            return Err(super::asked::NO_CHECKPOINTS);
        };
        checkpoints.cadence = cadence;
        let every = cadence.every.map_or(0, |every| every.as_nanos());
        let h = self.arena.header();
        h.told_every = u64::try_from(every).unwrap_or(u64::MAX);
        h.told_calls = cadence.calls.unwrap_or(0);
        commit();
        h.told_cadence = 1;
        Ok(())
    }

    /// Lets a replica be at most `calls` decided calls and `bytes` of their data behind; 0 calls
    /// means that all replicas meet at every call. Cut to what there is room for.
    pub fn set_slack(&mut self, calls: u32, bytes: u64) {
        self.lag_calls = calls.min(MOST_CALLS);
        self.lag_bytes = bytes.min(DATA_LEN as u64);
        let h = self.arena.header();
        h.told_lag_calls = 1 + self.lag_calls;
        h.told_lag_bytes = self.lag_bytes;
    }

    /// Ends the program and everything of it: its status is Chameleon's, 125.
    pub fn shut_down(&mut self) {
        self.give_up();
    }

    /// What a predecessor was told.
    pub(super) fn recall(&mut self) {
        let h = *self.arena.header();
        self.recall_mode();
        if h.told_timeout != 0 {
            self.settings.timeout = Duration::from_nanos(h.told_timeout);
            self.timeout = VotingTimeout::new(self.settings.timeout);
        }
        if let (Some(checkpoints), true) = (&mut self.settings.checkpoints, h.told_cadence != 0) {
            checkpoints.cadence = Cadence {
                every: (h.told_every != 0).then_some(Duration::from_nanos(h.told_every)),
                calls: (h.told_calls != 0).then_some(h.told_calls),
            };
        }
        (self.lag_calls, self.lag_bytes) = match h.told_lag_calls {
            0 => (MOST_CALLS, DATA_LEN as u64),
            told => (told - 1, h.told_lag_bytes),
        };
    }

    /// Whether the slowest replica is as far behind as it may be.
    pub(super) fn is_too_far_behind(&self, t: usize) -> bool {
        let task = self.arena.task(t);
        if task.slowest >= task.head {
            return false;
        }
        let calls = task.head - task.slowest;
        let bytes = task.data_head.saturating_sub(self.arena.entry(t, task.slowest).data);
        calls >= u64::from(self.lag_calls.max(1)) || bytes > self.lag_bytes
    }
}
