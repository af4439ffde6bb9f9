//! How many messages a second go from one ARMOR to another through the daemon, how long installing one
//! takes, and how long until its manager knows that it crashed: three processes, as in earnest.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use chameleon_link::{Event, Link};
use chameleon_proto::ids::{ArmorId, NodeId, armors};
use chameleon_proto::message::env::{Install, Request};
use chameleon_proto::message::{Envelope, Message};
use rustix::process::{Pid, Signal};

/// Measurements of each thing.
const ROUNDS: usize = 5;

pub fn run(directory: &str, messages: u64) -> Result<ExitCode, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let mut daemon =
        Command::new(&own).args(["daemon", directory]).stdout(Stdio::null()).spawn()?;
    let done = measure(&Path::new(directory).join("daemon.sock"), messages);
    daemon.kill()?;
    daemon.wait()?;
    done.map(|()| ExitCode::SUCCESS)
}

fn call(socket: &Path) -> Result<Link, Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Link::client(socket) {
            Ok(link) => return Ok(link),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn measure(socket: &Path, messages: u64) -> Result<(), Box<dyn Error>> {
    let mut client = call(socket)?;
    let voter = |number| ArmorId::first(armors::VOTER, number);
    let daemon = ArmorId::daemon(NodeId(0));
    let (mut took, mut pids) = (Vec::new(), Vec::new());
    for number in 1..=ROUNDS as u32 * 2 {
        let armor = voter(number);
        let install = Install { armor, parameters: String::new(), program: None };
        client.send(daemon, Message::Install(install))?;
        let (ns, pid) = wait(&mut client, |message| match message {
            Message::Installed(installed) => Some((installed.took_ns, installed.pid)),
            _ => None,
        })?;
        took.push(ns);
        pids.push(pid);
    }
    took.sort_unstable();
    println!("install: median {:.2} ms of {}", took[took.len() / 2] as f64 / 1e6, took.len());
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let text = format!("flood 8 2 {messages} 8192");
        let start = Instant::now();
        client.send(voter(1), Message::Request(Request { number: round as u64, text }))?;
        wait(&mut client, |message| matches!(message, Message::Answer(_)).then_some(()))?;
        rates.push(messages as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!("messages: median {:.0} a second of {ROUNDS} x {messages}", rates[ROUNDS / 2]);
    let mut known = Vec::new();
    for pid in &pids[ROUNDS..] {
        let pid = Pid::from_raw(*pid as i32).ok_or("an ARMOR without a process")?;
        let start = Instant::now();
        rustix::process::kill_process(pid, Signal::KILL)?;
        wait(&mut client, |message| matches!(message, Message::ArmorDown(_)).then_some(()))?;
        known.push(start.elapsed().as_secs_f64() * 1e3);
    }
    known.sort_by(f64::total_cmp);
    println!(
        "crash known to the manager: median {:.2} ms, at most {:.2}",
        known[ROUNDS / 2],
        known[ROUNDS - 1]
    );
    for number in 1..=ROUNDS as u32 {
        client.send(daemon, Message::Uninstall(voter(number)))?;
        wait(&mut client, |message| matches!(message, Message::Uninstalled(_)).then_some(()))?;
    }
    Ok(())
}

fn wait<T>(
    client: &mut Link,
    mut wanted: impl FnMut(&Message) -> Option<T>,
) -> Result<T, Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until {
        if let Some(Event::Message(Envelope { message, .. })) =
            client.receive(Some(Duration::from_secs(1)))?
            && let Some(found) = wanted(&message)
        {
            return Ok(found);
        }
    }
    Err("no answer for two minutes".into())
}
