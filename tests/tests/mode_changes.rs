//! The mode of a running program is changed, again and again: its output is that of its native run, what is made
//! masks faults as ever, and what cannot be is refused.
//!
//! Invariant: a program here goes on until there is a file `stop`, and prints the same however long that takes, so
//! nothing depends on the clock. Run by `cargo test`.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chameleon_tests::server::{Talk, client};
use chameleon_tests::workload::{free_port, noise, text};
use chameleon_tests::{
    Dice, Outcome, Running, Scenario, chameleon, have, output, program, python, state, until,
};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, chown};
use serde_json::Value;

/// What a run goes through that began in simplex.
const MODES: [&str; 8] =
    ["tmr", "dual", "simplex", "quad", "dual-first", "nmr:3/5", "nmr:1/1", "tmr"];

/// The runs of a test, which no other test looks into, and what is asked of them.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("modes-").tempdir();
        Self { directory: directory.expect("a temporary directory can be made") }
    }

    fn start(&self, scenario: Scenario, mode: &str, flags: &[&str]) -> (Scenario, Running, String) {
        let scenario = scenario.env("XDG_RUNTIME_DIR", self.directory.path());
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let running = scenario.start_with(mode, &flags);
        let mut id = String::new();
        let there = until(|| {
            let run = self.find(running.pid());
            id = run["id"].as_str().unwrap_or_default().to_owned();
            run["status"].is_object()
        });
        assert!(there, "the run is not listed: {:?}", self.say(&["ps"]));
        (scenario, running, id)
    }

    fn say(&self, words: &[&str]) -> Output {
        let mut command = Command::new(chameleon());
        command.args(words).env("XDG_RUNTIME_DIR", self.directory.path());
        output(command)
    }

    /// The run of this process as `chameleon ps --json` shows it.
    fn find(&self, pid: i32) -> Value {
        let said = self.say(&["ps", "--json"]);
        let all: Vec<Value> = serde_json::from_slice(&said.stdout).expect("it is JSON");
        all.into_iter().find(|run| run["pid"] == pid).unwrap_or_default()
    }

    /// Changes the mode of a run, which has it then.
    #[track_caller]
    fn set(&self, pid: i32, id: &str, mode: &str) {
        let said = self.say(&["set", id, "--mode", mode, "--wait", "60s", "--json"]);
        assert_eq!(said.status.code(), Some(0), "{mode}: {said:?}");
        let shown: Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
        let wanted = if mode == "nmr:1/1" { "simplex" } else { mode };
        assert_eq!(shown["mode"], wanted);
        let now = self.find(pid);
        assert_eq!((&now["mode"], &now["changes_to"]), (&wanted.into(), &Value::Null));
    }

    #[track_caller]
    fn refuses(&self, words: &[&str], why: &[&str]) {
        let said = self.say(words);
        let text = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(125), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        why.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not in {text}"));
    }
}

/// Lets a program that waits for it come to its end.
fn stop(scenario: &Scenario) {
    std::fs::write(scenario.work().join("stop"), "").expect("the file can be written");
}

/// What the program does natively, told to stop at once.
fn natively(scenario: &Scenario) -> Outcome {
    let running = scenario.start_native();
    stop(scenario);
    scenario.finish(running)
}

/// The run ends as its native one, and nothing else than changes of its mode has happened.
#[track_caller]
fn ends_alike(scenario: &Scenario, running: Running, changes: usize) {
    stop(scenario);
    let outcome = scenario.finish(running);
    scenario.same(&natively(scenario), &outcome, "changed");
    let others: Vec<&Value> = outcome.report.disturbances();
    let others: Vec<_> = others.iter().filter(|one| one["event"] != "mode_changed").collect();
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!(outcome.report.count("mode_changed"), changes, "{}", outcome.report.text());
}

fn changes(scenario: Scenario) {
    let place = Place::new();
    let (scenario, running, id) = place.start(scenario, "simplex", &["--changeable"]);
    let mut dice = Dice::new(7);
    for mode in MODES {
        // At any moment of whatever it does.
        sleep(Duration::from_micros(dice.below(60_000)));
        place.set(running.pid(), &id, mode);
    }
    ends_alike(&scenario, running, MODES.len());
}

/// A script that repeats some commands until it is to stop.
fn repeats(commands: &str) -> Scenario {
    let script =
        format!("while [ ! -e stop ]; do {commands} || exit 1; done; {commands} && echo well");
    program("sh").args(["-c", &script])
}

/// Time, randomness, files, memory and numbers of processes, as any program has them.
const PYTHON: &str = "\
import hashlib, os, random, sys, time
last, own, n = time.monotonic(), os.getpid(), 0
keep = []
while not os.path.exists('stop') or n < 50:
    now = time.monotonic()
    assert now >= last and os.getpid() == own
    last, n = now, n + 1
    keep = keep[-200:] + [bytes(random.randrange(256) for _ in range(500)) + os.urandom(8)]
    with open('state', 'wb') as f:
        f.write(b''.join(keep))
    with open('state', 'rb') as f:
        assert f.read() == b''.join(keep)
    if n % 20 == 0:
        time.sleep(0.001)
os.unlink('state')
print('well', flush=True)
";

#[test]
fn a_program_alone() {
    changes(program(python()).args(["-c", PYTHON]));
}

/// Locks, a queue and a timer among threads.
const THREADS: &str = "\
import os, queue, threading, time
jobs, done, lock, total = queue.Queue(8), queue.Queue(), threading.Lock(), [0]
def work():
    while (job := jobs.get()) is not None:
        with lock:
            total[0] += job
        done.put(sum(range(job)))
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
want, n = 0, 0
while not os.path.exists('stop') or n < 20:
    n += 1
    for job in range(50):
        jobs.put(job)
    assert sum(done.get() for _ in range(50)) == sum(sum(range(job)) for job in range(50))
    want += sum(range(50))
    with lock:
        assert total[0] == want
    time.sleep(0.002)
[jobs.put(None) for _ in threads]
[t.join() for t in threads]
print('well', flush=True)
";

#[test]
fn threads() {
    changes(program(python()).args(["-c", THREADS]));
}

/// Memory that processes share, and signals between them.
const SHARED: &str = "\
import multiprocessing as mp, os
def work(value, box):
    while not os.path.exists('stop'):
        with value.get_lock():
            value.value += 1
        box.put(os.getpid())
        box.get()
context = mp.get_context('fork')
value, box = context.Value('q', 0), context.Queue()
children = [context.Process(target=work, args=(value, box)) for _ in range(2)]
[c.start() for c in children]
[c.join() for c in children]
assert value.value >= 0 and all(c.exitcode == 0 for c in children)
print('well', flush=True)
";

#[test]
fn processes_that_share_memory() {
    changes(program(python()).args(["-c", SHARED]));
}

#[test]
fn sorting() {
    let scenario = repeats("sort text > out && sort -c out && sort -R text | sort | cmp - out");
    changes(scenario.file("text", text(1, 400_000)));
}

#[test]
fn packing() {
    if !have(&["gzip"]) {
        return;
    }
    let scenario = repeats("gzip -nc bytes > packed && gzip -dc packed | cmp - bytes");
    changes(scenario.file("bytes", [text(2, 300_000), noise(2, 300_000)].concat()));
}

#[test]
fn a_pipeline() {
    changes(repeats(
        "seq 1 3000 | sed s/1/x/ | tr 0-9 a-j | grep -c bc > count && test $(cat count) = 22",
    ));
}

#[test]
fn a_database() {
    if !have(&["sqlite3"]) {
        return;
    }
    let sql = "pragma journal_mode=wal; create table if not exists t(n integer primary key, s text); delete from t; \
               with recursive c(n) as (select 1 union all select n+1 from c where n<500) insert into t select n, \
               hex(n*n) from c; select sum(length(s)) from t;";
    let query = format!("test \"$(sqlite3 base '{sql}' | tail -n 1)\" = \"$(cat want)\"");
    let want = (1..=500u64).map(|n| 2 * (n * n).to_string().len()).sum::<usize>();
    changes(repeats(&query).file("want", want.to_string()).ignoring("base"));
}

/// A process that only computes is given replicas where it is, and they are taken out again.
#[test]
fn one_that_computes_or_waits() {
    let computes = "\
import os, time
def spin(n):
    h = 0
    for i in range(n):
        h = (h * 31 + i) & 0xffffffff
    return h
while not os.path.exists('stop'):
    spin(3000000)
print(spin(1000), flush=True)
";
    let waits = "read line; echo $line";
    for (at, scenario) in [
        program(python()).args(["-c", computes]),
        program("sh").args(["-c", &format!("mkfifo pipe; while [ ! -e stop ]; do sleep 0.5; done & {waits} < /dev/null; wait; rm pipe; echo well")]),
    ]
    .into_iter()
    .enumerate()
    {
        let place = Place::new();
        let (scenario, running, id) = place.start(scenario, "simplex", &["--changeable"]);
        for mode in ["tmr", "simplex", "dual"] {
            place.set(running.pid(), &id, mode);
        }
        assert!(at < 2);
        ends_alike(&scenario, running, 3);
    }
}

#[test]
fn a_server_under_load() {
    if !have(&["redis-server", "redis-benchmark", "redis-cli"]) {
        return;
    }
    let (place, port) = (Place::new(), free_port());
    let words = port.to_string();
    let scenario = program("redis-server").args([
        "--bind",
        "127.0.0.1",
        "--port",
        &words,
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    let (scenario, mut running, id) = place.start(scenario, "simplex", &["--changeable"]);
    let up =
        until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() || !running.goes_on());
    assert!(up, "the server is not there");
    let mut one = Talk::with(port);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for pipeline in ["1", "16"] {
                let load = ["-c", "10", "-n", "4000", "-t", "set,get", "-q", "-P", pipeline];
                let said = client(&[&["redis-benchmark", "-p", &words], load.as_slice()].concat());
                assert_eq!(said.matches("requests per second").count(), 2, "{said}");
            }
        });
        for (n, mode) in MODES.iter().enumerate() {
            one.says(format!("SET key:{n} value-{n}\r\n").as_bytes(), b"+OK\r\n");
            place.set(running.pid(), &id, mode);
            one.says(
                format!("GET key:{n}\r\n").as_bytes(),
                format!("$7\r\nvalue-{n}\r\n").as_bytes(),
            );
        }
        load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    drop(one);
    running.signal(Signal::SIGTERM);
    let outcome = scenario.finish(running);
    assert_eq!(outcome.report.count("mode_changed"), MODES.len(), "{}", outcome.report.text());
    assert_eq!(outcome.report.disturbances().len(), MODES.len(), "{}", outcome.report.text());
}

/// What was simplex masks a killed replica and a flipped bit, and repairs it.
#[test]
fn what_was_made_masks_faults() {
    for scenario in
        [program(python()).args(["-c", PYTHON]), program(python()).args(["-c", THREADS])]
    {
        let place = Place::new();
        // Far behind what a start takes, and near enough to be reached.
        let flip = "--inject=replica=1,call=6000,reg=rsp,bit=46";
        let (scenario, mut running, id) = place.start(scenario, "simplex", &["--changeable", flip]);
        place.set(running.pid(), &id, "tmr");
        assert!(until(|| running.has_told("injected") > 0 || !running.goes_on()));
        assert!(until(|| running.has_told("repaired") > 0 || !running.goes_on()));
        assert!(until(|| running.replicas().len() == 3 || !running.goes_on()));
        let victim = running.replicas().pop().expect("there are three");
        let before = running.has_told("repaired");
        victim.signal(Signal::SIGKILL);
        assert!(until(|| running.has_told("repaired") > before || !running.goes_on()));
        stop(&scenario);
        let outcome = scenario.finish(running);
        scenario.same(&natively(&scenario), &outcome, "tmr");
        assert!(outcome.report.count("outvoted") >= 2, "{}", outcome.report.text());
    }
}

/// Whenever the ARMOR dies, its successor goes on with the change, and with the mode.
#[test]
fn an_armor_killed_amid_changes() {
    for (seed, scenario) in [
        (1, program(python()).args(["-c", PYTHON])),
        (2, program(python()).args(["-c", THREADS])),
        (3, repeats("seq 1 300 | sort -n | tail -n 1 > last && test $(cat last) = 300")),
    ] {
        let place = Place::new();
        let mut dice = Dice::new(seed);
        let (scenario, running, id) = place.start(scenario, "simplex", &["--changeable"]);
        for mode in MODES {
            std::thread::scope(|scope| {
                let pid = running.pid();
                let (place, id) = (&place, &id);
                let asked = scope.spawn(move || place.set(pid, id, mode));
                while !asked.is_finished() {
                    sleep(Duration::from_micros(40_000 + dice.below(30_000)));
                    let own = running.processes();
                    let armor = own.iter().find(|one| one.is_armor("EXECUTION"));
                    armor.iter().for_each(|one| one.signal(Signal::SIGKILL));
                }
                asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        }
        stop(&scenario);
        let outcome = scenario.finish(running);
        scenario.same(&natively(&scenario), &outcome, "changed");
        assert!(outcome.report.count("takeover") > 0, "no ARMOR was killed");
        assert_eq!(outcome.report.count("outvoted"), 0, "{}", outcome.report.text());
        let last = outcome.report.named("mode_changed").last().map(|one| one["to"].clone());
        assert_eq!(last, Some("tmr".into()));
    }
}

/// All replicas are killed behind a change: they come back of a checkpoint from before it, in the new mode.
#[test]
fn a_roll_back_across_a_change() {
    for scenario in
        [program(python()).args(["-c", PYTHON]), program(python()).args(["-c", THREADS])]
    {
        let place = Place::new();
        let (scenario, mut running, id) = place.start(scenario, "simplex", &["--checkpoint=300ms"]);
        for (mode, replicas) in [("tmr", 3), ("simplex", 1), ("dual", 2)] {
            place.set(running.pid(), &id, mode);
            let before = running.has_told("rolled_back");
            // One that is stopped is a checkpoint; and one of many may be made anew before the last is killed.
            while running.has_told("rolled_back") == before && running.goes_on() {
                let all = running.replicas().into_iter();
                let run = all.filter(|one| state(one.pid) != Some('t'));
                run.for_each(|one| one.signal(Signal::SIGKILL));
                let (killed, patience) = (Instant::now(), Duration::from_secs(5));
                until(|| running.has_told("rolled_back") > before || killed.elapsed() > patience);
            }
            let now = place.find(running.pid());
            assert_eq!(now["mode"], mode, "{now}");
            assert!(replicas <= running.replicas().len());
        }
        stop(&scenario);
        let outcome = scenario.finish(running);
        scenario.same(&natively(&scenario), &outcome, "rolled back");
        assert!(outcome.report.count("rolled_back") >= 3, "{}", outcome.report.text());
    }
}

#[test]
fn what_cannot_be_is_refused_and_the_run_goes_on() {
    let waits = || program("sh").args(["-c", "while [ ! -e stop ]; do sleep 0.1; done; echo well"]);
    let place = Place::new();
    for (flags, mode, why) in [
        (&[] as &[&str], "tmr", ["stays as it is", "--changeable"]),
        (&["--checkpoint=1s"], "nmr:6/11", ["stays as it is", "room for 10 replicas"]),
    ] {
        let (scenario, running, id) = place.start(waits(), "simplex", flags);
        place.refuses(&["set", &id, "--mode", mode], &why);
        place.refuses(&["set", &id, "--mode", "six"], &["unknown mode 'six'"]);
        place.refuses(&["set", &id], &["--mode"]);
        assert_eq!(place.find(running.pid())["mode"], "simplex");
        let said = place.say(&["set", &id, "--timeout", "2s"]);
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        stop(&scenario);
        let outcome = scenario.finish(running);
        scenario.same(&natively(&scenario), &outcome, "refused");
        assert_eq!(outcome.report.count("mode_changed"), 0);
    }
}

/// Another user's run is not there for anybody else.
#[test]
fn a_run_of_another_user_is_not_found() {
    if !Uid::effective().is_root() || !have(&["setpriv"]) {
        return;
    }
    let place = Place::new();
    let waits = program("sh").args(["-c", "while [ ! -e stop ]; do sleep 0.1; done; echo well"]);
    let (scenario, running, id) = place.start(waits, "tmr", &[]);
    // The place is that user's from now on, the run in it is not.
    let _ = chown(place.directory.path(), Some(65534.into()), Some(65534.into()));
    let copy: PathBuf = scenario.work().join("chameleon");
    std::fs::copy(chameleon(), &copy).expect("the file can be copied");
    let own = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let mut command = Command::new(own[0]);
    command.args(&own[1..]).arg(&copy).args(["set", &id, "--mode", "dual"]);
    let said = output({
        command.env("XDG_RUNTIME_DIR", place.directory.path());
        command
    });
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains("there is no run"), "{text}");
    let _ = std::fs::remove_file(&copy);
    stop(&scenario);
    let outcome = scenario.finish(running);
    assert_eq!(outcome.report.count("mode_changed"), 0);
    assert_eq!(outcome.out(), "well\n");
}
