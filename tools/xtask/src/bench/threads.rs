//! A program of threads that computes: TMR over three plain copies on as many CPUs, simplex over one.
//!
//! A mode that refuses threads is skipped, and that is said.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use anyhow::ensure;

use super::figure::Figures;
use super::launch::{Bench, pin, refusal, wall};

const PART: &str = "threads";

/// The guest shares its work evenly among so many.
const THREADS: [usize; 3] = [1, 2, 4];

/// Measures each number of threads, all ways, once a round.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    for threads in THREADS {
        eprintln!("bench: {threads} threads");
        let words = [bench.path("threads").into_os_string(), threads.to_string().into()];
        measure_one(bench, figures, threads, &words)?;
    }
    Ok(())
}

fn measure_one(
    bench: &Bench,
    figures: &mut Figures,
    threads: usize,
    words: &[OsString],
) -> anyhow::Result<()> {
    let out = |name: &str| bench.path(&format!("out-{name}"));
    let (one, two, three, voted) = (out("1"), out("2"), out("3"), out("voted"));
    let cpus = bench.cpus[..threads.min(bench.cpus.len())].join(",");
    let on_cpus = |command: &Command| pin(command, &cpus);
    let plain = || on_cpus(&bench.plain(words));
    let under = |mode: &str| on_cpus(&bench.voted(mode, &[], words));
    let takes = |mode: &str| -> anyhow::Result<bool> {
        let refused = refusal(bench, mode, words)?;
        if let Some(call) = &refused {
            eprintln!("bench: {threads} threads in {mode}: skipped, it refuses {call}");
        }
        Ok(refused.is_none())
    };
    let (simplex, tmr) = (takes("simplex")?, takes("tmr")?);
    let (mut of_simplex, mut of_tmr) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let single = wall(vec![(plain(), &one)])?;
        if simplex {
            let took = wall(vec![(under("simplex"), &voted)])?;
            ensure!(fs::read(&voted)? == fs::read(&one)?, "{threads} threads: wrong in simplex");
            of_simplex.push(took.as_secs_f64() / single.as_secs_f64());
        }
        if tmr {
            let copies = wall(vec![(plain(), &one), (plain(), &two), (plain(), &three)])?;
            let took = wall(vec![(under("tmr"), &voted)])?;
            ensure!(fs::read(&voted)? == fs::read(&one)?, "{threads} threads: wrong in tmr");
            of_tmr.push(took.as_secs_f64() / copies.as_secs_f64());
        }
    }
    if simplex {
        figures.add(PART, format!("{threads} threads, simplex / one copy"), "x", of_simplex, None);
    }
    if tmr {
        figures.add(PART, format!("{threads} threads, tmr / three copies"), "x", of_tmr, None);
    }
    Ok(())
}
