//! A program of threads that computes, on as many CPUs, in TMR and simplex, over plain copies (see
//! `rounds`).

use std::process::Command;

use super::figure::Figures;
use super::launch::{Bench, pin};
use super::rounds::{Ran, Rounds};

const PART: &str = "threads";

/// The guest shares its work evenly among so many.
const THREADS: [usize; 3] = [1, 2, 4];

/// Measures each number of threads, all ways, once a round.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    for threads in THREADS {
        eprintln!("bench: {threads} threads");
        measure_one(bench, figures, threads)?;
    }
    Ok(())
}

fn measure_one(bench: &Bench, figures: &mut Figures, threads: usize) -> anyhow::Result<()> {
    let words = [bench.path("threads").into_os_string(), threads.to_string().into()];
    let cpus = bench.cpus[..threads.min(bench.cpus.len())].join(",");
    let on_cpus = |command: &Command| pin(command, &cpus);
    let plain = || on_cpus(&bench.plain(&words));
    let voted = |mode: &str| on_cpus(&bench.voted(mode, &[], &words));
    let name = format!("{threads} threads");
    let rounds = Rounds::measure(bench, &name, plain, voted)?;
    let ratios = rounds.ratios(Ran::Simplex, Ran::Single);
    figures.add(PART, format!("{name}, simplex / one copy"), "x", ratios, None);
    let ratios = rounds.ratios(Ran::Tmr, Ran::Copies);
    figures.add(PART, format!("{name}, tmr / three copies"), "x", ratios, None);
    Ok(())
}
