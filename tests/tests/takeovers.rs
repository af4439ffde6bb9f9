//! `kill -9` of the ARMOR at random microseconds, dozens of times in one run: whatever it was doing,
//! the program's output, files and status are those of its native run.
//!
//! Invariant: only the ARMORs of the test's own run are killed, more slowly than the restart
//! intensity gives up at. `CHAMELEON_KILLS` says how many kills each scenario is to have (default
//! [`KILLS`]). Run by `cargo test`.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use chameleon_tests::{Dice, Ending, Running, Scenario, guest, program, supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills for each scenario and mode.
const KILLS: usize = 30;

/// Runs of a scenario at most, should each be too short for many kills.
const RUNS: usize = 40;

fn wanted() -> usize {
    std::env::var("CHAMELEON_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS)
}

/// The ARMOR that is there now, found without looking at every process.
fn armor(supervisor: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
    let is_armor = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|l| l.starts_with(b"chameleon: EXECUTION"))
    };
    children.ok()?.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_armor)
}

/// Kills ARMORs until the run is over, or is taken for hanging; how many.
fn harass(running: &mut Running, dice: &mut Dice) -> usize {
    let Some(parent) = supervisor(running) else { return 0 };
    let mut kills = 0;
    while running.goes_on() {
        // On average every 45 ms: 32 in a second would be given up on.
        sleep(Duration::from_micros(36_000 + dice.below(18_000)));
        if let Some(pid) = armor(parent) {
            let until = Instant::now() + Duration::from_nanos(dice.below(500_000));
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            kills += usize::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
    }
    kills
}

/// Runs the scenario until it has had its kills; all runs must be as the native one.
fn survives(scenario: &Scenario, mode: &str) {
    let native = scenario.native();
    let mut dice = Dice::new(0);
    let mut kills = 0;
    for _ in 0..RUNS {
        let mut running = scenario.start(mode);
        kills += harass(&mut running, &mut dice);
        let under = scenario.finish(running);
        scenario.same(&native, &under, mode);
        if kills >= wanted() {
            return;
        }
    }
    assert!(kills > 0, "no ARMOR was ever killed");
}

/// Writes to a file, a pipe and stdout, as fast as it can.
#[test]
fn with_files_and_pipes() {
    for mode in ["simplex", "tmr"] {
        survives(&program(guest("ticker")).args(["4000", "0"]), mode);
    }
}

/// Forks, pipelines, signals with handlers, command substitution, appended files.
#[test]
fn with_processes_and_signals() {
    let script = "trap 'echo got >>traps' USR1; i=0
        while [ $i -lt 40 ]; do
            i=$((i+1)); echo line $i | tr a-z A-Z >>out; kill -USR1 $$
            (echo sub $i) | cat >>out; x=$(echo $i); echo $x
        done; cat out traps | cksum; exit 7";
    let scenario = program("dash").args(["-c", script]);
    for mode in ["simplex", "tmr", "nmr:3/5"] {
        survives(&scenario, mode);
    }
}

/// A guest six times, one after the other.
fn repeated(name: &str) -> Scenario {
    let line = "i=0; while [ $i -lt 6 ]; do i=$((i+1)); \"$0\" || exit 9; done";
    program("dash").args(["-c", line]).args([guest(name)])
}

/// Guests that check themselves: order of signals, vfork, execs, appends, long reads and writes.
#[test]
fn with_guests_that_check_themselves() {
    for name in [
        "sigorder",
        "vforks",
        "execs",
        "appends",
        "bigio",
        "longcalls",
        "sigsuspends",
        "forks",
        "tcp",
        "inside",
        "cputimers",
    ] {
        survives(&repeated(name).ignoring("big"), "tmr");
    }
}

/// Memory shared with files and children, whose changes are half carried out when the ARMOR dies.
#[test]
fn with_shared_memory() {
    for name in [
        "shared_work",
        "shared_file",
        "shared_trunc",
        "shared_memfd",
        "shared_anon",
        "shared_sysv",
        "shared_talk",
        "shared_group",
    ] {
        survives(&repeated(name), "tmr");
    }
}

/// Locks with owners, handed over or left behind by a thread that ends; execs of threads.
#[test]
fn with_threads() {
    for name in [
        "thread_pi",
        "thread_owner",
        "thread_robust",
        "thread_execs",
        "thread_futexv",
        "thread_requeue",
    ] {
        let line = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); \"$0\" || exit 9; done";
        let scenario = program("dash").args(["-c", line]).args([guest(name)]);
        for mode in ["simplex", "tmr"] {
            survives(&scenario, mode);
        }
    }
}

/// ARMORs that die faster than they may be started again: the run ends with 125, people are told,
/// and nothing is left.
#[test]
fn too_many_losses_end_the_run() {
    let scenario = program(guest("ticker")).args(["100000", "1"]);
    let mut running = scenario.start("tmr");
    let parent = supervisor(&mut running).expect("it has begun");
    while running.goes_on() {
        if let Some(pid) = armor(parent) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_micros(200));
    }
    let under = scenario.finish(running);
    under.ended(Ending::Exited(125));
    assert!(under.err().contains("EXECUTION ARMOR ended"), "{}", under.err());
}

/// Were it waited for, a run that hangs would be killed at for ever.
#[test]
fn a_run_that_hangs_is_given_up() {
    let scenario = program("sleep").args(["40"]).limit(Duration::from_secs(2));
    let mut running = scenario.start("tmr");
    let kills = harass(&mut running, &mut Dice::new(1));
    assert!(kills > 0 && !running.is_over(), "{kills} kills");
}
