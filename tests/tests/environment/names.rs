//! What people read names what it is about, and never by the numbers of messages.

use std::fs;

use chameleon_tests::environment::Environment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const EXECUTION: u64 = 1;
const SURROGATE: u64 = 6;

/// What was told so far.
fn events(environment: &Environment) -> Vec<Value> {
    let text = environment.done(&["events", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The incident whose first step is about this, once it is over.
fn incident(environment: &Environment, about: &str) -> String {
    environment.until(about, || {
        let all = events(environment);
        let of = |step: &str, what: &str| {
            let named = |row: &&Value| row["text"].as_str().unwrap_or("").contains(what);
            all.iter().filter(named).find(|row| row["step"] == step)?["incident"].as_u64()
        };
        let number = of("Detected", about)?;
        let over = |row: &Value| row["incident"] == number && row["step"] == "Recovered";
        all.iter().any(over).then(|| number.to_string())
    })
}

#[test]
fn events_and_incidents_name_armors_by_what_they_do_and_nodes_by_their_hosts() {
    let environment = Environment::start();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let node = format!("node 1 ({})", host.trim());
    let spec = environment.path().join("count.toml");
    let text = "[app]\nname = \"count\"\ncommand = [\"/bin/sh\", \"-c\", \"while :; do sleep 0.1; done\"]\n";
    fs::write(&spec, text).unwrap();
    environment.done(&["submit", &spec.to_string_lossy()]);
    environment.until("the node is described and the program runs", || {
        let rows = environment.json(&["ps"]);
        let runs = rows.as_array()?.iter().any(|row| row["state"] == "Running");
        let nodes = environment.json(&["node", "list"]);
        (runs && nodes[0]["standing"] == "up").then_some(())
    });
    for (kind, called) in [(EXECUTION, "EXECUTION of count"), (SURROGATE, "SURROGATE of count")] {
        let pid = environment.armor(1, kind).pid;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let about = format!("{called} on {node} was ended by signal 9");
        let said = environment.done(&["explain", &incident(&environment, &about)]);
        let again = format!("it is started again on {node}");
        assert!(said.contains(&about) && said.contains(&again), "{said}");
    }
    let told = environment.done(&["events"]) + &environment.done(&["status"]);
    assert!(!told.contains("life 0") && !told.contains("armor 1:"), "{told}");
    let status = environment.done(&["status"]);
    let row = format!("EXECUTION of count on {node}, life 1, managed by SURROGATE of count");
    assert!(status.contains(&row), "{status}");
}
