//! Programs with threads that are rolled back to a checkpoint: a replica is killed or made to crash at a
//! call of some thread, in simplex, and two of three in TMR; nobody sees it.
//!
//! Invariant: output and status are those of a native run, and where the fault struck in simplex a
//! roll-back is told. Run by `cargo test`; a single one with
//! `cargo test -p chameleon-tests --test rollback_threads -- thread_cond`.

use chameleon_tests::{Scenario, guest, have, program, python, thread_guests, workload};

/// Calls at which a fault is put in.
const CALLS: [u32; 3] = [12, 37, 60];

/// A test a guest.
macro_rules! killed {
    ($($name:ident = $guest:literal $(, $arg:literal)*;)*) => {$(
        #[test]
        fn $name() {
            // Its threads read time stamps without end, which several replicas with checkpoints do not meet in.
            if $guest != "thread_stamps" {
                struck(|| program(guest($guest)).args::<&str>([$($arg),*]), &["kill"], &CALLS);
            }
        }
    )*};
}

thread_guests!(killed);

/// One native run, and one for each mode, fault and call.
#[track_caller]
fn struck(scenario: impl Fn() -> Scenario, faults: &[&str], calls: &[u32]) {
    for (mode, replicas) in [("simplex", 1), ("tmr", 2)] {
        for fault in faults {
            for call in calls {
                let mut faulty = scenario().flag("--checkpoint=100calls");
                for replica in 0..replicas {
                    let fault = format!("replica={replica},call={call},process=0,{fault}");
                    faulty = faulty.flag(format!("--inject={fault}"));
                }
                let native = faulty.native();
                let under = faulty.under(mode);
                let which = format!("{mode}, {fault} at call {call}");
                faulty.same(&native, &under, &which);
                let struck = under.report.count("injected") != 0;
                let back = under.report.count("rolled_back") != 0;
                assert!(
                    mode != "simplex" || !struck || back,
                    "{which}: no roll-back is told:\n{}",
                    under.report.text()
                );
            }
        }
    }
}

/// A shell line's program with 2 MB of text in `words`.
fn with_text(words: &[&str]) -> Scenario {
    program(words[0]).args(words[1..].iter().copied()).file("words", workload::text(3, 2_000_000))
}

const CRASH: &str = "reg=rip,bit=45";

#[test]
fn xz() {
    if have(&["xz"]) {
        let line = ["xz", "-T2", "-1", "--block-size=300000", "-c", "words"];
        struck(|| with_text(&line), &["kill", CRASH], &[60, 150, 300]);
    }
}

#[test]
fn zstd() {
    if have(&["zstd"]) {
        // It catches SIGSEGV.
        struck(|| with_text(&["zstd", "-T2", "-c", "words"]), &["kill"], &[60, 100, 130]);
    }
}

#[test]
fn pigz() {
    if have(&["pigz"]) {
        let line = ["pigz", "-p2", "-n", "-c", "words"];
        struck(|| with_text(&line), &["kill", CRASH], &[60, 100, 130]);
    }
}

#[test]
fn sort() {
    if have(&["sort"]) {
        let line = ["sort", "--parallel=4", "-S", "1M", "words"];
        struck(|| with_text(&line), &["kill", CRASH], &[60, 150, 300]);
    }
}

const POOL: &str = "import threading, queue, hashlib
q = queue.Queue(); out = []; lock = threading.Lock()
def work():
    while (x := q.get()) is not None:
        h = hashlib.sha256(str(x).encode() * 200).hexdigest()
        with lock: out.append((x, h))
all = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in all]
for x in range(300): q.put(x)
for t in all: q.put(None)
[t.join() for t in all]
print(sorted(out))
";

#[test]
fn python_threads() {
    let scenario = || program(python()).args(["-c", POOL]);
    struck(scenario, &["kill", CRASH], &[700, 1100, 1500]);
}

/// A thread that hangs is found by the time that it makes no progress.
#[test]
fn a_thread_without_progress() {
    let scenario = program(guest("thread_queue"))
        .flag("--checkpoint=1s")
        .flag("--livelock=1s")
        .flag("--inject=replica=0,call=30,process=0,hang");
    let (native, under) = (scenario.native(), scenario.under("simplex"));
    scenario.same(&native, &under, "simplex");
    assert_eq!(under.report.count("rolled_back"), 1, "{}", under.report.text());
}
