//! The voting timeout: from the user's value, tuned by how unequal the replicas' speeds are.
//!
//! Invariant: never below the user's value, never above [`MOST`] times it. One per application
//! process, fed by the voter; times come in, nothing is read from a clock. Paper 4.2.4: the
//! timeout becomes the initial one times the ratio of the longest to the shortest measured time.

use std::time::Duration;

use chameleon_proto::ids::MAX_REPLICAS;

/// The largest factor by which measurements may stretch the user's value.
pub const MOST: u32 = 16;

/// Decided calls between two retunings.
pub const ROUNDS: u32 = 256;

/// Times below this say nothing about a replica's speed, only about the scheduler, and count as
/// this much.
const FLOOR_NS: u64 = 1_000_000;

/// The voting timeout of one replica set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VotingTimeout {
    user_ns: u64,
    current_ns: u64,
    rounds: u32,
    spent_ns: [u64; MAX_REPLICAS as usize],
    samples: [u32; MAX_REPLICAS as usize],
}

impl VotingTimeout {
    /// Starts from the user's value (at least 1 ns, at most 584 years).
    pub fn new(user: Duration) -> Self {
        let user_ns = nanos(user).max(1);
        Self {
            user_ns,
            current_ns: user_ns,
            rounds: 0,
            spent_ns: [0; MAX_REPLICAS as usize],
            samples: [0; MAX_REPLICAS as usize],
        }
    }

    /// Notes that `replica` needed `elapsed` from the last result to its ballot. A replica number
    /// beyond the largest is ignored.
    pub fn measure(&mut self, replica: u8, elapsed: Duration) {
        let index = usize::from(replica);
        if let (Some(spent), Some(samples)) =
            (self.spent_ns.get_mut(index), self.samples.get_mut(index))
        {
            *spent = spent.saturating_add(nanos(elapsed));
            *samples = samples.saturating_add(1);
        }
    }

    /// Notes that a call was decided; at every [`ROUNDS`]th it retunes. Returns whether it did.
    pub fn round(&mut self) -> bool {
        self.rounds += 1;
        let due = self.rounds >= ROUNDS;
        if due {
            self.retune();
        }
        due
    }

    /// Sets the timeout to the user's value times worst over best of what was measured since the
    /// last time, and starts measuring anew. Replicas that were measured in fewer than half as
    /// many calls as the busiest (a fresh repair) are left out; with fewer than two to compare,
    /// nothing changes.
    pub fn retune(&mut self) {
        let most = self.samples.iter().copied().max().unwrap_or(0);
        let mut best = u64::MAX;
        let mut worst = 0;
        let mut compared = 0;
        for (&spent, &samples) in self.spent_ns.iter().zip(&self.samples) {
            if samples == 0 || samples < most.div_ceil(2) {
                continue;
            }
            // Scaled to the same number of calls, so that a replica measured less often does not
            // look quick.
            let scaled = u128::from(spent) * u128::from(most) / u128::from(samples);
            let spent = u64::try_from(scaled).unwrap_or(u64::MAX).max(FLOOR_NS);
            best = best.min(spent);
            worst = worst.max(spent);
            compared += 1;
        }
        if compared >= 2 {
            let tuned = u128::from(self.user_ns) * u128::from(worst) / u128::from(best);
            let ceiling = self.user_ns.saturating_mul(u64::from(MOST));
            self.current_ns = u64::try_from(tuned).unwrap_or(u64::MAX).clamp(self.user_ns, ceiling);
        }
        self.rounds = 0;
        self.spent_ns = [0; MAX_REPLICAS as usize];
        self.samples = [0; MAX_REPLICAS as usize];
    }

    /// How long the voter waits for a replica after the majority has arrived.
    pub const fn current(&self) -> Duration {
        Duration::from_nanos(self.current_ns)
    }
}

/// Nanoseconds of a duration, saturating.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_papers_example() {
        let mut timeout = VotingTimeout::new(Duration::from_secs(5));
        for (replica, ms) in [1300, 1100, 2200].into_iter().enumerate() {
            timeout.measure(replica as u8, Duration::from_millis(ms));
        }
        timeout.retune();
        assert_eq!(timeout.current(), Duration::from_secs(10));
    }

    #[test]
    fn it_retunes_after_a_fixed_number_of_rounds() {
        let mut timeout = VotingTimeout::new(Duration::from_secs(1));
        for round in 1..=ROUNDS {
            timeout.measure(0, Duration::from_millis(10));
            timeout.measure(1, Duration::from_millis(30));
            assert_eq!(timeout.round(), round == ROUNDS);
        }
        assert_eq!(timeout.current(), Duration::from_secs(3));
    }

    #[test]
    fn equal_speeds_bring_it_back_to_the_users_value() {
        let user = Duration::from_secs(2);
        let mut timeout = VotingTimeout::new(user);
        timeout.measure(0, Duration::from_secs(1));
        timeout.measure(1, Duration::from_secs(4));
        timeout.retune();
        assert_eq!(timeout.current(), user * 4);
        timeout.measure(0, Duration::from_secs(1));
        timeout.measure(1, Duration::from_secs(1));
        timeout.retune();
        assert_eq!(timeout.current(), user);
    }

    #[test]
    fn noise_of_microseconds_stretches_nothing() {
        let user = Duration::from_secs(2);
        let mut timeout = VotingTimeout::new(user);
        timeout.measure(0, Duration::from_micros(1));
        timeout.measure(1, Duration::from_micros(900));
        timeout.retune();
        assert_eq!(timeout.current(), user);
    }

    #[test]
    fn a_fresh_replica_is_not_compared() {
        let user = Duration::from_secs(2);
        let mut timeout = VotingTimeout::new(user);
        for _ in 0..10 {
            timeout.measure(0, Duration::from_millis(10));
            timeout.measure(1, Duration::from_millis(20));
        }
        timeout.measure(2, Duration::from_secs(9));
        timeout.retune();
        assert_eq!(timeout.current(), user * 2);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(
            user in 0u64..,
            times in prop::collection::vec((0u8..=255, 0u64..), 0..40),
        ) {
            let user = Duration::from_nanos(user);
            let mut timeout = VotingTimeout::new(user);
            for (replica, ns) in times {
                timeout.measure(replica, Duration::from_nanos(ns));
            }
            timeout.retune();
            prop_assert!(timeout.current() >= user);
            prop_assert!(timeout.current() <= user.max(Duration::from_nanos(1)) * MOST);
        }
    }
}
