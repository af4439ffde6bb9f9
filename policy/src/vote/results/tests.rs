use proptest::prelude::*;

use super::*;
use crate::vote::scheme::Tolerance;
use crate::vote::{MISSING, Verdict, tally};

const ONE: Scheme = Scheme::Text(Tolerance { relative: 0.0, absolute: 1.0 });
const SECOND: u64 = 1_000_000_000;

fn ballot(replica: u8, part: u32, bytes: &str) -> Ballot {
    Ballot { round: 1, replica, part, bytes: bytes.into(), took_ns: 0 }
}

fn open(mode: Mode, scheme: Scheme, parts: u32) -> Vote {
    Vote::open(1, mode, scheme, parts, 0, None)
}

fn timeout() -> VotingTimeout {
    VotingTimeout::new(Duration::from_secs(5))
}

fn closed(result: Option<&[&str]>, differ: &[u8], late: &[u8]) -> Progress {
    let result = result.map(|parts| parts.iter().map(|part| part.as_bytes().to_vec()).collect());
    Progress::Closed(Voted { round: 1, result, differ: differ.into(), late: late.into() })
}

#[test]
fn two_of_three_and_the_third_is_judged() {
    let mut vote = open(Mode::TMR, Scheme::Exact, 1);
    assert_eq!(vote.cast(ballot(2, 0, "a"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(0, 0, "a"), 0), Progress::Decided(0));
    assert_eq!(vote.result(), Some(vec![&b"a"[..]]));
    assert_eq!(vote.cast(ballot(1, 0, "b"), 0), closed(Some(&["a"]), &[1], &[]));
    assert_eq!(vote.cast(ballot(1, 0, "b"), 0), Progress::Refused("the vote is over"));
}

#[test]
fn parts_are_combined_before_the_vote() {
    // As in 6.1: two halves of a matrix from each of three pairs of machines. Halves of different
    // replicas do not make one result, however right each is.
    let mut vote = open(Mode::TMR, Scheme::Exact, 2);
    for (replica, part, bytes) in [(0, 1, "low"), (1, 0, "high"), (2, 0, "HIGH"), (0, 0, "high")] {
        assert_eq!(vote.cast(ballot(replica, part, bytes), 0), Progress::Wait);
    }
    assert_eq!(vote.cast(ballot(2, 1, "low"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(1, 1, "low"), 0), closed(Some(&["high", "low"]), &[2], &[]));
}

#[test]
fn where_parts_meet_cannot_be_moved() {
    let mut vote = open(Mode::DUAL, Scheme::Exact, 2);
    for (replica, part, bytes) in [(0, 0, "ab"), (0, 1, "c"), (1, 0, "a")] {
        assert_eq!(vote.cast(ballot(replica, part, bytes), 0), Progress::Wait);
    }
    assert_eq!(vote.cast(ballot(1, 1, "bc"), 0), closed(None, &[], &[]));
}

#[test]
fn alike_to_one_in_the_middle_is_not_enough() {
    // 1 ~ 2 and 2 ~ 3, but not 1 ~ 3: two of three agree, three of four do not.
    let mut vote = open(Mode::QUAD, ONE, 1);
    for (replica, bytes) in [(0, "1"), (1, "2"), (2, "3")] {
        assert_eq!(vote.cast(ballot(replica, 0, bytes), 0), Progress::Wait);
    }
    assert_eq!(vote.cast(ballot(3, 0, "3.5"), 0), closed(None, &[], &[]));
    let mut vote = open(Mode::TMR, ONE, 1);
    assert_eq!(vote.cast(ballot(0, 0, "1"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(2, 0, "3"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(1, 0, "2"), 0), closed(Some(&["1"]), &[2], &[]));
}

#[test]
fn one_that_is_alike_to_the_result_is_not_blamed() {
    let mut vote = open(Mode::QUAD, ONE, 1);
    for (replica, bytes) in [(0, "2"), (1, "2.5"), (2, "2.9")] {
        vote.cast(ballot(replica, 0, bytes), 0);
    }
    assert_eq!(vote.cast(ballot(3, 0, "1.2"), 0), closed(Some(&["2"]), &[], &[]));
}

#[test]
fn late_ones_are_named_and_the_timeout_runs_from_the_first_result() {
    let mut vote = open(Mode::TMR, Scheme::Exact, 1);
    let timeout = timeout();
    assert_eq!(vote.deadline_ns(&timeout), None);
    assert_eq!(vote.expire(99 * SECOND, &timeout), Progress::Wait);
    vote.cast(ballot(1, 0, "a"), 7 * SECOND);
    vote.cast(ballot(2, 0, "a"), 8 * SECOND);
    assert_eq!(vote.deadline_ns(&timeout), Some(12 * SECOND));
    assert_eq!(vote.expire(12 * SECOND - 1, &timeout), Progress::Wait);
    assert_eq!(vote.expire(12 * SECOND, &timeout), closed(Some(&["a"]), &[], &[0]));
    assert_eq!(vote.expire(13 * SECOND, &timeout), Progress::Wait);
}

#[test]
fn with_a_limit_nothing_at_all_is_an_end_too() {
    let limit = Some(Duration::from_secs(3));
    let mut vote = Vote::open(1, Mode::DUAL, Scheme::Exact, 1, SECOND, limit);
    assert_eq!(vote.deadline_ns(&timeout()), Some(4 * SECOND));
    assert_eq!(vote.expire(4 * SECOND, &timeout()), closed(None, &[], &[0, 1]));
}

#[test]
fn the_first_of_two_is_the_result_and_the_other_is_compared() {
    let mut vote = open(Mode::DUAL_FIRST, Scheme::Exact, 1);
    assert_eq!(vote.cast(ballot(1, 0, "a"), 0), Progress::Decided(1));
    assert_eq!(vote.cast(ballot(0, 0, "b"), 0), closed(Some(&["a"]), &[0], &[]));
}

#[test]
fn one_that_contradicts_itself_supports_nothing() {
    let mut vote = open(Mode::TMR, Scheme::Exact, 1);
    assert_eq!(vote.cast(ballot(0, 0, "a"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(0, 0, "a"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(0, 0, "b"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(1, 0, "a"), 0), Progress::Wait);
    assert_eq!(vote.cast(ballot(2, 0, "a"), 0), closed(Some(&["a"]), &[0], &[]));
}

#[test]
fn what_does_not_belong_here_is_refused() {
    let mut vote = open(Mode::DUAL, Scheme::Exact, 2);
    let other = Ballot { round: 2, ..ballot(0, 0, "a") };
    for wrong in [other, ballot(2, 0, "a"), ballot(0, 2, "a")] {
        assert!(matches!(vote.cast(wrong, 0), Progress::Refused(_)));
    }
    assert_eq!(vote, open(Mode::DUAL, Scheme::Exact, 2));
}

#[test]
fn times_tune_the_timeout_as_in_the_paper() {
    let mut vote = open(Mode::TMR, Scheme::Exact, 1);
    for (replica, ms) in [(0, 1300), (1, 1100), (2, 2200)] {
        vote.cast(Ballot { took_ns: ms * 1_000_000, ..ballot(replica, 0, "a") }, 0);
    }
    let mut timeout = timeout();
    vote.tune(&mut timeout);
    assert_eq!(timeout.current(), Duration::from_secs(10));
}

/// A mode, a number in each replica's result, an order of arrival.
fn case() -> impl Strategy<Value = (Mode, Vec<u8>, Vec<usize>)> {
    (1u64..=9).prop_flat_map(|n| {
        let order: Vec<usize> = (0..n as usize).collect();
        let mode = (n / 2 + 1..=n).prop_map(move |k| Mode::nmr(k, n).unwrap());
        (mode, prop::collection::vec(0u8..6, n as usize), Just(order).prop_shuffle())
    })
}

/// Lets them come in order; the replica that was decided when, and what was said at the end.
fn arrive(
    mode: Mode,
    scheme: Scheme,
    contents: &[u8],
    order: &[usize],
) -> (Option<u8>, Option<Voted>) {
    let mut vote = open(mode, scheme, 1);
    let mut decided = None;
    let mut end = None;
    for &replica in order {
        match vote.cast(ballot(replica as u8, 0, &contents[replica].to_string()), 0) {
            Progress::Decided(winner) => {
                assert_eq!(decided, None);
                decided = Some(winner);
            }
            Progress::Closed(voted) => end = Some(voted),
            Progress::Wait | Progress::Refused(_) => {}
        }
    }
    (decided, end)
}

proptest! {
    #[test]
    fn exact_results_are_decided_as_ballots_are((mode, contents, order) in case()) {
        let (_, voted) = arrive(mode, Scheme::Exact, &contents, &order);
        let voted = voted.unwrap();
        let classes: Vec<u8> = contents
            .iter()
            .map(|content| order.iter().position(|i| contents[*i] == *content).unwrap() as u8)
            .collect();
        match tally(&classes, mode.all(), mode.k) {
            Verdict::Decided { class, losers } => {
                let winner = contents[order[usize::from(class)]].to_string();
                prop_assert_eq!(voted.result, Some(vec![winner.into_bytes()]));
                let differ: Vec<u8> = (0..16).filter(|i| losers & (1 << i) != 0).collect();
                prop_assert_eq!(voted.differ, differ);
            }
            verdict => {
                prop_assert!(matches!(verdict, Verdict::Lost { .. }), "{:?}", verdict);
                prop_assert_eq!(voted.result, None);
            }
        }
        prop_assert!(!classes.contains(&MISSING));
    }

    #[test]
    fn within_a_tolerance_k_agree_with_each_other_and_only_who_is_not_alike_is_blamed(
        (mode, contents, order) in case(),
    ) {
        let (decided, voted) = arrive(mode, ONE, &contents, &order);
        let voted = voted.unwrap();
        let near = |a: u8, b: u8| a.abs_diff(b) <= 1;
        let value = voted.result.as_ref().map(|parts| {
            String::from_utf8(parts[0].clone()).unwrap().parse::<u8>().unwrap()
        });
        // Numbers that are each within 1 of each other lie in a window of 1.
        let agree = |low: u8| contents.iter().filter(|c| (low..=low + 1).contains(*c)).count();
        let possible = (0..6).any(|low| agree(low) >= usize::from(mode.k));
        prop_assert_eq!(value.is_some(), possible);
        if let Some(value) = value {
            for (replica, content) in contents.iter().enumerate() {
                prop_assert_eq!(voted.differ.contains(&(replica as u8)), !near(value, *content));
            }
            if let Some(decided) = decided {
                prop_assert_eq!(contents[usize::from(decided)], value);
            }
        }
    }

    #[test]
    fn two_orders_decide_within_two_tolerances((mode, contents, order) in case()) {
        let straight: Vec<usize> = (0..contents.len()).collect();
        let value = |order: &[usize]| {
            let result = arrive(mode, ONE, &contents, order).1.unwrap().result?;
            String::from_utf8(result[0].clone()).unwrap().parse::<u8>().ok()
        };
        let (one, two) = (value(&order), value(&straight));
        prop_assert_eq!(one.is_some(), two.is_some());
        if let (Some(one), Some(two)) = (one, two) {
            prop_assert!(one.abs_diff(two) <= 2);
        }
    }

    #[test]
    fn whatever_comes_it_ends_once_and_names_everyone_at_most_once(
        ballots in prop::collection::vec((0u64..3, 0u8..5, 0u32..3, 0u8..3), 0..60),
    ) {
        let mut vote = open(Mode::QUAD, ONE, 2);
        let mut ends = Vec::new();
        for (round, replica, part, content) in ballots {
            let bytes = content.to_string().into_bytes();
            let before = vote.result().map(|parts| parts.concat());
            let ballot = Ballot { round, replica, part, bytes, took_ns: 0 };
            if let Progress::Closed(voted) = vote.cast(ballot, 0) {
                ends.push(voted);
            }
            if before.is_some() {
                prop_assert_eq!(before, vote.result().map(|parts| parts.concat()));
            }
        }
        if let Progress::Closed(voted) = vote.expire(u64::MAX, &timeout()) {
            ends.push(voted);
        }
        prop_assert!(ends.len() <= 1);
        for voted in ends {
            prop_assert!(voted.differ.iter().all(|replica| !voted.late.contains(replica)));
        }
    }
}
