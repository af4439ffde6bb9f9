//! Where replicas and their ARMOR run: on one CPU or spread.
//!
//! Why it matters: on one CPU a call costs about 4 us a replica; a wake-up across CPUs costs 25 to
//! 30 us each way. So calls in quick succession want one CPU, computing wants them all.
//!
//! Invariant: the decision changes only after several periods in a row ask for the same change,
//! and the more often it changed lately, the more of them it takes; a CPU it names is allowed.
//! Asked by the dispatcher once a period (some 10 ms), with what the whole process tree did.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::cpus::{CpuListError, CpuSet};

/// Less computing than this between two calls of a replica asks for one CPU, in nanoseconds.
pub const TOGETHER_BELOW_NS: u64 = 25_000;

/// More computing than this between two calls of a replica asks for several CPUs, in nanoseconds.
pub const SPREAD_ABOVE_NS: u64 = 50_000;

/// A period in which each replica used less than this part of the wall time says nothing: the
/// program waits.
const IDLE_PART: u64 = 16;

/// Periods in a row that must ask for a change: at first, and at most.
const STREAK: (u8, u8) = (2, 64);

/// Periods without a change after which the needed streak halves.
const CALM: u16 = 256;

/// What the user asked for with `--placement`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlacementChoice {
    /// Decide, and decide again as the load changes.
    #[default]
    Auto,
    /// Always on one CPU.
    Together,
    /// Always on all.
    Spread,
    /// As `Auto`, but on these CPUs only.
    Cpus(CpuSet),
}

/// Why a text is not a choice.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown placement '{text}'; say auto, together, spread or a list of CPUs ({source})")]
pub struct PlacementError {
    text: String,
    source: CpuListError,
}

impl FromStr for PlacementChoice {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        match text {
            "auto" => Ok(Self::Auto),
            "together" => Ok(Self::Together),
            "spread" => Ok(Self::Spread),
            list => match list.parse() {
                Ok(set) => Ok(Self::Cpus(set)),
                Err(source) => Err(PlacementError { text: list.to_owned(), source }),
            },
        }
    }
}

impl fmt::Display for PlacementChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Together => f.write_str("together"),
            Self::Spread => f.write_str("spread"),
            Self::Cpus(set) => set.fmt(f),
        }
    }
}

/// What was measured of a process tree in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Trapped calls (each counted once, however many replicas made it).
    pub calls: u64,
    /// Length of the period in nanoseconds.
    pub wall_ns: u64,
    /// CPU time that all its replicas used together, in nanoseconds.
    pub cpu_ns: u64,
    /// How many replicas each process has.
    pub n: u8,
}

/// Where things run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Replicas and ARMOR on this CPU.
    Together(u16),
    /// Wherever the kernel likes among the allowed CPUs.
    Spread,
}

/// What a period asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Together,
    Spread,
    Nothing,
}

/// The placement of a process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placer {
    allowed: CpuSet,
    home: u16,
    fixed: bool,
    spread: bool,
    streak: u8,
    needed: u8,
    calm: u16,
}

impl Placer {
    /// Starts on one CPU, unless the user wants all: a program begins with dozens of calls close
    /// together (its loader's), and many end soon after.
    ///
    /// `allowed` are the CPUs of the affinity mask that the program was started with; a list of
    /// the user's restricts them (where nothing remains, the mask counts). `home` is the CPU to
    /// come together on, best the one the process runs on, so that several processes do not
    /// gather on one; if it is not allowed, the lowest one that is.
    pub fn new(choice: PlacementChoice, allowed: CpuSet, home: u16) -> Self {
        let allowed = match choice {
            PlacementChoice::Cpus(list) if list.and(&allowed).count() > 0 => list.and(&allowed),
            _ => allowed,
        };
        let home = if allowed.contains(home) { home } else { allowed.lowest().unwrap_or(0) };
        let asked = matches!(choice, PlacementChoice::Together | PlacementChoice::Spread);
        Self {
            allowed,
            home,
            fixed: asked || allowed.count() < 2,
            spread: choice == PlacementChoice::Spread,
            streak: 0,
            needed: STREAK.0,
            calm: 0,
        }
    }

    /// Where things are to run now.
    pub const fn current(&self) -> Placement {
        if self.spread { Placement::Spread } else { Placement::Together(self.home) }
    }

    /// The CPUs that [`Placement::Spread`] means.
    pub const fn allowed(&self) -> &CpuSet {
        &self.allowed
    }

    /// Whether measuring is of use at all: nothing ever changes where the user fixed the
    /// placement or only one CPU is allowed.
    pub const fn adapts(&self) -> bool {
        !self.fixed
    }

    /// Takes in a period; returns the new placement if it changed.
    pub fn observe(&mut self, period: &Period) -> Option<Placement> {
        if self.fixed {
            return None;
        }
        self.calm += 1;
        if self.calm == CALM {
            self.calm = 0;
            self.needed = (self.needed / 2).max(STREAK.0);
        }
        let change = match wish(period) {
            Wish::Together => self.spread,
            Wish::Spread => !self.spread,
            Wish::Nothing => false,
        };
        self.streak = if change { self.streak + 1 } else { 0 };
        if self.streak < self.needed {
            return None;
        }
        self.spread = !self.spread;
        self.streak = 0;
        self.calm = 0;
        self.needed = self.needed.saturating_mul(2).min(STREAK.1);
        Some(self.current())
    }
}

/// What one period asks for: it is the computing between calls that counts, not the time between
/// them, for a program that sleeps needs no CPU at all.
fn wish(period: &Period) -> Wish {
    let each = period.cpu_ns / u64::from(period.n.max(1));
    let between = each / (period.calls.saturating_add(1));
    let idle = each < period.wall_ns / IDLE_PART;
    if between > SPREAD_ABOVE_NS && !idle {
        Wish::Spread
    } else if between < TOGETHER_BELOW_NS && period.calls > 0 {
        Wish::Together
    } else {
        Wish::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    /// 10 ms of nothing but computing by three replicas on one CPU.
    const COMPUTING: Period = Period { calls: 1, wall_ns: 10 * MS, cpu_ns: 9 * MS, n: 3 };
    /// 10 ms of calls 20 us apart.
    const CALLING: Period = Period { calls: 500, wall_ns: 10 * MS, cpu_ns: 9 * MS, n: 3 };
    /// 36 us between calls.
    const BETWEEN: Period = Period { calls: 83, wall_ns: 10 * MS, cpu_ns: 9 * MS, n: 3 };
    /// A program that waits.
    const ASLEEP: Period = Period { calls: 0, wall_ns: 10 * MS, cpu_ns: 0, n: 3 };

    fn auto(cpus: u16) -> Placer {
        Placer::new(PlacementChoice::Auto, CpuSet::first(cpus), 1)
    }

    #[test]
    fn it_starts_together_and_spreads_when_there_is_computing() {
        let mut placer = auto(2);
        assert_eq!(placer.current(), Placement::Together(1));
        assert_eq!(placer.observe(&COMPUTING), None);
        assert_eq!(placer.observe(&COMPUTING), Some(Placement::Spread));
        assert_eq!(placer.observe(&COMPUTING), None);
    }

    #[test]
    fn it_comes_together_again_for_calls() {
        let mut placer = auto(2);
        for _ in 0..10 {
            placer.observe(&COMPUTING);
        }
        let changes: Vec<_> = (0..10).filter_map(|_| placer.observe(&CALLING)).collect();
        assert_eq!(changes, [Placement::Together(1)]);
    }

    #[test]
    fn what_is_between_or_asleep_changes_nothing() {
        for quiet in [BETWEEN, ASLEEP] {
            let mut placer = auto(4);
            for _ in 0..1000 {
                assert_eq!(placer.observe(&quiet), None);
            }
            while placer.observe(&COMPUTING).is_none() {}
            for _ in 0..1000 {
                assert_eq!(placer.observe(&quiet), None);
            }
        }
    }

    #[test]
    fn an_alternating_load_is_followed_less_and_less() {
        let mut placer = auto(2);
        let mut changes = 0;
        for round in 0..4000 {
            let period = if round / 8 % 2 == 0 { COMPUTING } else { CALLING };
            changes += usize::from(placer.observe(&period).is_some());
        }
        assert!(changes < 40, "{changes} changes");
    }

    #[test]
    fn the_users_word_and_a_single_cpu_are_final() {
        let one = CpuSet::first(1);
        let all = CpuSet::first(8);
        for (choice, allowed, wanted) in [
            (PlacementChoice::Together, all, Placement::Together(1)),
            (PlacementChoice::Spread, all, Placement::Spread),
            (PlacementChoice::Auto, one, Placement::Together(0)),
            (PlacementChoice::Cpus("5".parse().unwrap()), all, Placement::Together(5)),
        ] {
            let mut placer = Placer::new(choice, allowed, 1);
            assert!(!placer.adapts());
            for period in [COMPUTING, CALLING, COMPUTING, COMPUTING, COMPUTING] {
                assert_eq!(placer.observe(&period), None);
            }
            assert_eq!(placer.current(), wanted);
        }
    }

    #[test]
    fn a_list_restricts_and_an_impossible_list_is_passed_over() {
        let allowed: CpuSet = "0-3".parse().unwrap();
        let some = Placer::new("2-9".parse().unwrap(), allowed, 0);
        assert_eq!(some.allowed().to_string(), "2-3");
        assert_eq!(some.current(), Placement::Together(2));
        let none = Placer::new("8".parse().unwrap(), allowed, 3);
        assert_eq!(none.allowed(), &allowed);
        assert_eq!(none.current(), Placement::Together(3));
    }

    #[test]
    fn choices_read_back_and_errors_are_one_line() {
        for text in ["auto", "together", "spread", "0,2-3"] {
            assert_eq!(text.parse::<PlacementChoice>().unwrap().to_string(), text);
        }
        let message = "near".parse::<PlacementChoice>().unwrap_err().to_string();
        assert!(message.contains("auto, together, spread") && !message.contains('\n'), "{message}");
    }

    proptest! {
        #[test]
        fn it_never_names_a_forbidden_cpu_nor_changes_twice_at_once(
            words: [u64; 16],
            home: u16,
            periods in prop::collection::vec((0u64.., 0u64.., 0u64.., 0u8..=15), 0..50),
        ) {
            let mut allowed = CpuSet(words);
            allowed.insert(3);
            let mut placer = Placer::new(PlacementChoice::Auto, allowed, home);
            let mut since_change = u32::from(STREAK.0);
            for (calls, wall_ns, cpu_ns, n) in periods {
                since_change += 1;
                if placer.observe(&Period { calls, wall_ns, cpu_ns, n }).is_some() {
                    prop_assert!(since_change >= u32::from(STREAK.0));
                    since_change = 0;
                }
                if let Placement::Together(cpu) = placer.current() {
                    prop_assert!(allowed.contains(cpu));
                }
            }
        }
    }
}
