//! Users: whom an application is run as, and whose commands a daemon takes.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;

use chameleon_tests::environment::Environment;
use nix::unistd::{User, geteuid};
use serde_json::Value;

/// nobody, or nothing if the caller may not become that.
fn nobody() -> Option<User> {
    let user = User::from_name("nobody").ok().flatten();
    user.filter(|_| geteuid().is_root())
}

/// Hands in what a shell's line does as a user; the application as it ended.
fn ended(environment: &Environment, name: &str, line: &str, user: &str, more: &str) -> Value {
    let directory = environment.scratch(name);
    if let Some(nobody) = nobody() {
        let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        chown(&directory, Some(user), Some(group)).unwrap();
    }
    let spec = environment.path().join(format!("{name}.toml"));
    let text = format!(
        "[app]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\n\
         directory = {directory:?}\nuser = \"{user}\"\nstdout = \"out\"\n{more}"
    );
    fs::write(&spec, text).unwrap();
    environment.done(&["submit", &spec.to_string_lossy()]);
    environment.until("it is over", || {
        let rows = environment.json(&["ps", "--all"]);
        let row = rows.as_array()?.iter().find(|row| row["name"] == name)?.clone();
        row["state"].is_object().then_some(row)
    })
}

#[test]
fn a_program_is_run_as_the_user_that_its_specification_names() {
    let Some(nobody) = nobody() else { return };
    let environment = Environment::start();
    environment.open();
    let line = "id -u; id -g; id -G; echo $HOME $USER $LOGNAME; echo made > made; cat /etc/shadow";
    let wanted = "integrity = \"masked\"\n";
    for (name, more) in [
        ("one", format!("[dependability]\n{wanted}")),
        ("apart", format!("results = [\"made\"]\n[dependability]\n{wanted}nodes = 1\n")),
    ] {
        let row = ended(&environment, name, line, "nobody", &more);
        assert_eq!(row["state"]["Ended"], 1, "{row}\n{}", environment.logs());
        let directory = environment.path().join(name);
        let out = fs::read_to_string(directory.join("out")).unwrap();
        let (user, group) = (nobody.uid, nobody.gid);
        let home = nobody.dir.display();
        let said = format!("{user}\n{group}\n{group}\n{home} nobody nobody\n");
        assert_eq!(out, said, "no group of root's");
        for file in ["made", "out"] {
            let meta = fs::metadata(directory.join(file)).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (user.as_raw(), group.as_raw()), "{file}");
        }
    }
    // A daemon that is started again takes back what is another user's.
    let row = ended(&environment, "nowhere", "true", "no-such-user", "");
    let why = row["state"]["Failed"].as_str().unwrap_or_default();
    assert!(why.contains("there is no user 'no-such-user'"), "{row}");
}

#[test]
fn what_is_another_users_outlives_roots_daemon() {
    if nobody().is_none() {
        return;
    }
    let environment = Environment::start();
    environment.open();
    let (spec, directory) = (environment.path().join("waits.toml"), environment.scratch("waits"));
    let line = format!("while [ ! -e {}/stop ]; do sleep 0.05; done; exit 7", directory.display());
    let text = format!(
        "[app]\nname = \"waits\"\ncommand = [\"/bin/sh\", \"-c\", {line:?}]\nuser = \"nobody\"\n"
    );
    fs::write(&spec, text).unwrap();
    environment.done(&["submit", &spec.to_string_lossy()]);
    let row = || {
        let rows = environment.json(&["ps", "--all"]);
        rows.as_array()?.iter().find(|row| row["name"] == "waits").cloned()
    };
    environment.until("it runs", || (row()?["state"] == "Running").then_some(()));
    let before = environment.armor(1, 1);
    environment.end_daemon(1, nix::sys::signal::Signal::SIGKILL);
    environment.start_daemon(1, &[]);
    environment.status();
    // It is changed by its user's ARMOR, which has called the new daemon.
    environment.until("its mode is changed", || {
        environment.output(&["set", "waits", "mode=dual"]).status.success().then_some(())
    });
    assert_eq!(environment.armor(1, 1), before);
    fs::write(directory.join("stop"), "").unwrap();
    environment.until("it ends", || (row()?["state"]["Ended"] == 7).then_some(()));
}

#[test]
fn a_daemon_that_is_not_root_runs_nothing_as_another_user() {
    let Some(nobody) = nobody() else { return };
    let environment = Environment::start_as(nobody.uid.as_raw());
    let row = ended(&environment, "root", "id -u", "root", "");
    let why = row["state"]["Failed"].as_str().unwrap_or_default();
    assert!(why.contains("user 'nobody' and not root"), "{row}");
    let row = ended(&environment, "own", "id -u", "nobody", "");
    assert_eq!(row["state"]["Ended"], 0, "{row}\n{}", environment.logs());
    let out = fs::read_to_string(environment.path().join("own/out")).unwrap();
    assert_eq!(out.trim(), nobody.uid.to_string());
}

#[test]
fn commands_of_other_users_are_refused_in_words_unless_they_are_named() {
    let Some(nobody) = nobody() else { return };
    let environment = Environment::start();
    environment.open();
    let binary = environment.path().join("chameleon");
    fs::copy(chameleon_tests::chameleon(), &binary).unwrap();
    let socket = environment.node(1).join("daemon.sock");
    let socket = socket.to_str().unwrap();
    let say = |words: &[&str]| {
        let mut command = std::process::Command::new(&binary);
        command.args(words).args(["--socket", socket]);
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/");
        let output = chameleon_tests::output(command);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for words in [&["status"][..], &["stop", "x"], &["events"], &["set", "retries=1"]] {
        let (status, said) = say(words);
        assert_eq!(status, Some(125), "{words:?}: {said}");
        let why = format!("user {} may not give commands", nobody.uid);
        assert!(said.contains(&why) && said.contains("node.toml"), "{words:?}: {said}");
    }
    // Named, it may.
    let file = environment.node(1).join("node.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("users = []"), "{text}");
    fs::write(&file, text.replace("users = []", &format!("users = [{}]", nobody.uid))).unwrap();
    environment.end_daemon(1, nix::sys::signal::Signal::SIGTERM);
    environment.start_daemon(1, &[]);
    environment.status();
    let (status, said) = say(&["status"]);
    assert_eq!(status, Some(0), "{said}");
}
