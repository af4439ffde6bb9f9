//! The application of the paper of 1999, again: a matrix of 200 by 400 times one of 400 by 200, with
//! results in files, beside 0 to 3 processes that compute, without a fault and with one that is
//! recovered from by the last checkpoint (its Table 3).
//!
//! Invariant: each run printed what the plain one did; what was started beside it has ended.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use super::figure::Figures;
use super::launch::{Bench, wall};
use super::recovery::{milliseconds, numbers};

const PART: &str = "application";

/// Standalone, fault-free and with a fault, in seconds, for 0 to 3 processes beside it. What is printed as
/// overhead follows from these; the paper's own for a fault is 31.2, 35.4, 64.3 and 23.9 percent.
const PAPER: [[f64; 3]; 4] =
    [[38.01, 45.85, 60.14], [49.36, 50.31, 69.50], [54.87, 56.23, 94.09], [73.52, 76.17, 95.62]];

/// Where among its calls the fault is put in: in each run at another of these places.
const FAULT_AT: [f64; 5] = [0.37, 0.81, 0.55, 0.23, 0.68];

/// Files with their content.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// Runs that tell how many products a second are made.
const PROBE: u32 = 40;

/// Measures the table: each number is the mean of the rounds, as the paper's is of five runs.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    let took = wall(vec![(bench.plain(&words(bench, PROBE)?), &bench.path("out"))])?;
    let count = (f64::from(PROBE) * bench.seconds / took.as_secs_f64()).max(1.0) as u32;
    let about = format!(
        "The paper's Table 3 (1999) and ours, of {count} products and {} runs, on {} CPUs: seconds; \
         overhead over standalone, and with a fault over fault-free",
        bench.rounds,
        bench.cpus.len()
    );
    let head = "beside it | paper: standalone, fault-free, with a fault | ours: standalone, fault-free, \
                with a fault, roll-back";
    let mut lines = vec![about, head.into()];
    for (load, paper) in PAPER.into_iter().enumerate() {
        eprintln!("bench: matrices with {load} processes beside");
        let beside = Load::start(bench, load)?;
        let ours = row(bench, figures, load, count)?;
        drop(beside);
        lines.push(format!("{load:9} | {} | {}", seconds(paper), ours));
    }
    lines.into_iter().for_each(|line| figures.note(line));
    Ok(())
}

fn seconds([alone, free, fault]: [f64; 3]) -> String {
    let percent = |of: f64, over: f64| 100.0 * (of / over - 1.0);
    format!(
        "{alone:6.2}  {free:6.2} ({:+.1}%)  {fault:6.2} ({:+.1}%)",
        percent(free, alone),
        percent(fault, free)
    )
}

fn words(bench: &Bench, count: u32) -> anyhow::Result<[OsString; 3]> {
    let directory = bench.path("products");
    fs::create_dir_all(&directory)?;
    Ok([bench.path("matrix").into(), count.to_string().into(), directory.into()])
}

/// The three columns at one load, as text.
fn row(bench: &Bench, figures: &mut Figures, load: usize, count: u32) -> anyhow::Result<String> {
    let (mut runs, mut rollbacks) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let at = FAULT_AT[(load + round as usize) % FAULT_AT.len()];
        let (three, rollback) = once(bench, count, at)?;
        runs.push(three);
        rollbacks.push(rollback);
    }
    let beside = format!("{load} processes beside");
    let mut add = |what: &str, unit, values| {
        figures.add(PART, format!("{beside}: {what}"), unit, values, None);
    };
    let ratios = |over: usize, under: usize| runs.iter().map(|r| r[over] / r[under]).collect();
    add("fault-free / standalone", "x", ratios(1, 0));
    add("with a fault / fault-free", "x", ratios(2, 1));
    add("roll-back", "ms", rollbacks.clone());
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / runs.len() as f64;
    let means = [0, 1, 2].map(|column| mean(&mut runs.iter().map(|r| r[column])));
    Ok(format!("{}  {:.1} ms", seconds(means), mean(&mut rollbacks.into_iter())))
}

/// Seconds by itself, under Chameleon, and with checkpoints and one fault from which it is rolled back; and the
/// milliseconds of that. `at` is where the fault is, as a part of all calls.
fn once(bench: &Bench, count: u32, at: f64) -> anyhow::Result<([f64; 3], f64)> {
    let words = words(bench, count)?;
    let report = bench.path("report");
    let told = [OsStr::new("--report"), report.as_os_str()];
    let (alone, right) = run(bench, bench.plain(&words))?;
    let (free, products) = run(bench, bench.voted("simplex", &told, &words))?;
    ensure!(products == right, "wrong products");
    let calls = numbers(&report, "exit", "calls")?.pop().context("no calls")?;
    let fault = format!("--inject=replica=0,call={},kill", (calls * at) as u64);
    let options = [OsStr::new("--checkpoint=1.5s"), OsStr::new(&fault), told[0], told[1]];
    let (with, products) = run(bench, bench.voted("simplex", &options, &words))?;
    ensure!(products == right, "wrong products with a fault");
    let faults = numbers(&report, "injected", "call")?.len();
    let rollbacks = milliseconds(&report, "rolled_back", |_| true)?;
    ensure!(faults == 1 && rollbacks.len() == 1, "{faults} faults, {} roll-backs", rollbacks.len());
    Ok(([alone, free, with], rollbacks[0]))
}

/// Seconds of a run, and what it left: its output and its files, of which there were none before.
fn run(bench: &Bench, command: Command) -> anyhow::Result<(f64, Files)> {
    let directory = bench.path("products");
    fs::remove_dir_all(&directory)?;
    fs::create_dir(&directory)?;
    let out = bench.path("out");
    let took = wall(vec![(command, &out)])?.as_secs_f64();
    let mut left = products(bench)?;
    ensure!(!left.is_empty(), "no products");
    left.push((PathBuf::new(), fs::read(&out)?));
    Ok((took, left))
}

/// The files that it leaves.
fn products(bench: &Bench) -> anyhow::Result<Files> {
    let mut all = Vec::new();
    for entry in fs::read_dir(bench.path("products"))? {
        let path = entry?.path();
        let content = fs::read(&path)?;
        all.push((path, content));
    }
    all.sort();
    Ok(all)
}

/// Processes that compute, ended when dropped.
struct Load(Vec<Child>);

impl Load {
    fn start(bench: &Bench, count: usize) -> anyhow::Result<Self> {
        let mut load = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new(bench.path("factorial"));
            load.0.push(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
