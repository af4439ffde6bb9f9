//! Faults put into one replica: the output stays right, the loss is reported and repaired.
//!
//! Invariant: a single fault in a mode that masks never shows. Run by `cargo test`.

use std::collections::BTreeSet;

use serde_json::Value;

use chameleon_tests::{
    MASKING, Outcome, Report, Scenario, guest, program, python, script, workload,
};

fn checksum(spec: &str) -> Scenario {
    program(guest("checksum")).flag(format!("--inject={spec}"))
}

/// Runs it and requires the native output; the fault must have been put in.
#[track_caller]
fn masked(scenario: &Scenario, mode: &str) -> Outcome {
    let outcome = scenario.check_disturbed(mode);
    assert_eq!(
        outcome.report.count("injected"),
        1,
        "no fault was put in:\n{}",
        outcome.report.text()
    );
    let lost: BTreeSet<u64> = numbers(&outcome.report, "outvoted");
    let repaired = numbers(&outcome.report, "repaired");
    // One that is taken out at the program's last call has nothing left to be repaired for.
    let text = outcome.report.text();
    let before_exit = text.lines().rev().nth(1).unwrap_or_default();
    let at_the_end = before_exit.contains(r#""event":"outvoted""#);
    assert!(lost == repaired || at_the_end, "{}", outcome.report.text());
    assert!(repaired.is_subset(&lost), "{}", outcome.report.text());
    assert_eq!(outcome.report.count("lost_majority"), 0);
    outcome
}

fn numbers(report: &Report, event: &str) -> BTreeSet<u64> {
    report
        .named(event)
        .map(|event| event["replica"].as_u64().expect("a replica has a number"))
        .collect()
}

/// Masked, and replica `replica` was taken out for this reason.
#[track_caller]
fn outvoted(scenario: &Scenario, mode: &str, replica: u64, reasons: &[&str]) {
    let outcome = masked(scenario, mode);
    let event = outcome
        .report
        .named("outvoted")
        .next()
        .unwrap_or_else(|| panic!("nobody was taken out:\n{}", outcome.report.text()))
        .clone();
    assert_eq!(event["replica"], replica, "{event}");
    let reason = event["reason"].as_str().expect("a reason is a word");
    assert!(reasons.contains(&reason), "{event}");
    let said = outcome.err();
    assert!(
        said.lines().any(|line| line.starts_with("chameleon: ")),
        "nothing was said on stderr: {said}"
    );
}

#[test]
fn a_killed_replica_is_replaced() {
    for mode in MASKING {
        for call in [1, 5, 20, 50, 80] {
            let scenario = checksum(&format!("replica={},call={call},kill", call % 3));
            outvoted(&scenario, mode, call % 3, &["killed", "crash"]);
        }
    }
}

#[test]
fn a_wild_jump_is_a_crash() {
    for mode in MASKING {
        for call in [3, 30, 70] {
            let scenario = checksum(&format!("replica=1,call={call},reg=rip,bit=45"));
            outvoted(&scenario, mode, 1, &["crash"]);
        }
    }
}

#[test]
fn a_lost_stack_is_a_crash() {
    let scenario = checksum("replica=0,call=45,reg=rsp,bit=46");
    outvoted(&scenario, "tmr", 0, &["crash", "divergence"]);
}

/// The others may have come to the end before anybody knows of the crash: it is told all the same.
#[test]
fn a_crash_near_the_end_is_told() {
    for call in [190, 194, 197] {
        let scenario = checksum(&format!("replica=0,call={call},reg=rsp,bit=46"));
        outvoted(&scenario, "tmr", 0, &["crash", "divergence"]);
    }
}

#[test]
fn a_hanging_replica_is_replaced() {
    for replica in 0..3 {
        // Long enough for the others to wait for it.
        let spec = format!("replica={replica},call={},hang", 40 + replica * 15);
        let scenario = program(guest("ticker"))
            .args(["150", "10"])
            .flag(format!("--inject={spec}"))
            .flag("--timeout=300ms");
        outvoted(&scenario, "tmr", replica, &["late"]);
    }
}

/// Flips all over the registers: some are benign, none shows.
#[test]
fn register_flips_are_masked() {
    let registers = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    let mut seen = 0;
    for number in 0..3 * registers.len() {
        let register = registers[number % registers.len()];
        let (replica, call, bit) = (number % 3, 25 + number * 3, number * 4 % 64);
        let spec = format!("replica={replica},call={call},reg={register},bit={bit}");
        seen += masked(&checksum(&spec), "tmr").report.count("outvoted");
    }
    assert!(seen >= 4, "only {seen} of {} flips showed", 3 * registers.len());
}

#[test]
fn memory_flips_are_masked() {
    for mode in MASKING {
        for area in ["heap", "stack", "data"] {
            for (call, offset) in [(32, 64), (45, 1000), (60, 2048)] {
                let replica = call % 3;
                masked(
                    &checksum(&format!(
                        "replica={replica},call={call},mem={area},bit=3,offset={offset}"
                    )),
                    mode,
                );
            }
        }
    }
}

/// Flips in ten megabytes that are sent by one call. The others may still be on their way when the
/// replica that was hit comes first.
#[test]
fn flips_in_long_calls_are_masked() {
    let mut seen = 0;
    for mode in ["tmr", "nmr:3/5"] {
        for (replica, call) in [(0, 24), (1, 24), (2, 24), (0, 32), (1, 32), (2, 32)] {
            let spec = format!("replica={replica},call={call},mem=heap,bit=3,offset=9000000");
            let scenario = program(guest("longcalls")).flag(format!("--inject={spec}"));
            seen += masked(&scenario, mode).report.count("outvoted");
        }
    }
    assert!(seen >= 6, "only {seen} of 12 flips showed");
}

/// Flips in memory that reaches a file without a call, and losses: the file is right, and the copy of
/// a replica works in memory of its own.
#[test]
fn flips_in_shared_memory_are_masked() {
    for mode in MASKING {
        for (replica, call, offset) in [(1, 40, 1000), (0, 100, 262_100), (2, 30, 0)] {
            let spec = format!("replica={replica},call={call},mem=shared,bit=3,offset={offset}");
            let scenario = program(guest("shared_work")).flag(format!("--inject={spec}"));
            outvoted(&scenario, mode, replica, &["divergence"]);
        }
        for (replica, fault) in [(2, "call=60,kill"), (0, "call=150,reg=rip,bit=45")] {
            let spec = format!("--inject=replica={replica},{fault}");
            let scenario = program(guest("shared_work")).flag(spec);
            outvoted(&scenario, mode, replica, &["killed", "crash"]);
        }
    }
}

/// Losses among two processes that share memory: with a replica of one that of the other is lost, and
/// both are made anew.
#[test]
fn losses_among_sharers_are_masked() {
    for fault in ["call=40,kill", "call=60,mem=shared,bit=2,offset=7", "call=50,reg=rip,bit=45"] {
        for process in 0..2 {
            let spec = format!("process={process},replica=1,{fault}");
            let scenario = program(guest("shared_talk")).args(["f"]);
            let repaired = processes_repaired(scenario, "tmr", &[&spec]);
            // A flip may be written over before anybody looks.
            assert!(repaired == [2] || fault.contains("mem") && repaired.is_empty(), "{spec}");
        }
    }
}

/// Runs it with these faults, each in another replica; all are masked, and each time the processes that
/// share memory have all their replicas again. How many processes were repaired for each that showed.
#[track_caller]
fn processes_repaired(scenario: Scenario, mode: &str, faults: &[&str]) -> Vec<usize> {
    let scenario = faults.iter().fold(scenario, |s, spec| s.flag(format!("--inject={spec}")));
    let report = scenario.check_disturbed(mode).report;
    assert_eq!(report.count("injected"), faults.len(), "{}", report.text());
    assert_eq!(report.count("lost_majority"), 0, "{}", report.text());
    let of = |event: &Value| event["replica"].as_u64();
    let repaired = |lost| report.named("repaired").filter(|event| of(event) == of(lost)).count();
    report.named("outvoted").map(repaired).collect()
}

/// Three processes, one with two threads, share memory: a replica of all of them is lost by a fault in
/// one, and made anew, so that the next one is masked, too, whichever it is in.
#[test]
fn processes_that_share_memory_are_repaired_together() {
    let scenario = || program(guest("shared_group"));
    let later = ["replica=2,call=200,kill", "replica=0,call=280,mem=shared,bit=1,offset=4114"];
    for process in 0..4 {
        for fault in
            ["call=60,kill", "call=60,mem=shared,bit=2,offset=4114", "call=70,reg=rip,bit=45"]
        {
            let all = [
                format!("process={process},replica=1,{fault}"),
                format!("process={},{}", (process + 1) % 4, later[0]),
                format!("process={},{}", (process + 2) % 4, later[1]),
            ];
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            assert_eq!(processes_repaired(scenario(), "tmr", &all), [3, 3, 3], "{all:?}");
        }
    }
    let two = ["process=1,replica=1,call=80,kill", "process=2,replica=4,call=80,reg=rip,bit=44"];
    assert_eq!(processes_repaired(scenario(), "nmr:3/5", &two), [3, 3]);
}

/// One of them crashes as it does natively: the others go on with what it wrote, and nobody is blamed.
#[test]
fn a_crash_among_sharers_is_the_program_s_own() {
    for mode in ["dual", "tmr", "nmr:3/5"] {
        for _ in 0..3 {
            program(guest("shared_group")).args(["c"]).check(mode);
        }
    }
}

/// What a divergence says: the call by name, what differed, and where.
#[test]
fn a_divergence_is_described() {
    let mut described = 0;
    for offset in [0, 512, 1024, 2048, 4000] {
        let spec = format!("replica=2,call=40,mem=heap,bit=6,offset={offset}");
        let outcome = masked(&checksum(&spec), "tmr");
        for event in outcome.report.named("divergence") {
            assert_eq!(event["replica"], 2, "{event}");
            assert_eq!(event["outvoted"], true, "{event}");
            assert!(event["call"].is_string() && event["seq"].as_u64() >= Some(40));
            assert!(event["pc"].as_str().is_some_and(|pc| pc.starts_with("0x")));
            assert_ne!(event["expected"], event["got"], "{event}");
            described += 1;
        }
    }
    assert!(described >= 1, "none of the flips showed");
}

/// One replica after the other is lost in one run; each time three are there again. The losses are
/// further apart than a replica may be behind, so that one is repaired before the next.
#[test]
fn many_losses_in_one_run() {
    let mut scenario = program(guest("ticker")).args(["2500", "0"]);
    for (replica, call) in [(0, 300), (1, 900), (2, 1500), (0, 2100), (1, 2700), (1, 3300)] {
        scenario = scenario.flag(format!("--inject=replica={replica},call={call},kill"));
    }
    let outcome = scenario.check_disturbed("tmr");
    assert_eq!(outcome.report.count("injected"), 6, "{}", outcome.report.text());
    assert_eq!(outcome.report.count("repaired"), 6, "{}", outcome.report.text());
    let exit = outcome.report.named("exit").next().expect("a run ends");
    assert_eq!(exit["repairs"], 6, "{exit}");
}

/// Two of five at once: nmr:3/5 still has its three.
#[test]
fn two_of_five_at_once() {
    let scenario = checksum("replica=1,call=50,kill")
        .args(["600"])
        .flag("--inject=replica=3,call=50,reg=rip,bit=44");
    let outcome = scenario.check_disturbed("nmr:3/5");
    assert_eq!(numbers(&outcome.report, "repaired"), BTreeSet::from([1, 3]));
}

/// Losses in the processes of a pipeline, not only in the first one.
#[test]
fn faults_in_a_process_tree() {
    let line =
        "sort words | uniq -c | sort -rn | head -5; for i in 1 2 3; do (echo $i); done; exit 3";
    for process in 0..4 {
        for (call, fault) in [(4, "kill"), (12, "reg=rip,bit=44")] {
            let scenario = program("dash")
                .args(["-c", line])
                .file("words", workload::text(1, 50_000))
                .flag(format!("--inject=process={process},replica=1,call={call},{fault}"));
            let outcome = scenario.check_disturbed("tmr");
            assert_eq!(
                numbers(&outcome.report, "outvoted"),
                numbers(&outcome.report, "repaired"),
                "{}",
                outcome.report.text()
            );
        }
    }
}

/// Repair with open files, handlers, timers and children under way.
#[test]
fn repairs_keep_signals_and_files() {
    for name in ["sigsuspends", "timerfds", "sigorder", "alarms", "tcp", "filemaps", "appends"] {
        for call in [30, 45] {
            let scenario =
                program(guest(name)).flag(format!("--inject=replica=1,call={call},kill"));
            scenario.check_disturbed("tmr");
        }
    }
}

#[test]
fn python_survives_losses() {
    for (replica, call) in [(0, 200), (1, 500), (2, 350)] {
        let scenario = program(python())
            .args([script("work.py").as_os_str()])
            .file("words", workload::text(1, 200_000))
            .flag(format!("--inject=replica={replica},call={call},kill"));
        masked(&scenario, "tmr");
    }
}

/// dual-first goes on with the first ballot and reports the other.
#[test]
fn dual_first_reports() {
    let mut reported = 0;
    for offset in [0, 512, 2048] {
        let spec = format!("replica=1,call=40,mem=heap,bit=6,offset={offset}");
        let outcome = checksum(&spec).under("dual-first");
        assert_eq!(outcome.report.count("injected"), 1);
        reported += outcome.report.count("divergence");
        assert!(outcome.report.named("divergence").all(|event| event["outvoted"] == false));
    }
    assert!(reported >= 1, "no flip was reported");
}

/// A donor with a latent flip is found out before it is copied: whichever replica has it, the output
/// is right, and where it is the donor or the one it is compared with, that is told.
#[test]
fn a_corrupt_donor_is_not_copied() {
    let mut latent = 0;
    for corrupt in 0..5 {
        let scenario = program(guest("idle"))
            .flag("--verify-donor")
            .flag(format!("--inject=replica={corrupt},call=40,mem=data,bit=1,offset=100000"))
            .flag(format!("--inject=replica={},call=60,kill", (corrupt + 1) % 5));
        let outcome = scenario.check_disturbed("nmr:3/5");
        assert_eq!(outcome.report.count("injected"), 2);
        for event in outcome.report.named("latent") {
            assert!(event["donor"] == corrupt || event["other"] == corrupt, "{event}");
            assert_ne!(event["expected"], event["got"], "{event}");
            latent += 1;
        }
    }
    assert!(latent >= 1, "the flips were never compared");
}

/// The same without the comparison: the flip shows at the end and is masked.
#[test]
fn a_latent_flip_is_masked_when_it_shows() {
    let scenario =
        program(guest("idle")).flag("--inject=replica=2,call=40,mem=data,bit=1,offset=100000");
    outvoted(&scenario, "tmr", 2, &["divergence"]);
}
