//! Faults that a roll-back cures, and bugs of the program that it does not.
//!
//! Invariant: a fault is put in by `--inject`; a bug is the guest's own, and its death that of the native
//! run. Run by `cargo test`.

use chameleon_tests::{Ending, Outcome, Scenario, guest, program};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::same;

fn guarded(how: &str, rounds: u32, every: u32) -> Scenario {
    program(guest("guarded")).args([how.to_string(), rounds.to_string(), every.to_string()])
}

/// It has a bug at this round.
fn with_bug(how: &str, round: u32) -> Scenario {
    guarded(how, 60, 1).args([round.to_string()])
}

fn verdicts(outcome: &Outcome) -> Vec<&Value> {
    outcome.report.named("verdict").collect()
}

/// A bit of the table is flipped; the program notices, and is rolled back to before that.
fn flip(call: u32) -> String {
    format!("--inject=replica=0,call={call},mem=data,offset=30000,bit=4")
}

#[test]
fn a_flipped_bit_that_makes_it_crash() {
    for (how, signal) in [("null", Signal::SIGSEGV), ("abort", Signal::SIGABRT)] {
        for (every, cadence) in [(1, "1calls"), (1, "10calls"), (30, "40calls"), (20, "1.5s")] {
            let scenario = guarded(how, 60, every).flag(format!("--checkpoint={cadence}"));
            let native = scenario.native();
            let under = crate::run(&scenario, "simplex", &[flip(60)]);
            let what = format!("{how}, {every}, {cadence}");
            same(&scenario, &native, &under, &what);
            let text = under.report.text();
            assert_eq!(under.report.count("injected"), 1, "{what}: {text}");
            let back: Vec<&Value> = under.report.named("rolled_back").collect();
            assert!(!back.is_empty(), "{what}: {text}");
            for event in back {
                assert_eq!(event["cause"], "crash", "{what}: {text}");
                assert_eq!(event["signal"], signal as i32, "{what}: {text}");
            }
            assert!(under.err().contains("rolled back"), "{what}: {}", under.err());
        }
    }
}

/// Checkpoints taken since the fault have it, too: older and older ones are tried.
#[test]
fn a_fault_that_shows_late() {
    let scenario = guarded("null", 60, 12).flag("--checkpoint=8calls");
    let native = scenario.native();
    let under = crate::run(&scenario, "simplex", &[flip(64)]);
    same(&scenario, &native, &under, "late");
    let attempts = under.report.named("rolled_back").filter_map(|event| event["attempt"].as_u64());
    assert!(attempts.max() >= Some(1), "{}", under.report.text());
}

/// A fault that was in memory for far longer than four times the time between two checkpoints.
#[test]
fn a_fault_that_was_there_for_long() {
    for (how, call, every, cadence) in
        [("null", 64, 200, "4calls"), ("abort", 64, 200, "4calls"), ("null", 300, 600, "1calls")]
    {
        let scenario = guarded(how, 601, every).flag(format!("--checkpoint={cadence}"));
        let native = scenario.native();
        // A message is out before it is noticed, but it is the right one.
        let under = crate::run(&scenario, "simplex", &[flip(call)]);
        let what = format!("{how}, {call}, {cadence}");
        same(&scenario, &native, &under, &what);
        let back = under.report.named("rolled_back").filter_map(|event| event["to"].as_u64());
        assert!(back.min() < Some(call.into()), "{what}: {}", under.report.text());
    }
}

/// With as few tries as that the last one goes back to the beginning.
#[test]
fn the_last_try_is_from_the_beginning() {
    let scenario = with_bug("null", 40).flag("--checkpoint=2calls").flag("--retries=2");
    let under = scenario.under("simplex");
    under.ended(Ending::Signal(Signal::SIGSEGV as i32));
    let back: Vec<_> = under.report.named("rolled_back").map(|e| e["to"].as_u64()).collect();
    assert_eq!(back.len(), 2, "{}", under.report.text());
    assert!(back[1] < Some(10) && back[0] > Some(40), "{}", under.report.text());
    assert_eq!(verdicts(&under)[0]["verdict"], "software-bug", "{}", under.report.text());
}

#[test]
fn a_flipped_bit_that_makes_it_spin() {
    let scenario = guarded("spin", 60, 1).flag("--checkpoint=10calls").flag("--livelock=300ms");
    let native = scenario.native();
    let under = crate::run(&scenario, "simplex", &[flip(60)]);
    same(&scenario, &native, &under, "spin");
    let causes: Vec<&Value> = under.report.named("rolled_back").map(|e| &e["cause"]).collect();
    assert!(causes.iter().any(|cause| *cause == "livelock"), "{}", under.report.text());
}

/// A replica that does not come to a call is one without progress.
#[test]
fn a_hang() {
    for mode in ["simplex", "dual"] {
        let scenario = program(guest("ticker"))
            .args(["100", "1"])
            .flag("--checkpoint=20calls")
            .flag("--livelock=300ms");
        let native = scenario.native();
        let flags =
            ["--inject=replica=0,call=150,hang".into(), "--inject=replica=1,call=150,hang".into()];
        let flags = if mode == "simplex" { &flags[..1] } else { &flags[..] };
        let under = crate::run(&scenario, mode, flags);
        same(&scenario, &native, &under, mode);
        assert_eq!(under.report.count("injected"), flags.len(), "{}", under.report.text());
        assert!(under.report.count("rolled_back") >= 1, "{}", under.report.text());
    }
}

/// The same crash each time: the program's own. It dies as it does natively, and what it had written is
/// there once.
#[test]
fn a_bug_is_the_programs_own() {
    for (how, signal) in [("null", Signal::SIGSEGV), ("abort", Signal::SIGABRT)] {
        for mode in ["simplex", "dual", "tmr"] {
            let scenario = with_bug(how, 40).flag("--checkpoint=10calls");
            let native = scenario.native();
            let under = scenario.under(mode);
            under.ended(Ending::Signal(signal as i32));
            let what = format!("{how}, {mode}");
            assert_eq!((&under.stdout, &under.tree), (&native.stdout, &native.tree), "{what}");
            let verdicts = verdicts(&under);
            assert_eq!(verdicts.len(), 1, "{what}: {}", under.report.text());
            let verdict = verdicts[0];
            assert_eq!(verdict["verdict"], "software-bug", "{what}: {verdict}");
            assert_eq!(verdict["signal"], signal as i32, "{what}: {verdict}");
            assert!(verdict["pc"].is_string() && verdict["call"].is_string(), "{what}: {verdict}");
            assert!(verdict["seq"].as_u64() > Some(40), "{what}: {verdict}");
            let said = under.err();
            let told = said.contains(signal.as_str()) && said.contains("bug");
            assert!(told, "{what}: {said}");
        }
    }
}

#[test]
fn as_often_as_retries_say() {
    for (retries, attempts) in [(0, 1), (1, 2), (3, 4)] {
        let scenario = with_bug("null", 20).flag("--checkpoint=10calls");
        let under = crate::run(&scenario, "simplex", &[format!("--retries={retries}")]);
        under.ended(Ending::Signal(Signal::SIGSEGV as i32));
        assert_eq!(under.report.count("rolled_back"), retries, "{}", under.report.text());
        assert_eq!(verdicts(&under)[0]["attempts"], attempts, "{}", under.report.text());
    }
}

/// Nobody can tell a program that never goes on from a fault, but by the same place each time.
#[test]
fn a_livelock_of_the_programs_own() {
    let flags = ["--checkpoint=10calls", "--livelock=300ms", "--retries=1"].map(String::from);
    let under = crate::run(&with_bug("spin", 20), "simplex", &flags);
    under.ended(Ending::Exited(125));
    let lines: String = (0..=20).map(|i| format!("{i}\n")).collect();
    assert_eq!(under.out(), lines);
    assert_eq!(under.report.count("rolled_back"), 1, "{}", under.report.text());
    assert_eq!(verdicts(&under).len(), 1, "{}", under.report.text());
}

/// A handler of the program's own is no crash.
#[test]
fn a_fault_that_the_program_handles() {
    for mode in ["simplex", "tmr"] {
        program(guest("faults")).flag("--checkpoint=5calls").check(mode);
    }
}

/// The same call, killed more often than it is retried.
#[test]
fn a_death_at_each_try() {
    let scenario = program(guest("ticker")).args(["60", "0"]).flag("--checkpoint=1000calls");
    let native = scenario.native();
    // After each roll-back the replica counts on.
    let deaths: Vec<String> = [100, 300, 450].iter().map(kill_at).collect();
    let under = crate::run(&scenario, "simplex", &deaths);
    same(&scenario, &native, &under, "three deaths");
}

fn kill_at(call: &u32) -> String {
    format!("--inject=replica=0,call={call},kill")
}
