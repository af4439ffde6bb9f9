//! What bad input gets: one line on standard error, the right status, nothing left running.
//!
//! Invariant: nothing of the program is performed where the start is refused. Run by `cargo test`.

use std::process::Command;

use chameleon_tests::{Ending, MODES, Outcome, Scenario, chameleon, guest, output, program};

/// The run is refused with this status and one line that contains these words.
#[track_caller]
fn refused(outcome: &Outcome, status: i32, words: &[&str]) {
    outcome.ended(Ending::Exited(status));
    let said = outcome.err();
    assert!(
        said.starts_with("chameleon: ") && said.ends_with('\n') && said.lines().count() == 1,
        "not one line of Chameleon's: {said:?}"
    );
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(outcome.stdout.is_empty(), "output: {}", outcome.out());
}

fn hello() -> Scenario {
    program(guest("hello"))
}

#[test]
fn an_unknown_mode() {
    refused(&hello().under("septuple"), 125, &["septuple", "tmr"]);
}

#[test]
fn more_votes_than_replicas() {
    refused(&hello().under("nmr:4/3"), 125, &["nmr:4/3", "K"]);
}

#[test]
fn votes_that_two_groups_could_win() {
    refused(&hello().under("nmr:2/4"), 125, &["nmr:2/4", "half"]);
}

#[test]
fn no_replicas() {
    refused(&hello().under("nmr:0/0"), 125, &["nmr:0/0"]);
}

#[test]
fn too_many_replicas() {
    refused(&hello().under("nmr:9/16"), 125, &["15"]);
}

#[test]
fn a_missing_program() {
    for mode in MODES {
        refused(&program("/missing/program").under(mode), 127, &["/missing/program"]);
    }
}

#[test]
fn a_program_that_is_not_in_the_path() {
    refused(&program("no-such-program").under("tmr"), 127, &["no-such-program"]);
}

#[test]
fn a_missing_interpreter() {
    let scenario = program("./script").file_with_mode("script", "#!/missing/shell\n", 0o755);
    refused(&scenario.under("tmr"), 127, &["script"]);
}

#[test]
fn a_file_that_is_not_executable() {
    let scenario = program("./plain").file("plain", "#!/bin/sh\necho never\n");
    refused(&scenario.under("tmr"), 126, &["plain"]);
}

#[test]
fn a_directory() {
    refused(&program("/tmp").under("tmr"), 126, &["/tmp"]);
}

#[test]
fn a_file_of_no_known_kind() {
    let scenario = program("./junk").file_with_mode("junk", [1u8, 2, 3, 4, 5, 6, 7, 8], 0o755);
    refused(&scenario.under("tmr"), 126, &["junk"]);
}

#[test]
fn an_empty_file() {
    let scenario = program("./empty").file_with_mode("empty", "", 0o755);
    refused(&scenario.under("tmr"), 126, &["empty"]);
}

#[test]
fn a_32_bit_program() {
    for mode in MODES {
        refused(&program(guest("elf32")).under(mode), 126, &["elf32", "32"]);
    }
}

#[test]
fn bad_injections() {
    for (spec, word) in [
        ("replica=1", "kill"),
        ("call=5,kill", "replica"),
        ("replica=1,call=5", "kill"),
        ("replica=1,call=0,kill", "call"),
        ("replica=1,call=5,reg=rzx,bit=1", "rzx"),
        ("replica=1,call=5,reg=rax,bit=64", "bit"),
        ("replica=1,call=5,mem=moon", "moon"),
        ("replica=9,call=5,kill", "9"),
        ("nonsense", "nonsense"),
        ("", "replica"),
    ] {
        let scenario = hello().flag(format!("--inject={spec}"));
        refused(&scenario.under("tmr"), 125, &[word]);
    }
}

#[test]
fn bad_options() {
    for (flag, word) in [
        ("--timeout=soon", "soon"),
        ("--timeout=-1s", "-1s"),
        ("--placement=moon", "moon"),
        ("--no-such-option", "no-such-option"),
    ] {
        refused(&hello().flag(flag).under("tmr"), 125, &[word]);
    }
}

#[test]
fn no_program_at_all() {
    let mut command = Command::new(chameleon());
    command.arg("run");
    let output = output(command);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}

#[test]
fn a_report_that_cannot_be_opened() {
    let scenario = hello().report_to("/missing/report");
    refused(&scenario.under("tmr"), 125, &["/missing/report"]);
}

/// The program is more important than its report: it runs on, and one line says what was lost.
#[test]
fn a_report_on_a_full_disk() {
    let scenario = program(guest("checksum")).report_to("/dev/full");
    let native = scenario.native();
    let under = scenario.under("tmr");
    assert_eq!(under.stdout, native.stdout);
    assert_eq!(under.ending, native.ending);
    let said = under.err();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("chameleon: ") && said.contains("/dev/full"), "{said}");
}

/// A closed standard output is the program's business.
#[test]
fn a_closed_stdout() {
    let scenario = program("echo").args(["lost"]).prefix(["sh", "-c", "exec \"$@\" >&-", "sh"]);
    for mode in MODES {
        scenario.check(mode);
    }
}

#[test]
fn a_full_stdout() {
    let scenario =
        program("echo").args(["lost"]).prefix(["sh", "-c", "exec \"$@\" >/dev/full", "sh"]);
    for mode in MODES {
        scenario.check(mode);
    }
}

/// A reader that goes away ends the program by SIGPIPE, as without Chameleon.
#[test]
fn a_reader_that_leaves() {
    let line = "\"$@\" | head -c 10; echo; echo ${PIPESTATUS[0]}";
    let scenario = program("yes").prefix(["bash", "-c", line, "bash"]);
    for mode in MODES {
        scenario.check(mode);
    }
}

/// Inside the application, too: a missing program is the shell's to report.
#[test]
fn refusals_inside_the_application_are_the_programs_own() {
    let line = "/missing/x; echo $?; ./plain; echo $?; \"$0\"; echo $?";
    let scenario = program("dash").args(["-c", line]).args([guest("hello")]).file("plain", "text");
    for mode in MODES {
        scenario.check(mode);
    }
}

/// A 32-bit program deeper in the tree: the exec fails, and that is said.
#[test]
fn a_32_bit_program_inside_the_application() {
    let scenario = program("dash").args(["-c", "\"$0\"; echo $?"]).args([guest("elf32")]);
    let outcome = scenario.under("tmr");
    outcome.ended(Ending::Exited(0));
    assert_eq!(outcome.out(), "126\n");
    assert!(outcome.err().lines().any(|line| line.starts_with("chameleon: ")));
}

#[test]
fn dual_with_a_fault_loses_its_majority() {
    let scenario =
        program(guest("checksum")).flag("--inject=replica=1,call=40,mem=data,offset=0,bit=3");
    let kill = program(guest("checksum")).flag("--inject=replica=1,call=40,reg=rip,bit=40");
    for outcome in [scenario.under("dual"), kill.under("dual")] {
        // A flip that never shows, or a crash that the other replica repairs, is fine too.
        if outcome.report.count("lost_majority") > 0 {
            outcome.ended(Ending::Exited(125));
            assert!(outcome.err().contains("majority"), "{}", outcome.err());
        } else {
            outcome.ended(Ending::Exited(0));
        }
    }
}

/// A program that asks for asynchronous I/O is told that there is none, and so is who runs it.
#[test]
fn asynchronous_io() {
    for mode in MODES {
        let outcome = program(guest("aio")).under(mode);
        outcome.ended(Ending::Exited(0));
        assert_eq!(outcome.report.count("refused"), 1, "{}", outcome.report.text());
        let said = outcome.err();
        assert!(said.contains("io_setup refused with ENOSYS"), "{said}");
    }
}

/// More threads than there is room for are refused as pthread_create(3) may, and the program goes on.
#[test]
fn ten_thousand_threads() {
    for mode in ["simplex", "tmr"] {
        let outcome = program(guest("thread_crowd")).under(mode);
        outcome.ended(Ending::Exited(0));
        assert_eq!(outcome.out(), "ok thread_crowd\n");
        assert_eq!(outcome.report.count("refused"), 1, "{}", outcome.report.text());
        assert_eq!(outcome.report.disturbances().len(), 0, "{}", outcome.report.text());
    }
}
