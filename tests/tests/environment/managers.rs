//! Managers that fail all at once, and nodes that do on the loopback address, for those who cannot have namespaces. The
//! rows of the paper's Table 2 are `table2`'s; wrong tables of the FTM are a test of `armors`.
//!
//! Invariant: a test waits for what it says, never for a time.

use std::fs;

use chameleon_tests::environment::{Armor, Environment};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Registered numbers of types of ARMOR.
const EXECUTION: u64 = 1;
const FTM: u64 = 4;
const BACKUP: u64 = 5;

fn signal(armor: Armor, signal: Signal) {
    kill(Pid::from_raw(armor.pid), signal).unwrap();
}

/// The FTM of an environment and its backup, as soon as both are there.
fn managers(environment: &Environment) -> (Value, Value) {
    environment.until("FTM and backup", || {
        let status = environment.status();
        let pair = (status["ftm"].clone(), status["backup"].clone());
        (!pair.1.is_null()).then_some(pair)
    })
}

/// The process of an ARMOR of this type and number.
fn process(environment: &Environment, kind: u64, number: u64) -> Armor {
    environment.until("its process", || {
        environment.armors(1).into_iter().find(|it| (it.kind, it.number) == (kind, number))
    })
}

/// Hands in a program that counts to `most` and then ends with 7; returns when it counts.
fn counting(environment: &Environment, name: &str) {
    let directory = environment.scratch(name);
    let line =
        "i=0; while [ ! -e stop ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo end; exit 7";
    let text = format!(
        "[app]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\n\
         environment = {{ PATH = \"/usr/bin:/bin\" }}\nstdout = \"out\"\n\
         directory = {directory:?}\n\n[dependability]\nintegrity = \"masked\"\n"
    );
    let file = environment.path().join(format!("{name}.toml"));
    fs::write(&file, text).unwrap();
    environment.done(&["submit", &file.to_string_lossy()]);
    lines(environment, name, 3);
}

/// Waits until it has counted so much further; its numbers have no gap.
fn lines(environment: &Environment, name: &str, more: usize) {
    let file = environment.path().join(name).join("out");
    let count = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    let before = count();
    environment.until("it counts", || (count() >= before + more).then_some(()));
}

/// Ends it: what it wrote is what it would have written alone.
fn ends(environment: &Environment, name: &str) {
    let directory = environment.path().join(name);
    fs::write(directory.join("stop"), "").unwrap();
    let row = environment.until("it has ended", || {
        let rows = environment.json(&["ps", "--all"]);
        let row = rows.as_array()?.iter().find(|row| row["name"] == name)?.clone();
        row["state"].is_object().then_some(row)
    });
    assert_eq!(row["state"]["Ended"], 7, "{row}\n{}", environment.logs());
    let out = fs::read_to_string(directory.join("out")).unwrap();
    let numbers = out.lines().count() - 1;
    let alone: String = (1..=numbers).map(|number| format!("{number}\n")).collect();
    assert_eq!(out, alone + "end\n");
}

#[test]
fn without_ftm_and_backup_a_new_ftm_goes_on_where_they_ended() {
    let environment = Environment::start();
    managers(&environment);
    counting(&environment, "both");
    let (ftm, backup) = (process(&environment, FTM, 1), process(&environment, BACKUP, 1));
    signal(backup, Signal::SIGSTOP);
    signal(ftm, Signal::SIGKILL);
    signal(backup, Signal::SIGKILL);
    environment.until("a new FTM answers", || {
        let output = environment.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["ftm"]["life"].as_u64()? > ftm.life && !status["backup"].is_null()).then_some(())
    });
    lines(&environment, "both", 3);
    ends(&environment, "both");
}

#[test]
fn without_starter_ftm_and_backup_the_next_daemon_begins_again_where_they_ended() {
    let environment = Environment::start();
    managers(&environment);
    counting(&environment, "all");
    let (ftm, backup) = (process(&environment, FTM, 1), process(&environment, BACKUP, 1));
    // The starter is a part of the daemon.
    environment.end_daemon(1, Signal::SIGKILL);
    signal(ftm, Signal::SIGKILL);
    signal(backup, Signal::SIGKILL);
    lines(&environment, "all", 3);
    environment.start_daemon(1, &[]);
    environment.until("a new FTM answers", || {
        let output = environment.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["ftm"]["life"].as_u64()? > ftm.life && !status["backup"].is_null()).then_some(())
    });
    lines(&environment, "all", 3);
    ends(&environment, "all");
}

#[test]
fn what_is_handed_in_as_the_ftm_dies_is_there_once_or_it_is_said_that_it_may_not_be() {
    let environment = Environment::start();
    for k in 0..3u64 {
        let (ftm, _) = managers(&environment);
        let kind = if ftm["kind"] == "ftm" { FTM } else { BACKUP };
        let ftm = process(&environment, kind, ftm["number"].as_u64().unwrap());
        let name = format!("once{k}");
        let directory = environment.scratch(&name);
        let text = format!(
            "[app]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", \"echo begin >> begins\"]\n\
             directory = {directory:?}\n"
        );
        let file = environment.path().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        let mut command = environment.command(&["submit", &file.to_string_lossy()]);
        let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        // Somewhere between the question and its answer, which is not in anybody's hand.
        std::thread::sleep(std::time::Duration::from_millis(3 * k));
        signal(ftm, Signal::SIGKILL);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        managers(&environment);
        let rows = || {
            let rows = environment.json(&["ps", "--all"]);
            let named = |row: &&Value| row["name"] == name.as_str();
            rows.as_array().unwrap().iter().filter(named).cloned().collect::<Vec<_>>()
        };
        let there = rows().len();
        if output.status.success() {
            assert_eq!(there, 1, "{said}");
        } else {
            assert!(there <= 1 && said.contains("may have been done or not"), "{there}: {said}");
        }
        environment.until("it is over", || {
            rows().iter().all(|row| row["state"].is_object()).then_some(())
        });
        let begins = fs::read_to_string(directory.join("begins")).unwrap_or_default();
        assert_eq!(begins.lines().count(), there, "{}", environment.done(&["events"]));
    }
}

/// How a node is, as the FTM has it.
fn standing(environment: &Environment, node: u64) -> Option<String> {
    let nodes = environment.json(&["node", "list"]);
    let row = nodes.as_array()?.iter().find(|row| row["node"] == node)?.clone();
    row["standing"].as_str().map(str::to_owned)
}

fn stands(environment: &Environment, node: u64, how: &str) {
    environment.until(how, || (standing(environment, node)? == how).then_some(()));
}

#[test]
fn a_node_that_hangs_or_crashes_is_noticed_and_its_program_begins_on_another() {
    let environment = Environment::of_nodes(3);
    managers(&environment);
    stands(&environment, 2, "up");
    stands(&environment, 3, "up");
    let daemon = Pid::from_raw(environment.daemon(2));
    kill(daemon, Signal::SIGSTOP).unwrap();
    stands(&environment, 2, "down");
    kill(daemon, Signal::SIGCONT).unwrap();
    stands(&environment, 2, "up");
    // A program that is not on the FTM's node.
    environment.done(&["node", "drain", "1"]);
    let directory = environment.scratch("moved");
    let line = "echo $PPID >> starts; while [ ! -e stop ]; do sleep 0.02; done; exit 7";
    let text = format!(
        "[app]\nname = \"moved\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\n\
         environment = {{ PATH = \"/usr/bin:/bin\" }}\ndirectory = {directory:?}\n\n\
         [dependability]\nnode-loss = \"restarted\"\n"
    );
    let file = environment.path().join("moved.toml");
    fs::write(&file, text).unwrap();
    environment.done(&["submit", &file.to_string_lossy()]);
    let starts =
        || fs::read_to_string(directory.join("starts")).unwrap_or_default().lines().count();
    environment.until("it runs", || (starts() == 1).then_some(()));
    let holds = |node: u32| environment.armors(node).iter().any(|armor| armor.kind == EXECUTION);
    let (lost, other) = if holds(2) { (2, 3) } else { (3, 2) };
    assert!(holds(lost));
    environment.crash(lost);
    stands(&environment, lost.into(), "down");
    environment.until("it runs again", || (starts() == 2).then_some(()));
    let at = [1, 2, 3].map(|node| environment.armors(node));
    assert!(holds(other), "{at:?} {}", environment.done(&["events"]));
    fs::write(directory.join("stop"), "").unwrap();
    environment.until("it has ended", || {
        let rows = environment.json(&["ps", "--all"]);
        let row = rows.as_array()?.iter().find(|row| row["name"] == "moved")?.clone();
        (row["state"]["Ended"] == 7).then_some(())
    });
    environment.start_daemon(lost, &[]);
    stands(&environment, lost.into(), "up");
}
