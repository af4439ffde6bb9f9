//! Images: programs that are killed with all that is Chameleon's go on from an image, and what they leave is
//! what they would have left.
//!
//! Invariant: nothing here depends on when a program is killed; each test has a directory of its own.
//! Run by `cargo test`.

mod clocks;
mod disk;
mod families;
mod increments;
mod killed;
mod locks;
mod place;
mod rows;
mod threads;
mod trees;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use chameleon_tests::{have, output, program_path, until};
use nix::unistd::{Uid, chown};

use place::*;

#[test]
fn a_file_is_as_if_nothing_had_happened() {
    if !have(&["python3"]) {
        return;
    }
    for mode in ["simplex", "dual", "tmr"] {
        let place = Place::new();
        let words = place.script(LINES);
        let wanted = place.natively(&words, &["out"]);
        place.run(mode, &words).kill_after(2);
        place.restores(&[]);
        assert_eq!(place.files(&["out"]), wanted, "{mode}");
    }
}

#[test]
fn another_mode_may_go_on() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(LINES);
    let wanted = place.natively(&words, &["out"]);
    place.run("simplex", &words).kill_after(1);
    place.restores(&["--mode", "tmr"]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn what_was_overwritten_renamed_removed_and_cut_comes_back() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(CHANGES);
    fs::write(place.path().join("out"), [7; 64000]).expect("a file can be written");
    let wanted = place.natively(&words, &["out", "name", "new"]);
    place.run("simplex", &words).kill_after(4);
    // The very oldest may go as the last one is finished.
    let all = place.images();
    place.restores(&["--at", &all[all.len() - 2].to_string()]);
    assert_eq!(place.files(&["out", "name", "new"]), wanted);
}

#[test]
fn a_file_that_was_renamed_by_another_path_is_found() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(MOVES);
    let wanted = place.natively(&words, &["name", "new"]);
    place.run("simplex", &words).kill_after(4);
    let all = place.images();
    place.restores(&["--at", &all[all.len() - 2].to_string()]);
    assert_eq!(place.files(&["name", "new"]), wanted);
}

#[test]
fn directories_and_links_are_as_they_were() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(TREES);
    let files = ["out", "d0/moved/file", "d1/moved/file", "d2/moved/file", "d0/link/file"];
    let wanted = place.natively(&words, &files);
    place.run("simplex", &words).kill_after(4);
    for _ in 0..3 {
        let all = place.images();
        let (old, last) = (all[all.len().saturating_sub(2)], all[all.len() - 1]);
        place.restarts(&["--at", &old.to_string()]).kill_after(last + 2);
    }
    place.restores(&[]);
    assert_eq!(place.files(&files), wanted);
}

#[test]
fn an_image_is_restored_again_after_another_kill() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(CHANGES);
    fs::write(place.path().join("out"), [7; 64000]).expect("a file can be written");
    let wanted = place.natively(&words, &["out", "name", "new"]);
    place.run("simplex", &words).kill_after(2);
    for _ in 0..2 {
        let last = place.images().last().copied().unwrap_or(0);
        place.restarts(&[]).kill_after(last + 1);
    }
    place.restores(&[]);
    assert_eq!(place.files(&["out", "name", "new"]), wanted);
}

#[test]
fn pipes_timers_handlers_and_files_without_a_name_go_on() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(KINDS);
    let wanted = place.natively(&words, &["out"]);
    place.run("simplex", &words).kill_after(3);
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn gzip_and_sqlite_end_with_the_right_files() {
    if have(&["gzip"]) {
        let place = Place::new();
        let text: String =
            (0..300_000u64).map(|i| format!("{} words\n", i * i % 1_000_003)).collect();
        fs::write(place.path().join("text"), text).expect("a file can be written");
        let gzip = program_path("gzip").expect("gzip is there").display().to_string();
        let words = [&*gzip, "-9", "-k", "-n", "text"].map(str::to_owned);
        let wanted = place.natively(&words, &["text.gz"]);
        place.run("simplex", &words).kill_after(2);
        place.restores(&[]);
        assert_eq!(place.files(&["text.gz"]), wanted);
    }
    if have(&["sqlite3"]) {
        let place = Place::new();
        let mut text = "create table t(a integer primary key, b text);\n".to_owned();
        for i in 0..100 {
            text += &format!(
                "begin; insert into t(b) values('r{i}'); update t set b=b||'x' where a%7={}; commit;\n",
                i % 7
            );
            if i % 5 == 0 {
                text += ".shell [ -e hurry ] || sleep 0.05\n";
            }
        }
        fs::write(place.path().join("text"), text).expect("a file can be written");
        let sqlite = program_path("sqlite3").expect("sqlite3 is there").display().to_string();
        let words = [&*sqlite, "base", ".read text"].map(str::to_owned);
        let wanted = place.natively(&words, &["base"]);
        place.run("simplex", &words).kill_after(2);
        place.restores(&[]);
        assert_eq!(place.files(&["base"]), wanted);
    }
}

#[test]
fn a_damaged_image_is_refused_and_the_files_are_untouched() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(LINES);
    place.run("simplex", &words).kill_after(3);
    let images = place.images();
    let newest = images[images.len() - 1];
    let pages = place.path().join(format!("ckpt/images/{newest:06}/pages.bin"));
    let mut bytes = fs::read(&pages).expect("the image can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pages, bytes).expect("the image can be written");
    let before = place.files(&["out"]);
    place.refuses(&["--at", &newest.to_string()], &["pages.bin"]);
    assert_eq!(place.files(&["out"]), before);
    assert_eq!(place.images(), images);
}

#[test]
fn a_program_file_that_is_gone_is_named() {
    if !have(&["gzip"]) {
        return;
    }
    let place = Place::new();
    let copy = place.path().join("pack");
    fs::copy(program_path("gzip").expect("gzip is there"), &copy).expect("a copy can be made");
    let text: String = (0..300_000u64).map(|i| format!("{} words\n", i * i % 1_000_003)).collect();
    fs::write(place.path().join("text"), text).expect("a file can be written");
    let copy = copy.display().to_string();
    let words = [&*copy, "-9", "-k", "-n", "text"].map(str::to_owned);
    place.run("simplex", &words).kill_after(1);
    fs::remove_file(&copy).expect("the file can be removed");
    let before = place.files(&["text.gz"]);
    place.refuses(&[], &["mapped file", "pack", "put back the version"]);
    assert_eq!(place.files(&["text.gz"]), before);
}

#[test]
fn a_server_listens_again_unless_its_port_is_taken() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(SERVER);
    let mut run = place.run("simplex", &words);
    let said = || place.files(&["port"])[0].as_ref().is_some_and(|text| text.ends_with(b"\n"));
    assert!(until(|| run.is_over() || said()), "{}", place.said());
    // One that was taken later has the socket.
    let last = place.images().last().copied().unwrap_or(0);
    run.kill_after(last + 2);
    let port = fs::read_to_string(place.path().join("port")).expect("the server has said its port");
    let port: u16 = port.trim().parse().expect("a number");
    {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        place.refuses(&[], &["taken"]);
        drop(listener);
    }
    let mut run = place.restarts(&[]);
    let mut text = String::new();
    let answered = until(|| {
        let connected = TcpStream::connect(("127.0.0.1", port));
        let read = connected.and_then(|mut stream| stream.read_to_string(&mut text));
        read.is_ok() || run.is_over()
    });
    assert!(answered && text.starts_with("turn "), "{text}");
}

#[test]
fn a_server_that_waits_for_long_has_an_image_of_that() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(&SERVER.replace("s.settimeout(0.05)", ""));
    for mode in ["simplex", "tmr"] {
        let mut run = place.run(mode, &words);
        let listens = until(|| {
            let said = output(place.command(&["images", "inspect", "ckpt", "--json"]));
            run.is_over() || String::from_utf8_lossy(&said.stdout).contains("bound socket")
        });
        assert!(listens && !run.is_over(), "{}", place.said());
        drop(run);
        let port = place.files(&["port"]).remove(0).expect("the server has said its port");
        let port: u16 = String::from_utf8_lossy(&port).trim().parse().expect("a number");
        let mut run = place.restarts(&[]);
        let mut text = String::new();
        let answered = until(|| {
            let connected = TcpStream::connect(("127.0.0.1", port));
            let read = connected.and_then(|mut stream| stream.read_to_string(&mut text));
            read.is_ok() || run.is_over()
        });
        assert!(answered && text == "turn 1\n", "{text}");
        drop(run);
        fs::remove_dir_all(place.path().join("ckpt")).expect("the images can be removed");
    }
}

#[test]
fn a_killed_writer_leaves_the_images_before() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(&format!("import os\nblob = os.urandom(100 << 20)\n{LINES}"));
    let wanted = place.natively(&words, &["out"]);
    let mut run = place.run("simplex", &words);
    // While it is there its directory is being written.
    let killed =
        until(|| run.is_over() || !place.images().is_empty() && kill_writer(run.child.id()));
    assert!(killed && !run.is_over(), "{}", place.said());
    assert!(until(|| place.said().contains("its writer was killed")), "{}", place.said());
    drop(run);
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_directory_that_cannot_be_written_stops_no_program_that_runs() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(LINES);
    let wanted = place.natively(&words, &["out"]);
    let mut run = place.run("simplex", &words);
    assert!(until(|| run.is_over() || !place.images().is_empty()), "{}", place.said());
    fs::rename(place.path().join("ckpt/images"), place.path().join("ckpt/away")).expect("a rename");
    fs::File::create(place.path().join("ckpt/images"))
        .and_then(|mut file| file.write_all(b"no"))
        .ok();
    assert!(until(|| run.is_over() || place.said().contains("no image of")), "{}", place.said());
    place.hurry();
    let status = run.child.wait().expect("it ends");
    assert!(status.success(), "{status}: {}", place.said());
    assert_eq!(place.files(&["out"]), wanted);
    assert!(place.said().contains("no image of"), "{}", place.said());
}

#[test]
fn a_directory_that_is_none_or_is_anothers_is_refused_at_the_start() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    fs::write(place.path().join("file"), b"").expect("a file can be written");
    let words = place.script(LINES);
    let mut all = vec!["run", "--checkpoint", "1s", "--checkpoint-dir", "file", "--"];
    all.extend(words.iter().map(String::as_str));
    let said = output(place.command(&all));
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(125), "{text}");
    assert!(text.contains("--checkpoint-dir"), "{text}");
    let mut run = place.run("simplex", &words);
    assert!(until(|| run.is_over() || !place.images().is_empty()), "{}", place.said());
    all[4] = "ckpt";
    let said = output(place.command(&all));
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(125), "{text}");
    assert!(text.contains("another chameleon"), "{text}");
}

#[test]
fn no_privilege_is_needed() {
    if !have(&["python3", "setpriv"]) {
        return;
    }
    let place = Place::of_nobody();
    let words = place.script(LINES);
    let wanted = place.natively(&words, &["out"]);
    let run = place.run("tmr", &words);
    run.kill_after(2);
    place.restores(&[]);
    assert_eq!(place.files(&["out"]), wanted);
}

#[test]
fn a_file_that_may_not_be_opened_is_named_before_anything_is_changed() {
    if !have(&["python3", "setpriv"]) || !Uid::effective().is_root() {
        return;
    }
    let place = Place::of_nobody();
    let words = place.script(LINES);
    let run = place.run("simplex", &words);
    run.kill_after(2);
    chown(&place.path().join("said"), Some(0.into()), Some(0.into())).expect("an owner");
    place.refuses(&[], &["in the way: open file", "said"]);
}

#[test]
fn dry_run_changes_nothing() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let words = place.script(LINES);
    place.run("simplex", &words).kill_after(2);
    let before = place.files(&["out"]);
    let said = place.restore(&["--dry-run", "--json"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let text = String::from_utf8_lossy(&said.stderr);
    let value: serde_json::Value = serde_json::from_str(text.trim()).expect("it is JSON");
    assert_eq!(value["startable"], true, "{text}");
    assert_eq!(place.files(&["out"]), before);
}
