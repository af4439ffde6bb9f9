//! `kill -9` of what is Chameleon's, at moments that nobody chose.
//!
//! Invariant: a lost ARMOR is replaced and the output is right; a lost outside is the program's death;
//! whatever is killed, nothing is left. Only processes of the test's own run are killed. Run by
//! `cargo test`.

use std::thread::sleep;
use std::time::Duration;

use chameleon_tests::{Ending, Running, Scenario, guest, program, until, workload};
use nix::sys::signal::Signal;

fn ticker(lines: u32) -> Scenario {
    program(guest("ticker")).args([lines.to_string(), "1".into()])
}

/// Waits for the program to be under way: it has written some of its lines.
#[track_caller]
fn under_way(scenario: &Scenario, bytes: u64) {
    let file = scenario.work().join("ticks");
    let written = until(|| std::fs::metadata(&file).is_ok_and(|info| info.len() > bytes));
    assert!(written, "the program did not get under way");
}

/// Kills the ARMOR that is there now; says whether there was one.
fn kill_armor(running: &Running) -> bool {
    let processes = running.processes();
    let armor = processes.iter().find(|process| process.is_armor("EXECUTION"));
    if let Some(armor) = armor {
        armor.signal(Signal::SIGKILL);
    }
    armor.is_some()
}

#[test]
fn a_killed_armor_is_succeeded() {
    for mode in ["simplex", "tmr", "nmr:3/5"] {
        let scenario = ticker(400);
        let native = scenario.native();
        for round in 0..4u64 {
            let running = scenario.start(mode);
            under_way(&scenario, 100 + round * 1500);
            assert!(until(|| kill_armor(&running)), "no ARMOR was found");
            let under = scenario.finish(running);
            scenario.same(&native, &under, mode);
            assert!(
                under.report.count("takeover") >= 1,
                "no takeover is reported:\n{}",
                under.report.text()
            );
        }
    }
}

/// Again and again in one run, slower than the restart intensity allows.
#[test]
fn armors_are_succeeded_repeatedly() {
    let scenario = program(guest("ticker")).args(["150", "10"]);
    let native = scenario.native();
    let mut running = scenario.start("tmr");
    under_way(&scenario, 50);
    let mut kills = 0;
    for _ in 0..3 {
        if !running.is_over() && kill_armor(&running) {
            kills += 1;
        }
        sleep(Duration::from_millis(300));
    }
    let under = scenario.finish(running);
    scenario.same(&native, &under, "tmr");
    assert_eq!(under.report.count("takeover"), kills, "{}", under.report.text());
}

/// In the middle of calls that cannot be repeated: every byte through the pipes arrives once.
#[test]
fn a_killed_armor_in_a_pipeline() {
    let line = "sort words | gzip -n | gunzip | uniq -c | sort -n | cksum; wc -c <words";
    let scenario = program("dash").args(["-c", line]).file("words", workload::text(9, 1_500_000));
    let native = scenario.native();
    for round in 0..5u64 {
        let mut running = scenario.start("tmr");
        sleep(Duration::from_millis(60 + 90 * round));
        if !running.is_over() {
            kill_armor(&running);
        }
        let under = scenario.finish(running);
        scenario.same(&native, &under, "tmr");
    }
}

/// While a replica is being repaired, too.
#[test]
fn a_killed_armor_beside_a_lost_replica() {
    for round in 0..3u64 {
        let scenario = ticker(300)
            .flag("--inject=replica=1,call=200,kill")
            .flag("--inject=replica=2,call=600,kill");
        let native = scenario.native();
        let running = scenario.start("tmr");
        under_way(&scenario, 900 + 400 * round);
        kill_armor(&running);
        let under = scenario.finish(running);
        scenario.same(&native, &under, "tmr");
    }
}

/// A stopped ARMOR does not answer: that is a hang, and it is replaced.
#[test]
fn a_hanging_armor_is_succeeded() {
    let scenario = ticker(300);
    let native = scenario.native();
    let running = scenario.start("tmr");
    under_way(&scenario, 500);
    let stopped = running
        .processes()
        .into_iter()
        .find(|process| process.is_armor("EXECUTION"))
        .expect("an ARMOR is there");
    stopped.signal(Signal::SIGSTOP);
    let under = scenario.finish(running);
    scenario.same(&native, &under, "tmr");
    assert!(under.report.count("takeover") >= 1, "{}", under.report.text());
}

/// The outside is the program: its death is the program's.
#[test]
fn a_killed_outside_is_the_programs_death() {
    for mode in ["simplex", "dual", "tmr"] {
        for round in 0..3u64 {
            let scenario = ticker(100_000);
            let running = scenario.start(mode);
            under_way(&scenario, 100 + 700 * round);
            running.signal(Signal::SIGKILL);
            scenario.finish(running).ended(Ending::Signal(9));
        }
    }
}

/// A shell that does nothing but have children: at some of these moments it is just making one.
#[test]
fn a_killed_outside_that_forks_leaves_no_run() {
    let line = "echo >ticks; while :; do /bin/true; done";
    let scenario = program("dash").args(["-c", line]);
    for round in 0..40u64 {
        let _ = std::fs::remove_file(scenario.work().join("ticks"));
        let running = scenario.start("simplex");
        under_way(&scenario, 0);
        sleep(Duration::from_micros(1700 * round));
        running.signal(Signal::SIGKILL);
        scenario.finish(running).ended(Ending::Signal(9));
    }
}

/// The shell's child dies by SIGKILL from another child: the shell goes on.
#[test]
fn a_killed_child_outside_is_that_childs_death() {
    let line = "\"$0\" 100000 1 >/dev/null & p=$!; while [ ! -s ticks ]; do sleep 0.05; done; kill -9 $p; wait $p; echo $?; rm ticks";
    let scenario = program("bash").args(["-c", line]).args([guest("ticker")]);
    for mode in ["simplex", "tmr"] {
        let native = scenario.native();
        let under = scenario.under(mode);
        assert_eq!(under.stdout, native.stdout);
        assert_eq!(under.ending, native.ending);
    }
}

/// Everything that is Chameleon's at once, in each order of the process table.
#[test]
fn nothing_is_left_when_all_of_chameleon_is_killed() {
    for backwards in [false, true] {
        let scenario = ticker(100_000);
        let running = scenario.start("tmr");
        under_way(&scenario, 500);
        let outside = running.pid();
        let mut all = running.processes();
        if backwards {
            all.reverse();
        }
        for process in &all {
            if process.title.starts_with("chameleon: ") || process.pid == outside {
                process.signal(Signal::SIGKILL);
            }
        }
        scenario.finish(running).ended(Ending::Signal(9));
    }
}

/// Each process that is Chameleon's own alone: the run goes on and is right, or it ends as a whole.
#[test]
fn each_process_of_chameleon_alone() {
    let scenario = ticker(200);
    let native = scenario.native();
    for index in 0..6 {
        let running = scenario.start("tmr");
        under_way(&scenario, 300);
        let own: Vec<_> = running
            .processes()
            .into_iter()
            .filter(|process| process.title.starts_with("chameleon: "))
            .collect();
        let Some(one) = own.get(index) else {
            drop(running);
            break;
        };
        one.signal(Signal::SIGKILL);
        let under = scenario.finish(running);
        if under.ending == native.ending {
            scenario.same(&native, &under, "tmr");
        } else {
            let dead = matches!(under.ending, Ending::Signal(9) | Ending::Exited(125));
            assert!(dead, "{} after the kill of {}", under.ending, one.title);
            assert!(native.stdout.starts_with(&under.stdout), "wrong output");
        }
    }
}

/// A replica killed from outside is a fault like any other.
#[test]
fn a_killed_replica_is_replaced() {
    let scenario = ticker(300);
    let native = scenario.native();
    for round in 0..3u64 {
        let running = scenario.start("tmr");
        under_way(&scenario, 200 + 600 * round);
        let outside = running.pid();
        let replica = running
            .processes()
            .into_iter()
            .find(|process| !process.title.starts_with("chameleon: ") && process.pid != outside)
            .expect("a replica is there");
        replica.signal(Signal::SIGKILL);
        let under = scenario.finish(running);
        scenario.same(&native, &under, "tmr");
        assert!(under.report.count("repaired") >= 1, "{}", under.report.text());
    }
}
