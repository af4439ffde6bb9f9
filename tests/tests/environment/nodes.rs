//! Nodes that join and leave, on the loopback address.

use std::fs;

use chameleon_tests::environment::Environment;
use serde_json::Value;

#[test]
fn a_node_joins_by_a_token_is_drained_and_revoked() {
    let environment = Environment::of_nodes(2);
    let node = |number: u64| -> Value {
        let nodes = environment.json(&["node", "list"]);
        let nodes = nodes.as_array().unwrap().clone();
        nodes.into_iter().find(|row| row["node"] == number).unwrap_or_default()
    };
    environment.until("node 2 is described", || {
        (node(2)["standing"] == "up" && node(2)["cpu"].as_str() != Some("")).then_some(())
    });
    environment.done(&["node", "drain", "2"]);
    assert_eq!(node(2)["standing"], "drained");
    environment.done(&["node", "undrain", "2"]);
    environment.until("node 2 is back", || (node(2)["standing"] == "up").then_some(()));
    // The token has been used.
    let token = environment.path().join("token");
    let server = fs::read_to_string(environment.node(2).join("identity/joined.json")).unwrap();
    let server: Value = serde_json::from_str(&server).unwrap();
    let words = [
        "node",
        "enroll",
        "--server",
        server["authority"].as_str().unwrap(),
        "--token-file",
        &token.to_string_lossy(),
    ];
    let output = chameleon_tests::output(environment.command_on(3, &words));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has been used"), "{said}");
    assert!(!environment.node(3).join("node.toml").exists());
    let revoked = environment.json(&["node", "revoke", "2"]);
    assert_eq!(
        (revoked["forgotten"].as_bool(), revoked["certificates"].as_u64()),
        (Some(true), Some(1))
    );
    environment.until("node 2 is no member", || {
        let row = node(2);
        (row.is_null() || row["standing"] == "revoked").then_some(())
    });
}

#[test]
fn what_runs_on_a_drained_node_is_named_and_begins_anew_elsewhere_if_that_is_wanted() {
    let environment = Environment::of_nodes(2);
    let node = |number: u64| -> Value {
        let nodes = environment.json(&["node", "list"]);
        let nodes = nodes.as_array().unwrap().clone();
        nodes.into_iter().find(|row| row["node"] == number).unwrap_or_default()
    };
    environment.until("nodes are described", || {
        let up = |number| node(number)["standing"] == "up";
        (up(1) && up(2)).then_some(())
    });
    environment.done(&["node", "drain", "1"]);
    let directory = environment.scratch("stays");
    let line = "echo begin >> begins; while [ ! -e stop ]; do sleep 0.02; done; exit 7";
    let text = format!(
        "[app]\nname = \"stays\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\n\
         directory = {directory:?}\n"
    );
    let spec = environment.path().join("stays.toml");
    fs::write(&spec, text).unwrap();
    environment.done(&["submit", &spec.to_string_lossy()]);
    let run = |on: u64| {
        environment.until("it runs", || {
            let rows = environment.json(&["ps"]);
            let row = rows.as_array()?.iter().find(|row| row["name"] == "stays")?.clone();
            let run = row["running"].get(0)?.clone();
            let known = run["id"] != "" && row["state"] == "Running";
            (run["node"] == on && known).then_some(run)
        })
    };
    let first = run(2);
    let begins = || {
        let text = fs::read_to_string(directory.join("begins")).unwrap_or_default();
        text.lines().count()
    };
    environment.until("it has begun", || (begins() == 1).then_some(()));
    let there = |told: &Value| {
        let all = told["there"].as_array().unwrap().clone();
        assert_eq!(all.len(), 1, "{told}");
        all[0].clone()
    };
    // With no other node it stays, whatever is asked for.
    let told = environment.json(&["node", "drain", "2", "--restart"]);
    let one = there(&told);
    assert_eq!((&one["name"], &one["run"]), (&"stays".into(), &first["id"]));
    assert!(one["restart"].as_str().unwrap().starts_with("stays: "), "{told}");
    environment.done(&["node", "undrain", "1"]);
    environment.until("node 1 is open", || (node(1)["standing"] == "up").then_some(()));
    // Drained, it is told once more what is there; its ARMOR's crash is no reason to leave.
    let said = environment.done(&["node", "drain", "2"]);
    let stays = "EXECUTION of stays (run ";
    assert!(said.contains(stays) && said.contains("stays until it ends"), "{said}");
    assert!(said.contains("begins anew on another node, at present node 1"), "{said}");
    let before = environment.armor(2, 1);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(before.pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    environment.until("its next life is there", || {
        (environment.armor(2, 1).life > before.life).then_some(())
    });
    assert_eq!((&run(2)["pid"], begins()), (&first["pid"], 1), "{}", environment.logs());
    environment.done(&["node", "drain", "2", "--restart"]);
    let second = run(1);
    environment.until("it has begun anew", || (begins() == 2).then_some(()));
    assert_eq!(second["restarts"], 1);
    let gone = std::path::Path::new("/proc").join(first["pid"].to_string());
    environment.until("the first is gone", || (!gone.exists()).then_some(()));
    assert!(environment.armors(2).iter().all(|armor| armor.kind != 1));
    fs::write(directory.join("stop"), "").unwrap();
    environment.until("it ends", || {
        let rows = environment.json(&["ps", "--all"]);
        let row = rows.as_array()?.iter().find(|row| row["name"] == "stays")?.clone();
        (row["state"]["Ended"] == 7).then_some(())
    });
    assert_eq!(begins(), 2, "{}", environment.done(&["events"]));
}
