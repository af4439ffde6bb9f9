//! A disk that is really full: the program goes on, the images that are there stay, and later ones work again.
//!
//! Invariant: the disk is a file system of the test's own, seen by its processes only, and goes with them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use chameleon_tests::{have, until};
use nix::unistd::Uid;

use super::place::*;

/// A small file system over `ckpt`, into which words write images; when all of their run is gone, which gives the
/// lock back, the images are looked at and the last one goes on.
const SCRIPT: &str =
    "mkdir -p ckpt && mount -t tmpfs -o size=80m none ckpt && echo ready >ready || exit 77
binary=$1; shift
\"$binary\" run --report report --checkpoint 100ms --checkpoint-dir ckpt -- \"$@\" 2>said
flock ckpt/lock true
\"$binary\" images verify ckpt >verified 2>&1 || exit 78
exec \"$binary\" restore ckpt 2>restored";

/// The command, in namespaces where a file system may be mounted.
fn apart(place: &Place, words: &[String]) -> Option<Command> {
    let rights: &[&str] = if Uid::effective().is_root() { &["-m"] } else { &["-m", "-r"] };
    let can = Command::new("unshare").args(rights).arg("true").stderr(Stdio::null()).status();
    if !have(&["unshare"]) || !can.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(rights).args(["sh", "-c", SCRIPT, "sh"]).arg(&place.binary).args(words);
    command.current_dir(place.path()).env("XDG_RUNTIME_DIR", place.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(command)
}

#[test]
fn a_full_disk_costs_images_and_nothing_else() {
    let place = Place::new();
    let words = place.dirties(1500, false);
    let wanted = place.natively(&words, &["out"]);
    let Some(mut command) = apart(&place, &words) else { return };
    let mut run = Run { place: &place, child: command.spawn().expect("it starts") };
    let inside = |name: &str| -> PathBuf {
        let root = format!("/proc/{}/root", run.child.id());
        PathBuf::from(root).join(place.path().strip_prefix("/").expect("a whole path")).join(name)
    };
    let ckpt = inside("ckpt");
    let images = || -> Vec<u64> {
        let list = fs::read_dir(ckpt.join("images")).into_iter().flatten().flatten();
        let mut all: Vec<u64> =
            list.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        all.sort_unstable();
        all
    };
    assert!(
        until(|| place.path().join("ready").exists() && images().len() > 1),
        "{}",
        place.said()
    );
    // Whatever is given back meanwhile is taken, too.
    let mut filler = fs::File::create(ckpt.join("filler")).expect("a file can be made");
    let said = || place.said().contains("no room for a checkpoint");
    let full = until(|| {
        for piece in [1 << 20, 4096] {
            while filler.write_all(&vec![1; piece]).is_ok() {}
        }
        said()
    });
    assert!(full && !run.is_over(), "{:?} {}", images(), place.said());
    assert!(place.said().contains("the program goes on"), "{}", place.said());
    assert!(!place.said().contains("cannot be restored any more"), "{}", place.said());
    let lines = || place.files(&["out"]).remove(0).unwrap_or_default().len();
    let (before, left) = (lines(), images());
    assert!(!left.is_empty());
    assert!(until(|| lines() > before + 100 || run.is_over()), "{}", place.said());
    assert!(left.iter().all(|image| images().contains(image)), "{left:?} {:?}", images());
    // There is room again.
    drop(filler);
    fs::remove_file(ckpt.join("filler")).expect("the file can be removed");
    let last = left.last().copied().unwrap_or(0);
    let later = until(|| run.is_over() || images().last().is_some_and(|image| *image > last + 2));
    assert!(later && !run.is_over(), "{:?} {}", images(), place.said());
    // The run is killed; whoever started it looks at the images and goes on from the last one.
    let root = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.child.id()));
    let root = root.expect("the shell's children can be listed");
    let root = root.split_whitespace().next().expect("a child").parse().expect("a number");
    let pid = nix::unistd::Pid::from_raw(root);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it can be killed");
    place.hurry();
    let status = run.child.wait().expect("it ends");
    let text = |name| fs::read_to_string(place.path().join(name)).unwrap_or_default();
    assert!(status.success(), "{status}: {} {}", text("verified"), text("restored"));
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_limit_of_file_sizes_is_named() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(&format!("import os\nblob = os.urandom(4 << 20)\n{LINES}"));
    let wanted = place.natively(&words, &["out"]);
    // In units of 1 KiB or of 512 bytes; the program's own files are shorter.
    let script = "ulimit -f 2000; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&place.binary);
    command.args(["run", "--checkpoint", "100ms", "--checkpoint-dir", "ckpt", "--"]).args(&words);
    command.current_dir(place.path()).env("XDG_RUNTIME_DIR", place.path());
    let said = fs::File::create(place.path().join("said")).expect("a file can be made");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    let mut run = Run { place: &place, child: command.spawn().expect("it starts") };
    let told = until(|| place.said().contains("no room for a checkpoint") || run.is_over());
    place.hurry();
    let status = run.child.wait().expect("it ends");
    assert!(told && status.success(), "{status}: {}", place.said());
    assert!(place.said().contains("no room for a checkpoint"), "{}", place.said());
    assert_eq!(place.files(&["out"]), wanted);
}
