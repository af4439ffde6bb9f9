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
