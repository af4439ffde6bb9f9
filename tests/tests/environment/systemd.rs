//! The units, in a systemd that is booted for it over an overlay of this machine.
//!
//! Invariant: nothing of this machine is changed; where no container can be booted it is said, by name.

use std::fs;
use std::process::Command;

use chameleon_tests::{chameleon, have, output, script};
use nix::unistd::Uid;

/// How long the container may live, in seconds: far more than it needs.
const LIMIT: &str = "150";

#[test]
fn units_start_watch_and_confine_daemon_and_starter() {
    if !have(&["systemd-nspawn", "unshare", "script"]) {
        return;
    }
    if !Uid::effective().is_root() {
        println!("skipped: only root can boot a container with systemd");
        return;
    }
    let directory = tempfile::Builder::new().prefix("boot-").tempdir().unwrap();
    let mut command = Command::new(script("boot.sh"));
    command.arg(LIMIT).arg(chameleon()).arg(script("units.sh")).arg(directory.path());
    let boot = output(command);
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let (status, said, console) = (read("status"), read("said"), read("console"));
    if said.is_empty() {
        println!("skipped: a container with systemd does not boot here: {boot:?} {console}");
        return;
    }
    assert_eq!(status, "0\n", "{said}\n{console}");
}
