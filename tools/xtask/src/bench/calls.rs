//! Calls in a loop on one CPU: what a vote costs, against the native call and strace of one copy.

use std::ffi::OsString;
use std::fs;

use anyhow::Context;

use super::figure::Figures;
use super::launch::{Bench, output, pin};

const PART: &str = "calls";

/// Calls of a loop that goes through someone else, and of a native one: each about half a second.
const SLOW_COUNT: u32 = 20_000;
const NATIVE_COUNT: u32 = 2_000_000;

/// At most this of strace's time is asked for, for a voted one-byte write in TMR.
const WRITE_TARGET: f64 = 0.8;

const MODES: [&str; 4] = ["simplex", "dual", "tmr", "nmr:3/5"];

/// Measures each kind of call, each way, once a round.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    let file = bench.path("block");
    fs::write(&file, vec![b'c'; 4096])?;
    let kinds = [
        ("write", "one-byte write", OsString::from("/dev/null")),
        ("getppid", "getppid", OsString::from("/dev/null")),
        ("read", "4 KiB read", file.into_os_string()),
    ];
    for (kind, name, target) in kinds {
        eprintln!("bench: {name}");
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds {
            rounds.push(round(bench, kind, &target)?);
        }
        show(figures, kind, name, &rounds);
    }
    Ok(())
}

/// Nanoseconds a call in one round.
struct Round {
    native: f64,
    strace: f64,
    modes: [f64; MODES.len()],
}

fn round(bench: &Bench, kind: &str, file: &OsString) -> anyhow::Result<Round> {
    let guest = |count: u32| -> Vec<OsString> {
        let words = [bench.path("calls").into_os_string(), kind.into(), count.to_string().into()];
        words.into_iter().chain([file.clone()]).collect()
    };
    let native = nanoseconds(bench, &bench.plain(&guest(NATIVE_COUNT)))?;
    let mut traced: Vec<OsString> = ["strace", "-f", "-o", "/dev/null"].map(OsString::from).into();
    traced.extend(guest(SLOW_COUNT));
    let strace = nanoseconds(bench, &bench.plain(&traced))?;
    let mut modes = [0.0; MODES.len()];
    for (mode, took) in MODES.iter().zip(&mut modes) {
        *took = nanoseconds(bench, &bench.voted(mode, &[], &guest(SLOW_COUNT)))?;
    }
    Ok(Round { native, strace, modes })
}

/// What the guest measured, pinned to one CPU.
fn nanoseconds(bench: &Bench, command: &std::process::Command) -> anyhow::Result<f64> {
    let text = output(pin(command, &bench.cpu))?;
    let text = text.trim();
    text.parse().with_context(|| format!("the guest printed {text:?}"))
}

fn show(figures: &mut Figures, kind: &str, name: &str, rounds: &[Round]) {
    let micro = |of: &dyn Fn(&Round) -> f64| -> Vec<f64> {
        rounds.iter().map(|round| of(round) / 1000.0).collect()
    };
    figures.add(PART, format!("{name}, native"), "us", micro(&|r| r.native), None);
    figures.add(PART, format!("{name}, strace of one copy"), "us", micro(&|r| r.strace), None);
    for (at, mode) in MODES.iter().enumerate() {
        figures.add(PART, format!("{name}, {mode}"), "us", micro(&|r| r.modes[at]), None);
    }
    for (at, mode) in MODES.iter().enumerate() {
        let ratios = rounds.iter().map(|r| r.modes[at] / r.strace).collect();
        let target = (kind == "write" && *mode == "tmr").then_some(WRITE_TARGET);
        figures.add(PART, format!("{name}, {mode} / strace"), "x", ratios, target);
    }
    for (at, mode) in MODES.iter().enumerate() {
        let ratios = rounds.iter().map(|r| r.modes[at] / r.native).collect();
        figures.add(PART, format!("{name}, {mode} / native"), "x", ratios, None);
    }
}
