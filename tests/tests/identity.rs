//! What the rest of the machine sees: one process, the program.
//!
//! Invariant: pid, parent, group, name and arguments of the outside are those that the program would
//! have; Chameleon's own processes say what they are. Run by `cargo test`.

use std::collections::BTreeSet;

use chameleon_tests::{MODES, Running, Scenario, guest, program, until};
use nix::sys::signal::Signal;

/// A program that waits, and runs when this returns.
fn waiting(mode: Option<&str>) -> (Scenario, Running) {
    let scenario = program(guest("handler")).args(["one", "two words"]).prefix([
        "sh",
        "-c",
        "exec \"$@\" >out",
        "sh",
    ]);
    let running = match mode {
        Some(mode) => scenario.start(mode),
        None => scenario.start_native(),
    };
    let out = scenario.work().join("out");
    assert!(until(|| std::fs::read_to_string(&out).is_ok_and(|text| text.contains("ready"))));
    (scenario, running)
}

fn read(pid: i32, name: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn the_outside_is_named_as_the_program() {
    for mode in MODES {
        let (scenario, running) = waiting(Some(mode));
        let pid = running.pid();
        assert_eq!(read(pid, "comm"), "handler\n");
        let line = format!("{}\0one\0two words\0", guest("handler").display());
        assert_eq!(read(pid, "cmdline"), line);
        let stat = read(pid, "stat");
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        assert_eq!(parent, Some(std::process::id().to_string().as_str()));
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("it is there");
        assert_eq!(cwd, scenario.work());
        running.signal(Signal::SIGTERM);
        scenario.finish(running);
    }
}

#[test]
fn chameleons_own_processes_say_what_they_are() {
    for mode in MODES {
        let (scenario, running) = waiting(Some(mode));
        let all = running.processes();
        let armors: Vec<_> = all.iter().filter(|one| one.is_armor("EXECUTION")).collect();
        assert_eq!(armors.len(), 1, "{all:#?}");
        running.signal(Signal::SIGTERM);
        scenario.finish(running);
    }
}

/// The low descriptors of the outside are those the program has natively; Chameleon's own are above.
#[test]
fn the_low_descriptors_are_the_programs() {
    let low = |pid: i32| -> BTreeSet<i32> {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it is there")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|fd| *fd < 100)
            .collect()
    };
    let native = {
        let (_scenario, running) = waiting(None);
        low(running.pid())
    };
    for mode in MODES {
        let (scenario, running) = waiting(Some(mode));
        assert_eq!(low(running.pid()), native, "{mode}");
        running.signal(Signal::SIGTERM);
        scenario.finish(running);
    }
}

#[test]
fn the_process_tree_is_the_programs() {
    let line = "sleep 1000 & sleep 1000 & echo >ready; wait";
    for mode in ["simplex", "tmr"] {
        let scenario = program("bash").args(["-c", line]);
        let running = scenario.start(mode);
        assert!(until(|| scenario.work().join("ready").exists()));
        let pid = running.pid();
        let children = || {
            let text = read(pid, &format!("task/{pid}/children"));
            let list: Vec<i32> =
                text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            list.into_iter().filter(|child| read(*child, "comm") == "sleep\n").collect::<Vec<_>>()
        };
        assert!(until(|| children().len() == 2), "the children are not the shell's");
        for child in children() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGTERM)
                .expect("the child is there");
        }
        scenario.finish(running).ended(chameleon_tests::Ending::Exited(0));
    }
}
