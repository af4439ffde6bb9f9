//! Files are changed in every way that a log covers, and put back.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Rollback, UndoLog};
use crate::Error;
use crate::dir::Dir;
use crate::image::FileId;

struct Scene {
    home: TempDir,
    dir: Dir,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::new(home.path().join("ckpt"));
        fs::create_dir_all(dir.undo()).unwrap();
        Self { home, dir }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> (PathBuf, File) {
        let path = self.home.path().join(name);
        fs::write(&path, bytes).unwrap();
        (path.clone(), OpenOptions::new().read(true).write(true).open(path).unwrap())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Truncate(u64),
    Checkpoint,
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..60, proptest::collection::vec(any::<u8>(), 0..30)).prop_map(|(o, b)| Step::Write(o, b)),
        2 => (0u64..60).prop_map(Step::Truncate),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Lost),
    ]
}

fn perform(log: &mut UndoLog, path: &Path, file: &File, step: &Step) {
    match step {
        Step::Write(offset, bytes) => {
            log.before_write(path, file, *offset, bytes.len() as u64).unwrap();
            file.write_all_at(bytes, *offset).unwrap();
        }
        Step::Truncate(size) => {
            log.before_truncate(path, file, *size).unwrap();
            file.set_len(*size).unwrap();
        }
        Step::Checkpoint | Step::Lost => {}
    }
}

proptest! {
    #[test]
    fn every_checkpoint_can_be_come_back_to(
        start in proptest::collection::vec(any::<u8>(), 0..50),
        steps in proptest::collection::vec(step(), 0..25),
        choice in any::<prop::sample::Index>(),
    ) {
        let scene = Scene::new();
        let (path, file) = scene.file("out", &start);
        let mut log = UndoLog::create(&scene.dir, 1).unwrap();
        let mut at_cut = vec![start];
        for step in &steps {
            match step {
                Step::Checkpoint => {
                    at_cut.push(fs::read(&path).unwrap());
                    log = UndoLog::create(&scene.dir, at_cut.len() as u64).unwrap();
                }
                Step::Lost => {
                    drop(log);
                    log = UndoLog::reopen(&scene.dir, at_cut.len() as u64).unwrap();
                }
                step => perform(&mut log, &path, &file, step),
            }
        }
        let target = choice.index(at_cut.len());
        let back = Rollback::of(&scene.dir, target as u64 + 1).unwrap();
        back.apply().unwrap();
        prop_assert_eq!(&fs::read(&path).unwrap(), &at_cut[target]);
        // Whoever was killed on the way does it again.
        back.apply().unwrap();
        prop_assert_eq!(&fs::read(&path).unwrap(), &at_cut[target]);
    }

    #[test]
    fn a_log_cut_off_anywhere_undoes_what_was_done_by_then(cut in 0.0..1.0f64) {
        let scene = Scene::new();
        let (path, file) = scene.file("out", b"0123456789abcdef");
        let mut log = UndoLog::create(&scene.dir, 1).unwrap();
        let name = scene.dir.log(1);
        let begun = fs::metadata(&name).unwrap().len();
        let mut states = vec![(begun, fs::read(&path).unwrap())];
        for k in 0..4u64 {
            let step = Step::Write(k * 3, vec![b'x'; 4]);
            perform(&mut log, &path, &file, &step);
            states.push((fs::metadata(&name).unwrap().len(), fs::read(&path).unwrap()));
        }
        let whole = states.last().unwrap().0;
        let at = begun + ((whole - begun) as f64 * cut) as u64;
        // The log as it was when its writer was killed at this byte, and the file of that time.
        OpenOptions::new().write(true).open(&name).unwrap().set_len(at).unwrap();
        let done = states.iter().rfind(|(end, _)| *end <= at).unwrap();
        fs::write(&path, &done.1).unwrap();
        Rollback::of(&scene.dir, 1).unwrap().apply().unwrap();
        prop_assert_eq!(fs::read(&path).unwrap(), b"0123456789abcdef");
    }

    #[test]
    fn a_flipped_bit_is_named_and_nothing_is_changed(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let scene = Scene::new();
        let (path, file) = scene.file("out", b"0123456789abcdef");
        let mut log = UndoLog::create(&scene.dir, 1).unwrap();
        perform(&mut log, &path, &file, &Step::Write(2, b"new".to_vec()));
        perform(&mut log, &path, &file, &Step::Truncate(4));
        let name = scene.dir.log(1);
        let mut bytes = fs::read(&name).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&name, &bytes).unwrap();
        let now = fs::read(&path).unwrap();
        let error = Rollback::of(&scene.dir, 1).expect_err("damage");
        prop_assert!(error.to_string().contains("000001.log"), "{error}");
        prop_assert_eq!(fs::read(&path).unwrap(), now);
    }
}

#[test]
fn a_file_made_since_is_removed_and_one_of_its_name_is_not() {
    let scene = Scene::new();
    let mut log = UndoLog::create(&scene.dir, 1).unwrap();
    let (path, file) = scene.file("made", b"");
    log.made(&path, &file).unwrap();
    perform(&mut log, &path, &file, &Step::Write(0, b"bytes".to_vec()));
    Rollback::of(&scene.dir, 1).unwrap().apply().unwrap();
    assert!(!path.exists());
    // The old file is still open, so the new one has another number.
    let (path, _other) = scene.file("made", b"of somebody else");
    Rollback::of(&scene.dir, 1).unwrap().apply().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"of somebody else");
}

#[test]
fn a_file_that_is_another_one_stops_it_before_anything_is_changed() {
    let scene = Scene::new();
    let (one, first) = scene.file("a", b"aaaa");
    let (two, second) = scene.file("b", b"bbbb");
    let mut log = UndoLog::create(&scene.dir, 1).unwrap();
    perform(&mut log, &one, &first, &Step::Write(0, b"AA".to_vec()));
    perform(&mut log, &two, &second, &Step::Write(0, b"BB".to_vec()));
    fs::remove_file(&two).unwrap();
    let back = Rollback::of(&scene.dir, 1).unwrap();
    assert!(matches!(back.apply(), Err(Error::Replaced { what: "the file is gone", .. })));
    fs::write(&two, "other").unwrap();
    let error = back.apply().expect_err("another file");
    assert!(error.to_string().contains("another file has its name"), "{error}");
    assert_eq!(fs::read(&one).unwrap(), b"AAaa");
}

#[test]
fn a_log_that_is_not_there_is_named() {
    let scene = Scene::new();
    UndoLog::create(&scene.dir, 2).unwrap();
    let error = Rollback::of(&scene.dir, 1).expect_err("no log");
    assert!(error.to_string().contains("000001.log"), "{error}");
}

#[test]
fn bytes_are_kept_once() {
    let scene = Scene::new();
    let (path, file) = scene.file("out", &[7; 5000]);
    let mut log = UndoLog::create(&scene.dir, 1).unwrap();
    let write = Step::Write(0, vec![1; 5000]);
    perform(&mut log, &path, &file, &write);
    let once = fs::metadata(scene.dir.log(1)).unwrap().len();
    perform(&mut log, &path, &file, &write);
    perform(&mut log, &path, &file, &Step::Write(5000, vec![2; 5000]));
    assert_eq!(fs::metadata(scene.dir.log(1)).unwrap().len(), once);
}

#[test]
fn names_come_back_with_their_files_and_doing_it_twice_is_doing_it_once() {
    use std::os::unix::fs::MetadataExt;
    let scene = Scene::new();
    let (kept, _) = scene.file("kept", b"before");
    let (old, _) = scene.file("old", b"of old");
    let inode = fs::metadata(&kept).unwrap().ino();
    let mut log = UndoLog::create(&scene.dir, 1).unwrap();
    // A file is written anew beside and takes the name, as editors do; another one is renamed.
    let (new, file) = scene.file("new", b"after");
    log.made(&new, &file).unwrap();
    log.before_rename(&new, &kept).unwrap();
    fs::rename(&new, &kept).unwrap();
    let moved = old.with_file_name("moved");
    log.before_rename(&old, &moved).unwrap();
    fs::rename(&old, &moved).unwrap();
    log.before_remove(&moved).unwrap();
    fs::remove_file(&moved).unwrap();
    log.note("/a/directory was made").unwrap();
    // A successor goes on.
    let mut log = UndoLog::reopen(&scene.dir, 1).unwrap();
    let file = File::open(&kept).unwrap();
    log.before_write(&kept, &file, 0, 5).unwrap();
    fs::write(&kept, b"later").unwrap();
    for _ in 0..2 {
        let back = Rollback::of(&scene.dir, 1).unwrap();
        assert_eq!(back.notes(), ["/a/directory was made"]);
        back.check().unwrap();
        back.apply().unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"before");
        assert_eq!(fs::metadata(&kept).unwrap().ino(), inode);
        assert_eq!(fs::read(&old).unwrap(), b"of old");
        assert!(!new.exists() && !moved.exists());
    }
}

#[test]
fn a_later_log_that_has_not_begun_is_in_nobodys_way() {
    let scene = Scene::new();
    let (path, file) = scene.file("file", b"before");
    let mut log = UndoLog::create(&scene.dir, 1).unwrap();
    log.before_write(&path, &file, 0, 6).unwrap();
    fs::write(&path, b"later!").unwrap();
    fs::write(scene.dir.log(2), b"").unwrap();
    Rollback::of(&scene.dir, 1).unwrap().apply().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert!(Rollback::of(&scene.dir, 2).is_err());
}

/// What is done to names, by number.
#[derive(Clone, Debug)]
enum Naming {
    Rename(usize, usize),
    Remove(usize),
    Make(usize),
}

fn naming() -> impl Strategy<Value = Naming> {
    prop_oneof![
        3 => (0usize..4, 0usize..4).prop_map(|(from, to)| Naming::Rename(from, to)),
        1 => (0usize..4).prop_map(Naming::Remove),
        2 => (0usize..4).prop_map(Naming::Make),
    ]
}

/// Does it, as a program under the log.
fn name(log: &mut UndoLog, path: impl Fn(usize) -> PathBuf, step: &Naming, made: &mut Vec<File>) {
    match *step {
        Naming::Rename(from, to) if path(from).exists() => {
            log.before_rename(&path(from), &path(to)).unwrap();
            fs::rename(path(from), path(to)).unwrap();
        }
        Naming::Remove(which) if path(which).exists() => {
            log.before_remove(&path(which)).unwrap();
            fs::remove_file(path(which)).unwrap();
        }
        Naming::Make(which) if !path(which).exists() => {
            let file = File::create(path(which)).unwrap();
            log.made(&path(which), &file).unwrap();
            made.push(file);
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn it_is_known_where_a_file_will_come_from(
        lives in proptest::collection::vec(proptest::collection::vec(naming(), 0..10), 1..4),
    ) {
        let scene = Scene::new();
        let path = |which: usize| scene.home.path().join(["a", "b", "c", "d"][which]);
        // The last is not there at first.
        let open: Vec<File> =
            (0..3).map(|which| scene.file(["a", "b", "c"][which], &[which as u8]).1).collect();
        let ids: Vec<FileId> =
            open.iter().map(|file| FileId::of(&file.metadata().unwrap())).collect();
        drop(UndoLog::create(&scene.dir, 1).unwrap());
        // Open, so that no number of a file is given to another one.
        let mut made = Vec::new();
        // Each life of the program begins at the checkpoint.
        for life in &lives {
            let mut log = UndoLog::reopen(&scene.dir, 1).unwrap();
            life.iter().for_each(|step| name(&mut log, path, step, &mut made));
            drop(log);
            for _ in 0..2 {
                let back = Rollback::of(&scene.dir, 1).unwrap();
                let names = back.names().unwrap();
                for (which, id) in ids.iter().enumerate() {
                    let now = names.now(&path(which)).unwrap();
                    prop_assert_eq!(super::rollback::identity(&now).unwrap(), Some(*id));
                }
                back.apply().unwrap();
                for (which, id) in ids.iter().enumerate() {
                    prop_assert_eq!(super::rollback::identity(&path(which)).unwrap(), Some(*id));
                    prop_assert_eq!(fs::read(path(which)).unwrap(), [which as u8]);
                }
                prop_assert!(!path(3).exists());
            }
        }
    }
}

/// What is done to a small tree, by numbers of places.
#[derive(Clone, Debug)]
enum Growing {
    Directory(usize),
    File(usize),
    Link(usize),
    Name(usize, usize),
    Remove(usize),
    Rename(usize, usize),
}

const PLACES: [&str; 6] = ["a", "b", "a/x", "a/y", "b/x", "a/x/z"];

fn growing() -> impl Strategy<Value = Growing> {
    let place = || 0..PLACES.len();
    prop_oneof![
        place().prop_map(Growing::Directory),
        place().prop_map(Growing::File),
        place().prop_map(Growing::Link),
        (place(), place()).prop_map(|(from, to)| Growing::Name(from, to)),
        place().prop_map(Growing::Remove),
        (place(), place()).prop_map(|(from, to)| Growing::Rename(from, to)),
    ]
}

/// Does it, as a program under the log: what fails was logged, too.
fn grow(log: &mut UndoLog, root: &Path, step: &Growing, made: &mut Vec<File>) {
    let path = |place: usize| root.join(PLACES[place]);
    match *step {
        Growing::Directory(at) => {
            log.before_mkdir(&path(at)).unwrap();
            let _ = fs::create_dir(path(at));
        }
        Growing::File(at) => {
            let new = OpenOptions::new().write(true).create_new(true).open(path(at));
            if let Ok(file) = new {
                log.made(&path(at), &file).unwrap();
                made.push(file);
            }
        }
        Growing::Link(at) => {
            log.before_name(&path(at), None).unwrap();
            let _ = std::os::unix::fs::symlink("somewhere", path(at));
        }
        Growing::Name(of, at) => {
            log.before_name(&path(at), Some(&path(of))).unwrap();
            let _ = fs::hard_link(path(of), path(at));
        }
        Growing::Remove(at) => {
            log.before_remove(&path(at)).unwrap();
            let _ = fs::remove_file(path(at)).or_else(|_| fs::remove_dir(path(at)));
        }
        Growing::Rename(from, to) => {
            log.before_rename(&path(from), &path(to)).unwrap();
            let _ = fs::rename(path(from), path(to));
        }
    }
}

/// All that is there, each with which file it is or where it leads.
fn listed(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let (path, facts) = (entry.path(), entry.metadata().unwrap());
        let what = match fs::read_link(&path) {
            Ok(target) => target.display().to_string(),
            Err(_) if facts.is_dir() => "directory".into(),
            Err(_) => format!("{:?}", FileId::of(&facts)),
        };
        found.push(format!("{} {what}", path.display()));
        if facts.is_dir() {
            found.extend(listed(&path));
        }
    }
    found.sort();
    found
}

proptest! {
    #[test]
    fn a_tree_is_as_it_was(
        before in proptest::collection::vec(growing(), 0..12),
        lives in proptest::collection::vec(proptest::collection::vec(growing(), 0..14), 1..3),
    ) {
        let scene = Scene::new();
        let root = scene.home.path().join("tree");
        fs::create_dir(&root).unwrap();
        // Open, so that no number of a file is given to another one.
        let mut made = Vec::new();
        let mut log = UndoLog::create(&scene.dir, 1).unwrap();
        before.iter().for_each(|step| grow(&mut log, &root, step, &mut made));
        drop(log);
        drop(UndoLog::create(&scene.dir, 2).unwrap());
        let wanted = listed(&root);
        for life in &lives {
            let mut log = UndoLog::reopen(&scene.dir, 2).unwrap();
            life.iter().for_each(|step| grow(&mut log, &root, step, &mut made));
            drop(log);
            for _ in 0..2 {
                let back = Rollback::of(&scene.dir, 2).unwrap();
                back.apply().unwrap();
                prop_assert_eq!(listed(&root), wanted.clone());
            }
        }
    }
}
