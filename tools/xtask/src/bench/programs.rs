//! Whole programs: TMR over three plain copies started at once, simplex over one plain copy.
//!
//! Three copies are the fair rival: three replicas compute three times, whoever votes them.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::ensure;

use super::figure::Figures;
use super::inputs;
use super::launch::{Bench, wall};

const PART: &str = "programs";

/// At most this ratio is asked for where a program computes.
const TARGET: f64 = 1.15;

const MB: u64 = 1_000_000;

struct Program {
    name: &'static str,
    words: Vec<OsString>,
    target: Option<f64>,
}

/// Measures each program, all ways, once a round.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    inputs::lines(&bench.path("lines"), 50 * MB)?;
    inputs::noise(&bench.path("noise"), 100 * MB)?;
    inputs::tree(&bench.path("tree"), 40, 100)?;
    fs::write(bench.path("work.py"), inputs::PYTHON)?;
    let program = |name, line: &str, target| Program {
        name,
        words: line.split(' ').map(OsString::from).collect(),
        target,
    };
    // Not the wrapper script of some version manager, whose own cost is another matter.
    let system = std::path::Path::new("/usr/bin/python3").exists();
    let python = if system { "/usr/bin/python3 work.py" } else { "python3 work.py" };
    let programs = [
        // One thread: with more, replicas would differ from plain copies in more than the vote.
        program("sort of 50 MB", "sort --parallel=1 lines", Some(TARGET)),
        program("gzip of 50 MB", "gzip -c lines", Some(TARGET)),
        program("sha256sum of 100 MB", "sha256sum noise", Some(TARGET)),
        program("python3", python, Some(TARGET)),
        program("ls -lR of 4,000 files", "ls -lR tree", None),
    ];
    for program in programs {
        eprintln!("bench: {}", program.name);
        measure_one(bench, figures, &program)?;
    }
    Ok(())
}

fn measure_one(bench: &Bench, figures: &mut Figures, program: &Program) -> anyhow::Result<()> {
    let out = |name: &str| bench.path(&format!("out-{name}"));
    let (one, two, three, voted) = (out("1"), out("2"), out("3"), out("voted"));
    let plain = || bench.plain(&program.words);
    let mut rounds = Vec::new();
    // The first round fills caches and is not counted.
    for round in 0..=bench.rounds {
        let copies = wall(vec![(plain(), &one), (plain(), &two), (plain(), &three)])?;
        let tmr = wall(vec![(bench.voted("tmr", &[], &program.words), &voted)])?;
        ensure!(fs::read(&voted)? == fs::read(&one)?, "{}: wrong output in tmr", program.name);
        let single = wall(vec![(plain(), &one)])?;
        let simplex = wall(vec![(bench.voted("simplex", &[], &program.words), &voted)])?;
        if round > 0 {
            rounds.push([copies, tmr, single, simplex].map(|took: Duration| took.as_secs_f64()));
        }
    }
    let name = program.name;
    let pick = |at: usize| rounds.iter().map(|round| round[at]).collect::<Vec<f64>>();
    let over = |a: usize, b: usize| rounds.iter().map(|round| round[a] / round[b]).collect();
    figures.add(PART, format!("{name}, three plain copies"), "s", pick(0), None);
    figures.add(PART, format!("{name}, tmr"), "s", pick(1), None);
    figures.add(PART, format!("{name}, tmr / three copies"), "x", over(1, 0), program.target);
    figures.add(PART, format!("{name}, simplex / one copy"), "x", over(3, 2), None);
    Ok(())
}
