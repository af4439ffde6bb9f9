//! Who is there: heartbeats to nodes, pings to ARMORs (paper 4.2.1, 4.3).
//!
//! ```text
//!                 answers                    does not answer the last
//!   unknown ───────────────────► alive ◄─────────────────────────────► suspect
//!      │                           ▲            answers               │
//!      │ so many missed            │ answers the last one in time     │ so many missed in a row
//!      └───────────► down ─────────┘◄─────────────────────────────────┘
//! ```
//!
//! Invariant: something is down only if it left as many heartbeats in a row without an answer as the
//! settings say, each for a whole interval in which this detector itself was awake; so one that is slow
//! is suspected, not declared down, until it is slower than that. A heartbeat costs the same
//! however many are watched: the next one due is the first of a heap. Time comes in, in nanoseconds of a
//! clock that does not go back; what is to be done goes out. Used by the heartbeat blocks for nodes,
//! by the daemon for its ARMORs, by the Backup FTM for the FTM.

pub mod doubt;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// When something is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two heartbeats.
    pub interval: Duration,
    /// Heartbeats in a row without an answer.
    pub misses: u32,
}

/// What is known of one that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not answered yet.
    Unknown,
    /// It answers.
    Alive,
    /// It left heartbeats without an answer, fewer than make it down.
    Suspect,
    /// It is down.
    Down,
}

/// What is to be done, or has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<K> {
    /// Send it a heartbeat of this number.
    Send(K, u64),
    /// It is suspected: so many were missed.
    Suspect(K, u32),
    /// It is down: so many were missed.
    Down(K, u32),
    /// It answers: for the first time, or after it was suspected or down.
    Alive(K, State),
}

/// Why an answer says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Who answers is not watched.
    Stranger,
    /// This heartbeat, or a later one, was answered already.
    Duplicate,
    /// No such heartbeat was sent: it is from another life of the detector, or made up.
    NeverSent,
}

#[derive(Clone, Copy, Debug)]
struct Watch<K> {
    key: K,
    state: State,
    missed: u32,
    sent: u64,
    answered: u64,
    /// What is in the heap under another number is of one that was watched before.
    turn: u64,
    due_ns: u64,
}

/// Watches what is named by a `K`.
#[derive(Clone, Debug)]
pub struct Detector<K> {
    settings: Settings,
    base: u64,
    /// The highest number that one had who was forgotten: an answer to it is not one to its successor.
    used: u64,
    turns: u64,
    at: HashMap<K, usize>,
    watches: Vec<Option<Watch<K>>>,
    free: Vec<usize>,
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
}

impl Default for Settings {
    /// 200 ms, three times.
    fn default() -> Self {
        Self { interval: Duration::from_millis(200), misses: 3 }
    }
}

impl Settings {
    /// How long it takes at most until something is known to be down.
    pub fn detection(&self) -> Duration {
        self.interval.saturating_mul(self.misses.saturating_add(1))
    }

    fn interval_ns(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

impl<K: Copy + Eq + Hash> Detector<K> {
    /// A detector that watches nothing yet. Its heartbeats are numbered from `base + 1`: a detector
    /// that was started again is given a base that its former life did not reach (its incarnation in
    /// the upper half), so that answers to that life are known.
    pub fn new(settings: Settings, base: u64) -> Self {
        Self {
            settings,
            base,
            used: base,
            turns: 0,
            at: HashMap::new(),
            watches: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
        }
    }

    /// The settings.
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// Other settings from now on. Who is down stays down; the next heartbeat of each is due as it was
    /// or after the new interval, whichever is sooner.
    pub fn set(&mut self, settings: Settings, now_ns: u64) {
        self.settings = settings;
        let latest = now_ns.saturating_add(settings.interval_ns());
        for index in 0..self.watches.len() {
            if self.watches[index].is_some_and(|watch| watch.due_ns > latest) {
                self.schedule(index, latest);
            }
        }
    }

    /// Begins to watch; the first heartbeat is due within an interval, spread so that a thousand are
    /// not sent at once. One that is watched already stays as it is.
    pub fn watch(&mut self, key: K, now_ns: u64) {
        if self.at.contains_key(&key) {
            return;
        }
        let watch = Watch {
            key,
            state: State::Unknown,
            missed: 0,
            sent: self.used,
            answered: self.used,
            turn: 0,
            due_ns: now_ns,
        };
        let index = self.free.pop().unwrap_or(self.watches.len());
        match self.watches.get_mut(index) {
            Some(slot) => *slot = Some(watch),
            None => self.watches.push(Some(watch)),
        }
        self.at.insert(key, index);
        // The first one at once; in steps of the golden ratio no two are ever close together.
        let part = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let offset = (u128::from(self.settings.interval_ns()) * u128::from(part)) >> 32;
        self.schedule(index, now_ns.saturating_add(offset as u64));
    }

    /// Watches no longer.
    pub fn forget(&mut self, key: K) {
        if let Some(index) = self.at.remove(&key) {
            let sent = self.watches[index].take().map_or(0, |watch| watch.sent);
            self.used = self.used.max(sent);
            self.free.push(index);
            self.clean();
        }
    }

    /// Watches as if it had never been watched.
    pub fn anew(&mut self, key: K, now_ns: u64) {
        self.forget(key);
        self.watch(key, now_ns);
    }

    /// What is known of one; nothing if it is not watched.
    pub fn state(&self, key: K) -> Option<State> {
        Some(self.watches[*self.at.get(&key)?].as_ref()?.state)
    }

    /// How many are watched.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether none is watched.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// When [`Detector::tick`] has something to do; nothing if never.
    pub fn next_ns(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    /// Does what is due at `now_ns`, appending to `actions`.
    pub fn tick(&mut self, now_ns: u64, actions: &mut Vec<Action<K>>) {
        let interval = self.settings.interval_ns();
        while let Some(&Reverse((due, index, turn))) = self.due.peek() {
            if due > now_ns {
                return;
            }
            self.due.pop();
            let Some(watch) = self.watches[index].as_mut().filter(|watch| watch.turn == turn)
            else {
                continue;
            };
            // A detector that slept has not read the answers either that came meanwhile.
            let slept = now_ns - due >= interval;
            if watch.sent > watch.answered && !slept {
                watch.missed = watch.missed.saturating_add(1);
                if watch.state != State::Down && watch.missed >= self.settings.misses {
                    watch.state = State::Down;
                    actions.push(Action::Down(watch.key, watch.missed));
                } else if watch.state == State::Alive {
                    watch.state = State::Suspect;
                    actions.push(Action::Suspect(watch.key, watch.missed));
                }
            }
            watch.sent += 1;
            actions.push(Action::Send(watch.key, watch.sent));
            self.schedule(index, now_ns.saturating_add(interval));
        }
    }

    /// An answer to heartbeat `sequence` came; what has changed by it, if anything has.
    ///
    /// # Errors
    /// [`Ignored`]: it says nothing.
    pub fn answered(&mut self, key: K, sequence: u64) -> Result<Option<Action<K>>, Ignored> {
        let index = self.at.get(&key).ok_or(Ignored::Stranger)?;
        let watch = self.watches[*index].as_mut().ok_or(Ignored::Stranger)?;
        if sequence > watch.sent || sequence <= self.base {
            return Err(Ignored::NeverSent);
        }
        if sequence <= watch.answered {
            return Err(Ignored::Duplicate);
        }
        watch.answered = sequence;
        // The last one sent is not overdue yet; those between it and this one are.
        let overdue = u32::try_from(watch.sent - sequence).unwrap_or(u32::MAX).saturating_sub(1);
        watch.missed = watch.missed.min(overdue);
        // One that is down and answers too late each time would come back to go down again.
        let alive =
            if watch.state == State::Down { sequence == watch.sent } else { watch.missed == 0 };
        if !alive || watch.state == State::Alive {
            return Ok(None);
        }
        let before = std::mem::replace(&mut watch.state, State::Alive);
        Ok(Some(Action::Alive(key, before)))
    }

    fn schedule(&mut self, index: usize, due_ns: u64) {
        self.turns += 1;
        let turn = self.turns;
        if let Some(watch) = self.watches[index].as_mut() {
            (watch.due_ns, watch.turn) = (due_ns, turn);
            self.due.push(Reverse((due_ns, index, turn)));
        }
        self.clean();
    }

    /// Entries of the heap that mean nothing any more are dropped where they would be in the way: at its
    /// top, and everywhere when they are the most of it.
    fn clean(&mut self) {
        let watches = &self.watches;
        let valid = |entry: &Reverse<(u64, usize, u64)>| {
            let Reverse((_, index, turn)) = entry;
            watches[*index].as_ref().is_some_and(|watch| watch.turn == *turn)
        };
        while self.due.peek().is_some_and(|entry| !valid(entry)) {
            self.due.pop();
        }
        if self.due.len() > 2 * self.at.len() + 64 {
            self.due.retain(valid);
        }
    }
}

#[cfg(test)]
mod tests;
