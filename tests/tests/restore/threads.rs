//! Programs with threads, timers and shared memory that are killed in the middle and go on from an image.
//!
//! Invariant: what a program leaves does not depend on which of its threads was fast, nor on the moment of its death.

use std::fs;

use chameleon_tests::{guest, have, program_path, until};

use super::place::*;

/// Modes, and after how many images the run is killed.
const KILLS: [(&str, u64); 3] = [("simplex", 1), ("simplex", 3), ("tmr", 2)];

/// The words of a guest.
pub(crate) fn words(name: &str, args: &[&str]) -> Vec<String> {
    let program = guest(name).display().to_string();
    std::iter::once(program).chain(args.iter().map(|arg| (*arg).to_owned())).collect()
}

/// The files are those of a native run, however often it is killed.
#[track_caller]
pub(crate) fn goes_on(
    place: impl Fn() -> Place,
    words: impl Fn(&Place) -> Vec<String>,
    files: &[&str],
) {
    survives(&KILLS, place, words, files);
}

#[track_caller]
fn survives(
    kills: &[(&str, u64)],
    place: impl Fn() -> Place,
    words: impl Fn(&Place) -> Vec<String>,
    files: &[&str],
) {
    for &(mode, images) in kills {
        let place = place();
        let words = words(&place);
        let wanted = place.natively(&words, files);
        place.run(mode, &words).kill_all_after(images);
        place.restores(&[]);
        assert_eq!(place.files(files), wanted, "{mode} after {images}");
    }
}

const HANDED: [&str; 4] = ["out", "out.0", "out.1", "out.2"];

#[test]
fn threads_with_locks_conditions_timeouts_and_numbers_go_on() {
    goes_on(Place::new, |_| words("image_threads", &["60"]), &HANDED);
}

#[test]
fn threads_go_on_without_privileges() {
    if have(&["setpriv"]) {
        // The guest's own directory may be closed to others.
        let copied = |place: &Place| {
            let copy = place.path().join("image_threads");
            fs::copy(guest("image_threads"), &copy).expect("the guest can be copied");
            vec![copy.display().to_string(), "60".to_owned()]
        };
        goes_on(Place::of_nobody, copied, &HANDED);
    }
}

#[test]
fn a_second_death_is_survived_and_another_mode_goes_on() {
    let place = Place::new();
    let words = words("image_threads", &["90"]);
    let wanted = place.natively(&words, &HANDED);
    place.run("tmr", &words).kill_after(2);
    place.restarts(&["--mode", "simplex"]).kill_after(place.images().last().unwrap_or(&0) + 2);
    place.restores(&["--mode", "dual"]);
    assert_eq!(place.files(&HANDED), wanted);
}

#[test]
fn timers_of_every_kind_go_on() {
    goes_on(Place::new, |_| words("image_timers", &["40"]), &["out"]);
}

#[test]
fn shared_memory_and_mapped_files_go_on() {
    goes_on(Place::new, |_| words("image_shared", &[]), &["out", "out.file"]);
}

#[test]
fn a_compressor_with_two_threads_ends_with_the_right_file() {
    if have(&["xz"]) {
        let xz = program_path("xz").expect("xz is there").display().to_string();
        let of = |place: &Place| {
            let text: String =
                (0..80_000u64).map(|i| format!("{} words\n", i * i % 1_000_003)).collect();
            fs::write(place.path().join("text"), text).expect("a file can be written");
            let args = ["-T2", "--block-size=96KiB", "-k", "text"].map(str::to_owned);
            std::iter::once(xz.clone()).chain(args).collect()
        };
        // It does not wait for images.
        survives(&[("simplex", 1), ("tmr", 1)], Place::new, of, &["text.xz"]);
    }
}

/// Queues, a lock that is taken twice, a condition with a timeout, and a database of several threads.
const THREADING: &str = "
import threading, queue, time, sqlite3, os
def pause(s):
    if not os.path.exists('hurry'): time.sleep(s)
q = queue.Queue(4)
lock = threading.RLock()
cond = threading.Condition()
out = open('out', 'w')
done = []
def produce():
    for i in range(100):
        q.put(i)
        with lock:
            with lock:
                pause(0.006)
    q.put(None)
def consume():
    total = 0
    while True:
        i = q.get()
        if i is None: break
        total += i * i
        out.write('%d %d\\n' % (i, total)); out.flush()
        with cond:
            done.append(i); cond.notify_all()
def watch():
    with cond:
        while len(done) < 100:
            cond.wait(0.05)
db = sqlite3.connect('base', check_same_thread=False)
db.execute('create table t(a integer primary key, b text)')
def store():
    for i in range(30):
        with db:
            db.execute('insert into t(b) values(?)', ('row %d' % i,))
        pause(0.02)
ts = [threading.Thread(target=f) for f in (produce, consume, watch, store)]
for t in ts: t.start()
def numbers(): return [t.native_id for t in ts] + [os.getpid(), threading.get_native_id()]
ids = numbers()
for t in ts: t.join()
assert ids == numbers()
out.write('sum %d\\n' % sum(r[0] for r in db.execute('select a from t')))
out.close(); db.close()
";

#[test]
fn an_interpreter_with_threads_and_a_database_goes_on() {
    if have(&["python3"]) {
        goes_on(Place::new, |place| place.script(THREADING), &["out", "base"]);
    }
}

#[test]
fn what_cannot_be_kept_is_named_and_the_program_goes_on() {
    if !have(&["python3"]) {
        return;
    }
    let place = Place::new();
    // A segment of System V, which others may come by.
    let words = place.script(
        "
import ctypes, os, time, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
n = libc.shmget(0, 4096, 0o1600)
assert n >= 0 and libc.shmat(n, None, 0) not in (None, 2**64 - 1)
libc.shmctl(n, 0, None)
go_on = threading.Event()
t = threading.Thread(target=go_on.wait)
t.start()
f = open('out', 'w')
for i in range(300):
    f.write('%d\\n' % i); f.flush()
    if not os.path.exists('hurry'): time.sleep(0.02)
go_on.set()
t.join()
",
    );
    let wanted = place.natively(&words, &["out"]);
    for mode in ["simplex", "tmr"] {
        let mut run = place.run(mode, &words);
        let told = || place.said().contains("a segment of shared memory");
        assert!(until(|| told() || run.is_over()), "{mode}: {}", place.said());
        place.hurry();
        let status = run.child.wait().expect("it ends");
        let said = place.said();
        assert!(status.success(), "{mode}: {status}: {said}");
        assert_eq!(place.files(&["out"]), wanted, "{mode}");
        let told = said.lines().filter(|line| line.contains("a segment of shared memory")).count();
        assert_eq!(told, 1, "{mode}: {said}");
        fs::remove_dir_all(place.path().join("ckpt")).expect("the directory can be removed");
    }
}
