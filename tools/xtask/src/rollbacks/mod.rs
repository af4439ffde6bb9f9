//! `cargo xtask rollbacks`: programs whose replicas are killed at calls that a seed draws, in many runs
//! each, with checkpoints; all runs are to be as the native one.
//!
//! A run has one to three deaths, each at a call of one of the first processes: by SIGKILL, or by a bit
//! of the instruction pointer. Besides the rows here those of `cargo xtask compat` can be named.
//!
//! Invariant: as that of `compat`; the same seed draws the same faults. Called by developers, for an hour
//! or for a night.

mod rows;

use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use serde_json::Value;

use crate::compat::row::Row;
use crate::compat::run::{Desk, Seen};
use crate::compat::{judge, rows as compat_rows};

/// How often checkpoints are taken: one of these each run.
const CADENCES: [&str; 6] = ["1calls", "7calls", "40calls", "20ms,50calls", "2ms", "1.5s"];
/// Programs of more calls than this are not stopped at each of them.
const MANY: u64 = 5000;

/// Options of `cargo xtask rollbacks`.
#[derive(Debug, Args)]
pub struct RollbacksArgs {
    /// Only rows of this name (may be repeated), of these or of `cargo xtask compat`
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// How many runs each row has in each mode
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,

    /// The modes
    #[arg(long, value_name = "MODES", default_value = "simplex", value_delimiter = ',')]
    mode: Vec<String>,

    /// Where the seeds of the runs begin
    #[arg(long, value_name = "S", default_value = "0")]
    seed: u64,

    /// Only SIGKILL: for programs that have handlers of their own for the signals of a crash
    #[arg(long)]
    kill: bool,
}

/// What came of a row in a mode.
#[derive(Default)]
struct Came {
    same: u64,
    /// It ended for want of a checkpoint, and said so.
    without: u64,
    wrong: u64,
    put_in: usize,
    rolled_back: usize,
}

/// Runs the rows and prints a table.
pub fn run(args: &RollbacksArgs) -> anyhow::Result<()> {
    let own = rows::rows();
    let rows: Vec<Row> = match args.only.as_slice() {
        [] => own,
        names => {
            let all = own.into_iter().chain(compat_rows::all());
            all.filter(|row| names.iter().any(|name| row.name == name)).collect()
        }
    };
    ensure!(!rows.is_empty(), "no row has this name");
    let guests = std::process::Command::new(crate::root().join("tests/guests/build.sh"))
        .arg(crate::root().join("target/guests"))
        .status();
    ensure!(guests.context("cannot build the guests")?.success(), "the guests do not build");
    let desk = Desk::prepare()?;
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header([
        "program",
        "mode",
        "runs",
        "as native",
        "no checkpoint",
        "wrong",
        "faults",
        "rolled back",
    ]);
    let mut wrong = 0;
    for row in &rows {
        if let Some(missing) = row.missing() {
            eprintln!("rollbacks: {}: {missing} is not installed", row.name);
            continue;
        }
        for mode in &args.mode {
            let came = campaign(&desk, row, mode, args).with_context(|| row.name.to_string())?;
            wrong += came.wrong;
            let cells = [
                row.name.to_string(),
                mode.clone(),
                args.runs.to_string(),
                came.same.to_string(),
                came.without.to_string(),
                came.wrong.to_string(),
                came.put_in.to_string(),
                came.rolled_back.to_string(),
            ];
            eprintln!("rollbacks: {}", cells.join(" "));
            table.add_row(cells);
        }
    }
    println!("{table}");
    ensure!(wrong == 0, "{wrong} runs were not as the native one");
    Ok(())
}

/// All runs of one row in a mode.
fn campaign(desk: &Desk, row: &Row, mode: &str, args: &RollbacksArgs) -> anyhow::Result<Came> {
    let ready = desk.set_up(row)?;
    let native = ready.run(None, &[])?;
    let again = ready.run(None, &[])?;
    if let Some(difference) = judge::difference(&native, &again) {
        anyhow::bail!("two native runs differ: {difference}");
    }
    let plain = ready.run(Some(mode), &["--checkpoint=40calls".to_string()])?;
    if let Some(difference) = judge::difference(&native, &plain) {
        anyhow::bail!("it differs without a fault: {difference}");
    }
    let calls = named(&plain, "exit").find_map(|exit| exit["calls"].as_u64()).unwrap_or(100);
    let mut came = Came::default();
    for seed in args.seed..args.seed + args.runs {
        let flags = faults(seed, calls, replicas(mode), args.kill);
        let under = ready.run(Some(mode), &flags)?;
        came.put_in += named(&under, "injected").count();
        came.rolled_back += named(&under, "rolled_back").count();
        let Some(difference) = judge::difference(&native, &under) else {
            came.same += 1;
            continue;
        };
        let without = named(&under, "verdict").any(|event| event["verdict"] == "no-checkpoint");
        *if without { &mut came.without } else { &mut came.wrong } += 1;
        let flags = flags.join(" ");
        eprintln!(
            "rollbacks: {}, {mode}, seed {seed}: {difference}\n  {flags}\n  {}",
            row.name, under.said
        );
    }
    Ok(came)
}

fn named<'a>(seen: &'a Seen, name: &'a str) -> impl Iterator<Item = &'a Value> {
    seen.report.iter().filter(move |event| event["event"] == name)
}

fn replicas(mode: &str) -> u64 {
    match mode {
        "simplex" => 1,
        "dual" | "dual-first" => 2,
        "quad" => 4,
        _ => 3,
    }
}

/// The options of a run.
fn faults(seed: u64, calls: u64, replicas: u64, kill: bool) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let cadences = if calls < MANY { &CADENCES[..] } else { &CADENCES[2..] };
    let cadence = cadences[dice.below(cadences.len() as u64) as usize];
    let mut flags = vec![format!("--checkpoint={cadence}")];
    for _ in 0..=dice.below(3) {
        // Most calls are those of the first process, of the others it is not known how many there are.
        let process = dice.below(6).saturating_sub(2);
        let most = if process == 0 { calls } else { calls / 4 };
        let call = 1 + dice.below(most.max(1));
        let fault = if !kill && dice.below(4) == 0 { "reg=rip,bit=45" } else { "kill" };
        // All of them, so that no repair helps; at times one lives, and it does.
        let spared = u64::from(dice.below(4) == 0);
        for replica in 0..replicas.saturating_sub(spared).max(1) {
            let near = call + dice.below(2);
            flags.push(format!("--inject=process={process},replica={replica},call={near},{fault}"));
        }
    }
    flags
}

/// A sequence of numbers that looks random and is the same each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(1); // the first numbers of neighbours are alike
        dice
    }

    /// A number below this one.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{faults, rows};
    use crate::compat::rows as compat_rows;

    #[test]
    fn names_are_unique() {
        let rows = [rows::rows(), compat_rows::all()].concat();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
    }

    #[test]
    fn a_seed_draws_the_same_faults() {
        for seed in 0..50 {
            let drawn = faults(seed, 300, 3, false);
            assert_eq!(drawn, faults(seed, 300, 3, false));
            assert!(drawn.len() > 1);
        }
    }
}
