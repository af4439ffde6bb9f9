//! What Chameleon itself takes beside the replicas: memory, and CPU time while the program sleeps.

use std::fs::File;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::figure::Figures;
use super::launch::Bench;
use super::procs;

const PART: &str = "cost";

/// MB asked for.
const MEMORY_TARGET: f64 = 20.0;

/// CPU time asked for is none; what the kernel's own accounting shows below this is noise.
const CPU_TARGET: f64 = 1.0;

/// How long the program sleeps; how long it gets before the first look, for its start.
const SLEEP: Duration = Duration::from_secs(3);
const START: Duration = Duration::from_millis(500);

/// Measures with sleep(1) as the program, once a round.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: memory and CPU time while the program sleeps");
    let (mut memory, mut processes, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let words = ["sleep".to_string(), SLEEP.as_secs().to_string()];
        let mut command = bench.voted("tmr", &[], &words);
        let mut child = command.stdout(File::create(bench.path("out"))?).spawn()?;
        sleep(START);
        let pids = procs::of(&bench.chameleon);
        let found = !pids.is_empty();
        let spent = |pids: &[i32]| pids.iter().map(|pid| procs::cpu_ms(*pid)).sum::<f64>();
        let (before, begin) = (spent(&pids), Instant::now());
        memory.push(pids.iter().map(|pid| procs::pss_mb(*pid)).sum());
        processes.push(pids.len() as f64);
        // Reading /proc above is this process's own time; it ends well before the program does.
        sleep(SLEEP - START * 2);
        cpu.push((spent(&pids) - before) / begin.elapsed().as_secs_f64());
        let status = child.wait()?;
        ensure!(status.success(), "sleep ended with {status}");
        ensure!(found, "no process of Chameleon was found");
    }
    figures.add(
        PART,
        "memory of all processes of Chameleon (Pss)",
        "MB",
        memory,
        Some(MEMORY_TARGET),
    );
    figures.add(PART, "processes of Chameleon", "", processes, None);
    figures.add(PART, "CPU time of Chameleon, program asleep", "ms/s", cpu, Some(CPU_TARGET));
    Ok(())
}
