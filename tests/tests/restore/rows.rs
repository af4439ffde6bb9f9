//! What a process and its descriptors have beside memory and bytes: as it was, or there is no image and a line names it.
//!
//! Invariant: the guest says itself what it has, natively and on both sides of a restart. Run by `cargo test`.

use std::fs;

use chameleon_tests::{guest, until};

use crate::place::*;

/// A row of the guest `image_rows`, natively and from an image, is the same before and afterwards.
#[track_caller]
fn is_kept(mode: &str, row: &str) {
    let words = [guest("image_rows").display().to_string(), row.to_owned()];
    let wanted = Place::new().natively(&words, &["after"]);
    let place = Place::new();
    place.run(mode, &words).kill_all_after_file("before", 2);
    place.restores(&[]);
    let said = place.files(&["before", "after"]);
    let text = |bytes: &Option<Vec<u8>>| {
        String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
    };
    // What is told afterwards alone is what lay in sockets, and timers.
    match said[0].as_ref().is_some_and(|before| !before.is_empty()) {
        true => assert_eq!(text(&said[1]), text(&said[0]), "{mode}, {row}"),
        false => assert_eq!(text(&said[1]), text(&wanted[0]), "{mode}, {row}"),
    }
}

#[test]
fn who_is_told_by_signals_of_descriptors_is_told_again() {
    ["simplex", "tmr"].into_iter().for_each(|mode| is_kept(mode, "owners"));
}

#[test]
fn sockets_are_set_as_they_were_and_datagram_sockets_have_their_peers() {
    is_kept("simplex", "sockets");
}

#[test]
fn datagrams_lie_in_sockets_with_their_senders() {
    ["simplex", "tmr"].into_iter().for_each(|mode| is_kept(mode, "datagrams"));
}

#[test]
fn pipes_memory_and_files_have_what_was_said_of_them() {
    is_kept("simplex", "files");
}

#[test]
fn an_edge_that_was_told_is_not_told_again() {
    is_kept("simplex", "epoll");
}

#[test]
fn habits_rights_and_limits_are_as_they_were() {
    ["simplex", "tmr"].into_iter().for_each(|mode| is_kept(mode, "process"));
}

#[test]
fn advice_locks_and_barriers_of_memory_stay() {
    ["simplex", "tmr"].into_iter().for_each(|mode| is_kept(mode, "memory"));
}

#[test]
fn a_timer_that_was_set_for_a_time_of_the_day_expires_then() {
    let words = [guest("image_rows").display().to_string(), "timers".to_owned()];
    for mode in ["simplex", "tmr"] {
        let wanted = Place::new().natively(&words, &["after"]);
        let place = Place::new();
        place.run(mode, &words).kill_all_after_file("before", 2);
        // With the time that was left it would expire so much later.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        place.restores(&[]);
        assert_eq!(place.files(&["after"]), wanted, "{mode}");
    }
}

#[test]
fn what_cannot_be_had_again_is_named_and_the_program_goes_on() {
    let rows = [
        ("dumpable", "PR_SET_DUMPABLE"),
        ("keepcaps", "PR_SET_KEEPCAPS"),
        ("machine_checks", "PR_MCE_KILL"),
        ("notify", "F_NOTIFY"),
        ("terminal", "pty(7)"),
        ("group", "IP_ADD_MEMBERSHIP"),
        ("filter", "SO_ATTACH_FILTER"),
        ("locked", "MCL_FUTURE"),
        ("seal", "mseal(2)"),
        ("segments", "modify_ldt(2)"),
        ("empty", "an empty datagram"),
        ("stranger", "whose sender"),
        ("removed", "a directory that has been removed"),
        ("pidfd", "pidfd"),
        ("watch", "inotify"),
        ("beyond", "F_SETOWN"),
        ("process_file", "/maps"),
        ("packets", "pipe2(2), O_DIRECT"),
        ("packets_later", "pipe(7), O_DIRECT"),
    ];
    let place = Place::new();
    for (row, why) in rows {
        let words = [guest("image_rows").display().to_string(), row.to_owned()];
        let _ = fs::remove_file(place.path().join("after"));
        let mut run = place.run("simplex", &words);
        let said = || place.said().contains("no image of") && place.said().contains(why);
        assert!(until(|| said() || run.is_over()), "{row}: {}", place.said());
        place.hurry();
        let status = run.child.wait().expect("it ends");
        assert!(status.success() && said(), "{row}: {status}: {}", place.said());
        place.forget_images();
    }
}
