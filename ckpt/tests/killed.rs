//! The writer fails, or its process dies, at each single step of writing and of removing: the images
//! that were there restore, what was being written is there wholly or not at all, and the next writer
//! finds a clean directory.

mod support;

use std::cell::Cell;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chameleon_ckpt::dir::Dir;
use chameleon_ckpt::storage::{Disk, Sink, Storage};
use chameleon_ckpt::undo::{Rollback, UndoLog};
use chameleon_ckpt::verify;
use chameleon_ckpt::write::{Compression, Writer};
use chameleon_ckpt::{Error, Result};
use support::{copy, later, small};

/// Which step is the last, and how it ends.
#[derive(Clone)]
struct Fate {
    left: Arc<AtomicU64>,
    dies: bool,
}

impl Fate {
    fn new(steps: u64, dies: bool) -> Self {
        Self { left: Arc::new(AtomicU64::new(steps)), dies }
    }

    /// Whether this step fails; half of it may be done by `half` before.
    fn step(&self, half: impl FnOnce()) -> io::Result<()> {
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1)));
        if before != Ok(0) {
            return Ok(());
        }
        half();
        if self.dies {
            // As SIGKILL does: nothing more is carried out.
            std::process::abort();
        }
        Err(io::Error::from_raw_os_error(28))
    }
}

struct Fated(Fate);

struct FatedSink(Box<dyn Sink>, Fate);

impl Sink for FatedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self(inner, fate) = self;
        fate.step(|| inner.write(&bytes[..bytes.len() / 2]).unwrap())?;
        inner.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.step(|| ())?;
        self.0.sync()
    }
}

impl Storage for Fated {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.step(|| ())?;
        Disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        self.0.step(|| ())?;
        Ok(Box::new(FatedSink(Disk.create(path)?, self.0.clone())))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.step(|| ())?;
        Disk.sync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step(|| ())?;
        Disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.step(|| ())?;
        Disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.step(|| ())?;
        Disk.remove_dir(path)
    }
}

/// Images 1 and 2, the second on the first.
fn scene() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let writer = Writer::open(home.path()).unwrap();
    small().write(&writer, 1, None, Compression::Zstd).unwrap();
    later().write(&writer, 2, Some((1, &small())), Compression::Zstd).unwrap();
    home
}

/// Writes image 3 on image 2 and then keeps only one that stands alone, image 4.
fn work(home: &Path, fate: Fate) -> Result<()> {
    let writer = Writer::with(home, Fated(fate))?;
    small().write(&writer, 3, Some((2, &later())), Compression::Zstd)?;
    later().write(&writer, 4, None, Compression::None)?;
    writer.retain(1)?;
    Ok(())
}

/// Every image that is there is whole; the newest of them; the next writer can go on.
fn judge(home: &Path) -> u64 {
    let dir = Dir::new(home);
    let there = dir.sequences().unwrap();
    for sequence in &there {
        let model = if sequence % 2 == 0 { later() } else { small() };
        model.check(home, *sequence).unwrap();
        verify::whole(&dir, *sequence).unwrap();
    }
    let last = *there.last().unwrap();
    assert!(last >= 2);
    let writer = Writer::open(home).unwrap();
    assert_eq!(dir.leftovers().unwrap().len(), 0);
    let next = writer.next_sequence().unwrap();
    small().write(&writer, next, None, Compression::Zstd).unwrap();
    small().check(home, next).unwrap();
    last
}

#[test]
fn failing_at_every_step() {
    let seen = Cell::new(0);
    for steps in 0.. {
        let home = scene();
        let fate = Fate::new(steps, false);
        match work(home.path(), fate.clone()) {
            Ok(()) if fate.left.load(Ordering::SeqCst) > 0 => break,
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, Error::NoSpace { .. }), "{error}");
                seen.set(seen.get() + 1);
            }
        }
        judge(home.path());
    }
    assert!(seen.get() > 20, "only {} steps", seen.get());
}

#[test]
fn going_back_is_done_again_after_a_failure_at_any_step() {
    for steps in 0.. {
        let home = scene();
        let (dir, out) = (Dir::new(home.path()), home.path().join("out"));
        fs::write(&out, "at the first checkpoint").unwrap();
        let file = fs::File::options().read(true).write(true).open(&out).unwrap();
        for (sequence, text) in [(1, "the"), (2, "second and longer than that")] {
            let mut log = UndoLog::create(&dir, sequence).unwrap();
            log.before_write(&out, &file, 3, text.len() as u64).unwrap();
            file.write_all_at(text.as_bytes(), 3).unwrap();
        }
        let rollback = Rollback::of(&dir, 1).unwrap();
        let fate = Fate::new(steps, false);
        let outcome = Writer::with(home.path(), Fated(fate.clone())).unwrap().go_back(1, &rollback);
        if outcome.is_err() {
            Writer::open(home.path()).unwrap().go_back(1, &Rollback::of(&dir, 1).unwrap()).unwrap();
        }
        assert_eq!(fs::read_to_string(&out).unwrap(), "at the first checkpoint");
        assert_eq!(dir.sequences().unwrap(), [1]);
        assert_eq!(dir.logs().unwrap(), [1]);
        small().check(home.path(), 1).unwrap();
        // What is done from now on is undone by the same log.
        let mut log = UndoLog::reopen(&dir, 1).unwrap();
        log.before_truncate(&out, &file, 2).unwrap();
        file.set_len(2).unwrap();
        Rollback::of(&dir, 1).unwrap().apply().unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "at the first checkpoint");
        if outcome.is_ok() && fate.left.load(Ordering::SeqCst) > 0 {
            break;
        }
    }
}

const CHILD: &str = "CHAMELEON_CKPT_STEPS";
const HOME: &str = "CHAMELEON_CKPT_HOME";

/// Not a test of its own: what the children of the next one do.
#[test]
fn child() {
    let (Ok(steps), Ok(home)) = (env::var(CHILD), env::var(HOME)) else { return };
    work(Path::new(&home), Fate::new(steps.parse().unwrap(), true)).unwrap();
}

#[test]
fn dying_at_every_step() {
    let original = scene();
    let mut lasts = Vec::new();
    for steps in 0.. {
        let home = tempfile::tempdir().unwrap();
        copy(original.path(), home.path());
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "child", "--nocapture"]);
        child.env(CHILD, steps.to_string()).env(HOME, home.path());
        let output = child.output().unwrap();
        lasts.push(judge(home.path()));
        if output.status.success() {
            break;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal().map(|n| n & 127), Some(6), "{text}");
    }
    assert!(lasts.len() > 20, "only {} steps", lasts.len());
    assert!([2, 3, 4].iter().all(|n| lasts.contains(n)), "{lasts:?}");
    assert!(lasts.is_sorted(), "{lasts:?}");
}

#[test]
fn a_file_that_may_not_grow_is_no_room() {
    // RLIMIT_FSIZE (getrlimit(2)) stands for a full disk: EFBIG with SIGXFSZ ignored.
    let home = scene();
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact small_child --nocapture";
    let mut child = Command::new("sh");
    child.args(["-c", script]).arg(env::current_exe().unwrap()).env(HOME, home.path());
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("no room for a checkpoint"), "{text}");
    assert_eq!(judge(home.path()), 2);
}

/// Not a test of its own: what the child of the one before does.
#[test]
fn small_child() {
    let Ok(home) = env::var(HOME) else { return };
    let writer = Writer::open(Path::new(&home)).unwrap();
    let error = small().write(&writer, 3, None, Compression::None).expect_err("no room");
    println!("{error}");
}
