//! The vote: from equality classes of ballots to a decision.
//!
//! Invariant: once decided, a call stays decided the same way however the rest arrives. That holds
//! for any `k` that is a majority; and for `k` = 1 because classes are numbered in order of
//! arrival and the lowest one that has enough wins. Called by the voter for every ballot: no
//! allocation. Paper 4.2.4.

pub mod results;
pub mod scheme;

/// The class of a replica that has not cast a ballot.
pub const MISSING: u8 = 255;

/// Where a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More ballots are needed.
    Wait,
    /// `k` ballots are equal.
    Decided {
        /// The class that won.
        class: u8,
        /// Mask of the replicas whose ballots are in and differ from it.
        losers: u16,
    },
    /// No class can reach `k` any more, even if all that are still missing joined it.
    Lost {
        /// The class with the most ballots, the lowest of them if there are several;
        /// [`MISSING`] if there is no ballot at all.
        best: u8,
        /// How many ballots it has.
        votes: u8,
    },
}

/// Counts the ballots of one call.
///
/// `classes[i]` is the equality class of replica `i`'s ballot: 0 for the first ballot that
/// arrived, for each later one the class of an equal ballot or else the next unused number;
/// [`MISSING`] where none has arrived. `live` has a bit for every replica that may still vote; a
/// ballot that is in counts even if its replica died since. At most 16 replicas and classes 0 to
/// 15; a class beyond that supports nothing.
pub fn tally(classes: &[u8], live: u16, k: u8) -> Verdict {
    let mut votes = [0u8; 16];
    let mut missing = 0u8;
    for (replica, &class) in classes.iter().enumerate().take(16) {
        if let Some(count) = votes.get_mut(usize::from(class)) {
            *count += 1;
        } else if class == MISSING && live & (1 << replica) != 0 {
            missing += 1;
        }
    }
    let mut best = MISSING;
    let mut most = 0;
    for (class, &count) in votes.iter().enumerate() {
        if count > 0 && count >= k {
            let class = class as u8;
            return Verdict::Decided { class, losers: others(classes, class) };
        }
        if count > most {
            (best, most) = (class as u8, count);
        }
    }
    if most + missing >= k.max(1) { Verdict::Wait } else { Verdict::Lost { best, votes: most } }
}

/// Mask of the replicas whose ballots are in and not of `class`.
fn others(classes: &[u8], class: u8) -> u16 {
    let mut mask = 0;
    for (replica, &other) in classes.iter().enumerate().take(16) {
        if other != class && other != MISSING {
            mask |= 1 << replica;
        }
    }
    mask
}

/// What a ballot means that comes after its call was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It is equal to what was decided.
    Agrees,
    /// It differs, and its replica loses.
    Outvoted,
    /// It differs, but one ballot against one does not say who is right: report, do not blame
    /// (mode `dual-first`).
    Reported,
}

/// Judges a ballot that came after the decision; `equal` says whether it is equal to it, `first`
/// whether the mode lets the first ballot decide.
pub const fn late(equal: bool, first: bool) -> Late {
    match (equal, first) {
        (true, _) => Late::Agrees,
        (false, true) => Late::Reported,
        (false, false) => Late::Outvoted,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mode::Mode;

    #[test]
    fn two_of_three() {
        assert_eq!(tally(&[0, 255, 255], 0b111, 2), Verdict::Wait);
        assert_eq!(tally(&[0, 255, 0], 0b111, 2), Verdict::Decided { class: 0, losers: 0 });
        assert_eq!(tally(&[0, 1, 255], 0b111, 2), Verdict::Wait);
        assert_eq!(tally(&[0, 1, 1], 0b111, 2), Verdict::Decided { class: 1, losers: 0b001 });
        assert_eq!(tally(&[0, 1, 2], 0b111, 2), Verdict::Lost { best: 0, votes: 1 });
        assert_eq!(tally(&[0, 1, 255], 0b011, 2), Verdict::Lost { best: 0, votes: 1 });
        assert_eq!(tally(&[255; 3], 0b001, 2), Verdict::Lost { best: MISSING, votes: 0 });
    }

    #[test]
    fn dual_first_stands_by_the_first_ballot() {
        let k = Mode::DUAL_FIRST.k;
        assert_eq!(tally(&[255, 0], 0b11, k), Verdict::Decided { class: 0, losers: 0 });
        assert_eq!(tally(&[1, 0], 0b11, k), Verdict::Decided { class: 0, losers: 0b01 });
        assert_eq!(late(false, Mode::DUAL_FIRST.first), Late::Reported);
        assert_eq!(late(false, Mode::TMR.first), Late::Outvoted);
        assert_eq!(late(true, true), Late::Agrees);
    }

    #[test]
    fn a_ballot_counts_after_its_replica_died() {
        assert_eq!(tally(&[0, 0, 255], 0b100, 2), Verdict::Decided { class: 0, losers: 0 });
    }

    /// A mode, the content of each replica's ballot, and an order of arrival.
    fn case() -> impl Strategy<Value = (u8, Vec<u8>, Vec<usize>)> {
        (1u8..=15).prop_flat_map(|n| {
            let order: Vec<usize> = (0..usize::from(n)).collect();
            (
                n / 2 + 1..=n,
                prop::collection::vec(0u8..4, usize::from(n)),
                Just(order).prop_shuffle(),
            )
        })
    }

    /// Lets the ballots arrive in order, numbering classes as they come; returns every verdict
    /// with the content that was decided, if any.
    fn arrive(k: u8, ballots: &[u8], order: &[usize]) -> Vec<(Verdict, Option<u8>)> {
        let live = Mode::nmr(k.into(), ballots.len() as u64).unwrap().all();
        let mut classes = vec![MISSING; ballots.len()];
        let mut contents: Vec<u8> = Vec::new();
        let mut verdicts = Vec::new();
        for &replica in order {
            let known = contents.iter().position(|content| *content == ballots[replica]);
            let class = known.unwrap_or_else(|| {
                contents.push(ballots[replica]);
                contents.len() - 1
            });
            classes[replica] = class as u8;
            let verdict = tally(&classes, live, k);
            let content = match verdict {
                Verdict::Decided { class, .. } => Some(contents[usize::from(class)]),
                _ => None,
            };
            verdicts.push((verdict, content));
        }
        verdicts
    }

    proptest! {
        #[test]
        fn a_decision_has_k_equal_ballots_and_blames_the_others((k, ballots, order) in case()) {
            let (verdict, content) = *arrive(k, &ballots, &order).last().unwrap();
            let count = |wanted| ballots.iter().filter(|ballot| **ballot == wanted).count();
            if let (Verdict::Decided { losers, .. }, Some(content)) = (verdict, content) {
                prop_assert!(count(content) >= usize::from(k));
                for (replica, ballot) in ballots.iter().enumerate() {
                    prop_assert_eq!(losers & (1 << replica) != 0, *ballot != content);
                }
            } else {
                let most = ballots.iter().map(|ballot| count(*ballot)).max().unwrap();
                prop_assert!(most < usize::from(k));
                prop_assert!(matches!(verdict, Verdict::Lost { votes, .. } if usize::from(votes) == most), "{verdict:?}");
            }
        }

        #[test]
        fn the_order_of_arrival_does_not_matter((k, ballots, order) in case()) {
            let straight: Vec<usize> = (0..ballots.len()).collect();
            let one = arrive(k, &ballots, &order).last().unwrap().1;
            let two = arrive(k, &ballots, &straight).last().unwrap().1;
            prop_assert_eq!(one, two);
        }

        #[test]
        fn what_is_decided_or_lost_stays_so((k, ballots, order) in case()) {
            let verdicts = arrive(k, &ballots, &order);
            for pair in verdicts.windows(2) {
                match pair[0].0 {
                    Verdict::Decided { .. } => prop_assert_eq!(pair[0].1, pair[1].1),
                    Verdict::Lost { .. } => {
                        let lost = matches!(pair[1].0, Verdict::Lost { .. });
                        prop_assert!(lost, "{:?}", pair);
                    }
                    Verdict::Wait => {}
                }
            }
        }

        #[test]
        fn the_first_of_two_stands(ballots in prop::collection::vec(0u8..3, 2), swap: bool) {
            let order: [usize; 2] = if swap { [1, 0] } else { [0, 1] };
            let mut classes = [MISSING; 2];
            classes[order[0]] = 0;
            prop_assert_eq!(tally(&classes, 0b11, 1), Verdict::Decided { class: 0, losers: 0 });
            let equal = ballots[0] == ballots[1];
            classes[order[1]] = u8::from(!equal);
            let losers = if equal { 0 } else { 1 << order[1] };
            prop_assert_eq!(tally(&classes, 0b11, 1), Verdict::Decided { class: 0, losers });
        }

        #[test]
        fn lost_means_that_no_future_decides(
            (k, ballots, order) in case(),
            arrived in 0usize..=15,
            dead: u16,
        ) {
            let n = ballots.len();
            let live = Mode::nmr(k.into(), n as u64).unwrap().all() & !dead;
            let mut classes = vec![MISSING; n];
            for &replica in order.iter().take(arrived.min(n)) {
                classes[replica] = ballots[replica];
            }
            let verdict = tally(&classes, live, k);
            // Every future is dominated by one in which all that are missing join one class.
            let possible = (0..16).any(|class| {
                let future: Vec<u8> = classes
                    .iter()
                    .enumerate()
                    .map(|(i, c)| if *c == MISSING && live & (1 << i) != 0 { class } else { *c })
                    .collect();
                matches!(tally(&future, live, k), Verdict::Decided { .. })
            });
            prop_assert_eq!(matches!(verdict, Verdict::Lost { .. }), !possible);
        }
    }
}
