//! Whose silence counts: not that of others while the daemon hangs by which they would answer.
//!
//! ```text
//!  down ─► doubted, the own daemon is asked about itself ─► it answers at once: down for good
//!                                                        └► late, or another one: watched anew
//! ```
//!
//! Invariant: of those that a detector finds down none is believed to be before the own daemon has answered, within an
//! interval, a question that was asked after that. Used by the HEARTBEAT ARMOR for nodes, by the Backup FTM for
//! the FTM.

use std::collections::BTreeMap;
use std::hash::Hash;

use super::{Detector, State};

/// Those that are about to be believed to be down: so many missed, and when the daemon was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubts<K> {
    doubted: BTreeMap<K, (u32, u64)>,
}

impl<K> Default for Doubts<K> {
    fn default() -> Self {
        Self { doubted: BTreeMap::new() }
    }
}

impl<K: Copy + Ord + Hash> Doubts<K> {
    /// One is down; the daemon is to be asked now, by a heartbeat of this number: a ping's answer would be the link's.
    pub fn doubt(&mut self, key: K, missed: u32, now_ns: u64) -> u64 {
        self.doubted.insert(key, (missed, now_ns));
        now_ns
    }

    /// One answers, or is not watched any more.
    pub fn forget(&mut self, key: K) {
        self.doubted.remove(&key);
    }

    /// Whether this is the number of a question to the daemon.
    pub fn asked(&self, number: u64) -> bool {
        self.doubted.values().any(|(_, at_ns)| *at_ns == number)
    }

    /// The daemon has answered the question of this number: who is down, and how many each has missed.
    pub fn settle(
        &mut self,
        detector: &mut Detector<K>,
        number: u64,
        now_ns: u64,
    ) -> Vec<(K, u32)> {
        let late = u128::from(now_ns.saturating_sub(number));
        let quick = late < detector.settings().interval.as_nanos();
        let mut down = Vec::new();
        for (key, (missed, at_ns)) in std::mem::take(&mut self.doubted) {
            if at_ns > number {
                self.doubted.insert(key, (missed, at_ns));
            } else if detector.state(key) != Some(State::Down) {
                // It has answered meanwhile.
            } else if quick {
                down.push((key, missed));
            } else {
                detector.anew(key, now_ns);
            }
        }
        down
    }

    /// There is another connection to the daemon: what was asked by the former one is not answered any more.
    pub fn begin_again(&mut self, detector: &mut Detector<K>, now_ns: u64) {
        for key in std::mem::take(&mut self.doubted).into_keys() {
            detector.anew(key, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Action, Settings};
    use super::*;

    const MS: u64 = 1_000_000;

    /// A detector that finds this one down, and when.
    fn down(key: u8) -> (Detector<u8>, Doubts<u8>, u64) {
        let settings = Settings { interval: Duration::from_millis(10), misses: 2 };
        let mut detector = Detector::new(settings, 0);
        detector.watch(key, 0);
        let (mut doubts, mut now) = (Doubts::default(), 0);
        loop {
            now += 10 * MS;
            let mut actions = Vec::new();
            detector.tick(now, &mut actions);
            let found = actions.iter().find_map(|action| match action {
                Action::Down(key, missed) => Some((*key, *missed)),
                _ => None,
            });
            if let Some((key, missed)) = found {
                assert_eq!(doubts.doubt(key, missed, now), now);
                return (detector, doubts, now);
            }
        }
    }

    #[test]
    fn a_quick_answer_makes_it_so_and_a_late_one_does_not() {
        let (mut detector, mut doubts, at) = down(7);
        assert!(doubts.asked(at) && !doubts.asked(at + 1));
        assert_eq!(doubts.settle(&mut detector, at, at + 9 * MS), [(7, 2)]);
        assert!(!doubts.asked(at), "once");
        let (mut detector, mut doubts, at) = down(7);
        assert_eq!(doubts.settle(&mut detector, at, at + 10 * MS), []);
        assert_eq!(detector.state(7), Some(State::Unknown));
    }

    #[test]
    fn an_answer_to_an_earlier_question_and_another_connection_say_nothing() {
        let (mut detector, mut doubts, at) = down(7);
        assert_eq!(doubts.settle(&mut detector, at - 1, at), []);
        assert!(doubts.asked(at));
        doubts.begin_again(&mut detector, at + MS);
        assert!(!doubts.asked(at));
        assert_eq!(detector.state(7), Some(State::Unknown));
    }

    #[test]
    fn one_that_answers_meanwhile_is_not_down() {
        let (mut detector, mut doubts, at) = down(7);
        let mut actions = Vec::new();
        detector.tick(at + 10 * MS, &mut actions);
        let Some(Action::Send(7, sent)) = actions.first().copied() else { panic!("{actions:?}") };
        detector.answered(7, sent).unwrap();
        assert_eq!(doubts.settle(&mut detector, at, at + 1), []);
    }
}
