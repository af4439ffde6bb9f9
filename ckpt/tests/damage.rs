//! Files of images that are cut off, changed in one bit, or of somewhere else: always an error that
//! names the file, never a panic and never a wrong page; the other images stay as good as they were.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use chameleon_ckpt::Error;
use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::verify;
use chameleon_ckpt::write::{Compression, Writer};
use proptest::prelude::*;
use support::{Model, later, small};

const FILES: [&str; 3] = ["manifest", "index", "pages.bin"];

/// Images 1 (full), 2 (on 1) and 3 (full).
fn scene() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    small().write(&writer, 1, None, Compression::Zstd).unwrap();
    later().write(&writer, 2, Some((1, &small())), Compression::Zstd).unwrap();
    small().write(&writer, 3, None, Compression::None).unwrap();
    home
}

fn of(sequence: u64) -> Model {
    if sequence == 2 { later() } else { small() }
}

/// What is wrong with image `sequence`, after a file of image `hurt` was damaged: it names that file,
/// and both ways of finding it agree. Images that do not build on it read as ever.
fn judge(home: &Path, hurt: u64, file: &Path) {
    let dir = Dir::new(home);
    for sequence in 1..=3 {
        let affected = sequence == hurt || (sequence, hurt) == (2, 1);
        let read = of(sequence).check(home, sequence);
        let verified = verify::whole(&dir, sequence);
        if !affected {
            read.unwrap();
            verified.unwrap();
            continue;
        }
        let error = verified.expect_err("found by verify");
        let text = error.to_string();
        let named = text.contains(&*file.to_string_lossy());
        // A child says that its parent became another one, or names the parent's file.
        assert!(named || matches!(error, Error::MissingParent { .. }), "{text}");
        // A page that was not read may be the damaged one; one that was read is right.
        if sequence == hurt {
            let found = verify::image(&dir, sequence, &mut |_| ());
            assert!(!found.is_empty());
            read.expect_err("found by reading");
        }
    }
}

fn path(home: &Path, sequence: u64, name: &str) -> PathBuf {
    Dir::new(home).image(sequence).join(name)
}

#[test]
fn cut_off_at_every_kind_of_place() {
    let home = scene();
    for (sequence, name) in (1..=3).flat_map(|n| FILES.map(|name| (n, name))) {
        let file = path(home.path(), sequence, name);
        let whole = fs::read(&file).unwrap();
        let lens =
            [0, 1, 7, 8, 11, 12, 15, 16, 23, 24, 31, 32, 33, whole.len() / 2, whole.len() - 1];
        for len in lens.into_iter().filter(|len| *len < whole.len()) {
            fs::write(&file, &whole[..len]).unwrap();
            judge(home.path(), sequence, &file);
            let error = verify::whole(&Dir::new(home.path()), sequence).expect_err("cut");
            assert!(matches!(error, Error::Truncated { .. }), "{error}");
        }
        fs::write(&file, &whole).unwrap();
        of(sequence).check(home.path(), sequence).unwrap();
    }
}

#[test]
fn longer_than_it_was_written() {
    let home = scene();
    for name in FILES {
        let file = path(home.path(), 3, name);
        let mut bytes = fs::read(&file).unwrap();
        bytes.push(0);
        fs::write(&file, bytes).unwrap();
        judge(home.path(), 3, &file);
        fs::write(&file, fs::read(&file).unwrap().split_last().unwrap().1).unwrap();
    }
    of(3).check(home.path(), 3).unwrap();
}

#[test]
fn every_bit_of_the_headers() {
    let home = scene();
    for (name, at) in FILES.into_iter().flat_map(|name| (0..32).map(move |at| (name, at))) {
        let file = path(home.path(), 1, name);
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, bytes).unwrap();
        judge(home.path(), 1, &file);
        fs::write(&file, whole).unwrap();
    }
    of(1).check(home.path(), 1).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_flipped_bit_anywhere(
        sequence in 1u64..4,
        name in 0usize..3,
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let home = scene();
        let file = path(home.path(), sequence, FILES[name]);
        let mut bytes = fs::read(&file).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&file, bytes).unwrap();
        judge(home.path(), sequence, &file);
    }

    #[test]
    fn any_bytes_instead(name in 0usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let home = scene();
        let file = path(home.path(), 2, FILES[name]);
        fs::write(&file, bytes).unwrap();
        judge(home.path(), 2, &file);
    }

    #[test]
    fn a_good_header_before_any_value(name in 0usize..2, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        // The checksum is right, so the codec and what checks the index see the bytes.
        let home = scene();
        let file = path(home.path(), 2, FILES[name]);
        let mut head = fs::read(&file).unwrap();
        head.truncate(24);
        head[16..24].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        let sum = {
            use std::hash::Hasher;
            let mut hasher = twox_hash::XxHash3_64::new();
            hasher.write(&head);
            hasher.write(&bytes);
            hasher.finish()
        };
        head.extend(sum.to_le_bytes());
        head.extend(bytes);
        fs::write(&file, head).unwrap();
        judge(home.path(), 2, &file);
    }
}

#[test]
fn files_of_other_images() {
    let home = scene();
    for name in FILES {
        let file = path(home.path(), 3, name);
        let whole = fs::read(&file).unwrap();
        fs::copy(path(home.path(), 1, name), &file).unwrap();
        judge(home.path(), 3, &file);
        fs::write(&file, whole).unwrap();
    }
    // One kind of file in the place of another, and none at all.
    let (manifest, index) = (path(home.path(), 3, "manifest"), path(home.path(), 3, "index"));
    let whole = fs::read(&index).unwrap();
    fs::copy(&manifest, &index).unwrap();
    judge(home.path(), 3, &index);
    fs::remove_file(&index).unwrap();
    judge(home.path(), 3, &index);
    fs::write(&index, whole).unwrap();
    of(3).check(home.path(), 3).unwrap();
}

#[test]
fn another_version_is_named() {
    let known = chameleon_ckpt::FORMAT;
    for other in [known - 1, known + 1] {
        let home = scene();
        let file = path(home.path(), 3, "manifest");
        let mut bytes = fs::read(&file).unwrap();
        bytes[8..12].copy_from_slice(&other.to_le_bytes());
        fs::write(&file, bytes).unwrap();
        let error = verify::whole(&Dir::new(home.path()), 3).expect_err("another version");
        let named = matches!(error, Error::OtherVersion { found, known: k, .. } if (found, k) == (other, known));
        assert!(named, "{error}");
        let said = format!(
            "written in format {other}, this chameleon knows format {known}; use the chameleon that wrote it"
        );
        assert!(error.to_string().contains(&said), "{error}");
        judge(home.path(), 3, &file);
    }
}

#[test]
fn damage_is_located() {
    let home = scene();
    let file = path(home.path(), 3, "pages.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes[3 * 4096 + 5] ^= 1;
    fs::write(&file, bytes).unwrap();
    let found = verify::image(&Dir::new(home.path()), 3, &mut |_| ());
    let text = found[0].to_string();
    assert!(text.contains("pages of process 10 from 0x10000 on, image 3"), "{text}");
    assert!(text.contains("000003/pages.bin: damaged at byte 0"), "{text}");
}
