//! Numbers of processes and threads that a program knows from before the image that it was restored from,
//! where the kernel gave other ones.
//!
//! The table is one to one on all numbers: whoever has a number that the program knows as another's is
//! known to it by one that nobody has there. It is made once, before anything runs, and stays, so that no
//! number ever means two things.
//!
//! Invariant: written by the starting process alone, before the dispatcher is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Arena, NUMBERS_AT};

/// Numbers that there is room for.
const MOST: usize = 4096;
/// Where the same pairs are, by what the program knows.
const BY_SHOWN: usize = NUMBERS_AT + MOST * 8;

/// Completes pairs of real numbers and shown ones, each of which comes once, to a table that is one to one.
fn complete(pairs: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
    let real: BTreeSet<u32> = pairs.keys().copied().collect();
    let shown: BTreeSet<u32> = pairs.values().copied().collect();
    let strangers = shown.difference(&real).copied().zip(real.difference(&shown).copied());
    let all = pairs.iter().map(|(real, shown)| (*real, *shown)).chain(strangers);
    all.filter(|(real, shown)| real != shown).collect()
}

impl Arena {
    /// Says which real numbers the program knows by which others. False if they are too many.
    pub fn set_numbers(&self, pairs: &BTreeMap<u32, u32>) -> bool {
        let all = complete(pairs);
        if all.len() > MOST {
            return false;
        }
        let mut back: Vec<[u32; 2]> = all.iter().map(|(real, shown)| [*shown, *real]).collect();
        back.sort_unstable();
        for (i, (real, shown)) in all.iter().enumerate() {
            *self.region.record::<[u32; 2]>(NUMBERS_AT + i * 8) = [*real, *shown];
            *self.region.record::<[u32; 2]>(BY_SHOWN + i * 8) = back[i];
        }
        self.header().renumbered = all.len() as u32;
        true
    }

    fn find(&self, at: usize, number: u32) -> u32 {
        let (mut low, mut high) = (0, self.header().renumbered as usize);
        while low < high {
            let middle = (low + high) / 2;
            match *self.region.record::<[u32; 2]>(at + middle * 8) {
                [key, value] if key == number => return value,
                [key, _] if key < number => low = middle + 1,
                _ => high = middle,
            }
        }
        number
    }

    /// The program's number for one of the kernel's.
    pub fn shown(&self, real: u32) -> u32 {
        self.find(NUMBERS_AT, real)
    }

    /// The kernel's number for one of the program's.
    pub fn real(&self, shown: u32) -> u32 {
        self.find(BY_SHOWN, shown)
    }

    /// The number of a task as the program knows it.
    pub fn number(&self, task: usize) -> u32 {
        self.shown(self.task(task).tid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_one_to_one_and_says_what_was_asked_for() {
        let asked = BTreeMap::from([(10, 20), (20, 30), (5, 5), (40, 10)]);
        let all = complete(&asked);
        assert_eq!(all.get(&5), None);
        for (real, shown) in asked.iter().filter(|(real, shown)| real != shown) {
            assert_eq!(all[real], *shown);
        }
        let back: BTreeSet<u32> = all.values().copied().collect();
        assert_eq!(back, all.keys().copied().collect());
    }
}
