//! How long a repair and a takeover take, from what the report says of them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::figure::Figures;
use super::launch::{Bench, wall};
use super::procs;

const PART: &str = "recovery";

/// Milliseconds asked for.
const REPAIR_TARGET: f64 = 10.0;
const TAKEOVER_TARGET: f64 = 5.0;

/// The title of the process that votes begins so.
const EXECUTION: &str = "chameleon: EXECUTION";

/// Measures both.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: repair");
    let mut repairs = Vec::new();
    for _ in 0..bench.rounds {
        repairs.extend(repair(bench)?);
    }
    let what = "repair of a replica of 64 MiB";
    figures.add(PART, what, "ms", repairs, Some(REPAIR_TARGET));
    eprintln!("bench: takeover");
    let mut takeovers = Vec::new();
    for _ in 0..bench.rounds {
        takeovers.extend(takeover(bench)?);
    }
    let what = "takeover after kill -9 of the voter";
    figures.add(PART, what, "ms", takeovers, Some(TAKEOVER_TARGET));
    Ok(())
}

/// Milliseconds of the repairs after one injected death.
fn repair(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let report = bench.path("report");
    let words = [bench.path("hold").into_os_string(), "64".into(), "2000".into()];
    // Call 1000 is in the middle of the guest's loop, long after its memory was filled.
    let options = ["--inject", "replica=1,call=1000,kill", "--report"].map(OsStr::new);
    let options: Vec<&OsStr> = options.into_iter().chain([report.as_os_str()]).collect();
    wall(vec![(bench.voted("tmr", &options, &words), &bench.path("out"))])?;
    milliseconds(&report, "repaired", |_| true)
}

/// Milliseconds of the takeover after one death of the process that votes.
fn takeover(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let report = bench.path("report");
    let words = [bench.path("hold").into_os_string(), "1".into(), "50000".into()];
    let options = [OsStr::new("--report"), report.as_os_str()];
    let mut command = bench.voted("tmr", &options, &words);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut lines = BufReader::new(stdout).lines();
    let outcome = kill_when_ready(bench, &mut lines);
    let status = child.wait()?;
    outcome?;
    ensure!(status.success(), "the program did not survive the takeover: {status}");
    milliseconds(&report, "takeover", |_| true)
}

/// Kills the voter when the guest is in its loop, then reads to the guest's end.
fn kill_when_ready(
    bench: &Bench,
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
) -> anyhow::Result<()> {
    let first = lines.next().transpose()?.unwrap_or_default();
    ensure!(first == "ready", "the guest said {first:?}");
    let voter = procs::of(&bench.chameleon)
        .into_iter()
        .find(|pid| procs::title(*pid).starts_with(EXECUTION));
    let killed = voter.map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
    let last = lines.last().transpose()?.unwrap_or_default();
    killed.with_context(|| format!("no process titled {EXECUTION:?}"))??;
    ensure!(last.starts_with("done"), "the guest's last line is {last:?}");
    Ok(())
}

/// The `ms` of those events of one kind in a report that are wanted; the report is removed.
pub fn milliseconds(
    report: &Path,
    kind: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Vec<f64>> {
    let found = read(report, kind, "ms", wanted)?;
    fs::remove_file(report)?;
    ensure!(!found.is_empty(), "the report tells of no {kind}");
    Ok(found)
}

/// A number of each event of one kind in a report.
pub fn numbers(report: &Path, kind: &str, field: &str) -> anyhow::Result<Vec<f64>> {
    read(report, kind, field, |_| true)
}

/// The same of those events that are wanted.
pub fn read(
    report: &Path,
    kind: &str,
    field: &str,
    wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<Vec<f64>> {
    let file = File::open(report).with_context(|| format!("no report for {kind}"))?;
    let mut found = Vec::new();
    for line in BufReader::new(file).lines() {
        let event: Value = serde_json::from_str(&line?).context("a line of the report")?;
        if event["event"] == kind && wanted(&event) {
            found.push(event[field].as_f64().with_context(|| format!("an event without {field}"))?);
        }
    }
    Ok(found)
}
