//! What `--report`, `-v` and standard error say of a run.
//!
//! Invariant: an undisturbed run says nothing on standard error without `-v`, and its report is a
//! start and an exit. Run by `cargo test`.

use std::process::Command;

use chameleon_tests::{Ending, MODES, chameleon, guest, have, output, program, python};

#[test]
fn an_undisturbed_run_is_a_start_and_an_exit() {
    for (mode, n, k) in
        [("simplex", 1, 1), ("dual", 2, 2), ("tmr", 3, 2), ("quad", 4, 3), ("nmr:3/5", 5, 3)]
    {
        let scenario = program(guest("checksum")).args(["20"]);
        let running = scenario.start(mode);
        let pid = running.pid();
        let outcome = scenario.finish(running);
        outcome.ended(Ending::Exited(0));
        assert_eq!(outcome.err(), "");
        let text = outcome.report.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        let start = outcome.report.named("start").next().expect("a start");
        assert_eq!(start["mode"], mode);
        assert_eq!((start["n"].as_u64(), start["k"].as_u64()), (Some(n), Some(k)));
        assert_eq!(start["args"], serde_json::json!(["20"]));
        assert_eq!(start["pid"].as_i64(), Some(i64::from(pid)));
        let exit = outcome.report.named("exit").next().expect("an exit");
        assert_eq!((exit["status"].as_i64(), exit["repairs"].as_u64()), (Some(0), Some(0)));
        assert!(exit["signal"].is_null());
        let calls = exit["calls"].as_u64().expect("a count");
        assert!(calls >= 21, "20 lines take at least as many calls, not {calls}");
        assert!(exit["votes"].as_u64() <= Some(calls));
    }
}

#[test]
fn the_exit_tells_status_and_signal() {
    for mode in MODES {
        let outcome = program(guest("exitcodes")).args(["e", "33"]).under(mode);
        let exit = outcome.report.named("exit").next().expect("an exit");
        assert_eq!(exit["status"], 33);
        let outcome = program(guest("exitcodes")).args(["s", "15"]).under(mode);
        let exit = outcome.report.named("exit").next().expect("an exit");
        assert_eq!(exit["signal"], 15);
        assert!(exit["status"].is_null());
    }
}

/// Each thread is a part of its process's CPU time and does not count all of it again.
#[test]
fn cpu_time_of_threads_is_counted_once() {
    if !have(&["python3"]) {
        return;
    }
    let threads = "import threading\nfor i in range(200):\n    t = threading.Thread(target=lambda: sum(range(20000)))\n    t.start()\n    t.join()";
    let outcome = program(python()).args(["-c", threads]).check("simplex");
    let exit = outcome.report.named("exit").next().expect("an exit");
    let start = outcome.report.named("start").next().expect("a start");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let (cpu, wall) = (number(&exit["cpu_ms"]), number(&exit["wall_ms"]));
    assert!(cpu <= 2.0 * wall * number(&start["cpus"]), "{cpu} ms of CPU time in {wall} ms");
}

#[test]
fn verbose_says_when_it_starts_and_ends() {
    let outcome = program(guest("hello")).flag("-v").under("tmr");
    let said = outcome.err();
    assert!(said.lines().count() >= 2, "{said:?}");
    assert!(said.lines().all(|line| line.starts_with("chameleon: ")), "{said:?}");
}

#[test]
fn options_of_the_program_are_the_programs() {
    for mode in MODES {
        program("echo").args(["--mode", "x", "-v", "--", "--help"]).check(mode);
    }
}

#[test]
fn the_mode_is_tmr_and_the_dashes_may_be_missing() {
    let mut command = Command::new(chameleon());
    command.args(["run", "-v", "echo", "-n", "plain"]);
    let output = output(command);
    assert_eq!(output.stdout, b"plain");
    assert!(String::from_utf8_lossy(&output.stderr).contains("tmr"));
}

#[test]
fn placements_give_the_same_output() {
    for placement in ["auto", "together", "spread", "0"] {
        program(guest("checksum")).flag(format!("--placement={placement}")).check("tmr");
    }
}

/// What differs because processes change memory in no common order is told as a race, with what ran in
/// each replica.
#[test]
fn a_race_of_the_programs_own() {
    let outcome = program(guest("raced")).under("tmr");
    outcome.ended(Ending::Exited(125));
    assert_eq!(outcome.out(), "", "nothing that differs is output");
    let text = outcome.report.text();
    assert_eq!(outcome.report.count("race"), 1, "{text}");
    let race = outcome.report.named("race").next().expect("a race");
    // The other one, unless it has ended by now.
    assert!(race["others"].as_array().is_some_and(|others| others.len() <= 1), "{race}");
    let orders = race["orders"].as_array().expect("the orders");
    assert_eq!(orders.len(), 3, "{race}");
    for order in orders {
        assert!(order["turns"].as_array().is_some_and(|turns| !turns.is_empty()), "{race}");
    }
    assert!(outcome.err().contains("may be a race of its own"), "{}", outcome.err());
}
