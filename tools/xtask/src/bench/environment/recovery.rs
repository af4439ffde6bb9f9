//! How long until what was killed does its work again: each kind of ARMOR, and the daemon.
//!
//! Times are those of the events that `chameleon explain` shows, counted from the kill and not from its detection.

use std::time::Instant;

use anyhow::Context;
use chameleon_link::{Event, Link};
use chameleon_proto::ask::Numbered;
use chameleon_proto::ids::{ArmorId, ArmorType, armors};
use chameleon_proto::message::Message;
use chameleon_proto::message::env::{Install, Step};

use super::PART;
use super::place::{Environment, end, ms, until, wall_ns};
use crate::bench::figure::{Asked, Figures};
use crate::bench::launch::Bench;

/// Milliseconds asked for.
const RECOVERY: Asked = Asked::AtMost(20.0);
const INSTALL: Asked = Asked::AtMost(10.0);
const KNOWN: Asked = Asked::AtMost(2.0);

/// Kinds of ARMOR, what is asked for and what the paper's Table 4 has.
const KINDS: [(&str, ArmorType, Option<Asked>, Option<f64>); 6] = [
    ("EXECUTION ARMOR", armors::EXECUTION, Some(RECOVERY), Some(2428.0)),
    ("Surrogate Manager", armors::SURROGATE, Some(RECOVERY), Some(1857.0)),
    ("VOTER", armors::VOTER, Some(RECOVERY), Some(1510.0)),
    ("HEARTBEAT ARMOR", armors::HEARTBEAT, None, None),
    ("Backup FTM", armors::BACKUP_FTM, None, None),
    ("FTM", armors::FTM, None, None),
];

/// The paper's, of the host daemon.
const DAEMON: f64 = 1891.0;
/// The paper's, of installing an Execution ARMOR.
const INSTALLING: f64 = 71.0;

/// ARMORs that are installed by the benchmark itself have numbers from here on.
const OWN: u32 = 9_000_000;

/// What a kill was followed by, in milliseconds behind it.
struct Times {
    /// The manager had decided what to do.
    decided: f64,
    recovered: f64,
}

/// Measures all of them.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: ARMORs killed");
    let mut rows: Vec<(Vec<f64>, Vec<f64>)> = KINDS.iter().map(|_| Default::default()).collect();
    let (mut daemons, mut installs, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        // The FTM's place is taken once in each: the numbers of the others are the same then.
        let mut environment = Environment::start(bench, 3)?;
        let waits = "command = [\"/bin/sh\", \"-c\", \"while :; do sleep 0.1; done\"]";
        environment.submit("plain", waits, "integrity = \"masked\"")?;
        let parts = format!("{waits}\nresults = [\"c\"]");
        let needs = "integrity = \"masked\"\nnode-loss = \"masked\"\nnodes = 3";
        environment.submit("apart", &parts, needs)?;
        for ((_, kind, ..), row) in KINDS.iter().zip(&mut rows) {
            let times = killed(&mut environment, *kind)?;
            row.0.push(times.recovered);
            row.1.push(times.decided);
            environment.managers()?;
        }
        daemons.push(daemon(&mut environment)?);
        let mut link = environment.link()?;
        for number in 0..5 {
            let (install, crash) = install(&environment, &mut link, OWN + number)?;
            installs.push(install);
            known.push(crash);
        }
    }
    for ((name, _, asked, paper), (recovered, decided)) in KINDS.into_iter().zip(rows) {
        let what = format!("{name} killed, until it is there again");
        figures.beside(PART, what, "ms", recovered, asked, paper);
        figures.add(PART, format!("{name} killed, until that is decided"), "ms", decided, None);
    }
    let what = "host daemon killed and started again, until the FTM answers through it";
    figures.beside(PART, what, "ms", daemons, Some(RECOVERY), Some(DAEMON));
    let what = "installing an EXECUTION ARMOR";
    figures.beside(PART, what, "ms", installs, Some(INSTALL), Some(INSTALLING));
    let what = "an ARMOR killed, until its manager has been told";
    figures.beside(PART, what, "ms", known, Some(KNOWN), None);
    Ok(())
}

/// Kills an ARMOR of this kind.
fn killed(environment: &mut Environment, kind: ArmorType) -> anyhow::Result<Times> {
    let node = (1..=3).find(|node| environment.has(*node, kind)).unwrap_or(1);
    let pid = environment.armor(node, kind)?;
    let at_ns = wall_ns();
    end(pid);
    incident(environment, at_ns, |_| true)
}

/// The times of the first incident since then that is over and wanted.
pub fn over(
    environment: &mut Environment,
    since_ns: u64,
    wanted: impl Fn(&Numbered) -> bool,
) -> anyhow::Result<[u64; 3]> {
    until("the incident is over", || {
        let events = environment.events(since_ns);
        let step = |incident: u64, step: Step| {
            let of = |event: &&Numbered| event.note.incident == incident && event.note.step == step;
            events.iter().find(of).map(|event| event.note.at_ns)
        };
        Ok(events
            .iter()
            .filter(|event| event.note.step == Step::Detected && wanted(event))
            .find_map(|event| {
                let incident = event.note.incident;
                let decided = step(incident, Step::Decided)?;
                Some([event.note.at_ns, decided, step(incident, Step::Recovered)?])
            }))
    })
}

fn incident(
    environment: &mut Environment,
    at_ns: u64,
    wanted: impl Fn(&Numbered) -> bool,
) -> anyhow::Result<Times> {
    let [_, decided, recovered] = over(environment, at_ns, wanted)?;
    Ok(Times { decided: ms(at_ns, decided), recovered: ms(at_ns, recovered) })
}

/// Milliseconds from the kill of the first node's daemon, which is started again at once, until the FTM answers
/// somebody who calls the new one.
fn daemon(environment: &mut Environment) -> anyhow::Result<f64> {
    let start = Instant::now();
    environment.end_daemon(1)?;
    environment.start_daemon(1)?;
    let mut link = until("the daemon listens", || Ok(environment.link().ok()))?;
    until("the FTM answers", || {
        let Some(ftm) = link.ftm() else { return Ok(None) };
        link.send(ftm, Message::Ping { nonce: 1 })?;
        let answer = link.receive(Some(std::time::Duration::from_millis(2)))?;
        let pong = |message: &Message| matches!(message, Message::Pong { .. });
        Ok(answer.filter(|event| matches!(event, Event::Message(it) if pong(&it.message))))
    })?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    environment.managers()?;
    Ok(took)
}

/// Has an EXECUTION ARMOR installed and kills it: milliseconds until it is there, and until its manager knows that
/// it is not.
fn install(environment: &Environment, link: &mut Link, number: u32) -> anyhow::Result<(f64, f64)> {
    let armor = ArmorId::first(armors::EXECUTION, number);
    let parameters = format!("home = \"bench-{number}/0\"\n");
    let install = Install { armor, parameters, program: None };
    link.send(ArmorId::daemon(environment.first()), Message::Install(install))?;
    let installed = heard(link, |message| match message {
        Message::Installed(installed) if installed.armor == armor => Some(*installed),
        _ => None,
    })?;
    let start = Instant::now();
    end(installed.pid.cast_signed());
    heard(link, |message| {
        matches!(message, Message::ArmorDown(down) if down.armor == armor).then_some(())
    })?;
    let known = start.elapsed().as_secs_f64() * 1e3;
    Ok((installed.took_ns as f64 / 1e6, known))
}

fn heard<T>(link: &mut Link, wanted: impl Fn(&Message) -> Option<T>) -> anyhow::Result<T> {
    let limit = Some(std::time::Duration::from_secs(10));
    loop {
        match link.receive(limit)?.context("nothing is heard for 10 s")? {
            Event::Message(envelope) => {
                if let Some(found) = wanted(&envelope.message) {
                    return Ok(found);
                }
            }
            Event::Lost(_) | Event::Back | Event::Unreadable(_) => {}
        }
    }
}
