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

/// Standalone, fault-free and with a fault, in seconds, for 0 to 3 processes beside it.
const PAPER: [[f64; 3]; 4] =
    [[38.01, 45.85, 60.14], [49.36, 50.31, 69.50], [54.87, 56.23, 94.09], [73.52, 76.17, 95.62]];

/// Where among its calls the fault is put in, in each row another place.
const FAULT_AT: [f64; 4] = [0.37, 0.81, 0.55, 0.23];

/// Runs that tell how many products a second are made.
const PROBE: u32 = 40;

/// Measures the table once.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    let took = wall(vec![(bench.plain(&words(bench, PROBE)?), &bench.path("out"))])?;
    let count = (f64::from(PROBE) * bench.seconds / took.as_secs_f64()).max(1.0) as u32;
    let mut lines = vec![
        "The paper's Table 3 (1999) and ours: seconds, overhead over standalone; with a fault over fault-free"
            .into(),
        "beside it | paper: standalone, fault-free, with a fault | ours: standalone, fault-free, with a fault"
            .into(),
    ];
    for (load, paper) in PAPER.into_iter().enumerate() {
        eprintln!("bench: matrices with {load} processes beside");
        let beside = Load::start(bench, load)?;
        let ours = row(bench, figures, load, count)?;
        drop(beside);
        lines.push(format!("{load:9} | {} | {}", seconds(paper), seconds(ours)));
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

fn row(bench: &Bench, figures: &mut Figures, load: usize, count: u32) -> anyhow::Result<[f64; 3]> {
    let words = words(bench, count)?;
    let (plain, out, report) = (bench.path("plain"), bench.path("out"), bench.path("report"));
    let alone = wall(vec![(bench.plain(&words), &plain)])?.as_secs_f64();
    let right = products(bench)?;
    let told = [OsStr::new("--report"), report.as_os_str()];
    let free = wall(vec![(bench.voted("simplex", &told, &words), &out)])?.as_secs_f64();
    ensure!(fs::read(&out)? == fs::read(&plain)?, "wrong output");
    let calls = numbers(&report, "exit", "calls")?.pop().context("no calls")?;
    let fault = format!("--inject=replica=0,call={},kill", (calls * FAULT_AT[load]) as u64);
    let options = [OsStr::new("--checkpoint=1.5s"), OsStr::new(&fault), told[0], told[1]];
    let with = wall(vec![(bench.voted("simplex", &options, &words), &out)])?.as_secs_f64();
    ensure!(fs::read(&out)? == fs::read(&plain)?, "wrong output with a fault");
    ensure!(products(bench)? == right, "wrong products with a fault");
    let rollbacks = milliseconds(&report, "rolled_back", |_| true)?;
    let beside = format!("{load} processes beside");
    figures.add(PART, format!("{beside}: fault-free / standalone"), "x", vec![free / alone], None);
    figures.add(PART, format!("{beside}: with a fault / fault-free"), "x", vec![with / free], None);
    figures.add(PART, format!("{beside}: roll-back"), "ms", rollbacks, None);
    Ok([alone, free, with])
}

/// The files that it leaves.
fn products(bench: &Bench) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
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
