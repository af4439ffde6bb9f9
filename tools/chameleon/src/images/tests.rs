//! The subcommands on images of a program that does not exist.

use std::fs;
use std::path::Path;

use chameleon_ckpt::image::{Image, Machine, Process, Whole};
use chameleon_ckpt::source::{Pages, Run, Space, State};
use chameleon_ckpt::undo::UndoLog;
use chameleon_ckpt::write::{Compression, Contents};
use clap::Parser;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

struct Ones;

impl Pages for Ones {
    fn read(&self, addr: u64, buf: &mut [u8]) -> std::io::Result<()> {
        buf.fill(addr as u8 | 1);
        Ok(())
    }
}

/// Images 1 (full), 2 (on 1) and 3 (full), each with its undo log.
fn scene() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    for (sequence, parent) in [(1, None), (2, Some(1)), (3, None)] {
        UndoLog::create(writer.dir(), sequence).unwrap();
        let image = Image {
            sequence,
            parent,
            whole: parent.is_none().then_some(Whole::Size),
            version: "0.1.0".into(),
            created_ns: 0,
            clocks: Default::default(),
            run: [1; 16],
            command: vec![b"solver".to_vec(), b"in\x1b.dat".to_vec()],
            mode: "tmr".into(),
            machine: Machine::here().unwrap(),
            processes: vec![Process { pid: 42, name: b"solver".to_vec(), ..Process::default() }],
            shared: vec![],
            files: vec![],
            opaque: vec![],
        };
        let runs = [Run { start: 4096 * sequence, pages: 2, state: State::Changed }];
        let contents = [Contents { space: Space::Process(42), pages: &Ones, runs: &runs }];
        writer.write(&image, &contents, Compression::Zstd).unwrap();
    }
    home
}

/// Runs `chameleon images WORDS... DIR`.
fn images(words: &str, dir: &Path) -> anyhow::Result<(String, bool)> {
    let words = ["chameleon", "images"].into_iter().chain(words.split_whitespace());
    let words = words.map(Into::into).chain([dir.as_os_str().to_owned()]);
    let Command::Images(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("not images")
    };
    let (text, status) = act(&args.action)?;
    Ok((text, status == ExitCode::SUCCESS))
}

fn json_of(words: &str, dir: &Path) -> (Value, bool) {
    let (text, good) = images(&format!("{words} --json"), dir).unwrap();
    (serde_json::from_str(&text).unwrap(), good)
}

#[test]
fn a_list_has_every_image_and_no_control_characters() {
    let home = scene();
    let (text, good) = images("list", home.path()).unwrap();
    assert!(good && text.contains("solver in\\u{1b}.dat"), "{text}");
    let (list, _) = json_of("list", home.path());
    let parents: Vec<Option<u64>> =
        list["images"].as_array().unwrap().iter().map(|one| one["parent"].as_u64()).collect();
    assert_eq!(parents, [None, Some(1), None]);
    assert_eq!(
        (&list["images"][0]["kind"], &list["images"][1]["kind"]),
        (&json!("full"), &json!("increment"))
    );
}

#[test]
fn damage_is_told_by_verify_and_hides_no_other_image() {
    let home = scene();
    assert!(images("verify", home.path()).unwrap().1);
    let log = Dir::new(home.path()).log(2);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, "foreign and longer").unwrap();
    let (text, good) = images("verify", home.path()).unwrap();
    assert!(!good && text.contains("000002.log"), "{text}");
    fs::write(&log, whole).unwrap();
    let file = Dir::new(home.path()).image(1).join("pages.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (found, good) = json_of("verify", home.path());
    assert!(!good && found["good"] == false);
    assert_eq!(found["images"][0]["good"], false);
    assert!(found["images"][0]["wrong"][0].as_str().unwrap().contains("process 42"), "{found}");
    assert_eq!(found["images"][2]["good"], true);
    assert!(images("verify --at 3", home.path()).unwrap().1);
    assert!(!images("verify --at 2", home.path()).unwrap().1);
    fs::write(Dir::new(home.path()).image(3).join("manifest"), "foreign").unwrap();
    let (text, _) = images("list", home.path()).unwrap();
    assert!(
        text.contains("NOT RESTORABLE") && text.contains("not a file of a checkpoint"),
        "{text}"
    );
    // The newest that can be read.
    assert_eq!(json_of("inspect", home.path()).0["image"], 2);
}

#[test]
fn inspect_says_what_stands_in_the_way() {
    let home = scene();
    let (found, good) = json_of("inspect --at 2", home.path());
    assert!(good, "{found}");
    assert_eq!(found["builds_on"], json!([1]));
    assert_eq!(found["memory_bytes"], 8192);
    assert_eq!((&found["kind"], &found["left_bytes"]), (&json!("increment"), &json!(0)));
    let (whole, _) = json_of("inspect --at 1", home.path());
    assert_eq!((&whole["kind"], &whole["whole"]), (&json!("full"), &json!("size")));
    let (text, _) = images("inspect --at 1", home.path()).unwrap();
    assert!(text.contains("full: the increments since"), "{text}");
    let (text, _) = images("inspect --at 2", home.path()).unwrap();
    assert!(text.contains("nothing stands in the way"), "{text}");
    // A file of the program that is gone cannot be rolled back.
    let out = home.path().join("out");
    fs::write(&out, "bytes").unwrap();
    let dir = Dir::new(home.path());
    let mut log = UndoLog::reopen(&dir, 3).unwrap();
    log.before_write(&out, &fs::File::open(&out).unwrap(), 0, 3).unwrap();
    fs::remove_file(&out).unwrap();
    let (found, good) = json_of("inspect", home.path());
    assert!(!good && found["findings"][0]["obstacle"] == true, "{found}");
    assert!(images("inspect --at 9", home.path()).is_err());
}

#[test]
fn prune_keeps_what_is_asked_for() {
    let home = scene();
    assert_eq!(json_of("prune --keep 1 --dry-run", home.path()).0["images"], json!([2, 1]));
    assert_eq!(Dir::new(home.path()).sequences().unwrap(), [1, 2, 3]);
    let (text, _) = images("prune --keep 1", home.path()).unwrap();
    assert_eq!(text, "removed images 1, 2");
    assert_eq!(Dir::new(home.path()).sequences().unwrap(), [3]);
    assert_eq!(Dir::new(home.path()).logs().unwrap(), [3]);
    let nothing = home.path().join("nothing");
    assert!(images("prune", &nothing).is_err());
    assert!(!nothing.exists());
}
