//! Locks are read as the kernel shows them, and taken unless somebody has them.

use super::*;
use crate::image::{Owner, Regular};

const WHOLE: Lock = Lock { kind: LockKind::Whole, exclusive: true, first: 0, last: None };
const PART: Lock = Lock { kind: LockKind::Open, exclusive: true, first: 10, last: Some(19) };

#[test]
fn lines_of_the_kernel_are_understood() {
    let text = "lock:\t1: POSIX  ADVISORY  WRITE 2873 00:2f:312 10 19";
    assert_eq!(read(text), Some((Lock { kind: LockKind::Process, ..PART }, 2873)));
    let text = "3: OFDLCK ADVISORY  READ -1 fe:00:11 100 EOF";
    let open = Lock { kind: LockKind::Open, exclusive: false, first: 100, last: None };
    assert_eq!(read(text), Some((open, -1)));
    assert_eq!(read("lock:\t1: FLOCK  ADVISORY  WRITE 5 fe:00:11 0 EOF"), Some((WHOLE, 5)));
    let lease = "lock:\t1: LEASE  ACTIVE    READ 5 fe:00:11 0 EOF";
    assert_eq!((read(lease), read("pos:\t0"), is_lease(lease)), (None, None, true));
}

#[test]
fn only_what_meets_and_excludes_is_in_the_way() {
    let other = |first, word: &str| {
        let line = format!("1: POSIX  ADVISORY  {word} 7 00:2f:312 {first} {}", first + 5);
        in_the_way(&line, Lock { exclusive: false, ..PART })
    };
    assert_eq!(
        (other(19, "WRITE"), other(20, "WRITE"), other(5, "WRITE")),
        (Some(7), None, Some(7))
    );
    assert_eq!((other(4, "WRITE"), other(10, "READ")), (None, None));
}

/// An image with one open file that has locks.
fn image(path: &Path, locks: Vec<Lock>) -> Image {
    let facts = fs::metadata(path).unwrap();
    let file = Regular {
        path: path.as_os_str().as_bytes().to_vec(),
        id: crate::image::FileId { dev: facts.dev(), ino: facts.ino() },
        offset: 0,
        size: facts.len(),
        writable: true,
        unlinked: false,
        contents: vec![],
        mode: 0,
        times_ns: [0; 2],
    };
    let flags = libc::O_RDWR as u32;
    let open = OpenFile { flags, owner: Owner::default(), kind: OpenKind::Regular(file), locks };
    let machine = crate::image::Machine::here().unwrap();
    Image {
        sequence: 1,
        parent: None,
        whole: None,
        version: String::new(),
        created_ns: 0,
        clocks: Default::default(),
        run: [0; 16],
        command: vec![],
        mode: String::new(),
        machine,
        processes: vec![],
        shared: vec![],
        files: vec![open],
        opaque: vec![],
    }
}

#[test]
fn all_are_taken_or_none_and_the_holder_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let other = File::create(&path).unwrap();
    let image = image(&path, vec![WHOLE, PART]);
    let held = Held::take(&image, None).unwrap();
    assert_eq!(take(&other, WHOLE).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(take(&other, PART).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    give_up(&held.files[&0]);
    take(&other, PART).unwrap();
    drop(held);
    let found = Held::take(&image, None).unwrap_err();
    assert_eq!(found.iter().map(|one| one.lock).collect::<Vec<_>>(), [PART]);
    give_up(&other);
    take(&other, WHOLE).unwrap();
    let found = Held::take(&image, None).unwrap_err();
    let [one] = &found[..] else { panic!("{found:?}") };
    assert_eq!((one.lock, one.holder.as_ref().unwrap().0), (WHOLE, std::process::id()));
    drop(other);
    Held::take(&image, None).unwrap();
}
