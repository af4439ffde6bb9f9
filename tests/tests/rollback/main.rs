//! Programs that are killed, crash or hang are rolled back to a checkpoint: their output, files and
//! status are those of the native run, and each byte goes out once.
//!
//! Invariant: faults are drawn from a seed, which is printed when a test fails. Each program has
//! `CHAMELEON_ROLLBACKS` runs with a fault, or a few. Run by `cargo test`; a single one with
//! `cargo test -p chameleon-tests --test rollback -- guests::clock`.

mod asked;
mod bugs;
mod guests;
mod journal;
mod killed;
mod moments;
mod programs;
mod taken_back;

use std::time::Duration;

use chameleon_tests::{Dice, Outcome, Scenario, differences, rollbacks};

/// How often checkpoints are taken: one of these each run.
const CADENCES: [&str; 6] = ["1calls", "7calls", "40calls", "300calls", "2ms", "1.5s"];

/// Runs a scenario with a replica killed at a call drawn from a seed, again and again: all runs are as
/// the native one. Each has `--checkpoint` and one to three deaths; `processes` is how many of the
/// program's processes are killed at times.
#[track_caller]
fn survives(scenario: &Scenario, mode: &str, processes: u64) {
    let native = scenario.native();
    let plain = run(scenario, mode, &["--checkpoint=40calls".into()]);
    scenario.same(&native, &plain, mode);
    let disturbances = plain.report.disturbances();
    assert!(disturbances.is_empty(), "{mode}: an undisturbed run reports {disturbances:#?}");
    let exit = plain.report.named("exit").next().expect("there is an end");
    let calls = exit["calls"].as_u64().expect("calls are counted");
    let (mut rolled_back, mut put_in) = (0, 0);
    for seed in 0..rollbacks() {
        let flags = faults(seed, calls, replicas(mode), processes);
        let under = run(scenario, mode, &flags);
        (rolled_back, put_in) = (
            rolled_back + under.report.count("rolled_back"),
            put_in + under.report.count("injected"),
        );
        same(scenario, &native, &under, &format!("{mode}, seed {seed}, {flags:?}"));
    }
    let any = rolled_back > 0 || put_in == 0 || replicas(mode) > 1;
    assert!(any, "{mode}: nothing was rolled back in {} runs", rollbacks());
}

/// Fails unless both are the same, but for what Chameleon says on stderr.
#[track_caller]
fn same(scenario: &Scenario, native: &Outcome, under: &Outcome, what: &str) {
    let text = differences(native, under, scenario.ignored());
    assert!(
        text.is_empty(),
        "{what}:\n{text}report:\n{}\nstderr: {}",
        under.report.disturbances().iter().map(|event| format!("{event}\n")).collect::<String>(),
        under.err()
    );
}

fn replicas(mode: &str) -> u64 {
    match mode {
        "simplex" => 1,
        "dual" | "dual-first" => 2,
        "tmr" => 3,
        "quad" => 4,
        _ => 5,
    }
}

/// The options of a run with faults.
fn faults(seed: u64, calls: u64, replicas: u64, processes: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let cadence = match calls {
        0..5000 => dice.of(&CADENCES),
        _ => dice.of(&CADENCES[2..]), // a checkpoint at each of so many calls takes its time
    };
    let mut flags = vec![format!("--checkpoint={cadence}")];
    for _ in 0..=dice.below(3) {
        let process = dice.below(processes);
        // Calls are counted of all processes together; those of a child are fewer.
        let most = if process == 0 { calls } else { calls / processes + 2 };
        let call = 1 + dice.below(most.max(1));
        // All of them, so that no repair helps; at times some live, and one does.
        let spared = if dice.below(4) == 0 { 1 } else { 0 };
        for replica in 0..replicas.saturating_sub(spared).max(1) {
            let near = call + dice.below(2);
            flags.push(format!("--inject=process={process},replica={replica},call={near},kill"));
        }
    }
    flags
}

#[track_caller]
fn run(scenario: &Scenario, mode: &str, flags: &[String]) -> Outcome {
    scenario.finish(scenario.start_with(mode, flags))
}

/// A size in MiB: small, or what a variable of the environment says.
fn mib(variable: &str, small: usize) -> usize {
    std::env::var(variable).map_or(small, |text| text.parse().expect("a number of MiB"))
}

/// How long a run may take that is killed at from outside.
const LIMIT: Duration = Duration::from_secs(60);
