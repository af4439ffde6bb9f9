//! Sets of CPUs, as sched_setaffinity(2) takes them and as a user writes them.
//!
//! Invariant: a set that parsed is not empty and names CPUs below [`CpuSet::MOST`].

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A set of CPUs below 1024: bit `i % 64` of word `i / 64` for CPU `i`, the layout of a
/// `cpu_set_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(pub [u64; 16]);

/// Why a text is not a list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' is not a list of CPUs; a list is numbers below 1024 and ranges, for example 0,2-3")]
pub struct CpuListError(String);

impl CpuSet {
    /// CPUs are numbered below this.
    pub const MOST: u16 = 1024;

    /// CPUs 0 to `count` - 1 (cut to [`Self::MOST`]).
    pub fn first(count: u16) -> Self {
        let mut set = Self::default();
        (0..count.min(Self::MOST)).for_each(|cpu| set.insert(cpu));
        set
    }

    /// Adds a CPU; one beyond [`Self::MOST`] is ignored.
    pub fn insert(&mut self, cpu: u16) {
        if let Some(word) = self.0.get_mut(usize::from(cpu / 64)) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// Whether a CPU is in the set.
    pub fn contains(&self, cpu: u16) -> bool {
        self.0.get(usize::from(cpu / 64)).is_some_and(|word| word & (1 << (cpu % 64)) != 0)
    }

    /// How many CPUs are in the set.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The lowest CPU in the set.
    pub fn lowest(&self) -> Option<u16> {
        let (index, word) = self.0.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(index as u16 * 64 + word.trailing_zeros() as u16)
    }

    /// The CPUs that are in both.
    pub fn and(&self, other: &Self) -> Self {
        let mut set = *self;
        set.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        set
    }
}

impl FromStr for CpuSet {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let bad = || CpuListError(text.to_owned());
        let number = |part: &str| match part.parse::<u16>() {
            Ok(cpu) if cpu < Self::MOST && !part.starts_with('+') => Ok(cpu),
            _ => Err(bad()),
        };
        let mut set = Self::default();
        for part in text.split(',') {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low)?, number(high)?);
            if low > high {
                return Err(bad());
            }
            (low..=high).for_each(|cpu| set.insert(cpu));
        }
        Ok(set)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut cpu = 0;
        while cpu < Self::MOST {
            let low = cpu;
            while self.contains(cpu) {
                cpu += 1;
            }
            match cpu - low {
                0 => {}
                1 => write!(f, "{comma}{low}")?,
                _ => write!(f, "{comma}{low}-{}", cpu - 1)?,
            }
            if cpu > low {
                comma = ",";
            }
            cpu += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_and_ranges() {
        let set: CpuSet = "0,2-3,1023".parse().unwrap();
        assert_eq!(set.count(), 4);
        assert!(set.contains(1023) && !set.contains(1) && !set.contains(2000));
        assert_eq!(set.to_string(), "0,2-3,1023");
        assert_eq!(set.lowest(), Some(0));
        assert_eq!(CpuSet::default().lowest(), None);
        assert_eq!(CpuSet::first(5000).to_string(), "0-1023");
        assert_eq!(set.and(&CpuSet::first(3)).to_string(), "0,2");
    }

    #[test]
    fn what_is_no_list_is_refused_in_one_line() {
        for text in ["", ",", "1,", "a", "-1", "3-2", "1-", "1024", "+1", "1-2-3", "0 1"] {
            let message = text.parse::<CpuSet>().unwrap_err().to_string();
            assert!(message.contains("0,2-3") && !message.contains('\n'), "{message}");
        }
    }

    proptest! {
        #[test]
        fn a_set_reads_back(words: [u64; 16], cpu in 0u16..1024) {
            let mut set = CpuSet(words);
            set.insert(cpu);
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }
    }
}
