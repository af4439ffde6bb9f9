//! Programs of several processes of which some have threads, or that share memory: everything is killed in the
//! midst of it, and what goes on from an image ends as the program ends natively; whoever dies amid a cut.
//!
//! Invariant: what a program leaves does not depend on which of its threads and processes was fast.

use std::fs;
use std::time::Duration;

use chameleon_tests::{have, until};

use super::place::*;
use super::threads::{goes_on, words};

#[test]
fn processes_with_threads_among_others_go_on() {
    goes_on(Place::new, |_| words("image_crowd", &["200"]), &["out"]);
}

#[test]
fn processes_that_share_memory_go_on() {
    goes_on(Place::new, |_| words("image_family", &["60"]), &["out", "out.file"]);
}

#[test]
fn a_first_thread_that_has_ended_stays_ended() {
    goes_on(Place::new, |_| words("image_left", &["300"]), &["out"]);
}

/// A compressor with threads, amid programs without.
const PIPELINE: &str = "
{ i=0; while [ $i -lt 40 ]; do cat text; i=$((i + 1)); sleep 0.02; done; } | tr a-z A-Z |
    xz -T2 --block-size=64KiB | cat > out
";

#[test]
fn a_compressor_with_threads_in_a_pipeline_ends_with_the_same_bytes() {
    if have(&["xz"]) {
        let of = |place: &Place| {
            let text: String =
                (0..1200u64).map(|i| format!("{} words\n", i * i % 1_000_003)).collect();
            fs::write(place.path().join("text"), text).expect("a file can be written");
            place.shell(PIPELINE)
        };
        goes_on(Place::new, of, &["out"]);
    }
}

/// Values, a lock and a queue that children share by files without a name.
const SHARES: &str = "
import multiprocessing, os, time
def work(value, array, lock, queue, k):
    for i in range(60):
        with lock:
            value.value += k
            array[i % 10] += i * k
        time.sleep(0.02)
    queue.put(k)
m = multiprocessing.get_context('fork')
value, array, lock, queue = m.Value('l', 0), m.Array('d', 10), m.Lock(), m.Queue()
all = [m.Process(target=work, args=(value, array, lock, queue, k)) for k in (1, 2, 3)]
for one in all: one.start()
open('begun', 'w').close()
got = sorted(queue.get() for _ in all)
for one in all: one.join()
with open('out', 'w') as out: print(value.value, list(array), got, [p.exitcode for p in all], file=out)
";

#[test]
fn an_interpreter_with_shared_values_goes_on() {
    if !have(&["python3"]) {
        return;
    }
    for mode in ["simplex", "tmr"] {
        let place = Place::new();
        let words = place.script(SHARES);
        let wanted = place.natively(&words, &["out"]);
        let run = place.run(mode, &words);
        run.kill_all_after_file("begun", 2);
        place.restores(&[]);
        assert_eq!(place.files(&["out"]), wanted, "{mode}");
    }
}

/// Semaphores and message queues of System V stay in the kernel, and are not what they were at the cut.
const KERNEL: &str = "
import ctypes, time, sys
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[1] == 'sem':
    n = libc.semget(0, 1, 0o1600)
    def remove(): libc.semctl(n, 0, 0)
else:
    n = libc.msgget(0, 0o1600)
    def remove(): libc.msgctl(n, 0, None)
assert n >= 0
f = open('out', 'w')
for i in range(30):
    f.write('%d\\n' % i); f.flush(); time.sleep(0.02)
remove()
";

#[test]
fn what_stays_in_the_kernel_is_named_and_the_program_goes_on() {
    if !have(&["python3"]) {
        return;
    }
    for (kind, why) in [("sem", "semaphores of System V"), ("msg", "a message queue of System V")] {
        let place = Place::new();
        let mut words = place.script(KERNEL);
        words.push(kind.to_owned());
        let wanted = place.natively(&words, &["out"]);
        let mut run = place.run("simplex", &words);
        let status = run.child.wait().expect("it ends");
        let said = place.said();
        assert!(status.success(), "{status}: {said}");
        assert_eq!(place.files(&["out"]), wanted);
        assert_eq!(said.lines().filter(|line| line.contains(why)).count(), 1, "{said}");
    }
}

#[test]
fn armors_that_die_amid_cuts_leave_good_images() {
    for mode in ["simplex", "tmr"] {
        let place = Place::new();
        let words = words("image_crowd", &["700"]);
        let wanted = place.natively(&words, &["out"]);
        let mut run = place.run(mode, &words);
        let root = run.child.id();
        for k in 1..=4 {
            let there =
                until(|| run.is_over() || place.images().last().is_some_and(|last| *last >= k));
            assert!(there && !run.is_over(), "{mode}: {}", place.said());
            // About when the next cut is due, earlier or later in it each time.
            std::thread::sleep(Duration::from_millis(70 + 15 * k));
            let killed = until(|| run.is_over() || kill_named(root, "chameleon: EXEC"));
            assert!(killed && !run.is_over(), "{mode}: {}", place.said());
        }
        let last = place.images().last().copied().unwrap_or(0);
        run.kill_all_after(last + 2);
        place.restores(&[]);
        assert_eq!(place.files(&["out"]), wanted, "{mode}");
    }
}
