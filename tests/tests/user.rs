//! The same as an ordinary user: no privilege is needed.
//!
//! Invariant: run as root these tests give up all privileges first (user and group 65534, no
//! capabilities); otherwise they are what they are. Run by `cargo test`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use chameleon_tests::{Ending, MODES, Scenario, chameleon, guest, have, program, script, workload};

/// A directory that any user may read, with copies of what the run needs.
struct Shared {
    directory: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("shared-")
            .tempdir()
            .expect("a temporary directory can be made");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
            .expect("the mode can be set");
        Self { directory }
    }

    fn copy(&self, from: PathBuf) -> PathBuf {
        let to = self.directory.path().join(from.file_name().expect("a file has a name"));
        if !to.exists() {
            std::fs::copy(&from, &to).expect("the file can be copied");
        }
        to
    }

    fn scenario(&self, scenario: Scenario) -> Scenario {
        let scenario = scenario.binary(self.copy(chameleon().to_owned()));
        if !nix::unistd::geteuid().is_root() {
            return scenario;
        }
        scenario.prefix([
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--no-new-privs",
            "--",
        ])
    }
}

#[test]
fn guests_run_without_privileges() {
    if !have(&["setpriv"]) {
        return;
    }
    let shared = Shared::new();
    for name in [
        "hello",
        "forks",
        "pids",
        "procself",
        "sigsuspends",
        "rdtsc",
        "random",
        "execfail",
        "filemaps",
        "tcp",
        "pty",
        "alarms",
    ] {
        let guest = shared.copy(guest(name));
        for mode in MODES {
            shared.scenario(program(&guest)).check(mode);
        }
    }
}

#[test]
fn a_shell_script_runs_without_privileges() {
    if !have(&["setpriv", "bash"]) {
        return;
    }
    let shared = Shared::new();
    let path = shared.copy(script("shell.sh"));
    for mode in MODES {
        shared
            .scenario(program("bash").args([&path]).file("words", workload::text(1, 50_000)))
            .check(mode);
    }
}

#[test]
fn faults_are_masked_without_privileges() {
    if !have(&["setpriv"]) {
        return;
    }
    let shared = Shared::new();
    let guest = shared.copy(guest("checksum"));
    // More calls than a replica may be behind: so one that is lost early is missed before the end.
    let guest = program(guest).args(["600"]);
    let scenario = shared.scenario(guest).flag("--inject=replica=1,call=40,kill");
    let outcome = scenario.check_disturbed("tmr");
    assert_eq!(outcome.report.count("repaired"), 1, "{}", outcome.report.text());
}

#[test]
fn a_program_that_may_not_be_read_or_run() {
    if !have(&["setpriv"]) {
        return;
    }
    let shared = Shared::new();
    let scenario = shared.scenario(program("./secret")).file_with_mode(
        "secret",
        "#!/bin/sh\necho never\n",
        0o600,
    );
    let outcome = scenario.under("tmr");
    outcome.ended(Ending::Exited(126));
    assert_eq!(outcome.err().lines().count(), 1, "{}", outcome.err());
}

/// A set-user-ID program gets its rights inside an application of one replica: the outside becomes
/// it.
#[test]
fn a_program_with_more_rights_runs_in_simplex() {
    if !have(&["setpriv", "id", "dash"]) || !nix::unistd::geteuid().is_root() {
        return;
    }
    let shared = Shared::new();
    let id = shared.copy("/usr/bin/id".into());
    std::fs::set_permissions(&id, std::fs::Permissions::from_mode(0o4755))
        .expect("the mode can be set");
    let scenario = program("dash")
        .args(["-c", "\"$0\" -u; \"$0\" -u | cat; exec \"$0\" -un"])
        .args([id])
        .binary(shared.copy(chameleon().to_owned()))
        .prefix(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    let native = scenario.native();
    assert_eq!(native.out(), "0\n0\nroot\n", "the temporary directory allows set-user-ID");
    scenario.check("simplex");
}

/// So does one whose file has capabilities, where the user has none. Several replicas say that they
/// cannot: the kernel would give each its own addresses.
#[test]
fn a_program_whose_file_has_capabilities() {
    if !have(&["setpriv", "setcap", "grep", "dash"]) || !nix::unistd::geteuid().is_root() {
        return;
    }
    let shared = Shared::new();
    let grep = shared.copy("/usr/bin/grep".into());
    let set = std::process::Command::new("setcap").arg("cap_net_raw=ep").arg(&grep).status();
    if !set.is_ok_and(|s| s.success()) {
        return; // a file system without extended attributes
    }
    let scenario = |script: &str| {
        program("dash")
            .args(["-c", script])
            .args([&grep])
            .binary(shared.copy(chameleon().to_owned()))
            .prefix(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"])
    };
    let one = scenario("\"$0\" CapEff /proc/self/status; echo $?");
    assert_eq!(one.native().out(), "CapEff:\t0000000000002000\n0\n");
    one.check("simplex");
    let outcome = scenario("\"$0\" CapEff /proc/self/status || echo no").under("tmr");
    outcome.ended(Ending::Exited(0));
    assert_eq!(outcome.out(), "no\n");
    assert!(outcome.err().contains("it would gain capabilities"), "{}", outcome.err());
    assert_eq!(outcome.report.count("refused"), 1, "{}", outcome.report.text());
    assert_eq!(outcome.report.count("lost_majority"), 0, "{}", outcome.report.text());
}
