//! What people use, on one node.

use std::fs;
use std::path::Path;

use chameleon_tests::environment::Environment;
use nix::sys::signal::Signal;
use serde_json::Value;

/// What a command said on stderr, and how it ended.
fn refused(environment: &Environment, words: &[&str]) -> (String, Option<i32>) {
    let output = environment.output(words);
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

/// A specification for a shell's line, in a file.
fn specification(environment: &Environment, name: &str, line: &str, needs: &str) -> String {
    let file = environment.scratch("specs").join(format!("{name}.toml"));
    let directory = environment.scratch(name);
    let text = format!(
        "[app]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\n\
         directory = {directory:?}\n\n[dependability]\n{needs}"
    );
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

#[test]
fn an_environment_is_begun_once_and_says_how_to_go_on() {
    let environment = Environment::initialised(&[]);
    let file = environment.node(1).join("node.toml");
    let before = fs::read_to_string(&file).unwrap();
    let (said, status) = refused(&environment, &["init"]);
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(status, Some(125));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    for words in [
        &["status"][..],
        &["ps", "--dir", &environment.node(1).to_string_lossy()],
        &["events", "-f"],
        &["stop", "x"],
        &["set", "retries=1"],
        &["node", "list"],
    ] {
        let (said, status) = refused(&environment, words);
        assert!(said.contains("`chameleon daemon`"), "{words:?}: {said}");
        assert_eq!((status, said.lines().count()), (Some(125), 1), "{words:?}: {said}");
    }
    let (said, _) = refused(&environment, &["node", "token", "create"]);
    assert!(said.contains("--listen"), "{said}");
}

#[test]
fn a_plan_needs_no_daemon() {
    let environment = Environment::initialised(&[]);
    let spec = specification(&environment, "sorted", "true", "integrity = \"masked\"\n");
    let plan = environment.json(&["plan", &spec]);
    assert_eq!((plan["told"].as_str(), plan["strategy"].as_str()), (Some("plan"), Some("tmr")));
    let spec = specification(&environment, "bad", "true", "integrity = \"perfect\"\n");
    let (said, status) = refused(&environment, &["plan", &spec]);
    assert!(said.contains("line 7") && said.contains("masked"), "{said}");
    assert_eq!(status, Some(125));
}

#[test]
fn what_is_handed_in_runs_and_is_shown() {
    let environment = Environment::start();
    let spec = specification(
        &environment,
        "three",
        "echo one; echo two >&2; exit 3",
        "integrity = \"masked\"\n",
    );
    let plan = environment.json(&["plan", &spec]);
    assert_eq!(plan["strategy"], "tmr");
    let (said, status) = refused(&environment, &["submit", "--wait", &spec]);
    assert_eq!(status, Some(3), "{said}\n{}", environment.logs());
    assert!(said.contains("three: ended (3)"), "{said}");
    assert_eq!(environment.done(&["logs", "three", "--what", "stdout"]), "one\n");
    assert_eq!(environment.done(&["logs", "three", "--what", "stderr"]), "two\n");
    let (said, _) = refused(&environment, &["logs", "three", "--what", "nothing"]);
    assert!(said.contains("stdout"), "{said}");
    let rows = environment.json(&["ps", "--all"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["kind"] == "app").unwrap();
    assert_eq!((row["name"].as_str(), row["state"]["Ended"].as_i64()), (Some("three"), Some(3)));
    environment.done(&["stop", "three"]);
    let rows = environment.json(&["ps", "--all"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["kind"] != "app"), "{rows}");
    for words in [&["stop", "three"][..], &["logs", "three"], &["set", "three", "mode=tmr"]] {
        let (said, status) = refused(&environment, words);
        assert!(said.contains("three"), "{words:?}: {said}");
        assert_eq!(status, Some(125), "{words:?}");
    }
}

#[test]
fn parameters_are_changed_while_it_runs() {
    let environment = Environment::start();
    environment.done(&["set", "heartbeat.interval=300ms", "retries=2"]);
    let status = environment.status();
    assert_eq!(status["parameters"]["heartbeat.interval"], "300ms");
    assert_eq!(status["parameters"]["retries"], "2");
    let (said, _) = refused(&environment, &["set", "heartbeat.intervall=1s"]);
    assert!(said.contains("heartbeat.interval"), "{said}");
    let doctor = environment.json(&["doctor"]);
    let findings: Vec<&Value> = doctor["findings"].as_array().unwrap().iter().collect();
    let about = |what: &str| findings.iter().find(|one| one["what"] == what).copied();
    assert_eq!(about("daemon").map(|one| one["good"] == true), Some(true), "{doctor}");
    assert_eq!(about("FTM").map(|one| one["good"] == true), Some(true), "{doctor}");
    let loss =
        |one: &&Value| one["note"] == true && one["found"].as_str().unwrap().contains("loss");
    assert!(findings.iter().any(loss), "{doctor}");
}

#[test]
fn a_daemon_that_is_killed_takes_its_armors_back() {
    let environment = Environment::start();
    let ftm = environment.armor(1, 4);
    environment.end_daemon(1, Signal::SIGKILL);
    environment.start_daemon(1, &[]);
    environment.status();
    assert_eq!(environment.armor(1, 4), ftm);
    let (said, status) = refused(&environment, &["daemon"]);
    assert!(said.contains("another daemon listens"), "{said}");
    assert_eq!(status, Some(125));
}

#[test]
fn an_environment_that_is_ended_stays_so_until_it_is_started_again() {
    let environment = Environment::start();
    let program = specification(&environment, "endless", "sleep 1000", "");
    environment.done(&["submit", &program]);
    let said = environment.done(&["shutdown"]);
    assert!(said.contains("has ended"), "{said}");
    environment.until("the FTM's end", || environment.armors(1).is_empty().then_some(()));
    environment.until("the starter to let it be", || {
        environment.logs().contains("no FTM is started").then_some(())
    });
    assert_eq!(environment.armors(1), []);
    let (said, _) = refused(&environment, &["status"]);
    assert!(said.contains("FTM"), "{said}");
    environment.end_daemon(1, Signal::SIGTERM);
    environment.start_daemon(1, &[]);
    let status = environment.status();
    assert_eq!(status["apps"][0], 0, "{status}");
}

#[test]
fn pages_and_completions_are_about_every_command() {
    let environment = Environment::initialised(&[]);
    let pages = environment.path().join("man");
    environment.done(&["man", &pages.to_string_lossy()]);
    let page = |name: &str| fs::read_to_string(Path::new(&pages).join(name)).unwrap_or_default();
    assert!(page("chameleon.1").contains("chameleon"), "{:?}", fs::read_dir(&pages).unwrap());
    for command in ["run", "daemon", "submit", "explain", "node-enroll", "node-token-create"] {
        assert!(page(&format!("chameleon-{command}.1")).contains("chameleon"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let text = environment.done(&["completions", shell]);
        assert!(text.contains("explain") && text.contains("token-file"), "{shell}");
    }
}
