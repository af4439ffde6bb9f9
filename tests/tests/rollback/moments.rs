//! Deaths at one call after the other, where what the replica has done, or what was done for it, is not
//! to be had again: a checkpoint has to be there in time.
//!
//! Invariant: each run has one fault, at a call of its own, and is as the native one. Run by `cargo test`.

use std::ops::Range;

use chameleon_tests::{Scenario, guest, program, rollbacks};

use crate::{replicas, run, same};

/// One run a call, with this fault in every replica of a process there.
#[track_caller]
fn at_each(scenario: &Scenario, mode: &str, process: u32, calls: Range<u32>, fault: &str) {
    let native = scenario.native();
    let mut put_in = 0;
    for call in calls {
        let mut flags = vec!["--checkpoint=40calls".to_owned()];
        for replica in 0..replicas(mode) {
            let at = format!("process={process},replica={replica},call={call}");
            flags.push(format!("--inject={at},{fault}"));
        }
        let under = run(scenario, mode, &flags);
        put_in += under.report.count("injected");
        same(scenario, &native, &under, &format!("{mode}, {flags:?}"));
    }
    assert!(put_in > 0, "{mode}, {fault}: nothing was put in");
}

/// What it has read of a file that it maps, and changes at that call.
#[test]
fn a_mapped_file_is_changed() {
    let scenario = program(guest("remaps")).args(["4"]);
    for mode in ["simplex", "tmr"] {
        at_each(&scenario, mode, 0, 5..60, "kill");
    }
    at_each(&scenario, "simplex", 0, 5..60, "reg=rip,bit=45");
}

/// What is written or read in one call of megabytes is not kept.
#[test]
fn a_long_call_is_done() {
    for fault in ["kill", "reg=rip,bit=45"] {
        at_each(&program(guest("wanders")), "simplex", 0, 24..58, fault);
    }
}

/// The outside has still to do its part of an exec while the replicas are in the new program.
#[test]
fn a_program_is_executed() {
    let scenario = program("sh").args([
        "-c",
        "seq 30 | sed s/7/x/ | cksum; (id -u; exec cat /proc/self/status) | grep Cap",
    ]);
    for _ in 0..rollbacks() {
        for process in 1..4 {
            at_each(&scenario, "simplex", process, 5..12, "kill");
        }
    }
}

/// A child that has its parent's memory goes back together with it.
#[test]
fn a_vfork_child_runs() {
    let lines = "cat /proc/self/status | grep Cap; ls -d /usr | cksum; expr 3 + 4; id -u";
    let shell = program("sh").args(["-c", lines]);
    for scenario in [shell, program(guest("spawn")), program(guest("vforks"))] {
        for process in 1..3 {
            at_each(&scenario, "simplex", process, 1..10, "kill");
        }
        at_each(&scenario, "tmr", 1, 1..8, "kill");
    }
}
