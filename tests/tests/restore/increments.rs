//! Increments: whatever a program does to its memory, an image that builds on others is what it had; and where
//! that cannot be known, the image is a full one.
//!
//! Invariant: see [`super`].

use std::fs;
use std::process::Stdio;

use chameleon_tests::{guest, have, output, until};
use serde_json::Value;

use super::place::*;

#[test]
fn mappings_side_by_side_are_grown_and_moved_as_one() {
    for mode in ["simplex", "tmr"] {
        let place = Place::new();
        let joined = guest("joined").display().to_string();
        let words = [&*joined, "25", "20", "out"].map(str::to_owned);
        let wanted = place.natively(&words, &["out"]);
        place.run(mode, &words).kill_after(3);
        place.restores(&[]);
        assert_eq!(place.files(&["out"]), wanted, "{mode}: {}", place.said());
        let written = fs::read_to_string(place.path().join("report")).unwrap_or_default();
        assert!(!written.contains("outvoted"), "{mode}: {}", place.said());
    }
}

/// Images of these kinds among those that were written.
fn kinds(place: &Place, kind: &str) -> usize {
    place.written().iter().filter(|event| event["kind"] == kind).count()
}

#[test]
fn memory_that_changed_in_every_way_comes_back_from_increments() {
    for mode in ["simplex", "tmr"] {
        let place = Place::new();
        let words = place.dirties(1000, false);
        let wanted = place.natively(&words, &["out"]);
        let mut run = place.run(mode, &words);
        let enough = until(|| {
            run.is_over()
                || place.written().last().is_some_and(|event| event["kind"] == "increment")
        });
        assert!(enough && !run.is_over(), "{mode}: {:?} {}", place.written(), place.said());
        // Again and again, each from where the one before was.
        for more in [3, 5, 4] {
            let last = place.images().last().copied().unwrap_or(0);
            run.kill_after(last + more);
            place.kill_all();
            run = place.restoring();
        }
        drop(run);
        place.kill_all();
        place.restores(&[]);
        assert_eq!(place.files(&["out"]), wanted, "{mode}");
    }
}

#[test]
fn an_older_increment_comes_back_too() {
    let place = Place::new();
    let words = place.dirties(1000, false);
    let wanted = place.natively(&words, &["out"]);
    let mut run = place.run("simplex", &words);
    // The two oldest of those that are kept build on others.
    let older = |place: &Place| {
        let said = output(place.command(&["images", "list", "ckpt", "--json"]));
        let list: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        let images = list["images"].as_array().cloned().unwrap_or_default();
        let last = images.get(images.len().saturating_sub(2)).cloned().unwrap_or_default();
        (last["kind"] == "increment").then(|| last["image"].as_u64().unwrap_or(0))
    };
    assert!(until(|| run.is_over() || older(&place).is_some()), "{}", place.said());
    assert!(!run.is_over(), "{}", place.said());
    drop(run);
    place.kill_all();
    let at = older(&place).expect("an increment").to_string();
    let said = output(place.command(&["images", "verify", "ckpt"]));
    assert!(said.status.success(), "{said:?}");
    place.restores(&["--at", &at]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_program_that_is_executed_anew_is_written_whole() {
    let place = Place::new();
    let words = place.dirties(800, true);
    let wanted = place.natively(&words, &["out"]);
    let mut run = place.run("simplex", &words);
    let behind = || {
        let out = place.files(&["out"]).remove(0).unwrap_or_default();
        // The exec comes before the line of turn 409.
        String::from_utf8_lossy(&out).lines().any(|line| line.starts_with("409 "))
    };
    assert!(until(|| run.is_over() || behind()), "{}", place.said());
    let last = place.images().last().copied().unwrap_or(0);
    run.kill_after(last + 3);
    place.kill_all();
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_replica_that_is_lost_costs_a_full_image_and_nothing_else() {
    let place = Place::new();
    let mut words = place.dirties(1500, false);
    words[2] = "2".to_owned(); // without children
    let wanted = place.natively(&words, &["out"]);
    let mut all = vec![
        "run",
        "--mode",
        "simplex",
        "--report",
        "report",
        "--inject",
        "replica=0,call=600,kill",
    ];
    all.extend(["--checkpoint", "100ms", "--checkpoint-dir", "ckpt", "--"]);
    all.extend(words.iter().map(String::as_str));
    let mut command = place.command(&all);
    let error = fs::File::create(place.path().join("said")).expect("a file can be made");
    command.stdout(Stdio::null()).stderr(error);
    let mut run = Run { place: &place, child: command.spawn().expect("it starts") };
    let unknown = || place.written().iter().any(|event| event["whole"] == "unknown");
    assert!(until(|| run.is_over() || unknown()), "{:?} {}", place.written(), place.said());
    assert!(!run.is_over(), "{}", place.said());
    // And it goes on with increments.
    let before = kinds(&place, "increment");
    assert!(until(|| run.is_over() || kinds(&place, "increment") > before), "{}", place.said());
    assert!(!run.is_over(), "{}", place.said());
    drop(run);
    place.kill_all();
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn increments_need_no_privilege() {
    if !have(&["setpriv"]) {
        return;
    }
    let place = Place::of_nobody();
    let words = place.dirties(1000, false);
    let wanted = place.natively(&words, &["out"]);
    let mut run = place.run("dual", &words);
    let enough = until(|| run.is_over() || kinds(&place, "increment") > 1);
    assert!(enough && !run.is_over(), "{:?} {}", place.written(), place.said());
    drop(run);
    place.kill_all();
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_checkpoint_that_is_asked_for_is_on_the_disk_when_the_answer_comes() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script("import time\nblob = bytes(8 << 20)\nf = open('out', 'w')\nwhile True:\n f.write('x'); f.flush(); time.sleep(0.01)\n");
    let mut all = vec!["run", "--checkpoint", "1h", "--checkpoint-dir", "ckpt", "--"];
    all.extend(words.iter().map(String::as_str));
    let mut command = place.command(&all);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = Run { place: &place, child: command.spawn().expect("it starts") };
    let begun = until(|| run.is_over() || place.files(&["out"])[0].is_some());
    assert!(begun && !run.is_over());
    let pid = run.child.id().to_string();
    for words in [vec![], vec!["--json"], vec![]] {
        let before = place.images().last().copied();
        let mut all = vec!["checkpoint", &*pid];
        all.extend(words.iter());
        let said = output(place.command(&all));
        assert!(said.status.success(), "{said:?}");
        let number = place.images().last().copied();
        assert!(number > before, "{number:?} {said:?}");
        let number = number.unwrap_or(0);
        // Not a terminal: nothing is drawn.
        assert!(said.stderr.is_empty(), "{said:?}");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        if words.is_empty() {
            assert!(text.contains(&format!("image {number}, ")), "{text}");
        } else {
            let lines: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let last = lines.last().expect("a line");
            assert_eq!((&last["taken"], &last["image"]), (&true.into(), &number.into()), "{text}");
        }
    }
}
