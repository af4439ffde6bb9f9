//! A program whose memory was wrong before it failed, which showed first in calls: those without an effect
//! outside are taken back, and for one with an effect it is given up.
//!
//! Invariant: what it did with the wrong memory is nowhere to be seen: not in files, positions, masks, clocks
//! or the order of its threads (`guests/detours.c` looks at them). Run by `cargo test`.

use chameleon_tests::{Ending, Outcome, Scenario, guest, program};

use crate::{replicas, run, same};

/// What it does before it crashes that nobody outside can see.
const UNSEEN: [&str; 5] = ["abort", "mask", "read", "clock", "ask"];

/// It looks after its table every so many rounds, in a thread among others, and writes to its log last.
fn detours(how: &str, every: u32, threads: bool, log: bool) -> Scenario {
    let numbers = ["30".into(), every.to_string(), u8::from(threads).to_string()];
    program(guest("detours"))
        .args([how.to_string()])
        .args(numbers)
        .args([u8::from(log).to_string()])
}

/// A bit of the table is flipped in all replicas.
fn flipped(mode: &str, thread: u64, call: u64) -> Vec<String> {
    let flip = |r| {
        format!("--inject=process={thread},replica={r},call={call},mem=data,offset=30000,bit=4")
    };
    (0..replicas(mode)).map(flip).collect()
}

/// The calls that were taken back in all roll-backs.
fn taken_back(outcome: &Outcome) -> u64 {
    let back = outcome.report.named("rolled_back");
    back.filter_map(|event| event["taken_back"].as_u64()).sum()
}

#[track_caller]
fn is_cured(scenario: &Scenario, mode: &str, flags: &[String]) -> u64 {
    let native = scenario.native();
    let under = run(scenario, mode, flags);
    let what = format!("{mode}, {flags:?}");
    same(scenario, &native, &under, &what);
    assert_eq!(under.report.count("injected") as u64, replicas(mode), "{what}");
    assert!(under.report.count("rolled_back") > 0, "{what}: {}", under.report.text());
    assert_eq!(under.report.count("verdict"), 0, "{what}: {}", under.report.text());
    taken_back(&under)
}

/// The calls of the program are swept: wherever it is hit.
#[test]
fn what_nobody_outside_has_seen() {
    for how in UNSEEN {
        for (every, log) in [(1, false), (4, true)] {
            let scenario = detours(how, every, false, log).flag("--checkpoint=15calls");
            let calls = (1070..1130).step_by(7);
            let taken =
                calls.map(|call| is_cured(&scenario, "simplex", &flipped("simplex", 0, call)));
            assert!(taken.sum::<u64>() > 0, "{how}");
        }
    }
}

#[test]
fn with_several_replicas() {
    for mode in ["dual", "dual-first", "tmr", "quad"] {
        for how in UNSEEN {
            let scenario = detours(how, 1, false, false).flag("--checkpoint=15calls");
            let taken = is_cured(&scenario, mode, &flipped(mode, 0, 1095));
            assert!(taken > 0, "{mode}, {how}");
        }
    }
}

/// Turns of other threads that came behind are taken back, too.
#[test]
fn in_a_thread_among_others() {
    for how in UNSEEN {
        let scenario = detours(how, 1, true, false).flag("--checkpoint=60calls");
        for call in (30..130).step_by(19) {
            let taken = is_cured(&scenario, "simplex", &flipped("simplex", 1, call));
            assert!(taken > 0, "{how}, {call}");
        }
        assert!(is_cured(&scenario, "tmr", &flipped("tmr", 1, 60)) > 0, "{how}");
    }
}

/// A message is out; executed again, the program does not write it. That is not to be made good, and is said.
#[test]
fn what_was_seen_outside_is_named() {
    for (how, threads, log) in
        [("say", false, false), ("log", false, false), ("log", false, true), ("say", true, false)]
    {
        let scenario = detours(how, 1, threads, log).flag("--checkpoint=15calls");
        let (thread, call) = if threads { (1, 35) } else { (0, 1095) };
        let under = run(&scenario, "simplex", &flipped("simplex", thread, call));
        let what = format!("{how}, {threads}, {log}");
        under.ended(Ending::Exited(125));
        assert_eq!(taken_back(&under), 0, "{what}");
        let verdict = under.report.named("verdict").next().expect("there is a verdict");
        assert_eq!(verdict["verdict"], "persistent", "{what}: {verdict}");
        assert_eq!(verdict["performed"], "write", "{what}: {verdict}");
        let said = under.err();
        assert!(said.contains("does not make write, which had been performed"), "{what}: {said}");
    }
}

/// What was killed was not wrong before: where its replay goes another way, the replay is wrong.
#[test]
fn what_was_killed_is_believed() {
    let scenario = detours("abort", 1, false, false).flag("--checkpoint=15calls");
    let native = scenario.native();
    for call in [1085, 1097] {
        let flags = [format!("--inject=replica=0,call={call},kill")];
        let under = run(&scenario, "simplex", &flags);
        same(&scenario, &native, &under, &format!("killed at {call}"));
        assert_eq!(taken_back(&under), 0, "{}", under.report.text());
    }
}
