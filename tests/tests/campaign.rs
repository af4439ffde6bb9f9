//! A small fault injection campaign: `chameleon campaign` finds no wrong output.
//!
//! Invariant: the seed is fixed, so a failure can be repeated with the command that it prints. The full
//! campaign is a command of its own (`docs/usage.md`). Run by `cargo test`.

use std::process::{Command, Output};

use chameleon_tests::{chameleon, guest, output};
use serde_json::Value;

fn campaign(options: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut command = Command::new(chameleon());
    command
        .arg("campaign")
        .args(options)
        .arg("--")
        .arg(guest("checksum"))
        .arg("30")
        .current_dir(directory.path());
    output(command)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}\nstdout: {}\nstderr: {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn no_single_fault_shows() {
    for mode in ["tmr", "nmr:3/5"] {
        let output = campaign(&["--runs", "25", "--seed", "7", "--mode", mode, "--json"]);
        let result = json(&output);
        assert_eq!(output.status.code(), Some(0), "{result}");
        assert_eq!(result["done"], 25, "{result}");
        assert_eq!(result["bad"], serde_json::json!([]), "{result}");
    }
}

#[test]
fn a_campaign_is_repeatable() {
    let options = ["--runs", "8", "--seed", "21", "--mode", "tmr", "--json"];
    let (first, second) = (json(&campaign(&options)), json(&campaign(&options)));
    assert_eq!(first["calls"], second["calls"]);
    assert_eq!(first["done"], second["done"]);
    assert_eq!(first["bad"], second["bad"]);
}

#[test]
fn the_table_is_for_people() {
    let output = campaign(&["--runs", "3", "--seed", "1", "--mode", "tmr"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["benign", "masked", "crashed", "hung", "WRONG OUTPUT", "lost"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}
