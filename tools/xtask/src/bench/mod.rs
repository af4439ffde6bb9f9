//! `cargo xtask bench`: how fast, in ratios of things measured side by side in one run.
//!
//! A machine's speed drifts from one minute to the next, so every figure comes from rounds in
//! which each contender runs once, and is the median of the rounds' own ratios.
//!
//! Invariant: writes only into a temporary directory that is removed; nothing here is a test.

mod application;
mod calls;
mod cost;
mod environment;
mod figure;
mod images;
mod increments;
pub mod inputs;
mod launch;
mod procs;
mod programs;
mod recovery;
mod rollback;
mod rounds;
mod servers;
mod threads;

use anyhow::ensure;
use clap::{Args, ValueEnum};

use figure::Figures;
pub use figure::median;
use launch::Bench;
pub use launch::built;

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many rounds; each figure is a median over them
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Only these parts (may be repeated)
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,

    /// How long the application of the paper runs by itself
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    seconds: f64,

    /// Print the figures as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// The parts of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Voted calls in a loop on one CPU, against native and strace
    Calls,
    /// Whole programs in TMR over three plain copies at once
    Programs,
    /// A program of threads that computes
    Threads,
    /// Requests a second of servers
    Servers,
    /// Repair and takeover
    Recovery,
    /// Memory, and CPU time while the program sleeps
    Cost,
    /// Writing and reading checkpoint images
    Images,
    /// Checkpoints and roll-backs
    Checkpoints,
    /// The application of the paper, without and with a fault, beside other processes
    Application,
    /// An environment: what is killed, nodes that come and go, messages through a daemon
    Environment,
    /// The heartbeats of many nodes
    Heartbeats,
}

/// A part measures and adds its figures.
type Measure = fn(&Bench, &mut Figures) -> anyhow::Result<()>;

const PARTS: [(Part, &str, Measure); 11] = [
    (Part::Calls, "calls", calls::measure),
    (Part::Programs, "programs", programs::measure),
    (Part::Threads, "threads", threads::measure),
    (Part::Servers, "servers", servers::measure),
    (Part::Recovery, "recovery", recovery::measure),
    (Part::Cost, "cost", cost::measure),
    (Part::Images, "images", images::measure),
    (Part::Checkpoints, "checkpoints", rollback::measure),
    (Part::Application, "application", application::measure),
    (Part::Environment, "environment", environment::measure),
    (Part::Heartbeats, "heartbeats", environment::measure_beats),
];

/// Measures and prints.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let bench = Bench::prepare(args.rounds, args.seconds)?;
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut figures = Figures::default();
    let mut failed = 0;
    for (part, name, measure) in PARTS {
        if !wanted(part) {
            continue;
        }
        // What the other parts found is worth printing all the same.
        if let Err(error) = measure(&bench, &mut figures) {
            eprintln!("bench: {name} failed: {error:#}");
            failed += 1;
        }
    }
    if args.json {
        println!("{}", figures.json());
    } else {
        println!("{}", figures.table());
        figures.notes().iter().for_each(|note| println!("{note}"));
    }
    ensure!(failed == 0, "{failed} parts of the benchmark failed");
    Ok(())
}
