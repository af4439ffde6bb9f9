//! Whether an ARMOR that is there still answers.
//!
//! Invariant: pure; time comes in. The interface is what a daemon needs of a failure detector, so another
//! can take this one's place. Used by `armors`.

use std::fmt;
use std::time::{Duration, Instant};

/// A detector of hangs.
pub trait Liveness: fmt::Debug {
    /// When it next wants to be asked.
    fn due(&self) -> Instant;
    /// What is to be done now.
    fn turn(&mut self, now: Instant) -> Turn;
    /// An answer came.
    fn answered(&mut self, nonce: u64, now: Instant);
    /// Another interval and number of misses from here on.
    fn set(&mut self, interval: Duration, misses: u32);
}

/// What a detector wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing yet.
    Wait,
    /// Send a ping with this number.
    Ping(u64),
    /// It hangs.
    Hang,
}

/// So many pings in a row without any answer are a hang.
#[derive(Debug)]
pub struct Misses {
    interval: Duration,
    misses: u32,
    missed: u32,
    nonce: u64,
    due: Instant,
}

impl Misses {
    /// Pings from now on.
    pub fn new(interval: Duration, misses: u32, now: Instant) -> Self {
        Self { interval, misses, missed: 0, nonce: 0, due: now + interval }
    }
}

impl Liveness for Misses {
    fn due(&self) -> Instant {
        self.due
    }

    fn turn(&mut self, now: Instant) -> Turn {
        if now < self.due {
            return Turn::Wait;
        }
        if self.missed >= self.misses {
            return Turn::Hang;
        }
        self.missed += 1;
        self.nonce += 1;
        // A daemon that was itself held up has not waited for an answer in the meantime.
        self.due = now + self.interval;
        Turn::Ping(self.nonce)
    }

    fn answered(&mut self, nonce: u64, _now: Instant) {
        // Any of those that are waited for: an ARMOR that is slow is not one that hangs.
        if nonce <= self.nonce && nonce + u64::from(self.missed) > self.nonce {
            self.missed = 0;
        }
    }

    fn set(&mut self, interval: Duration, misses: u32) {
        (self.interval, self.misses) = (interval, misses.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hangs_after_so_many_misses_and_not_if_it_answers() {
        let start = Instant::now();
        let step = Duration::from_millis(500);
        let mut detector = Misses::new(step, 3, start);
        assert_eq!(detector.turn(start), Turn::Wait);
        assert_eq!(detector.turn(start + step), Turn::Ping(1));
        assert_eq!(detector.turn(start + 2 * step), Turn::Ping(2));
        detector.answered(1, start + 2 * step);
        for (n, turn) in
            [(3, Turn::Ping(3)), (4, Turn::Ping(4)), (5, Turn::Ping(5)), (6, Turn::Hang)]
        {
            assert_eq!(detector.turn(start + n * step), turn);
        }
        detector.answered(99, start);
        assert_eq!(detector.turn(start + 7 * step), Turn::Hang, "a number that was never sent");
    }
}
