//! Everything of a run is killed while it writes an image, full or increment, at each stage of that: the last
//! image that was finished restores.
//!
//! Invariant: a stage that has passed by when it was to be seen is no failure; what was killed then was killed
//! at another one.

use std::fs;
use std::path::{Path, PathBuf};

use chameleon_tests::{have, output, until};

use super::place::*;

/// How far an image has come.
const STAGES: [&str; 4] = ["", "pages.bin", "index", "manifest"];

/// The directory of an image that is being written.
fn temporary(place: &Place) -> Option<PathBuf> {
    let list = fs::read_dir(place.path().join("ckpt/images")).ok()?;
    list.flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "tmp"))
}

fn is_at(path: &Path, stage: &str) -> bool {
    path.join(stage).exists()
}

#[test]
fn a_run_that_is_killed_while_it_writes_restores() {
    let place = Place::new();
    let words = place.dirties(4500, false);
    let wanted = place.natively(&words, &["out"]);
    for (k, stage) in STAGES.iter().cycle().take(8).enumerate() {
        // The first image of a run is a full one; later ones are increments.
        let later = if k < STAGES.len() { 0 } else { 4 };
        let mut run = match k {
            0 => place.run("simplex", &words),
            _ => place.restoring(),
        };
        let first = place.images().last().copied().unwrap_or(0);
        let last = || place.images().last().copied().unwrap_or(0);
        // At least one is there, so that there is something to restore.
        let least = if k == 0 { 1 } else { first + later };
        let there = until(|| {
            let at = last() >= least && temporary(&place).is_some_and(|path| is_at(&path, stage));
            at || run.is_over()
        });
        assert!(there && !run.is_over(), "{k}: {}", place.said());
        drop(run);
        place.kill_all();
        let said = output(place.command(&["images", "verify", "ckpt"]));
        assert!(said.status.success(), "{stage}: {said:?}");
    }
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn an_armor_that_is_killed_while_it_writes_has_a_successor_that_writes() {
    let place = Place::new();
    let words = place.dirties(1250, false);
    let wanted = place.natively(&words, &["out"]);
    let mut run = place.run("simplex", &words);
    for _ in 0..3 {
        let before = place.images().last().copied().unwrap_or(0).max(1);
        let root = run.child.id();
        let killed = until(|| {
            run.is_over()
                || place.images().last() >= Some(&before)
                    && temporary(&place).is_some()
                    && kill_named(root, "chameleon: EXEC")
        });
        assert!(killed && !run.is_over(), "{}", place.said());
        let more = until(|| run.is_over() || place.images().last() > Some(&(before + 1)));
        assert!(more && !run.is_over(), "{}", place.said());
    }
    drop(run);
    place.kill_all();
    let said = output(place.command(&["images", "verify", "ckpt"]));
    assert!(said.status.success(), "{said:?}");
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_program_that_is_killed_as_a_checkpoint_is_due_restores() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(COMPUTES);
    let wanted = place.natively(&words, &["out"]);
    for k in 0..4 {
        let mut run = match k {
            0 => place.run_every("simplex", "20ms", &words),
            _ => place.restarts(&["--checkpoint", "20ms"]),
        };
        let before = if k == 0 { 0 } else { place.images().last().copied().unwrap_or(0) };
        let more = until(|| run.is_over() || place.images().last() > Some(&before));
        assert!(more && !run.is_over(), "{}", place.said());
        // The program alone; what is Chameleon's ends by itself.
        run.child.kill().expect("it can be killed");
        run.child.wait().expect("it has ended");
        assert!(until(|| !place.is_busy()), "what watched it goes on");
    }
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}
