//! Files that go along with an image to another machine, and those that must have been left alone.

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::image::{FileId, Image, OpenFile, OpenKind, Owner, Regular};
use chameleon_ckpt::moved;
use chameleon_ckpt::undo::UndoLog;

fn open(path: &Path, writable: bool) -> OpenFile {
    let facts = fs::metadata(path).unwrap();
    let kind = OpenKind::Regular(Regular {
        path: path.as_os_str().as_bytes().to_vec(),
        id: FileId::of(&facts),
        offset: 0,
        size: facts.len(),
        writable,
        unlinked: false,
        contents: vec![],
        mode: 0,
        times_ns: [0; 2],
    });
    OpenFile { flags: 0, owner: Owner::default(), kind, locks: vec![] }
}

struct Scene {
    scratch: tempfile::TempDir,
    dir: Dir,
    image: Image,
    log: UndoLog,
}

impl Scene {
    /// A program writes to `out` and reads `in`.
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::new(scratch.path().join("ckpt"));
        fs::create_dir_all(dir.undo()).unwrap();
        for name in ["out", "in", "other"] {
            fs::write(scratch.path().join(name), "as it was").unwrap();
        }
        let mut image = support::image(7, None);
        let out = scratch.path().join("out");
        image.files =
            vec![open(&out, true), open(&out, true), open(&scratch.path().join("in"), false)];
        let log = UndoLog::create(&dir, 7).unwrap();
        Self { scratch, dir, image, log }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn file(&self, name: &str) -> File {
        OpenOptions::new().read(true).write(true).open(self.path(name)).unwrap()
    }

    fn changed(&self) -> Option<String> {
        moved::left_alone(&self.dir, &self.image).unwrap()
    }
}

#[test]
fn what_is_written_goes_along_and_may_grow() {
    let mut scene = Scene::new();
    let along = moved::along(&scene.image);
    assert_eq!(along.len(), 1);
    assert_eq!((&along[0].path, along[0].size), (&scene.path("out"), 9));
    let (path, file) = (scene.path("out"), scene.file("out"));
    scene.log.before_write(&path, &file, 9, 4).unwrap();
    assert_eq!(scene.changed(), None);
    scene.log.before_write(&path, &file, 2, 4).unwrap();
    assert!(scene.changed().unwrap().contains("out was overwritten"));
}

#[test]
fn all_else_must_have_been_left_alone() {
    let changes: [fn(&mut Scene); 4] = [
        |scene| {
            let (path, file) = (scene.path("other"), scene.file("other"));
            scene.log.before_write(&path, &file, 9, 1).unwrap();
        },
        |scene| {
            let path = scene.path("new");
            let file = File::create(&path).unwrap();
            scene.log.made(&path, &file).unwrap();
        },
        |scene| {
            let path = scene.path("in");
            scene.log.before_remove(&path).unwrap();
        },
        |scene| scene.log.note("a directory was made").unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut scene = Scene::new();
        assert_eq!(scene.changed(), None);
        change(&mut scene);
        assert!(scene.changed().unwrap().contains("since"), "{number}");
    }
    let scene = Scene::new();
    fs::remove_file(scene.dir.log(7)).unwrap();
    assert!(moved::left_alone(&scene.dir, &scene.image).is_err());
}

#[test]
fn a_file_is_found_where_it_is_now() {
    let scene = Scene::new();
    let here = scene.path("elsewhere");
    fs::write(&here, "as it was").unwrap();
    let mut image = scene.image.clone();
    moved::apply(&scene.dir, &mut image).unwrap();
    assert_eq!(image, scene.image, "nothing is noted");
    moved::note(&scene.dir, 7, &[(scene.path("out"), here.clone())]).unwrap();
    moved::apply(&scene.dir, &mut image).unwrap();
    let along = moved::along(&image);
    let id = FileId::of(&fs::metadata(&here).unwrap());
    assert_eq!((along.len(), &along[0].path, along[0].id), (1, &here, id));
    assert_eq!(moved::missing(&image), None);
    fs::write(scene.path("in"), "longer than it was").unwrap();
    assert!(moved::missing(&image).unwrap().contains("/in, "));
    fs::write(scene.dir.undo().join("000007.moved"), "other bytes").unwrap();
    assert!(moved::apply(&scene.dir, &mut image).is_err());
}
