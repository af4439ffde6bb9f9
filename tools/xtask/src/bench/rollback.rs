//! Checkpoints: how long one stops the program, against a bare fork(2) of the same memory; how long a
//! roll-back takes; what both cost a program that computes.

use std::ffi::{OsStr, OsString};
use std::fs;

use anyhow::{Context, ensure};

use super::figure::Figures;
use super::launch::{Bench, output, wall};
use super::recovery::{milliseconds, numbers};

const PART: &str = "checkpoints";

/// A program that is stopped: its memory, how far apart, and for how long it may be.
struct Size {
    mib: u32,
    every_ms: u32,
    most_ms: f64,
}

const SIZES: [Size; 2] = [
    Size { mib: 64, every_ms: 50, most_ms: 3.0 },
    Size { mib: 1024, every_ms: 200, most_ms: 25.0 },
];
/// At most so many times a bare fork is asked for.
const FORK_TARGET: f64 = 1.3;
/// Milliseconds asked for.
const ROLLBACK_TARGET: f64 = 10.0;
/// At most this ratio is asked for.
const OVERHEAD_TARGET: f64 = 1.02;
/// How long such a program goes on.
const SECONDS: &str = "2";

/// Measures all of it.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    for size in &SIZES {
        stops(bench, figures, size)?;
    }
    eprintln!("bench: roll-back");
    let mut rollbacks = Vec::new();
    for _ in 0..bench.rounds {
        let fault = ["--checkpoint=100calls", "--inject=replica=0,call=1000,kill"];
        hold(bench, 64, &fault)?;
        rollbacks.extend(milliseconds(&bench.path("report"), "rolled_back", |_| true)?);
    }
    figures.add(PART, "roll-back of 64 MiB", "ms", rollbacks, Some(ROLLBACK_TARGET));
    for program in &COMPUTING {
        overhead(bench, figures, program)?;
    }
    criu(bench, figures);
    Ok(())
}

/// A program that holds so much memory and makes calls, with a report.
fn hold(bench: &Bench, mib: u32, options: &[&str]) -> anyhow::Result<()> {
    let report = bench.path("report");
    let words = [bench.path("hold").into_os_string(), mib.to_string().into(), "2000".into()];
    let mut all: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    all.extend([OsStr::new("--report"), report.as_os_str()]);
    wall(vec![(bench.voted("simplex", &all, &words), &bench.path("out"))])?;
    Ok(())
}

/// What a program sees of checkpoints, and another one of its own forks, as many and as far apart: right
/// after each other they are faster, since what the kernel needs for them is in its caches.
fn stops(bench: &Bench, figures: &mut Figures, size: &Size) -> anyhow::Result<()> {
    let Size { mib, every_ms, most_ms } = *size;
    eprintln!("bench: checkpoints of {mib} MiB");
    let words = |more: &[String]| -> Vec<OsString> {
        let own = [bench.path("pauses").into(), mib.to_string().into(), SECONDS.into()];
        own.into_iter().chain(more.iter().map(OsString::from)).collect()
    };
    let (mut bare, mut frozen, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let report = bench.path("report");
    for _ in 0..bench.rounds {
        let forks = pauses(&output(bench.plain(&words(&[every_ms.to_string()])))?)?;
        let cadence = format!("--checkpoint={every_ms}ms");
        let options = [OsStr::new(&cadence), OsStr::new("--report"), report.as_os_str()];
        let seen = pauses(&output(bench.voted("simplex", &options, &words(&[])))?)?;
        // Those before the loop are of less memory.
        let in_loop = |event: &serde_json::Value| event["seq"].as_u64() > Some(100);
        let made = milliseconds(&report, "checkpoint", in_loop)?.len();
        ensure!(seen.len() >= made, "{made} checkpoints, and only {} pauses", seen.len());
        let middle = |longest: &[f64]| {
            let ascending: Vec<f64> = longest.iter().rev().copied().collect();
            super::median(&ascending).context("nothing was measured")
        };
        let (fork, stop) = (middle(&forks)?, middle(&seen[..made])?);
        bare.push(fork);
        frozen.push(stop);
        ratios.push(stop / fork);
    }
    figures.add(PART, format!("fork(2) of {mib} MiB"), "ms", bare, None);
    figures.add(PART, format!("stop for a checkpoint of {mib} MiB"), "ms", frozen, Some(most_ms));
    let what = format!("stop for a checkpoint of {mib} MiB / fork(2)");
    figures.add(PART, what, "x", ratios, Some(FORK_TARGET));
    Ok(())
}

/// The pauses that the guest of that name prints, the longest first.
fn pauses(text: &str) -> anyhow::Result<Vec<f64>> {
    Ok(text.lines().map(str::parse).collect::<Result<Vec<f64>, _>>()?)
}

/// A program of 200 MB that computes.
struct Computing {
    what: &'static str,
    words: &'static [&'static str],
    most: Option<f64>,
}

const COMPUTING: [Computing; 2] = [
    Computing {
        what: "matrices of 200 MB multiplied",
        words: &["multiply", "2890"],
        most: Some(OVERHEAD_TARGET),
    },
    // After each checkpoint the first write to each page copies it: all of them, in this one.
    Computing {
        what: "worst case: 200 MB written over and over",
        words: &["sweeps", "200", "80"],
        most: None,
    },
];

/// What it costs such a program to have a checkpoint taken each 1.5 s: two runs side by side in each round,
/// of which each comes first in turn, since a machine's speed drifts.
fn overhead(bench: &Bench, figures: &mut Figures, program: &Computing) -> anyhow::Result<()> {
    let Computing { what, words: [name, arguments @ ..], most } = program else {
        return Ok(());
    };
    eprintln!("bench: cost of a checkpoint each 1.5 s: {what}");
    let mut words = vec![bench.path(name).into_os_string()];
    words.extend(arguments.iter().map(OsString::from));
    let report = bench.path("report");
    let told = [OsStr::new("--report"), report.as_os_str()];
    let with = [OsStr::new("--checkpoint=1.5s"), told[0], told[1]];
    let run = |options: &[&OsStr], out: &str| -> anyhow::Result<(f64, f64)> {
        let out = bench.path(out);
        let took = wall(vec![(bench.voted("simplex", options, &words), &out)])?;
        let spent = numbers(&report, "exit", "cpu_ms")?;
        Ok((took.as_secs_f64(), spent.iter().sum()))
    };
    let (mut walls, mut spent) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let (without, with) = if round % 2 == 0 {
            let without = run(&told, "out-without")?;
            (without, run(&with, "out-with")?)
        } else {
            let with = run(&with, "out-with")?;
            (run(&told, "out-without")?, with)
        };
        let same = fs::read(bench.path("out-with"))? == fs::read(bench.path("out-without"))?;
        ensure!(same, "wrong output");
        walls.push(with.0 / without.0);
        spent.push(with.1 / without.1);
    }
    let what = format!("{what}, checkpoint each 1.5 s / none");
    figures.add(PART, what.clone(), "x", walls, *most);
    figures.add(PART, format!("{what}, CPU time"), "x", spent, None);
    Ok(())
}

/// criu(8) beside it, where it works.
fn criu(bench: &Bench, figures: &mut Figures) {
    let said = match output(bench.plain(&["criu", "check"])) {
        Ok(_) => "criu works here; an image of its own is not compared with a frozen fork",
        Err(_) => "criu does not work here (criu check fails, or it is not installed)",
    };
    figures.note(said.into());
}
