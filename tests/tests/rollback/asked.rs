//! `chameleon checkpoint` and what `chameleon ps` counts, of programs that compute, wait and write.
//!
//! Invariant: each test has a directory for its runs that no other test looks into. Run by `cargo test`.

use std::process::{Command, Output};

use chameleon_tests::{Running, Scenario, chameleon, guest, output, program, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("runs-").tempdir();
        Self(directory.expect("a temporary directory can be made"))
    }

    fn say(&self, words: &[&str]) -> Output {
        let mut command = Command::new(chameleon());
        command.args(words).env("XDG_RUNTIME_DIR", self.0.path());
        output(command)
    }

    /// What `chameleon ps` says of a run.
    fn run(&self, running: &Running) -> Value {
        let said = self.say(&["ps", "--json"]);
        let all: Vec<Value> = serde_json::from_slice(&said.stdout).expect("it is JSON");
        all.into_iter().find(|run| run["pid"] == running.pid()).unwrap_or_default()
    }

    fn counted(&self, running: &Running, what: &str) -> u64 {
        self.run(running)["status"][what].as_u64().unwrap_or_default()
    }
}

fn end(scenario: &Scenario, running: Running) {
    running.signal(Signal::SIGKILL);
    scenario.finish(running);
}

/// A checkpoint is taken, is counted, and is what a killed replica goes back to.
fn is_taken(scenario: Scenario, mode: &str) {
    let place = Place::new();
    let scenario =
        scenario.flag("--checkpoint=1000000calls").env("XDG_RUNTIME_DIR", place.0.path());
    let running = scenario.start(mode);
    assert!(
        until(|| place.run(&running)["status"]["calls"].as_u64() > Some(15)),
        "{}",
        place.run(&running)
    );
    let pid = running.pid().to_string();
    for round in 1..=3 {
        let before = place.counted(&running, "checkpoints");
        let said = place.say(&["checkpoint", &pid]);
        assert_eq!(said.status.code(), Some(0), "{mode}, round {round}: {said:?}");
        let after = place.counted(&running, "checkpoints");
        assert!(after > before, "{mode}, round {round}: {after} checkpoints after {before}");
        assert!(until(|| running.has_told("checkpoint") as u64 >= after));
    }
    // A frozen one is stopped by its tracer; one that runs may be so for a moment.
    let runs = || running.replicas().into_iter().filter(|replica| replica.state != 't');
    assert!(until(|| runs().count() > 0));
    runs().for_each(|replica| replica.signal(Signal::SIGKILL));
    let recovered = || running.has_told("rolled_back") + running.has_told("repaired") > 0;
    assert!(until(|| recovered() || running.has_told("verdict") > 0), "{mode}: nobody noticed");
    assert!(until(recovered), "{mode}: given up");
    end(&scenario, running);
}

#[test]
fn of_a_program_that_computes() {
    for mode in ["simplex", "tmr"] {
        let computes = program("sh").args(["-c", "echo start; while :; do :; done"]);
        if mode == "simplex" {
            is_taken(computes, mode);
        }
        is_taken(program(guest("filled")).args(["16", "1000000"]), mode);
    }
}

#[test]
fn of_a_program_that_waits() {
    for mode in ["simplex", "dual", "tmr"] {
        is_taken(program("sleep").args(["1000"]), mode);
        is_taken(program("sh").args(["-c", "exec sleep 1000"]), mode);
        is_taken(program(guest("echoes")), mode);
    }
}

#[test]
fn of_a_program_that_never_stops_calling() {
    for mode in ["simplex", "dual", "tmr"] {
        is_taken(program("dd").args(["if=/dev/zero", "of=/dev/null", "bs=1"]), mode);
    }
}

#[test]
fn a_rollback_is_counted() {
    let place = Place::new();
    let scenario = program(guest("ticker"))
        .args(["100000", "1"])
        .flag("--checkpoint=20calls")
        .flag("--inject=replica=0,call=200,kill")
        .env("XDG_RUNTIME_DIR", place.0.path());
    let running = scenario.start("simplex");
    assert!(until(|| place.counted(&running, "rollbacks") == 1), "{}", place.run(&running));
    assert!(place.counted(&running, "checkpoints") > 1);
    end(&scenario, running);
}
