//! Replicas, frozen forks and ARMORs killed from outside at random microseconds, dozens of times in one
//! run: the output, files and status are those of the native run, and a client sees no error.
//!
//! Invariant: only what belongs to the test's own run is killed, more slowly than it is given up at.
//! Run by `cargo test`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use chameleon_tests::{
    Dice, Ending, Scenario, Victim, chameleon, guest, harass, have, program, rollbacks, until,
    workload,
};

use crate::{LIMIT, same};

/// Slower than an ARMOR's restart intensity.
const PAUSE_US: Range<u64> = 36_000..54_000;

/// Runs a scenario under fire until something has been rolled back, a few times.
#[track_caller]
fn survives_fire(scenario: &Scenario, mode: &str, victims: &[Victim]) {
    let native = scenario.native();
    let (mut kills, mut told) = (0, 0);
    for seed in 0..rollbacks().div_ceil(4) {
        let mut dice = Dice::new(seed);
        let cadence = dice.of(&crate::CADENCES);
        let flags = [format!("--checkpoint={cadence}"), "--retries=15".into()];
        let mut running = scenario.start_with(mode, &flags);
        kills += harass(&mut running, &mut dice, victims, PAUSE_US);
        let under = scenario.finish(running);
        let what = format!("{mode}, seed {seed}, {flags:?}, {victims:?}");
        told += under.report.count("rolled_back") + under.report.count("takeover");
        // Behind a vfork(2) there is nothing to go back to for a while.
        if under.report.named("verdict").any(|event| event["verdict"] == "no-checkpoint") {
            continue;
        }
        same(scenario, &native, &under, &what);
    }
    assert!(kills > 0, "{mode}: nothing was ever killed");
    assert!(told > 0, "{mode}: {kills} kills, and nobody told of any");
}

fn ticker() -> Scenario {
    program(guest("ticker")).args(["200", "4"]).limit(LIMIT)
}

/// A shell that begins its children with fork(2).
fn script() -> Scenario {
    script_of("bash")
}

fn script_of(shell: &str) -> Scenario {
    let line = "trap 'echo got >>traps' USR1; i=0
        while [ $i -lt 25 ]; do
            i=$((i+1)); echo line $i | tr a-z A-Z >>out; kill -USR1 $$
            (echo sub $i) | cat >>out; x=$(echo $i); echo $x; sleep 0.01
        done; cat out traps | cksum; exit 7";
    program(shell).args(["-c", line]).limit(LIMIT)
}

fn pipeline() -> Scenario {
    let line = "sort words | gzip -n | gunzip | uniq -c | sort -n | cksum; wc -c <words";
    let scenario = program("bash").args(["-c", line]).limit(LIMIT);
    scenario.file("words", workload::text(9, 1_500_000))
}

#[test]
fn replicas() {
    for scenario in [ticker(), script(), pipeline()] {
        survives_fire(&scenario, "simplex", &[Victim::Replica]);
    }
    survives_fire(&ticker(), "dual", &[Victim::Replica, Victim::All]);
    survives_fire(&ticker(), "tmr", &[Victim::Replica, Victim::All]);
}

/// Where all of them are gone at the wrong moment, it is said.
#[test]
fn frozen_forks_and_replicas() {
    let scenario = ticker();
    let native = scenario.native();
    for seed in 0..rollbacks().div_ceil(3) {
        let mut dice = Dice::new(seed);
        let flags = [format!("--checkpoint={}", dice.of(&crate::CADENCES)), "--retries=15".into()];
        let mut running = scenario.start_with("simplex", &flags);
        harass(&mut running, &mut dice, &[Victim::Checkpoint, Victim::Replica], 5_000..15_000);
        let under = scenario.finish(running);
        if under.report.named("verdict").any(|event| event["verdict"] == "no-checkpoint") {
            under.ended(Ending::Signal(9));
            assert!(native.stdout.starts_with(&under.stdout), "seed {seed}: wrong output");
        } else {
            same(&scenario, &native, &under, &format!("seed {seed}, {flags:?}"));
        }
    }
}

/// A freeze or a roll-back is interrupted at times.
#[test]
fn armors() {
    for scenario in [ticker(), script()] {
        survives_fire(&scenario, "simplex", &[Victim::Armor]);
    }
    survives_fire(&ticker(), "tmr", &[Victim::Armor]);
}

#[test]
fn replicas_and_armors() {
    for scenario in [ticker(), script(), pipeline()] {
        survives_fire(&scenario, "simplex", &[Victim::Armor, Victim::Replica]);
    }
    survives_fire(&ticker(), "tmr", &[Victim::Armor, Victim::Replica, Victim::All]);
}

/// A roll-back, of one process or of a group, is interrupted and gone on with.
#[test]
fn armors_amid_a_rollback() {
    survives_fire(&ticker(), "simplex", &[Victim::AllThenArmor]);
    survives_fire(&script(), "simplex", &[Victim::AllThenArmor]);
    if have(&["xz"]) {
        let words = ["-T2", "-1", "--block-size=300000", "-c", "words"];
        let threads = program("xz").args(words).file("words", workload::text(3, 2_000_000));
        survives_fire(&threads.limit(LIMIT), "simplex", &[Victim::AllThenArmor]);
    }
}

#[test]
fn of_a_program_that_computes() {
    let scenario = program(guest("filled")).args(["8", "400"]).limit(LIMIT);
    survives_fire(&scenario, "simplex", &[Victim::Replica, Victim::Armor]);
    survives_fire(&scenario, "tmr", &[Victim::All, Victim::Armor]);
}

#[test]
fn of_a_user_without_privileges() {
    if !have(&["setpriv"]) || !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let shared = tempfile::Builder::new().prefix("shared-").tempdir();
    let shared = shared.expect("a temporary directory can be made");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(shared.path(), open).expect("the mode can be set");
    let binary = shared.path().join("chameleon");
    std::fs::copy(chameleon(), &binary).expect("the file can be copied");
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let rest = ["--bounding-set=-all", "--no-new-privs", "--"];
    let scenario = script().binary(binary).prefix(words.into_iter().chain(rest));
    survives_fire(&scenario, "simplex", &[Victim::Armor, Victim::Replica]);
}

/// A server that blocks in poll(2) most of the time, and its clients.
#[test]
fn a_server_under_load() {
    for (mode, victims) in [
        ("simplex", &[Victim::Replica][..]),
        ("simplex", &[Victim::Replica, Victim::Armor]),
        ("tmr", &[Victim::All, Victim::Replica]),
    ] {
        for seed in 0..rollbacks().div_ceil(6) {
            serve(mode, victims, seed);
        }
    }
}

/// Bytes that each client sends and must get back.
const BYTES: usize = 1_200_000;
const CLIENTS: usize = 3;

fn serve(mode: &str, victims: &[Victim], seed: u64) {
    let scenario = program(guest("echoes")).args([CLIENTS.to_string()]).limit(LIMIT);
    let mut dice = Dice::new(seed);
    let cadence = dice.of(&crate::CADENCES);
    let flags = [format!("--checkpoint={cadence}"), "--retries=15".into()];
    let mut running = scenario.start_with(mode, &flags);
    let what = format!("{mode}, seed {seed}, {flags:?}, {victims:?}");
    let port = scenario.work().join("port");
    assert!(until(|| port.exists() || !running.goes_on()), "{what}: the server does not listen");
    let port = std::fs::read_to_string(port).expect("the file is there");
    let port: u16 = port.trim().parse().expect("a port is a number");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS as u64 {
            let what = &what;
            scope.spawn(move || echo(port, client, what));
        }
        assert!(harass(&mut running, &mut dice, victims, PAUSE_US) > 0, "{what}: no kills");
    });
    let under = scenario.finish(running);
    assert!(under.ending == Ending::Exited(0), "{what}: {}\n{}", under.ending, under.err());
    assert_eq!(under.out(), format!("echoed {}\n", BYTES * CLIENTS), "{what}");
    let told = under.report.count("rolled_back") + under.report.count("takeover");
    assert!(told > 0 || mode != "simplex", "{what}: nothing happened:\n{}", under.report.text());
}

/// Sends pieces of every size, at times with a pause, and reads them back.
fn echo(port: u16, client: u64, what: &str) {
    let mut dice = Dice::new(client + 100);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    let all = workload::noise(client, BYTES);
    let mut at = 0;
    while at < all.len() {
        let n = (1 + dice.below(30_000) as usize).min(all.len() - at);
        let mut got = vec![0; n];
        let sent = stream.write_all(&all[at..at + n]);
        let read = sent.and_then(|()| stream.read_exact(&mut got));
        assert!(read.is_ok(), "{what}: client {client} at byte {at}: {read:?}");
        assert!(got == all[at..at + n], "{what}: client {client}: other bytes from {at} on");
        at += n;
        sleep(Duration::from_millis(dice.below(20)));
    }
}
