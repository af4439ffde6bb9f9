//! A run that does not end fails its test, by name, and does not stop the others.
//!
//! Invariant: the runs here would end by themselves, so that without the guard the tests fail instead of
//! hanging. Run by `cargo test`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chameleon_tests::{Running, Scenario, program};

/// Far beyond the limit of the runs here.
const LONG: &str = "40";

fn sleeps() -> Scenario {
    program("sleep").args([LONG]).limit(Duration::from_secs(2))
}

/// What the test that waits for this run fails with.
fn complaint(scenario: &Scenario, running: Running) -> String {
    let pid = running.pid();
    let failure = catch_unwind(AssertUnwindSafe(|| scenario.finish(running)));
    let text = failure.expect_err("the run was waited for to its end");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the run was not ended");
    *text.downcast::<String>().expect("a message")
}

#[test]
fn the_program_the_mode_and_the_processes_are_named() {
    for mode in ["simplex", "tmr"] {
        let scenario = sleeps();
        let running = scenario.start(mode);
        let pid = running.pid();
        let said = complaint(&scenario, running);
        let named = format!("{mode}: [\"sleep\", \"{LONG}\"] is still running after 2 s:");
        assert!(said.starts_with(&named), "{said}");
        let replicas = if mode == "tmr" { 3 } else { 1 };
        let outside = format!("  pid {pid} state S waits in ");
        let processes = said.lines().filter(|line| line.starts_with("  pid "));
        assert_eq!(processes.count(), 3 + replicas, "{said}");
        for part in [&outside, "chameleon: SUPERVISOR", "chameleon: EXECUTION", "\"start\""] {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    }
}

#[test]
fn a_native_run_is_bounded_too() {
    let scenario = sleeps();
    let said = complaint(&scenario, scenario.start_native());
    assert!(said.starts_with("natively: [\"sleep\", "), "{said}");
}

/// Its processes do not carry the mark, and one of them holds the output.
#[test]
fn processes_that_wiped_their_environment_are_ended() {
    let line = format!("exec env -i sh -c 'sleep {LONG} & exec sleep {LONG}'");
    let scenario = program("sh").args(["-c", &line]).limit(Duration::from_secs(2));
    for mode in [None, Some("tmr")] {
        let running = mode.map_or_else(|| scenario.start_native(), |mode| scenario.start(mode));
        let said = complaint(&scenario, running);
        assert!(
            said.lines().filter(|line| line.contains(&format!("sleep {LONG}"))).count() >= 2,
            "{said}"
        );
    }
}

/// A test may do something over and over for as long as a run goes on.
#[test]
fn a_run_beyond_its_limit_does_not_go_on() {
    let scenario = sleeps();
    let mut running = scenario.start("tmr");
    while running.goes_on() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!running.is_over());
    complaint(&scenario, running);
}
