//! Images are written and read back: in chains, by any split of pages, beside other things.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use chameleon_ckpt::Error;
use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::read::{Chain, Opened};
use chameleon_ckpt::retain::{self, LONGEST_CHAIN};
use chameleon_ckpt::source::{Pages, ProcMem, Run, Space, State, compare};
use chameleon_ckpt::verify;
use chameleon_ckpt::write::{Compression, Contents, Writer};
use proptest::prelude::*;
use support::{Model, image, later, small};

fn memory() -> impl Strategy<Value = BTreeMap<u64, u64>> {
    // Dense and sparse, more than a chunk, zeros among it.
    let dense = (0u64..50, 0u64..700, 0u64..6);
    let dense = dense.prop_map(|(from, len, kinds)| {
        (from..from + len).map(|n| (n, (n * n) % (kinds + 1))).collect::<BTreeMap<u64, u64>>()
    });
    let sparse = proptest::collection::btree_map(0u64..2000, 0u64..5, 0..60);
    (dense, sparse).prop_map(|(mut dense, sparse)| {
        dense.extend(sparse);
        dense
    })
}

fn model() -> impl Strategy<Value = Model> {
    let space = prop_oneof![(1u32..3).prop_map(Space::Process), (0u32..2).prop_map(Space::Shared)];
    proptest::collection::btree_map(space, memory(), 1..3).prop_map(Model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_image_of_a_chain_reads_back(
        models in proptest::collection::vec(model(), 1..5),
        compressed in any::<bool>(),
    ) {
        let home = tempfile::tempdir().unwrap();
        let writer = Writer::open(home.path()).unwrap();
        let compression = if compressed { Compression::Zstd } else { Compression::None };
        for (k, model) in models.iter().enumerate() {
            let before = k.checked_sub(1).map(|before| (before as u64 + 1, &models[before]));
            let written = model.write(&writer, k as u64 + 1, before, compression).unwrap();
            let pages = model.0.values().map(|memory| memory.len() as u64).sum::<u64>();
            prop_assert_eq!(written.data + written.zero + written.parent, pages);
        }
        for (k, model) in models.iter().enumerate() {
            model.check(home.path(), k as u64 + 1).unwrap();
            verify::whole(writer.dir(), k as u64 + 1).unwrap();
        }
    }
}

#[test]
fn what_is_described_reads_back() {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    writer.write(&image(1, None), &[], Compression::Zstd).unwrap();
    assert_eq!(Opened::open(writer.dir(), 1).unwrap().image(), &image(1, None));
    assert_eq!(writer.next_sequence().unwrap(), 2);
}

#[test]
fn pages_that_compress_are_stored_shorter_and_others_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    let of =
        |fill| Model(BTreeMap::from([(Space::Process(1), (0..300).map(|n| (n, fill)).collect())]));
    let short = of(2).write(&writer, 1, None, Compression::Zstd).unwrap();
    assert!(short.bytes < 400_000, "{short:?}");
    let raw =
        Model(BTreeMap::from([(Space::Process(1), (0..300).map(|n| (n, 2 * n + 1)).collect())]));
    raw.write(&writer, 2, None, Compression::Zstd).unwrap();
    let map = &Opened::open(writer.dir(), 2).unwrap().maps[0];
    assert!(map.chunks.iter().all(|chunk| !chunk.packed));
    raw.check(home.path(), 2).unwrap();
}

#[test]
fn two_writers_do_not_mix() {
    let home = tempfile::tempdir().unwrap();
    let first = Writer::open(home.path()).unwrap();
    assert!(matches!(Writer::open(home.path()), Err(Error::Busy { .. })));
    small().write(&first, 1, None, Compression::Zstd).unwrap();
    // Readers need no lock.
    small().check(home.path(), 1).unwrap();
    drop(first);
    Writer::open(home.path()).unwrap();
}

#[test]
fn an_image_is_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    small().write(&writer, 1, None, Compression::Zstd).unwrap();
    let again = later().write(&writer, 1, None, Compression::Zstd);
    assert!(matches!(again, Err(Error::Unsound { sequence: 1, .. })));
    small().check(home.path(), 1).unwrap();
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    let pages = ProcMem::open(std::process::id()).unwrap();
    let try_runs = |runs: &[Run], parent| {
        let contents = [Contents { space: Space::Process(1), pages: &pages, runs }];
        let outcome = writer.write(&image(5, parent), &contents, Compression::None);
        outcome.expect_err("refused").to_string()
    };
    let run = |start, pages, state| Run { start, pages, state };
    assert!(try_runs(&[run(1, 1, State::Changed)], None).contains("whole pages"));
    let overlap = [run(4096, 2, State::Changed), run(8192, 1, State::Changed)];
    assert!(try_runs(&overlap, None).contains("overlap"));
    assert!(try_runs(&[run(1 << 63, 1 << 52, State::Changed)], None).contains("beyond"));
    assert!(try_runs(&[run(4096, 1, State::Unchanged)], None).contains("no parent"));
    assert!(try_runs(&[], Some(5)).contains("not older"));
    assert!(try_runs(&[], Some(3)).contains("not there"));
    // Address 0 is not mapped.
    assert!(try_runs(&[run(0, 1, State::Changed)], None).contains("memory of process 1 at 0x0"));
    assert!(matches!(writer.dir().sequences(), Err(Error::NoImages { .. })));
    assert_eq!(writer.dir().leftovers().unwrap().len(), 0);
}

#[test]
fn a_parent_that_is_another_image_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    small().write(&writer, 1, None, Compression::Zstd).unwrap();
    later().write(&writer, 2, Some((1, &small())), Compression::Zstd).unwrap();
    fs::remove_dir_all(writer.dir().image(1)).unwrap();
    let error = Chain::open(writer.dir(), 2).err().expect("no parent");
    assert!(error.to_string().starts_with("image 2 needs image 1, which is not there"), "{error}");
    later().write(&writer, 1, None, Compression::Zstd).unwrap();
    let error = Chain::open(writer.dir(), 2).err().expect("another parent");
    assert!(error.to_string().contains("another image has that number"), "{error}");
}

#[test]
fn retention_keeps_what_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    let mut last = None;
    for sequence in 1..=(LONGEST_CHAIN as u64 + 4) {
        let full = retain::whole(writer.dir(), last).is_some();
        let model = later();
        let before = last.filter(|_| !full).map(|last| (last, &model));
        model.write(&writer, sequence, before, Compression::Zstd).unwrap();
        writer.retain(3).unwrap();
        for kept in writer.dir().sequences().unwrap() {
            model.check(home.path(), kept).unwrap();
        }
        last = Some(sequence);
    }
    // 18 was the second full image, and 19 and 20 build on it.
    assert_eq!(writer.dir().sequences().unwrap(), [18, 19, 20]);
}

#[test]
fn what_is_not_ours_stays() {
    let home = tempfile::tempdir().unwrap();
    let dir = Dir::new(home.path());
    for foreign in ["images/notes", "images/000001.tmp.old", "images/000003.tmp"] {
        fs::create_dir_all(home.path().join(foreign)).unwrap();
        fs::write(home.path().join(foreign).join("text"), "mine").unwrap();
    }
    fs::create_dir_all(dir.image(2)).unwrap();
    fs::write(dir.image(2).join("manifest"), "mine").unwrap();
    // A directory that is named as a leftover, yet holds other things, is named in an error.
    let error = Writer::open(home.path()).err().expect("cannot be removed");
    assert!(error.to_string().contains("000003.tmp"), "{error}");
    fs::remove_dir_all(dir.temporary(3)).unwrap();
    let writer = Writer::open(home.path()).unwrap();
    small().write(&writer, 4, None, Compression::Zstd).unwrap();
    writer.retain(1).unwrap();
    assert_eq!(fs::read_to_string(dir.image(2).join("manifest")).unwrap(), "mine");
    assert!(home.path().join("images/notes/text").exists());
    assert!(matches!(Opened::open(&dir, 2), Err(Error::NotAnImage { .. })));
    small().check(home.path(), 4).unwrap();
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Writer::open(&file.join("dir")).err().expect("no directory");
    assert!(error.to_string().contains("file/dir"), "{error}");
    assert!(matches!(Dir::new(&file).sequences(), Err(Error::Io { .. })));
    let nothing = Dir::new(home.path().join("nothing"));
    assert!(matches!(nothing.sequences(), Err(Error::NoImages { .. })));
    // Root may write anywhere.
    let closed = home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(closed.join("probe"), "").is_err() {
        let error = Writer::open(&closed).err().expect("no right");
        assert!(error.to_string().contains("closed"), "{error}");
    }
}

/// Memory that holds the same everywhere.
struct Threes;

impl Pages for Threes {
    fn read(&self, _addr: u64, buf: &mut [u8]) -> std::io::Result<()> {
        buf.fill(3);
        Ok(())
    }
}

#[test]
fn memory_of_a_process_is_read_and_compared() {
    let mut held = vec![3u8; 4 * 4096];
    let start = (held.as_ptr() as u64).next_multiple_of(4096);
    let mem = ProcMem::open(std::process::id()).unwrap();
    let runs = [Run { start, pages: 3, state: State::Changed }];
    let same = compare(&mem, &mem, &runs).unwrap();
    assert_eq!(same, [Run { state: State::Unchanged, ..runs[0] }]);
    let at = start as usize - held.as_ptr() as usize;
    held[at + 4096] = 4;
    let found = compare(&Threes, &mem, &runs).unwrap();
    let of = |start, state| Run { start, pages: 1, state };
    let wanted = [
        of(start, State::Unchanged),
        of(start + 4096, State::Changed),
        of(start + 8192, State::Unchanged),
    ];
    assert_eq!(found, wanted);
    assert!(mem.read(0, &mut [0; 4]).is_err());
}
