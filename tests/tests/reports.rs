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
