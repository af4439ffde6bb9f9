//! ARMORs that crash or hang: noticed by their daemon, which kills those that hang; their managers install them anew.

use chameleon_tests::environment::Environment;
use nix::sys::signal::Signal;

use super::*;

/// The types whose failure is survived by their manager, and how each is called by it.
const ALL: [(u64, &str); 5] = [
    (EXECUTION, "EXECUTION of waits (replica 1)"),
    (VOTER, "VOTER of waits"),
    (SURROGATE, "SURROGATE of waits"),
    (HEARTBEAT, "HEARTBEAT"),
    (BACKUP, "Backup FTM"),
];

/// A result that three replicas on as many nodes wait for a word to write.
const WAITS: &str = "while [ ! -e stop ]; do sleep 0.03; done; echo 332833500 > sum";

/// Each type in turn fails by this signal; then the results are voted on.
fn fail(by: Signal, noticed: &str) {
    let environment = Environment::of_nodes(3);
    managers(&environment);
    environment.done(&["set", "armor.ping=100ms"]);
    let directory = environment.scratch("waits");
    let stop = directory.join("stop");
    let line = WAITS.replace("stop", &stop.to_string_lossy());
    let app = format!("command = [\"/bin/sh\", \"-c\", {line:?}]\nresults = [\"sum\"]\n");
    let needs = "integrity = \"masked\"\nnode-loss = \"masked\"\nnodes = 3";
    let app = App::specified(&environment, "waits", &app, needs);
    app.running();
    for (kind, name) in ALL {
        let wanted =
            |armor: &Armor| armor.kind == kind && (kind != EXECUTION || armor.number & 0xfff == 1);
        let (node, armor) = environment.until("it is there", || {
            (1..=3).find_map(|node| {
                let armor = environment.armors(node).into_iter().find(|armor| wanted(armor))?;
                Some((node, armor))
            })
        });
        signal(armor, by);
        environment.until("its next life is there", || {
            let next =
                |now: &Armor| wanted(now) && now.number == armor.number && now.life > armor.life;
            environment.armors(node).iter().any(next).then_some(())
        });
        let incident = environment.until("it is noticed", || {
            events(&environment).iter().rev().find_map(|event| {
                let text = event["text"].as_str()?;
                let said = text.contains(name) && text.contains(noticed);
                (said && event["step"] == "Detected").then(|| event["incident"].as_u64()).flatten()
            })
        });
        explained(&environment, incident, "Recovered");
    }
    app.running();
    fs::write(stop, "").unwrap();
    let state = app.over();
    assert_eq!(state["Ended"], 0, "{state} {}", environment.logs());
    assert_eq!(app.read("sum"), "332833500\n");
}

#[test]
fn armor_crash() {
    fail(Signal::SIGKILL, "was ended by signal 9");
}

#[test]
fn armor_hang() {
    fail(Signal::SIGSTOP, "did not answer");
}
