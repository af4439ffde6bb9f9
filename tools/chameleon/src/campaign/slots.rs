//! The runs that are under way.
//!
//! Invariant: a run that leaves its slot has ended, of itself or killed; dropping the slots kills
//! and reaps what is left in them.

use std::time::{Duration, Instant};

use super::events::Events;
use super::trial::{Finished, Trial};

/// Room for so many runs at once.
pub struct Slots {
    running: Vec<(Trial, Option<Instant>)>,
    room: usize,
}

impl Slots {
    /// Room for `room` runs.
    pub fn new(room: usize) -> Self {
        Self { running: Vec::with_capacity(room), room }
    }

    /// Whether another run may start.
    pub fn has_room(&self) -> bool {
        self.running.len() < self.room
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// A run that has just started and is killed when it takes longer than `limit`.
    pub fn add(&mut self, trial: Trial, limit: Duration) {
        let deadline = Instant::now().checked_add(limit);
        self.running.push((trial, deadline));
    }

    /// Waits for a run to end. `None`: interrupted, or there is none.
    pub fn next(&mut self, events: &Events) -> anyhow::Result<Option<Finished>> {
        while !self.running.is_empty() && !events.interrupted() {
            let now = Instant::now();
            for at in 0..self.running.len() {
                let (trial, deadline) = &mut self.running[at];
                let late = deadline.is_some_and(|deadline| now >= deadline);
                let status = if late {
                    trial.kill()?
                } else if let Some(status) = trial.ended()? {
                    status
                } else {
                    continue;
                };
                let (trial, _) = self.running.swap_remove(at);
                return trial.finish(status, late).map(Some);
            }
            let deadline = self.running.iter().filter_map(|(_, deadline)| *deadline).min();
            events.wait(deadline)?;
        }
        Ok(None)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for (trial, _) in &mut self.running {
            // Nothing more can be done about one that cannot be killed.
            let _ = trial.kill();
        }
    }
}
