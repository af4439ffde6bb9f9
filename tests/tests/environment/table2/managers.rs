//! The FTM and its daemon: noticed by the Backup FTM. Programs, also those that need leases of the FTM, do not notice.

use chameleon_tests::environment::Environment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// A program that is not on the FTM's node and runs only as long as the FTM lets it.
fn elsewhere(environment: &Environment) -> App<'_> {
    managers(environment);
    environment.done(&["node", "drain", "1"]);
    let app = App::submit(environment, "leased", COUNTS, "node-loss = \"restarted\"");
    app.counts(3);
    assert_ne!(app.node(3), 1);
    app
}

/// The process of the FTM.
fn ftm(environment: &Environment) -> Armor {
    environment.armor(1, FTM)
}

/// The backup is the FTM, in a later epoch, and has a backup of its own; the program did not notice.
fn promoted(environment: &Environment, before: &Value, why: &str, app: &App<'_>) {
    let status = environment.until("the backup is the FTM", || {
        let output = environment.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["ftm"]["kind"] == "backup-ftm" && !status["backup"].is_null()).then_some(status)
    });
    assert!(status["epoch"].as_u64() > before["epoch"].as_u64(), "{status}");
    let incident = told(environment, "Detected", why);
    let said = explained(environment, incident, "Recovered");
    assert!(said.contains("makes itself the FTM"), "{said}");
    let backup = &status["backup"];
    assert_eq!((backup["kind"].as_str(), backup["number"].as_u64()), (Some("backup-ftm"), Some(2)));
    app.counts(50);
    assert_eq!(app.processes().len(), 1, "{}", environment.done(&["events"]));
}

#[test]
fn ftm_crash() {
    let environment = Environment::of_nodes(3);
    let before = managers(&environment);
    let app = elsewhere(&environment);
    signal(ftm(&environment), Signal::SIGKILL);
    promoted(&environment, &before, "the FTM has ended", &app);
    // And once more: the promoted one is replaced by the backup that it named.
    let first = environment.until("the first backup", || {
        let mut all = environment.armors(1).into_iter();
        all.find(|armor| (armor.kind, armor.number) == (BACKUP, 1))
    });
    signal(first, Signal::SIGKILL);
    environment.until("the next backup is the FTM", || {
        let output = environment.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["ftm"]["number"] == 2 && !status["backup"].is_null()).then_some(())
    });
    app.counts(50);
    app.stops();
    assert_eq!(app.processes().len(), 1, "{}", environment.done(&["events"]));
}

#[test]
fn ftm_hang() {
    let environment = Environment::of_nodes(3);
    let before = managers(&environment);
    let app = elsewhere(&environment);
    signal(ftm(&environment), Signal::SIGSTOP);
    promoted(&environment, &before, "heartbeats without an answer", &app);
    app.stops();
    environment.until("the former FTM has ended", || {
        environment.armors(1).iter().all(|armor| armor.kind != FTM).then_some(())
    });
}

/// The same FTM goes on, in the same epoch: its backup is on the same host and would be reached no better.
fn same(environment: &Environment, before: &Value, app: &App<'_>) {
    let after = managers(environment);
    assert_eq!((&after["ftm"], &after["epoch"]), (&before["ftm"], &before["epoch"]));
    let incident = told(environment, "Detected", "the daemon of the FTM's node");
    explained(environment, incident, "Recovered");
    app.running();
    app.counts(3);
    app.stops();
}

#[test]
fn daemon_of_the_ftm_crash() {
    let environment = Environment::of_nodes(3);
    let before = managers(&environment);
    let app = elsewhere(&environment);
    environment.end_daemon(1, Signal::SIGKILL);
    app.counts(15);
    environment.start_daemon(1, &[]);
    same(&environment, &before, &app);
}

#[test]
fn daemon_of_the_ftm_hang() {
    let environment = Environment::of_nodes(3);
    let before = managers(&environment);
    let app = elsewhere(&environment);
    let daemon = Pid::from_raw(environment.daemon(1));
    kill(daemon, Signal::SIGSTOP).unwrap();
    // No lease comes through it, so what may begin elsewhere is ended, as if its own node were cut off.
    environment.until("it has ended itself", || {
        environment.logs().contains("cut off from the FTM").then_some(())
    });
    kill(daemon, Signal::SIGCONT).unwrap();
    same(&environment, &before, &app);
}
