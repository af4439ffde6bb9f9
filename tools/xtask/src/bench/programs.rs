//! Whole programs in TMR and simplex, over plain copies (see `rounds`).

use std::ffi::OsString;
use std::fs;

use super::figure::Figures;
use super::inputs;
use super::launch::Bench;
use super::rounds::{Ran, Rounds};

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
    let Program { name, words, target } = program;
    let voted = |mode: &str| bench.voted(mode, &[], words);
    let rounds = Rounds::measure(bench, name, || bench.plain(words), voted)?;
    let (copies, tmr) = (rounds.seconds(Ran::Copies), rounds.seconds(Ran::Tmr));
    figures.add(PART, format!("{name}, three plain copies"), "s", copies, None);
    figures.add(PART, format!("{name}, tmr"), "s", tmr, None);
    let ratios = rounds.ratios(Ran::Tmr, Ran::Copies);
    figures.add(PART, format!("{name}, tmr / three copies"), "x", ratios, *target);
    let ratios = rounds.ratios(Ran::Simplex, Ran::Single);
    figures.add(PART, format!("{name}, simplex / one copy"), "x", ratios, None);
    Ok(())
}
