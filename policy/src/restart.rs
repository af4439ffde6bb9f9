//! Restart intensity: how often something may be started again before it is given up.
//!
//! Invariant: in any span of the period at most `most` starts were allowed. The meaning is that of
//! the Erlang/OTP supervisor's intensity and period; asked by the keeper before it starts a
//! successor ARMOR.

/// The largest intensity.
pub const MOST: usize = 32;

/// Counts restarts in a moving period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartIntensity {
    most: u8,
    used: u8,
    next: u8,
    period_ns: u64,
    allowed_at: [u64; MOST],
}

impl RestartIntensity {
    /// At most `most` restarts (cut to [`MOST`]) within any `period_ns` nanoseconds.
    pub const fn new(most: u8, period_ns: u64) -> Self {
        let most = if most as usize > MOST { MOST as u8 } else { most };
        Self { most, used: 0, next: 0, period_ns, allowed_at: [0; MOST] }
    }

    /// Whether one more restart may happen at `now_ns` (any clock that never goes back); counts
    /// it if so. A refusal is not counted.
    pub fn allow(&mut self, now_ns: u64) -> bool {
        if self.most == 0 {
            return false;
        }
        let slot = usize::from(self.next);
        // The slot to be written holds the oldest of the last `most` restarts.
        let full = self.used == self.most;
        if full && now_ns.saturating_sub(self.allowed_at[slot]) < self.period_ns {
            return false;
        }
        self.allowed_at[slot] = now_ns;
        self.next = (self.next + 1) % self.most;
        self.used = (self.used + 1).min(self.most);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_in_ten_seconds() {
        const SECOND: u64 = 1_000_000_000;
        let mut intensity = RestartIntensity::new(3, 10 * SECOND);
        assert!(intensity.allow(SECOND) && intensity.allow(2 * SECOND));
        assert!(intensity.allow(3 * SECOND));
        assert!(!intensity.allow(4 * SECOND));
        assert!(!intensity.allow(11 * SECOND - 1));
        assert!(intensity.allow(11 * SECOND));
        assert!(!intensity.allow(11 * SECOND));
        assert!(intensity.allow(12 * SECOND));
    }

    #[test]
    fn none_means_none() {
        assert!(!RestartIntensity::new(0, 1).allow(5));
    }

    proptest! {
        #[test]
        fn never_more_in_any_period_and_never_fewer_than_possible(
            most in 1u8..=40,
            period in 1u64..100,
            steps in prop::collection::vec(0u64..20, 0..200),
        ) {
            let mut intensity = RestartIntensity::new(most, period);
            let limit = usize::from(most).min(MOST);
            let mut allowed: Vec<u64> = Vec::new();
            let mut now = 0;
            for step in steps {
                now += step;
                let recent = allowed.iter().filter(|at| now - **at < period).count();
                let answer = intensity.allow(now);
                prop_assert_eq!(answer, recent < limit);
                if answer {
                    allowed.push(now);
                }
            }
        }
    }
}
