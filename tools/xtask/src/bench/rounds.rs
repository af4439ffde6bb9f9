//! Rounds of a program that computes: TMR over three plain copies started at once, simplex over one
//! plain copy.
//!
//! Three copies are the fair rival: three replicas compute three times, whoever votes them.
//!
//! Invariant: each run under chameleon printed what the plain one did.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use super::launch::{Bench, wall};

/// The columns of a round, in seconds.
#[derive(Clone, Copy)]
pub enum Ran {
    Copies,
    Tmr,
    Single,
    Simplex,
}

/// What was measured.
pub struct Rounds(Vec<[f64; 4]>);

impl Rounds {
    /// Measures all ways once a round.
    pub fn measure(
        bench: &Bench,
        name: &str,
        plain: impl Fn() -> Command,
        voted: impl Fn(&str) -> Command,
    ) -> anyhow::Result<Self> {
        let out = |name: &str| bench.path(&format!("out-{name}"));
        let (one, two, three, by_vote) = (out("1"), out("2"), out("3"), out("voted"));
        let mut rounds = Vec::new();
        // The first round fills caches and is not counted.
        for round in 0..=bench.rounds {
            let copies = wall(vec![(plain(), &one), (plain(), &two), (plain(), &three)])?;
            let tmr = wall(vec![(voted("tmr"), &by_vote)])?;
            ensure!(fs::read(&by_vote)? == fs::read(&one)?, "{name}: wrong output in tmr");
            let single = wall(vec![(plain(), &one)])?;
            let simplex = wall(vec![(voted("simplex"), &by_vote)])?;
            ensure!(fs::read(&by_vote)? == fs::read(&one)?, "{name}: wrong output in simplex");
            if round > 0 {
                let took = [copies, tmr, single, simplex];
                rounds.push(took.map(|took: Duration| took.as_secs_f64()));
            }
        }
        Ok(Self(rounds))
    }

    /// The seconds of one way.
    pub fn seconds(&self, of: Ran) -> Vec<f64> {
        self.0.iter().map(|round| round[of as usize]).collect()
    }

    /// The ratio of two ways, round by round.
    pub fn ratios(&self, of: Ran, over: Ran) -> Vec<f64> {
        self.0.iter().map(|round| round[of as usize] / round[over as usize]).collect()
    }
}
