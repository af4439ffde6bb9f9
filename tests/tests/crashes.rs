//! ARMORs that die behind every store a successor goes by, hundreds of times in a run: nothing is
//! done twice, nothing is lost, nobody is blamed.
//!
//! Invariant: where an ARMOR dies is decided by a seed, so that a failure comes again.
//! `CHAMELEON_SEEDS` says how many each guest is run with (default [`SEEDS`]), `CHAMELEON_SEED` which
//! is the first. Run by `cargo test`.

use chameleon_tests::{Report, Scenario, crashing, guest, program};

const SEEDS: u64 = 3;
/// An ARMOR dies after 1 to so many stores; taking over and one call more need about a hundred.
const MOST: u64 = 300;

fn told(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Runs a scenario with each seed; all runs must be as the native one, and nobody is blamed.
fn survives(mode: &str, scenario: impl Fn() -> Scenario) {
    runs(mode, &[], scenario);
}

/// Runs a scenario with each seed; all runs must be as the native one. What may be reported beside what
/// takeovers bring is in `expected`; all that was is returned.
fn runs(mode: &str, expected: &[&str], scenario: impl Fn() -> Scenario) -> Vec<Report> {
    let first = told("CHAMELEON_SEED", 0);
    let mut takeovers = 0;
    let mut reports = Vec::new();
    let mut scenario = scenario().binary(crashing()).flag("--threads=live");
    let native = scenario.native();
    for seed in first..first + told("CHAMELEON_SEEDS", SEEDS) {
        let crash = format!("{seed}:{MOST}");
        scenario = scenario.env("CHAMELEON_CRASH", &crash);
        let under = scenario.under(mode);
        scenario.same(&native, &under, mode);
        takeovers += under.report.count("takeover");
        let blamed: Vec<_> = under
            .report
            .disturbances()
            .into_iter()
            .filter(|e| !matches!(e["event"].as_str(), Some("takeover" | "unvoted" | "stalled")))
            .filter(|e| !expected.iter().any(|name| e["event"] == *name))
            .collect();
        assert!(blamed.is_empty(), "{mode}: CHAMELEON_CRASH={crash}: {blamed:#?}");
        reports.push(under.report);
    }
    assert!(takeovers > 0, "no ARMOR has died");
    reports
}

/// One test a guest.
macro_rules! crashes {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            survives("tmr", || program(guest(stringify!($name))));
        }
    )*};
}

// Processes and signals.
crashes! { forks vforks execs orphans waits sigorder sigchlds sigdeaths siginfo sigsuspends spawn }

// Files, pipes and sockets.
crashes! { appends bigio direct fifos locks memfds passing pipes seeks tcp timerfds unixsockets }

// Calls inside, time and numbers.
crashes! { clock clockreads inside rdtsc rdrand pids stamps }

// Shared memory.
crashes! {
    shared_anon shared_copy shared_exit shared_file shared_group shared_heirs shared_memfd shared_shm shared_sysv
    shared_talk shared_told
    shared_trunc shared_two shared_work
}

// Threads.
crashes! {
    thread_barrier thread_busy thread_cancel thread_cond thread_detach thread_futex thread_futexop thread_io
    thread_kill thread_malloc thread_many thread_mutex thread_once thread_pi thread_records
    thread_recursive thread_robust thread_rwlock thread_sem thread_signals thread_stamps thread_timer
    thread_tls
    threads threadtimers
}

/// One of the processes that share memory crashes by itself.
#[test]
fn shared_group_with_a_crash() {
    survives("tmr", || program(guest("shared_group")).args(["c"]));
}

/// Processes that share memory lose one replica after the other: ARMORs die while copies of all of them
/// are made, too, and in the end there are as many as before each time.
#[test]
fn shared_group_with_faults() {
    let expected = ["injected", "outvoted", "divergence", "repaired"];
    let faults = [
        ["replica=1,process=0,call=50,kill", "replica=0,process=0,call=200,reg=rip,bit=45"],
        [
            "replica=0,process=0,call=60,mem=shared,bit=2,offset=4114",
            "replica=1,process=0,call=210,kill",
        ],
        ["replica=2,process=0,call=55,reg=rip,bit=45", "replica=0,process=0,call=205,kill"],
    ];
    for pair in faults {
        let reports = runs("tmr", &expected, || {
            let guest = program(guest("shared_group"));
            pair.iter().fold(guest, |s, fault| s.flag(format!("--inject={fault}")))
        });
        for report in reports {
            let of = |r: u64| report.named("repaired").any(|e| e["replica"] == r);
            let repaired = (0..3).filter(|r| of(*r)).count();
            assert_eq!(repaired, 2, "{pair:?}: {}", report.text());
        }
    }
}

/// A process that ends leaves its robust locks to others.
#[test]
fn shared_robust() {
    for how in ["e", "t", "s"] {
        survives("tmr", || program(guest("shared_robust")).args([how]));
    }
}

/// One replica, whose threads run at the same time and change their locks themselves.
#[test]
fn threads_of_one_replica() {
    for name in ["thread_pi", "thread_robust", "thread_requeue", "thread_cond", "thread_signals"] {
        survives("simplex", || program(guest(name)));
    }
}

/// Processes that come to share memory by its name.
#[test]
fn shared_named() {
    for how in ["f", "s", "w"] {
        survives("tmr", || program(guest("shared_named")).args([how]));
    }
}

/// A shell with its children, of one, two and five replicas.
#[test]
fn a_shell_and_its_children() {
    let script = "i=0; while [ $i -lt 5 ]; do
            i=$((i+1)); echo line $i | tr a-z A-Z >>out; x=$(echo $i); echo $x; (exit 3) || echo $?
        done; cksum <out";
    for mode in ["simplex", "dual", "nmr:3/5"] {
        survives(mode, || program("dash").args(["-c", script]));
    }
}
