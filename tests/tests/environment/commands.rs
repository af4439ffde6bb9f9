//! What people use, on one node.

use std::fs;
use std::path::Path;

use chameleon_tests::environment::Environment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
fn runs_of_applications_are_shown_with_their_ids_and_asked_by_them() {
    let environment = Environment::start();
    let needs = "availability = \"recovered\"\ncheckpoint = \"100s\"\n";
    let spec = specification(&environment, "endless", "while :; do sleep 0.05; done", needs);
    environment.done(&["submit", &spec]);
    let shown = |restarts: u64| {
        environment.until("its run is shown", || {
            let rows = environment.json(&["ps"]);
            let rows = rows.as_array().unwrap();
            let app = rows.iter().find(|row| row["name"] == "endless")?;
            let run = app["running"].get(0)?.clone();
            let id = run["id"].as_str().filter(|id| !id.is_empty())?;
            assert_eq!(app["runs"][0], id);
            // The same one among the runs of this machine.
            let here = rows.iter().find(|row| row["kind"] == "run" && row["id"] == id)?;
            assert_eq!((&here["app"], &here["pid"]), (&"endless".into(), &run["pid"]));
            (run["restarts"] == restarts).then_some(run)
        })
    };
    let run = shown(0);
    let told = (run["node"].as_u64(), run["mode"].as_str(), run["by"].as_str());
    assert_eq!(told, (Some(1), Some("simplex"), Some("EXECUTION of endless")));
    assert!(run["began_ns"].as_u64() > Some(0));
    let (id, pid) = (run["id"].as_str().unwrap(), run["pid"].as_i64().unwrap());
    environment.done(&["checkpoint", id]);
    let table = environment.done(&["ps"]);
    let line =
        table.lines().find(|line| line.trim_start().starts_with("EXECUTION of endless")).unwrap();
    assert!(line.contains(id) && line.contains(&pid.to_string()), "{table}");
    // Another FTM hears of it again.
    let ftm = environment.armor(1, 4);
    kill(Pid::from_raw(ftm.pid), Signal::SIGKILL).unwrap();
    environment.until("another FTM", || {
        let output = environment.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["ftm"]["kind"] == "backup-ftm").then_some(())
    });
    assert_eq!(shown(0)["id"], id);
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    assert_ne!(shown(1)["id"], id);
}

#[test]
fn an_application_takes_checkpoints_as_often_as_it_is_told_while_it_runs() {
    let environment = Environment::start();
    let needs = "availability = \"recovered\"\ncheckpoint = \"1000s\"\n";
    let spec = specification(&environment, "often", "while :; do sleep 0.02; done", needs);
    environment.done(&["submit", &spec]);
    let run = || {
        environment.until("its run answers", || {
            let rows = environment.json(&["ps"]);
            let row = rows.as_array()?.iter().find(|row| row["app"] == "often")?.clone();
            (!row["status"].is_null()).then_some(row)
        })
    };
    assert_eq!(run()["checkpoint"], "1000s");
    let said = environment.done(&["set", "often", "--checkpoint", "20ms"]);
    assert!(said.contains("checkpoint = 20ms"), "{said}");
    let row = run();
    assert_eq!(row["checkpoint"], "20ms");
    let taken = |row: &Value| row["status"]["checkpoints"].as_u64().unwrap();
    let before = taken(&row);
    environment.until("checkpoints are taken", || (taken(&run()) > before + 3).then_some(()));
    // A next start of it has the same.
    kill(Pid::from_raw(row["pid"].as_i64().unwrap() as i32), Signal::SIGKILL).unwrap();
    environment.until("it runs again", || {
        let now = run();
        (now["pid"] != row["pid"] && now["checkpoint"] == "20ms").then_some(())
    });
    let spec = specification(&environment, "never", "sleep 1000", "");
    environment.done(&["submit", &spec]);
    environment.until("it is refused as it is", || {
        let (said, _) = refused(&environment, &["set", "never", "--checkpoint", "1s"]);
        said.contains("started without --checkpoint").then_some(())
    });
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
