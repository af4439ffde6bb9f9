//! A fault injection campaign: which faults, and what became of each run.
//!
//! Invariant: the same seed and parameters give the same faults, run `i` the same whatever came
//! before it, so that one run of a campaign can be repeated alone; judging a run looks at nothing
//! but its report and whether output and status were those of the undisturbed run. Called by
//! `chameleon campaign`.

use std::fmt;

use chameleon_proto::event::{Event, Reason};
use chameleon_proto::inject::{Area, Fault, Injection, Reg};

/// Repeatable numbers: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014). Not for secrets.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A sequence.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound` (0 for a bound of 0), by scaling; its bias is below
    /// `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }
}

/// How often each kind of fault is drawn, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// A flipped bit of a register.
    pub reg: u32,
    /// A flipped bit of memory.
    pub mem: u32,
    /// A killed replica.
    pub kill: u32,
    /// A hanging replica.
    pub hang: u32,
}

impl Default for Weights {
    /// Mostly bit flips, as they happen; hangs are few, for each costs a voting timeout.
    fn default() -> Self {
        Self { reg: 50, mem: 35, kill: 10, hang: 5 }
    }
}

/// What to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Repeats the same campaign.
    pub seed: u64,
    /// Trapped calls of the root process in an undisturbed run.
    pub calls: u64,
    /// Replicas.
    pub n: u8,
    /// The mixture.
    pub weights: Weights,
}

impl Campaign {
    /// The single fault of run `run`. Where all weights are 0 it is a register's.
    pub fn fault(&self, run: u64) -> Injection {
        // One sequence for each run: seed and run are mixed first, or runs would share numbers.
        let mut base = SplitMix::new(self.seed);
        let mut numbers = SplitMix::new(base.draw() ^ SplitMix::new(run).draw());
        let replica = numbers.below(u64::from(self.n.max(1))) as u8;
        let call = 1 + numbers.below(self.calls.max(1));
        let Weights { reg, mem, kill, hang } = self.weights;
        let kinds = [reg, mem, kill, hang].map(u64::from);
        let mut ticket = numbers.below(kinds.iter().sum());
        let kind = kinds.iter().position(|weight| {
            let drawn = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            drawn
        });
        let fault = match kind {
            None | Some(0) => Fault::Reg {
                reg: Reg::ALL[numbers.below(Reg::ALL.len() as u64) as usize],
                bit: numbers.below(64) as u8,
            },
            Some(1) => Fault::Mem {
                area: Area::OF_ALL[numbers.below(Area::OF_ALL.len() as u64) as usize],
                bit: Some(numbers.below(8) as u8),
                offset: Some(numbers.draw()),
            },
            Some(2) => Fault::Kill,
            Some(_) => Fault::Hang,
        };
        Injection { replica, call, process: 0, fault }
    }
}

/// What became of a run with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The fault had no effect: nothing differed, output and status are right.
    Benign,
    /// A ballot differed, its replica was replaced, output and status are right.
    MaskedRepaired,
    /// The replica died and was replaced, output and status are right.
    CrashedRepaired,
    /// The replica came too late and was replaced, output and status are right.
    HungRepaired,
    /// Output or status are not those of the undisturbed run, and nobody said so. Must not happen
    /// in a mode that masks faults.
    WrongOutput,
    /// The run stopped and said so: no majority, or Chameleon itself failed.
    Lost,
}

impl Outcome {
    /// Every outcome, the best first.
    pub const ALL: [Self; 6] = [
        Self::Benign,
        Self::MaskedRepaired,
        Self::CrashedRepaired,
        Self::HungRepaired,
        Self::WrongOutput,
        Self::Lost,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Benign => "benign",
            Self::MaskedRepaired => "masked and repaired",
            Self::CrashedRepaired => "crashed and repaired",
            Self::HungRepaired => "hung and repaired",
            Self::WrongOutput => "WRONG OUTPUT",
            Self::Lost => "lost",
        })
    }
}

/// Judges a run by its report (in order) and by whether its output (files included) and its status
/// are those of the undisturbed run. The first replica that was taken out names the kind; one that
/// was taken out so late that the program ended before a repair counts as repaired, since nothing
/// was lost. A divergence that was only reported (dual-first) counts as masked if the output is
/// right. A report without an end is a lost run: Chameleon itself went down.
pub fn classify(events: &[Event], output_equal: bool, status_equal: bool) -> Outcome {
    let ended = events.iter().any(|event| matches!(event, Event::Exit(_)));
    if !ended || events.iter().any(|event| matches!(event, Event::LostMajority(_))) {
        return Outcome::Lost;
    }
    if !output_equal || !status_equal {
        return Outcome::WrongOutput;
    }
    let first = events.iter().find_map(|event| match event {
        Event::Outvoted(outvoted) => Some(match outvoted.reason {
            Reason::Divergence => Outcome::MaskedRepaired,
            Reason::Crash | Reason::Killed => Outcome::CrashedRepaired,
            Reason::Late => Outcome::HungRepaired,
        }),
        Event::Divergence(_) => Some(Outcome::MaskedRepaired),
        _ => None,
    });
    first.unwrap_or(Outcome::Benign)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chameleon_proto::event::{Exit, LostMajority, Outvoted, Repaired};

    use super::*;

    const CAMPAIGN: Campaign = Campaign {
        seed: 7,
        calls: 100,
        n: 3,
        weights: Weights { reg: 50, mem: 35, kill: 10, hang: 5 },
    };

    #[test]
    fn the_generator_is_the_published_one() {
        // The first numbers of seed 1234567, as the reference implementation prints them.
        let mut numbers = SplitMix::new(1_234_567);
        assert_eq!(numbers.draw(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_does_not() {
        let faults = |seed| -> Vec<_> {
            (0..50).map(|run| Campaign { seed, ..CAMPAIGN }.fault(run)).collect()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        assert_eq!(faults(7)[31], CAMPAIGN.fault(31));
    }

    #[test]
    fn every_fault_is_valid_and_all_kinds_and_places_come_up() {
        let mut seen = HashSet::new();
        for run in 0..5000 {
            let injection = CAMPAIGN.fault(run);
            assert_eq!(injection.to_string().parse(), Ok(injection));
            assert!(injection.replica < 3 && (1..=100).contains(&injection.call));
            seen.insert(format!("replica {}", injection.replica));
            seen.insert(format!("call {}", injection.call));
            seen.insert(match injection.fault {
                Fault::Reg { reg, .. } => reg.name().to_owned(),
                Fault::Mem { area, .. } => area.name().to_owned(),
                other => other.to_string(),
            });
        }
        assert_eq!(seen.len(), 3 + 100 + Reg::ALL.len() + Area::OF_ALL.len() + 2);
    }

    #[test]
    fn weights_are_obeyed() {
        let count = |weights| {
            let campaign = Campaign { weights, ..CAMPAIGN };
            (0..200).filter(|run| campaign.fault(*run).fault == Fault::Hang).count()
        };
        assert_eq!(count(Weights { reg: 0, mem: 0, kill: 0, hang: 3 }), 200);
        assert_eq!(count(Weights { reg: 1, mem: 1, kill: 1, hang: 0 }), 0);
        assert_eq!(count(Weights { reg: 0, mem: 0, kill: 0, hang: 0 }), 0);
    }

    #[test]
    fn degenerate_parameters_still_give_a_fault() {
        let injection = Campaign { calls: 0, n: 0, ..CAMPAIGN }.fault(0);
        assert_eq!((injection.replica, injection.call), (0, 1));
    }

    fn outvoted(reason: Reason) -> Event {
        Event::Outvoted(Outvoted {
            process: 1,
            program: "sort".into(),
            replica: 1,
            seq: 2,
            reason,
            signal: None,
        })
    }

    fn exit() -> Event {
        Event::Exit(Exit {
            status: Some(0),
            signal: None,
            calls: 1,
            votes: 1,
            repairs: 0,
            takeovers: 0,
            wall_ms: 1.0,
            cpu_ms: 1.0,
        })
    }

    #[test]
    fn runs_are_judged_by_report_output_and_status() {
        let repaired = Event::Repaired(Repaired { process: 1, replica: 1, donor: 0, ms: 1.0 });
        let run = |reason| [outvoted(reason), repaired.clone(), exit()];
        assert_eq!(classify(&[exit()], true, true), Outcome::Benign);
        assert_eq!(classify(&run(Reason::Divergence), true, true), Outcome::MaskedRepaired);
        assert_eq!(classify(&run(Reason::Crash), true, true), Outcome::CrashedRepaired);
        assert_eq!(classify(&run(Reason::Killed), true, true), Outcome::CrashedRepaired);
        assert_eq!(classify(&run(Reason::Late), true, true), Outcome::HungRepaired);
        assert_eq!(classify(&run(Reason::Late), false, true), Outcome::WrongOutput);
        assert_eq!(classify(&run(Reason::Late), true, false), Outcome::WrongOutput);
        assert_eq!(classify(&[exit()], false, true), Outcome::WrongOutput);
    }

    #[test]
    fn a_run_that_stopped_and_said_so_is_lost_not_wrong() {
        let lost = Event::LostMajority(LostMajority {
            process: 1,
            program: "sort".into(),
            seq: 2,
            call: "write".into(),
            n: 2,
            k: 2,
            best: 1,
        });
        assert_eq!(classify(&[lost, exit()], false, false), Outcome::Lost);
        assert_eq!(classify(&[], true, true), Outcome::Lost);
    }
}
