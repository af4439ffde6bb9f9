//! Locks on files: a program that goes on from an image has those that it had, of every kind, until it gives them
//! up; and does not go on where somebody else has one of them.
//!
//! Invariant: this process is the somebody else; what it asks for it does not wait for.

use std::fs::{self, File};
use std::process::Command;

use chameleon_tests::{have, output, program_path, until};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::place::*;

/// Waits for files that say how far to go, and says how far it is.
const STEPS: &str = "
import fcntl, os, signal, struct, sys, threading, time
signal.alarm(100)
def said(name):
    while not os.path.exists(name): time.sleep(0.01)
def say(name):
    with open(name, 'w') as f: f.write('x')
def opened(name): return os.open(name, os.O_RDWR | os.O_CREAT)
def part(kind, start, length): return struct.pack('hhqqi4x', kind, 0, start, length, 0)
OFD_SETLK = 37
";

/// Every kind, in two processes that share an open file.
const KINDS: &str = "
a, b, c, e = [opened(name) for name in 'abce']
d = os.open('d', os.O_RDONLY)
fcntl.flock(a, fcntl.LOCK_EX)
fcntl.flock(d, fcntl.LOCK_SH)
b2 = os.open('b', os.O_RDONLY)
fcntl.lockf(b, fcntl.LOCK_EX, 10, 10)
fcntl.lockf(b, fcntl.LOCK_EX, 0, 1000)
fcntl.lockf(b2, fcntl.LOCK_SH, 10, 200)
fcntl.fcntl(c, OFD_SETLK, part(fcntl.F_WRLCK, 5, 5))
fcntl.fcntl(c, OFD_SETLK, part(fcntl.F_RDLCK, 50, 0))
os.rename('e', 'moved')
fcntl.flock(e, fcntl.LOCK_EX)
r, w = os.pipe()
back, answer = os.pipe()
child = os.fork()
if child == 0:
    os.close(w); os.close(back)
    fcntl.lockf(b, fcntl.LOCK_EX, 10, 30)
    os.write(answer, b'x')
    os.read(r, 1)
    os._exit(3)
os.close(r); os.close(answer)
os.read(back, 1)
say('ready')
said('go')
x = fcntl.fcntl(b, fcntl.F_GETLK, part(fcntl.F_WRLCK, 30, 1))
assert struct.unpack('hhqqi4x', x)[4] == child, x
for fd in (a, b, c, d, e): os.close(fd)
say('closed')
said('end')
os.write(w, b'x')
assert os.wait() == (child, 3 << 8)
say('over')
said('done')
";

/// A process with threads.
const THREADS: &str = "
a, b, c = [opened(name) for name in 'abc']
def hold():
    fcntl.flock(a, fcntl.LOCK_EX)
    fcntl.lockf(b, fcntl.LOCK_EX, 10, 10)
    fcntl.fcntl(c, OFD_SETLK, part(fcntl.F_WRLCK, 5, 5))
    say('ready')
    said('go')
    os.close(b)
    say('closed')
t = threading.Thread(target=hold)
t.start(); t.join()
said('end')
";

fn open(place: &Place, name: &str) -> File {
    let path = place.path().join(name);
    if path.is_dir() {
        return File::open(path).expect("a directory can be opened");
    }
    File::options().read(true).write(true).open(path).expect("it is there")
}

/// Whether somebody has a lock of the whole file; one that others share does not keep `shared` away.
fn is_locked(place: &Place, name: &str, shared: bool) -> bool {
    let file = open(place, name);
    if shared { file.try_lock_shared() } else { file.try_lock() }.is_err()
}

/// A range of bytes from `first`, to the end if `len` is 0.
fn range(kind: i32, first: i64, len: i64) -> libc::flock {
    let (l_type, l_whence) = (kind as i16, libc::SEEK_SET as i16);
    libc::flock { l_type, l_whence, l_start: first, l_len: len, l_pid: 0 }
}

/// What keeps others from writing to a byte: what kind of lock from where, how long.
fn at(place: &Place, name: &str, byte: i64) -> Option<(i16, i64, i64)> {
    let mut found = range(libc::F_WRLCK, byte, 1);
    fcntl(open(place, name), FcntlArg::F_OFD_GETLK(&mut found)).expect("it can be asked");
    let locked = found.l_type != libc::F_UNLCK as i16;
    locked.then_some((found.l_type, found.l_start, found.l_len))
}

const READ: i16 = libc::F_RDLCK as i16;
const WRITE: i16 = libc::F_WRLCK as i16;

fn take(file: &File, range: &libc::flock) {
    fcntl(file, FcntlArg::F_OFD_SETLK(range)).expect("nobody has it");
}

/// Runs until all locks are taken and an image is made of that, and kills everything.
#[track_caller]
fn killed_with_locks(place: &Place, mode: &str, script: &str) {
    fs::create_dir(place.path().join("d")).expect("a directory can be made");
    let words = place.script(&format!("{STEPS}{script}"));
    let mut run = place.run(mode, &words);
    let ready = until(|| place.path().join("ready").exists() || run.is_over());
    assert!(ready && !run.is_over(), "{}", place.said());
    let last = place.images().last().copied().unwrap_or(0);
    run.kill_all_after(last + 2);
}

fn say(place: &Place, name: &str) {
    fs::write(place.path().join(name), "x").expect("a file can be written");
}

#[track_caller]
fn hears(run: &mut Run<'_>, name: &str) {
    let path = run.place.path().join(name);
    let there = until(|| path.exists() || run.is_over());
    assert!(there && path.exists(), "{name}: {}", run.place.said());
}

#[track_caller]
fn ends(mut run: Run<'_>) {
    let status = run.child.wait().expect("it ends");
    assert!(status.success(), "{status}: {}", run.place.said());
}

/// Waits until the program that was started again has had time for what it would do wrong: it writes images.
#[track_caller]
fn goes_on(run: &mut Run<'_>, last: u64) {
    let there = until(|| run.place.images().last().is_some_and(|n| *n > last) || run.is_over());
    assert!(there && !run.is_over(), "{}", run.place.said());
}

/// All locks of [`KINDS`].
#[track_caller]
fn has_all(place: &Place) {
    for name in ["a", "moved"] {
        assert!(is_locked(place, name, true), "{name}");
    }
    assert_eq!([false, true].map(|shared| is_locked(place, "d", shared)), [true, false]);
    let found = [10, 30, 100, 205, 1500].map(|byte| at(place, "b", byte));
    let wanted = [(WRITE, 10, 10), (WRITE, 30, 10), (0, 0, 0), (READ, 200, 10), (WRITE, 1000, 0)];
    assert_eq!(found, wanted.map(|one| Some(one).filter(|(_, _, len)| one.1 + len > 0)));
    assert_eq!(
        [5, 60].map(|byte| at(place, "c", byte)),
        [Some((WRITE, 5, 5)), Some((READ, 50, 0))]
    );
}

#[track_caller]
fn has_none(place: &Place) {
    for name in ["a", "moved", "d"] {
        assert!(!is_locked(place, name, false), "{name}");
    }
    for byte in [10, 30, 205, 1500] {
        assert_eq!(at(place, "b", byte), None);
    }
    assert_eq!([5, 60].map(|byte| at(place, "c", byte)), [None, None]);
}

#[test]
fn a_program_has_its_locks_until_it_gives_them_up() {
    if !have(&["python3", "setpriv"]) {
        return;
    }
    for (place, mode) in [(Place::new(), "simplex"), (Place::of_nobody(), "tmr")] {
        let place = &place;
        killed_with_locks(place, mode, KINDS);
        has_none(place);
        let last = place.images().last().copied().unwrap_or(0);
        let mut run = place.restarts(&[]);
        goes_on(&mut run, last + 1);
        has_all(place);
        run.kill_all();
        // And once more, from an image of its own.
        let mut run = place.restarts(&[]);
        goes_on(&mut run, last + 3);
        has_all(place);
        say(place, "go");
        hears(&mut run, "closed");
        // What it shared with its child is locked until that is gone, too.
        assert!(is_locked(place, "a", true) && is_locked(place, "d", false));
        assert_eq!([5, 60].map(|byte| at(place, "c", byte).is_some()), [true, true]);
        let found = [10, 30, 205, 1500].map(|byte| at(place, "b", byte));
        assert_eq!(found, [None, Some((WRITE, 30, 10)), None, None]);
        say(place, "end");
        hears(&mut run, "over");
        has_none(place);
        say(place, "done");
        ends(run);
    }
}

#[test]
fn a_lock_that_somebody_else_has_is_named_and_nothing_is_started() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    killed_with_locks(&place, "simplex", KINDS);
    let own = format!("process {} (", std::process::id());
    let (whole, part, open) = (open(&place, "a"), open(&place, "b"), open(&place, "c"));
    whole.try_lock_shared().expect("nobody has it");
    fcntl(&part, FcntlArg::F_SETLK(&range(libc::F_WRLCK, 35, 1))).expect("nobody has it");
    take(&open, &range(libc::F_RDLCK, 0, 6));
    let before = fs::read_dir(place.path()).expect("a directory").count();
    let names = ["/a (flock): ", "bytes 30 to 39 of ", "/b: ", "bytes 5 to 9 of ", "/c: ", &own];
    place.refuses(&[], &names);
    let said = place.restore(&["--dry-run"]);
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && names.iter().all(|name| text.contains(name)), "{text}");
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), before);
    // What excludes nobody is in nobody's way.
    take(&open, &range(libc::F_UNLCK, 0, 0));
    take(&open, &range(libc::F_RDLCK, 70, 6));
    drop((whole, part));
    let mut run = place.restarts(&[]);
    let last = place.images().last().copied().unwrap_or(0);
    goes_on(&mut run, last + 1);
    has_all(&place);
    run.kill_all();
}

#[test]
fn a_process_with_threads_has_its_locks() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    killed_with_locks(&place, "simplex", THREADS);
    let last = place.images().last().copied().unwrap_or(0);
    let mut run = place.restarts(&[]);
    goes_on(&mut run, last + 1);
    let all = || (is_locked(&place, "a", true), at(&place, "b", 10), at(&place, "c", 5));
    assert_eq!(all(), (true, Some((WRITE, 10, 10)), Some((WRITE, 5, 5))));
    say(&place, "go");
    hears(&mut run, "closed");
    assert_eq!(all(), (true, None, Some((WRITE, 5, 5))));
    say(&place, "end");
    ends(run);
    assert_eq!(all(), (false, None, None));
}

/// A transaction that is told when to end.
const TRANSACTION: &str = "
import sqlite3
base = sqlite3.connect('base')
base.execute('create table t(a integer primary key, b text)')
base.commit()
base.execute('begin immediate')
i = 0
while not os.path.exists('go'):
    base.execute('insert into t(b) values(?)', ('row %d' % i,))
    i += 1
    if i == 3: say('ready')
    time.sleep(0.02)
base.commit()
assert base.execute('select count(*) from t').fetchone() == (i,)
say('over')
said('done')
assert base.execute('select count(*) from t').fetchone() == (i + 1,)
assert base.execute('pragma integrity_check').fetchone() == ('ok',)
";

#[test]
fn nobody_else_writes_amid_a_transaction_of_sqlite() {
    if !have(&["python3", "sqlite3"]) {
        return;
    }
    let place = Place::new();
    killed_with_locks(&place, "simplex", TRANSACTION);
    let sqlite = program_path("sqlite3").expect("sqlite3 is there");
    let writes = || {
        let mut command = Command::new(&sqlite);
        command.args(["base", "insert into t(b) values('other')"]).current_dir(place.path());
        let said = output(command);
        (said.status.success(), String::from_utf8_lossy(&said.stderr).contains("locked"))
    };
    let last = place.images().last().copied().unwrap_or(0);
    let mut run = place.restarts(&[]);
    goes_on(&mut run, last + 1);
    assert_eq!(writes(), (false, true));
    say(&place, "go");
    hears(&mut run, "over");
    assert_eq!(writes(), (true, false));
    say(&place, "done");
    ends(run);
}

#[test]
fn a_lease_is_named_and_there_is_no_image() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    let script = "
f = os.open('leased', os.O_RDONLY | os.O_CREAT)
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)
said('go')
";
    let mut run = place.run("simplex", &place.script(&format!("{STEPS}{script}")));
    let told = until(|| place.said().contains("there is a lease on ") || run.is_over());
    assert!(told && !run.is_over(), "{}", place.said());
    say(&place, "go");
    ends(run);
}
