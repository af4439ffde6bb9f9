//! Signals from outside and the terminal's job control: as without Chameleon.
//!
//! Invariant: every step waits for what it needs to see; nothing depends on how long anything takes.
//! Run by `cargo test`.

use chameleon_tests::{
    Ending, MODES, Running, Scenario, guest, have, program, python, script, until,
};
use nix::sys::signal::Signal;

fn drive(steps: &[&str]) -> Vec<String> {
    let mut words =
        vec![python().to_owned(), script("drive.py").to_str().expect("a plain path").to_owned()];
    words.extend(steps.iter().map(|step| (*step).to_owned()));
    words.push("--".into());
    words
}

/// The command writes `ready` to a file when it can be sent signals.
fn bash(line: &str) -> Scenario {
    program("bash").args(["-c", line])
}

#[track_caller]
fn wait_for(scenario: &Scenario, name: &str) {
    let file = scenario.work().join(name);
    assert!(until(|| file.exists()), "{name} was not written");
}

/// Whether this process is stopped.
fn stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn send_when_ready(
    scenario: &Scenario,
    running: Running,
    signals: &[Signal],
) -> chameleon_tests::Outcome {
    wait_for(scenario, "ready");
    for signal in signals {
        running.signal(*signal);
    }
    scenario.finish(running)
}

#[test]
fn an_unhandled_signal_is_the_programs_death() {
    for mode in MODES {
        for (signal, number) in [
            (Signal::SIGINT, 2),
            (Signal::SIGTERM, 15),
            (Signal::SIGHUP, 1),
            (Signal::SIGUSR1, 10),
            (Signal::SIGALRM, 14),
        ] {
            let scenario = program("sleep").args(["1000"]).prefix([
                "sh",
                "-c",
                "echo >ready; exec \"$@\"",
                "sh",
            ]);
            let running = scenario.start(mode);
            // The sleep itself has to be there: a process of its name, not yet the shell.
            let pid = running.pid();
            let comm = format!("/proc/{pid}/comm");
            until(|| std::fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n"));
            running.signal(signal);
            scenario.finish(running).ended(Ending::Signal(number));
        }
    }
}

#[test]
fn a_trap_runs() {
    let line = "trap 'echo interrupted; exit 7' INT; echo >ready; while :; do sleep 0.05; done";
    for mode in MODES {
        let scenario = bash(line);
        let outcome = send_when_ready(&scenario, scenario.start(mode), &[Signal::SIGINT]);
        outcome.ended(Ending::Exited(7));
        assert_eq!(outcome.out(), "interrupted\n");
    }
}

#[test]
fn each_signal_reaches_its_handler_once() {
    let signals =
        [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGHUP, Signal::SIGWINCH, Signal::SIGINT];
    for mode in MODES {
        let scenario = program(guest("handler")).prefix(["sh", "-c", "exec \"$@\" >out", "sh"]);
        let running = scenario.start(mode);
        let out = scenario.work().join("out");
        let lines =
            |wanted: &str| std::fs::read_to_string(&out).is_ok_and(|text| text.contains(wanted));
        assert!(until(|| lines("ready\n")), "the handler did not get ready");
        for round in 1..4 {
            for signal in signals {
                running.signal(signal);
                let line = format!("signal {} number {round}\n", signal as i32);
                assert!(until(|| lines(&line)), "{mode}: {signal} was not seen");
            }
        }
        running.signal(Signal::SIGTERM);
        scenario.finish(running).ended(Ending::Exited(9));
        let text = std::fs::read_to_string(&out).expect("it was written");
        assert_eq!(text.lines().count(), 1 + 15 + 1, "{text}");
    }
}

#[test]
fn stop_and_continue() {
    for mode in MODES {
        let scenario = program(guest("ticker")).args(["400", "2"]);
        let native = scenario.native();
        let running = scenario.start(mode);
        let ticks = scenario.work().join("ticks");
        let size = || std::fs::metadata(&ticks).map_or(0, |info| info.len());
        assert!(until(|| size() > 300), "the program did not get under way");
        let pid = running.pid();
        for signal in [Signal::SIGTSTP, Signal::SIGSTOP] {
            running.signal(signal);
            assert!(until(|| stopped(pid)), "{mode}: {signal} did not stop it");
            // The program stands still: nothing is written while it is stopped.
            let before = size();
            std::thread::sleep(std::time::Duration::from_millis(100));
            let after = size();
            assert!(after - before < 200, "{mode}: it went on while stopped");
            running.signal(Signal::SIGCONT);
            assert!(until(|| !stopped(pid)));
        }
        let under = scenario.finish(running);
        scenario.same(&native, &under, mode);
    }
}

#[test]
fn a_signal_to_the_group_reaches_every_process() {
    let line = "trap 'echo shell; exit 4' TERM; (trap 'echo child; exit 5' TERM; echo >child-ready; while :; do sleep 0.02; done) & echo >ready; wait $!; wait; echo unreached";
    for mode in MODES {
        let scenario = bash(line);
        let running = scenario.start(mode);
        wait_for(&scenario, "ready");
        wait_for(&scenario, "child-ready");
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(running.pid()), Signal::SIGTERM)
            .expect("the group is there");
        let outcome = scenario.finish(running);
        outcome.ended(Ending::Exited(4));
        assert!(
            outcome.out().contains("shell\n") && outcome.out().contains("child\n"),
            "{}",
            outcome.out()
        );
    }
}

#[test]
fn a_burst_of_signals_breaks_nothing() {
    for mode in ["simplex", "tmr"] {
        let scenario = program(guest("ticker")).args(["300", "1"]).prefix([
            "bash",
            "-c",
            "trap '' USR1; exec \"$@\"",
            "bash",
        ]);
        let native = scenario.native();
        let mut running = scenario.start(mode);
        assert!(until(|| scenario.work().join("ticks").exists()));
        while running.goes_on() {
            running.signal(Signal::SIGUSR1);
            running.signal(Signal::SIGWINCH);
            running.signal(Signal::SIGCONT);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let under = scenario.finish(running);
        scenario.same(&native, &under, mode);
    }
}

/// What a terminal scenario shows natively it shows in every mode.
#[track_caller]
/// A handler that must run although the program makes no call: with several replicas one's state
/// is taken for all, and that is told.
#[test]
fn a_signal_reaches_a_program_that_only_computes() {
    for mode in MODES {
        let outcome = program(guest("spinflag")).check_disturbed(mode);
        let told = outcome.report.count("preempted");
        assert_eq!(told, if mode == "simplex" { 0 } else { 2 }, "{}", outcome.report.text());
        assert_eq!(outcome.report.count("outvoted"), 0, "{}", outcome.report.text());
    }
}

fn on_terminal(steps: &[&str], command: &[&str]) {
    if !have(&["python3"]) {
        return;
    }
    for mode in MODES {
        program(command[0]).args(&command[1..]).prefix(drive(steps)).check(mode);
    }
}

#[test]
fn control_c_interrupts() {
    on_terminal(
        &["expect:ready", "send:\\x03", "eof"],
        &[
            "bash",
            "-c",
            "trap 'echo got INT; exit 3' INT; echo ready; while :; do sleep 0.02; done",
        ],
    );
    on_terminal(
        &["expect:ready", "send:\\x03", "eof"],
        &["sh", "-c", "echo ready; exec sleep 1000"],
    );
    on_terminal(
        &["expect:ready", "send:\\x1c", "eof"],
        &["sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000"],
    );
}

#[test]
fn the_window_size_is_the_terminals() {
    let handler = guest("handler");
    let handler = handler.to_str().expect("a plain path");
    on_terminal(&["eof"], &["stty", "size"]);
    on_terminal(
        &["expect:ready", "resize:31x97", "expect:signal 28 number 1", "signal:SIGTERM", "eof"],
        &[handler],
    );
}

#[test]
fn raw_mode_is_set_and_restored() {
    let line = "s=$(stty -g); stty raw -echo; printf 'raw\\r\\n'; c=$(dd bs=1 count=1 2>/dev/null); stty \"$s\"; echo \"got <$c>\"; stty -a | grep -c icanon; tty >/dev/null && echo terminal";
    on_terminal(&["expect:raw", "send:x", "eof"], &["sh", "-c", line]);
}

#[test]
fn control_z_stops_and_fg_continues() {
    // An interactive shell outside Chameleon's sphere drives the job; its prompt is empty.
    let line = "set -m; \"$@\"; echo \"stopped with $?\"; fg >/dev/null; echo \"ended with $?\"";
    if !have(&["python3", "bash"]) {
        return;
    }
    for mode in MODES {
        let mut words = drive(&[
            "expect:ready",
            "send:\\x1a",
            "expect:stopped with 148",
            "send:line\\n",
            "expect:read line",
            "eof",
        ]);
        words.extend(["bash", "-c", line, "bash"].map(str::to_owned));
        program("sh")
            .args(["-c", "echo ready; read -r x; echo \"read $x\"; exit 6"])
            .prefix(words)
            .check(mode);
    }
}

#[test]
fn job_control_inside_the_application() {
    let steps = [
        "expect:$ ",
        "send:sh -c 'echo o\"\"n; exec sleep 1000'\\n",
        "expect:on\\r\\n",
        "send:\\x1a",
        "expect:Stopped",
        "send:jobs\\n",
        "expect:Stopped",
        "send:kill %1; fg\\n",
        "expect:$ ",
        "send:exit 5\\n",
        "eof",
    ];
    if !have(&["python3", "bash"]) {
        return;
    }
    for mode in MODES {
        let outcome = program("bash")
            .args(["--norc", "--noprofile", "-i"])
            .env("PS1", "$ ")
            .prefix(drive(&steps))
            .under(mode);
        outcome.ended(Ending::Exited(5));
    }
}
