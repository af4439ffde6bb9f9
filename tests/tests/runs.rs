//! The runs of a user: their IDs, `chameleon ps`, `chameleon checkpoint`, and runs that start again.
//!
//! Invariant: each test has a directory for its runs that no other test looks into. Run by
//! `cargo test`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chameleon_tests::{
    Ending, MODES, Outcome, Running, Scenario, chameleon, guest, have, output, program, until,
};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, chown};
use serde_json::Value;

/// Where the runs of a test are, and who looks at them.
struct Place {
    directory: tempfile::TempDir,
    binary: PathBuf,
    /// Words before each command.
    prefix: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("runs-")
            .tempdir()
            .expect("a temporary directory can be made");
        Self { directory, binary: chameleon().to_owned(), prefix: Vec::new() }
    }

    /// The same for a user without privileges, if the caller is root; the directory is theirs if
    /// they are to own it.
    fn of_user(user: u32, owns: bool) -> Self {
        let mut place = Self::new();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755))
            .expect("the mode can be set");
        if !Uid::effective().is_root() {
            return place;
        }
        place.binary = place.path().join("chameleon");
        std::fs::copy(chameleon(), &place.binary).expect("the file can be copied");
        if owns {
            let run = place.runtime();
            std::fs::create_dir(&run).expect("the directory can be made");
            chown(&run, Some(user.into()), Some(user.into())).expect("the owner can be set");
        }
        place.prefix = vec!["setpriv".into(), format!("--reuid={user}"), format!("--regid={user}")];
        let rest = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"];
        place.prefix.extend(rest.map(String::from));
        place
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The value of `XDG_RUNTIME_DIR`.
    fn runtime(&self) -> PathBuf {
        if self.prefix.is_empty() && self.binary == chameleon() {
            self.path().to_owned()
        } else {
            self.path().join("run")
        }
    }

    fn scenario(&self, scenario: Scenario) -> Scenario {
        scenario.env("XDG_RUNTIME_DIR", self.runtime()).prefix(&self.prefix).binary(&self.binary)
    }

    fn say(&self, words: &[&str]) -> Output {
        let binary = self.binary.display().to_string();
        let mut all =
            self.prefix.iter().map(String::as_str).chain([&*binary]).chain(words.to_vec());
        let mut command = Command::new(all.next().expect("there is a program"));
        command.args(all).env("XDG_RUNTIME_DIR", self.runtime());
        output(command)
    }

    /// What `chameleon ps --json` lists.
    fn ps(&self) -> Vec<Value> {
        let said = self.say(&["ps", "--json"]);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        match serde_json::from_slice(&said.stdout).expect("it is JSON") {
            Value::Array(all) => all,
            other => panic!("no array: {other}"),
        }
    }

    /// Those of them with this process number, once it is there and answers.
    fn find(&self, pid: i32) -> Value {
        let mut found = Value::Null;
        let there = until(|| {
            found = self.ps().into_iter().find(|run| run["pid"] == pid).unwrap_or_default();
            !found["status"].is_null()
        });
        assert!(there, "run {pid} is not listed: {:?}", self.ps());
        found
    }

    /// Whether nothing is left of any run.
    fn is_empty(&self) -> bool {
        !self.runtime().join("chameleon").exists()
    }
}

fn sleeper() -> Scenario {
    program("sleep").args(["1000"])
}

fn stop(scenario: &Scenario, running: Running) -> Outcome {
    running.signal(Signal::SIGTERM);
    let outcome = scenario.finish(running);
    outcome.ended(Ending::Signal(Signal::SIGTERM as i32));
    outcome
}

/// The command fails with one line that contains these words.
#[track_caller]
fn fails(said: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(125), "{text}");
    assert!(text.starts_with("chameleon: ") && text.lines().count() == 1, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn a_living_run_is_listed_and_one_that_has_ended_is_not() {
    let place = Place::new();
    assert_eq!(place.ps(), Vec::<Value>::new());
    for mode in MODES {
        let scenario = place.scenario(sleeper());
        let running = scenario.start(mode);
        let run = place.find(running.pid());
        assert_eq!(run["mode"], mode);
        assert_eq!(run["argv"], serde_json::json!(["sleep", "1000"]));
        assert_eq!(run["state"], "running");
        assert_eq!(run["checkpoint"], Value::Null);
        let text = String::from_utf8(place.say(&["ps"]).stdout).expect("it is text");
        let [head, line] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(head.starts_with("ID ") && head.ends_with(" COMMAND"), "{head}");
        assert!(line.starts_with(run["id"].as_str().expect("an ID")), "{line}");
        assert!(line.ends_with(" off          sleep 1000"), "{line}");
        let outcome = stop(&scenario, running);
        assert_eq!(outcome.err(), "");
        assert!(until(|| place.is_empty()), "something is left of a run that has ended");
        assert_eq!(place.ps(), Vec::<Value>::new());
    }
}

#[test]
fn a_stopped_run_is_said_to_be() {
    let place = Place::new();
    let scenario = place.scenario(sleeper());
    let running = scenario.start("tmr");
    place.find(running.pid());
    running.signal(Signal::SIGSTOP);
    assert!(until(|| place.ps().iter().all(|run| run["state"] == "stopped")));
    running.signal(Signal::SIGCONT);
    assert!(until(|| place.ps().iter().all(|run| run["state"] == "running")));
    stop(&scenario, running);
}

/// Whoever asks is not kept waiting by a run whose parts are all stopped.
#[test]
fn a_run_that_does_not_answer_is_silent() {
    let place = Place::new();
    let scenario = place.scenario(sleeper());
    let running = scenario.start("tmr");
    place.find(running.pid());
    let own = || running.processes().into_iter().filter(|one| one.is_armor(""));
    // The supervisor first: it would end an ARMOR that hangs.
    for kind in ["SUPERVISOR", "EXECUTION"] {
        own().filter(|one| one.is_armor(kind)).for_each(|one| one.signal(Signal::SIGSTOP));
    }
    let run = place.ps().remove(0);
    assert_eq!((&run["state"], &run["status"]), (&"silent".into(), &Value::Null));
    let id = run["id"].as_str().expect("an ID");
    let said = place.say(&["checkpoint", id, "--timeout", "10ms"]);
    fails(&said, &[id, "--timeout", "has not answered within 10ms"]);
    own().for_each(|one| one.signal(Signal::SIGCONT));
    place.find(running.pid());
    stop(&scenario, running);
}

#[test]
fn what_a_killed_run_leaves_is_taken_away() {
    for part in ["", "SUPERVISOR"] {
        let place = Place::new();
        let scenario = place.scenario(sleeper());
        let running = scenario.start("tmr");
        place.find(running.pid());
        let supervisor = running.processes().into_iter().find(|one| one.is_armor("SUPERVISOR"));
        match part {
            "" => running.signal(Signal::SIGKILL),
            _ => supervisor.expect("there is one").signal(Signal::SIGKILL),
        }
        scenario.finish(running).ended(Ending::Signal(Signal::SIGKILL as i32));
        assert!(until(|| place.ps().is_empty()), "{part:?}: {:?}", place.ps());
        assert!(until(|| place.is_empty()), "{part:?}: something is left");
    }
}

#[test]
fn a_run_that_loses_its_armor_answers_all_the_same() {
    let place = Place::new();
    let scenario = place.scenario(sleeper());
    let running = scenario.start("tmr");
    let id = place.find(running.pid())["id"].clone();
    for takeovers in 1..=5 {
        let armor = running.processes().into_iter().find(|one| one.is_armor("EXECUTION"));
        armor.expect("there is one").signal(Signal::SIGKILL);
        let run = place.find(running.pid());
        assert_eq!(run["id"], id);
        let there = || place.find(running.pid())["status"]["takeovers"] == takeovers;
        assert!(until(there), "{:?}", place.ps());
    }
    stop(&scenario, running);
}

#[test]
fn twenty_runs_at_once_have_twenty_ids() {
    let place = Place::new();
    let all: Vec<(Scenario, Running)> = (0..20)
        .map(|_| {
            let scenario = place.scenario(sleeper());
            let running = scenario.start("simplex");
            (scenario, running)
        })
        .collect();
    assert!(until(|| place.ps().len() == 20), "{:?}", place.ps());
    let ids: BTreeSet<String> = place.ps().iter().map(|run| run["id"].to_string()).collect();
    assert_eq!(ids.len(), 20, "{ids:?}");
    for (scenario, running) in all {
        stop(&scenario, running);
    }
    assert!(until(|| place.is_empty()));
}

#[test]
fn a_user_without_privileges_has_runs() {
    if !have(&["setpriv"]) {
        return;
    }
    let place = Place::of_user(65534, true);
    let scenario = place.scenario(sleeper());
    let running = scenario.start("tmr");
    let run = place.find(running.pid());
    fails(
        &place.say(&["checkpoint", run["id"].as_str().expect("an ID")]),
        &["was started without --checkpoint"],
    );
    stop(&scenario, running);
    assert!(until(|| place.is_empty()));
}

/// Another place is taken; nothing is said, and `ps` finds it there.
#[test]
fn a_runtime_directory_that_cannot_be_used() {
    if !have(&["setpriv"]) || !Uid::effective().is_root() {
        return;
    }
    let user = 64_320;
    let place = Place::of_user(user, false);
    let other = PathBuf::from(format!("/tmp/chameleon-{user}"));
    let unwritable = place.runtime();
    std::fs::create_dir(&unwritable).expect("the directory can be made");
    place.scenario(program("echo").args(["out"])).check("tmr");
    let scenario = place.scenario(sleeper());
    let running = scenario.start("tmr");
    place.find(running.pid());
    assert!(other.join("runs").is_dir());
    let outcome = stop(&scenario, running);
    assert_eq!(outcome.err(), "");
    assert!(until(|| !other.exists()), "something is left");
}

/// No place at all: the run goes on, and says so only if it is to be asked for something.
#[test]
fn no_directory_for_runs() {
    if !have(&["setpriv"]) || !Uid::effective().is_root() {
        return;
    }
    let user = 64_321;
    let place = Place::of_user(user, false);
    let taken = PathBuf::from(format!("/tmp/chameleon-{user}"));
    std::fs::write(&taken, "").expect("the file can be written");
    let outcome = place.scenario(program("echo").args(["out"])).under("tmr");
    let told = place.scenario(sleeper()).flag("--checkpoint=1000000calls");
    let running = told.start("tmr");
    assert!(until(|| running.has_told("start") == 1));
    running.signal(Signal::SIGTERM);
    let told = told.finish(running);
    std::fs::remove_file(&taken).expect("the file is there");
    outcome.ended(Ending::Exited(0));
    assert_eq!((outcome.out().as_str(), outcome.err().as_str()), ("out\n", ""));
    let said = told.err();
    assert!(said.starts_with("chameleon: the run has no ID"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(place.ps(), Vec::<Value>::new());
}

/// What the program sees is what it sees natively, with an ID and when it may start again.
#[test]
fn the_program_sees_nothing_of_it() {
    let script = "exec \"$@\" 7<seven 8>eight";
    for flag in ["--threads=strict", "--restart"] {
        for mode in MODES {
            let place = Place::new();
            for name in ["descriptors", "environs", "procself", "exitcodes"] {
                place.scenario(program(guest(name))).flag(flag).check(mode);
            }
            let inherited = program(guest("inherited"))
                .prefix(["sh", "-c", script, "sh"])
                .file("seven", "the file\n");
            place.scenario(inherited).flag(flag).check(mode);
            assert!(until(|| place.is_empty()));
        }
    }
}

#[test]
fn checkpoints_are_taken_as_often_as_a_run_is_told_also_by_its_next_armor() {
    let place = Place::new();
    let commands = "while [ ! -e stop ]; do sleep 0.02; done";
    for mode in ["simplex", "tmr"] {
        let scenario = program("sh").args(["-c", commands]).flag("--checkpoint=1000s");
        let scenario = place.scenario(scenario);
        let running = scenario.start(mode);
        let run = place.find(running.pid());
        let (id, pid) = (run["id"].as_str().unwrap(), running.pid());
        assert_eq!(run["checkpoint"], "1000s");
        fails(
            &place.say(&["set", id, "--checkpoint", "1s", "--mode", "nmr:15/15"]),
            &["stays as it is"],
        );
        assert_eq!(place.find(pid)["checkpoint"], "1000s", "all or nothing");
        let said = place.say(&["set", id, "--checkpoint", "20ms,5000calls"]);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        let taken = || place.find(pid)["status"]["checkpoints"].as_u64().unwrap();
        let before = taken();
        assert!(until(|| taken() > before + 3), "{mode}: {before}");
        // What it was told its successor knows.
        let armor = running.processes().into_iter().find(|one| one.is_armor("EXECUTION"));
        armor.expect("there is one").signal(Signal::SIGKILL);
        assert!(until(|| place.find(pid)["status"]["takeovers"] == 1));
        assert_eq!(place.find(pid)["checkpoint"], "20ms,5000calls");
        let before = taken();
        assert!(until(|| taken() > before + 3), "{mode}: {before}");
        std::fs::write(scenario.work().join("stop"), "").unwrap();
        scenario.finish(running).ended(Ending::Exited(0));
    }
    let scenario = place.scenario(sleeper());
    let running = scenario.start("tmr");
    let pid = running.pid().to_string();
    place.find(running.pid());
    fails(&place.say(&["set", &pid, "--checkpoint", "1s"]), &["started without --checkpoint"]);
    stop(&scenario, running);
}

#[test]
fn requests_that_cannot_be_met() {
    let place = Place::new();
    fails(&place.say(&["checkpoint"]), &["<ID>"]);
    fails(&place.say(&["checkpoint", "zzzzzz"]), &["no run zzzzzz", "chameleon ps"]);
    fails(&place.say(&["checkpoint", "1"]), &["no run 1", "chameleon ps"]);
    fails(&place.say(&["checkpoint", "../x"]), &["no run ../x"]);
    fails(&place.say(&["ps", "--bogus"]), &["--bogus"]);
    let scenario = place.scenario(sleeper());
    let running = scenario.start("simplex");
    let id = place.find(running.pid())["id"].as_str().expect("an ID").to_owned();
    for name in [&id, &id[..2], &running.pid().to_string()] {
        fails(&place.say(&["checkpoint", name]), &[&id, "was started without --checkpoint"]);
    }
    stop(&scenario, running);
}

#[test]
fn options_without_a_meaning_are_refused() {
    for (flags, word) in [
        ("--checkpoint=soon", "1000calls"),
        ("--checkpoint=0calls", "0calls"),
        ("--checkpoint=1s,2s", "twice"),
        ("--checkpoint=", "1.5s"),
        ("--retries=3", "--checkpoint"),
        ("--checkpoint=1s --retries=16", "16"),
        ("--checkpoint=1s --retries=-1", "-1"),
        ("--livelock=30s", "--checkpoint"),
        ("--checkpoint=1s --livelock=never", "never"),
        ("--journal=64M", "--checkpoint"),
        ("--checkpoint=1s --journal=1", "4K"),
        ("--checkpoint-memory=1G", "--checkpoint"),
        ("--checkpoint=1s --checkpoint-memory=lots", "lots"),
        ("--restart=0", "0"),
        ("--restart=x", "x"),
    ] {
        let scenario = program(guest("hello"));
        let scenario = flags.split(' ').fold(scenario, Scenario::flag);
        let outcome = scenario.under("tmr");
        outcome.ended(Ending::Exited(125));
        let said = outcome.err();
        assert!(said.starts_with("chameleon: ") && said.lines().count() == 1, "{said}");
        assert!(said.contains(word), "{flags}: {word:?} is not in {said}");
        assert_eq!(outcome.out(), "");
    }
}

/// The fault is put in once; what was output by the first try stays output.
#[test]
fn a_run_that_was_given_up_starts_again() {
    let lost =
        || program(guest("checksum")).flag("--inject=replica=1,call=40,mem=data,offset=0,bit=3");
    lost().under("dual").ended(Ending::Exited(125));
    let native = lost().native();
    let outcome = lost().flag("--restart=2").under("dual");
    outcome.ended(Ending::Exited(0));
    assert!(outcome.out().ends_with(&native.out()), "{}", outcome.out());
    let report = &outcome.report;
    assert_eq!(report.count("injected"), 1, "{}", report.text());
    assert_eq!(report.count("lost_majority"), 1, "{}", report.text());
    assert_eq!(report.count("start"), 2, "{}", report.text());
    let restarted: Vec<&Value> = report.named("restarted").collect();
    assert_eq!(restarted.len(), 1, "{}", report.text());
    assert_eq!((&restarted[0]["attempt"], &restarted[0]["restarts"]), (&1.into(), &2.into()));
    assert!(outcome.err().contains("starts again from the beginning (restart 1 of 2)"));
}

#[test]
fn the_programs_own_end_is_no_reason_to_start_again() {
    for (script, ending) in [
        ("exit 125", Ending::Exited(125)),
        ("exit 3", Ending::Exited(3)),
        ("kill -SEGV $$", Ending::Signal(Signal::SIGSEGV as i32)),
        ("kill -KILL $$", Ending::Signal(Signal::SIGKILL as i32)),
    ] {
        let scenario = program("sh").args(["-c", script]).flag("--restart");
        let outcome = scenario.under("tmr");
        outcome.ended(ending);
        assert_eq!(outcome.report.count("restarted"), 0, "{}", outcome.report.text());
    }
    program("/missing").flag("--restart").under("tmr").ended(Ending::Exited(127));
}

#[test]
fn signals_reach_a_program_that_may_start_again() {
    let script = "trap 'echo term; exit 7' TERM; echo >ready; while :; do sleep 0.01; done";
    let scenario = program("sh").args(["-c", script]).flag("--restart");
    let running = scenario.start("tmr");
    assert!(until(|| scenario.work().join("ready").exists()));
    running.signal(Signal::SIGTERM);
    let outcome = scenario.finish(running);
    outcome.ended(Ending::Exited(7));
    assert_eq!(outcome.out(), "term\n");
}

/// What is killed is the parent; nothing of the program is left.
#[test]
fn a_killed_run_that_may_start_again_leaves_nothing() {
    let place = Place::new();
    let scenario = place.scenario(sleeper()).flag("--restart");
    let running = scenario.start("tmr");
    assert!(until(|| !place.ps().is_empty()));
    running.signal(Signal::SIGKILL);
    scenario.finish(running).ended(Ending::Signal(Signal::SIGKILL as i32));
    assert!(until(|| place.ps().is_empty() && place.is_empty()));
}
