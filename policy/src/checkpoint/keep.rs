//! Which checkpoints are kept: the oldest, the newest, and between them ever fewer with their age.
//!
//! ```text
//!  calls   0 ···································· 1921 ············ 1981 ······ 1999
//!          the beginning                                                      the newest
//! ```
//!
//! How long a fault has been in memory before it shows is not known; so what can be gone back to reaches from
//! the last moment to the beginning, the gaps in proportion to the age.
//!
//! Invariant: pure. The oldest stays (what ends it is a journal or a memory that is full, or a call that
//! cannot be repeated), and the newest is only replaced if it stands close before the next one.

/// A checkpoint that is to be made next stands before call `next`: which of those that are there (their
/// calls, the oldest first) gives way to it, by its place in the list. 0 of a list of one.
///
/// It is the one whose loss leaves the least wide gap: none is then much more often as old as the next one
/// than has to be.
pub fn gives_way(calls: &[u64], next: u64) -> usize {
    let age = |call: u64| u128::from(next.saturating_sub(call)) + 1;
    // The widest gap, as the fraction of the ages at its ends.
    let widest = |without: usize| {
        let left = calls.iter().enumerate().filter(|(i, _)| *i != without).map(|(_, call)| *call);
        let (mut newer, mut widest) = (next, (1, 1));
        for call in left.rev() {
            let gap = (age(call), age(newer));
            if gap.0.saturating_mul(widest.1) > gap.1.saturating_mul(widest.0) {
                widest = gap;
            }
            newer = call;
        }
        widest
    };
    let gaps = (1..calls.len()).map(|i| (i, widest(i)));
    let least = gaps.min_by(|(_, a), (_, b)| a.0.saturating_mul(b.1).cmp(&b.0.saturating_mul(a.1)));
    least.map_or(0, |(i, _)| i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The calls of what is kept after checkpoints at these, at so many places.
    fn kept(all: impl IntoIterator<Item = u64>, places: usize) -> Vec<u64> {
        let mut kept = Vec::new();
        for call in all {
            if kept.len() == places {
                kept.remove(gives_way(&kept, call));
            }
            kept.push(call);
        }
        kept
    }

    #[test]
    fn ever_further_apart() {
        assert_eq!(kept(0..2000, 4), [0, 1921, 1981, 1999]);
        assert_eq!(kept(0..2000, 7), [0, 1456, 1877, 1944, 1982, 1994, 1999]);
        assert_eq!(kept(0..100, 2), [0, 99]);
        assert_eq!(kept(0..100, 1), [99]);
    }

    /// Those of one that computes without a call.
    #[test]
    fn at_one_call() {
        assert_eq!(kept([0, 7, 7, 7, 7, 7], 4), [0, 7, 7, 7]);
    }

    proptest! {
        #[test]
        fn the_first_and_the_last_stay(steps in prop::collection::vec(0u64..1000, 1..200), places in 2usize..8) {
            let mut at = 0;
            let all: Vec<u64> = steps.iter().map(|step| { at += step; at }).collect();
            let kept = kept(all.iter().copied(), places);
            prop_assert_eq!(kept.len(), all.len().min(places));
            prop_assert_eq!((kept.first(), kept.last()), (all.first(), all.last()));
            prop_assert!(kept.is_sorted());
        }

        /// With so many places no better than this could be done but by a factor: each is at most so many
        /// times as old as the next.
        #[test]
        fn ages_are_in_proportion(calls in 10u64..2000, places in 4usize..8) {
            let kept = kept(0..calls, places);
            let age = |call: u64| (calls - call) as f64;
            let best = (calls as f64).powf(1.0 / (places - 1) as f64);
            for pair in kept.windows(2) {
                let ratio = age(pair[0]) / age(pair[1]);
                prop_assert!(ratio <= 5.0 * best + 2.0, "{:?}: {} and {}", kept, ratio, best);
            }
        }

        #[test]
        fn any_numbers(calls in prop::collection::vec(any::<u64>(), 1..8), next: u64) {
            prop_assert!(gives_way(&calls, next) < calls.len());
        }
    }
}
