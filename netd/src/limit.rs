//! How often something may happen that others can bring about: a line in the log, a wrong token.
//!
//! Invariant: pure; time comes in. At most so many at once, and one more for each interval that
//! passes; what was left out is counted. Used by `log` and `authority`.

use std::time::{Duration, Instant};

/// A bucket of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    most: u32,
    each: Duration,
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Limit {
    /// So many at once, and one more for each interval.
    pub const fn new(most: u32, each: Duration, now: Instant) -> Self {
        Self { most, each, left: most, since: now, left_out: 0 }
    }

    /// Whether it may happen now; if so, how often it did not since it last did.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.since);
        let more =
            (passed.as_nanos() / self.each.as_nanos().max(1)).min(u128::from(u32::MAX)) as u32;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.most);
            self.since = if self.left == self.most { now } else { self.since + self.each * more };
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut limit = Limit::new(3, Duration::from_secs(10), start);
        let taken = (0..100).filter(|_| limit.take(start).is_some()).count();
        assert_eq!(taken, 3);
        assert_eq!(limit.take(start + Duration::from_secs(9)), None);
        assert_eq!(limit.take(start + Duration::from_secs(10)), Some(98));
        assert_eq!(limit.take(start + Duration::from_secs(11)), None);
        let later = start + Duration::from_secs(1000);
        assert_eq!((0..100).filter(|_| limit.take(later).is_some()).count(), 3);
    }
}
