//! How many messages a second go through a daemon, from one process of its node to another.
//!
//! Two commands of this process, each with a connection and a thread: one sends, at most so many ahead of what
//! the other has confirmed, the other counts.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chameleon_link::{Event, Link, LinkError};
use chameleon_proto::ids::ArmorId;
use chameleon_proto::message::Message;
use chameleon_proto::message::env::Request;

use super::PART;
use super::place::Environment;
use crate::bench::figure::{Asked, Figures};
use crate::bench::launch::Bench;
use crate::bench::procs;

/// A second, asked for.
const RATE: Asked = Asked::AtLeast(200_000.0);
/// Messages of one round.
const MESSAGES: u64 = 1_000_000;
/// At most so many on their way, and one confirmation for so many.
const WINDOW: u64 = 16 << 10;
const CONFIRM: u64 = WINDOW / 4;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures it.
pub fn measure(bench: &Bench, figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("bench: messages through a daemon");
    let environment = Environment::start(bench, 1)?;
    let daemon = environment.daemon(1)?;
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let (start, cpu) = (Instant::now(), procs::cpu_ms(daemon));
        flood(&environment)?;
        rates.push(MESSAGES as f64 / start.elapsed().as_secs_f64());
        costs.push((procs::cpu_ms(daemon) - cpu) * 1e3 / MESSAGES as f64);
    }
    figures.beside(PART, "messages through a daemon", "1/s", rates, Some(RATE), None);
    figures.add(PART, "the daemon's own CPU time for a message", "us", costs, None);
    Ok(())
}

fn flood(environment: &Environment) -> anyhow::Result<()> {
    let (mut from, to) = (environment.link()?, environment.link()?);
    let (source, destination) = (from.id(), to.id());
    let (done, end) = channel();
    let receiver = thread::spawn(move || done.send(count(to, source)));
    send(&mut from, destination)?;
    end.recv_timeout(PATIENCE).context("not all came")??;
    receiver.join().ok().context("the receiver failed")?.ok();
    Ok(())
}

fn send(link: &mut Link, to: ArmorId) -> anyhow::Result<()> {
    let (mut sent, mut confirmed) = (0, 0);
    while confirmed < MESSAGES {
        while sent < MESSAGES && sent < confirmed + WINDOW {
            let message = Request { number: sent, text: "a message".into() };
            match link.queue(to, Message::Request(message)) {
                Ok(()) => sent += 1,
                Err(LinkError::Full) => break,
                Err(error) => return Err(error.into()),
            }
        }
        link.flush();
        match link.receive(Some(PATIENCE))?.context("nothing is confirmed")? {
            Event::Message(envelope) => match envelope.message {
                Message::Ping { nonce } if envelope.source == to => confirmed = nonce,
                Message::Undeliverable(back) => bail!("a message came back: {back:?}"),
                _ => {}
            },
            other => bail!("the connection was lost: {other:?}"),
        }
    }
    Ok(())
}

/// Counts to the end, in order.
fn count(mut link: Link, from: ArmorId) -> anyhow::Result<()> {
    let mut came = 0;
    while came < MESSAGES {
        let event = link.receive(Some(PATIENCE))?.context("nothing comes")?;
        let Event::Message(envelope) = event else { bail!("the connection was lost: {event:?}") };
        if let Message::Request(request) = envelope.message {
            ensure!(request.number == came, "message {came} is missing");
            came += 1;
            if came % CONFIRM == 0 || came == MESSAGES {
                link.send(from, Message::Ping { nonce: came })?;
            }
        }
    }
    Ok(())
}
