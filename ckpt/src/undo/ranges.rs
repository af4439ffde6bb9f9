//! Which bytes of a file are known: a set of ranges.
//!
//! Invariant: ranges are in order, not empty, and do not touch. Called by the undo log.

use std::collections::BTreeMap;

/// Ranges of numbers, from start to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds everything from `from` to `to`.
    pub fn insert(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (mut from, mut to) = (from, to);
        // Those that overlap or touch become one with it.
        while let Some((start, end)) = self.0.range(..=to).next_back().map(|(s, e)| (*s, *e)) {
            if end < from {
                break;
            }
            self.0.remove(&start);
            from = from.min(start);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }

    /// What of `from` to `to` is not in the set.
    pub fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut at) = (Vec::new(), from);
        let before = self.0.range(..=from).next_back();
        let behind = self.0.range(from.saturating_add(1)..);
        for (start, end) in before.into_iter().chain(behind) {
            if *start >= to {
                break;
            }
            if at < *start {
                gaps.push((at, *start));
            }
            at = at.max(*end);
        }
        if at < to {
            gaps.push((at, to));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn it_is_a_set_of_numbers(
            steps in proptest::collection::vec((0u64..40, 0u64..12), 0..20),
            ask in (0u64..40, 0u64..20),
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (from, len) in steps {
                ranges.insert(from, from + len);
                set.extend(from..from + len);
            }
            let ends: Vec<(u64, u64)> = ranges.0.iter().map(|(s, e)| (*s, *e)).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
            let all: BTreeSet<u64> = ends.iter().flat_map(|(s, e)| *s..*e).collect();
            prop_assert_eq!(&all, &set);
            let (from, to) = (ask.0, ask.0 + ask.1);
            let gaps: Vec<u64> = ranges.missing(from, to).iter().flat_map(|(s, e)| *s..*e).collect();
            let wanted: Vec<u64> = (from..to).filter(|n| !set.contains(n)).collect();
            prop_assert_eq!(gaps, wanted);
        }
    }
}
