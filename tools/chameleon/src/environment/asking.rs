//! The way of a command to the FTM: by the daemon of this node, a question and its answer.
//!
//! Invariant: what only reads is asked again while the FTM is being replaced; what changes something is
//! sent again only if it is known not to have arrived. Whoever follows asks again and again on one
//! connection. Used by all commands that ask.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chameleon_link::{Event, Link, LinkError, Lost};
use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::message::env::{NoWay, Request};
use chameleon_proto::message::{Envelope, Kind, Message};

use super::place;
use crate::cli::Where;

/// How long an FTM may take to be there and to answer: a replacement of it is meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at whether there is an FTM.
const LOOK: Duration = Duration::from_millis(50);

/// A connection to the environment.
#[derive(Debug)]
pub struct Environment {
    link: Link,
    number: u64,
    patience: Duration,
}

/// What became of a question that was sent.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Outcome {
    Told(Told),
    /// It did not arrive.
    Back(String),
    /// The connection is gone and it may have arrived, or no answer came in time.
    Doubtful(String),
}

impl Environment {
    /// The environment that is meant.
    pub fn of(args: &Where) -> anyhow::Result<Self> {
        Self::at(&place::socket(args)?)
    }

    /// The environment whose daemon is at this socket.
    pub fn at(socket: &Path) -> anyhow::Result<Self> {
        let link = Link::client(socket).map_err(|error| no_daemon(socket, error))?;
        Ok(Self { link, number: 0, patience: PATIENCE })
    }

    /// As it is, but it waits no longer than this.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Asks, and takes a refusal for an error.
    ///
    /// # Errors
    /// The FTM's refusal in its words; that there is no FTM, or that it did not answer.
    pub fn ask(&mut self, ask: &Ask) -> anyhow::Result<Told> {
        match self.told(ask)? {
            Told::Refused { why } => bail!("{why}"),
            told => Ok(told),
        }
    }

    /// Has something done and prints what was.
    ///
    /// # Errors
    /// As [`Environment::ask`].
    pub fn order(&mut self, ask: &Ask, json: bool) -> anyhow::Result<ExitCode> {
        let told = self.ask(ask)?;
        let Told::Done { text } = &told else { bail!(super::NOT_UNDERSTOOD) };
        crate::print(&if json { serde_json::to_string(&told)? } else { text.clone() })?;
        Ok(ExitCode::SUCCESS)
    }

    /// The number of the daemon's node.
    pub fn node(&self) -> u32 {
        self.link.node().0
    }

    fn told(&mut self, ask: &Ask) -> anyhow::Result<Told> {
        let until = Instant::now() + self.patience;
        loop {
            self.wait_for_ftm(until)?;
            match self.once(ask, until)? {
                Outcome::Told(told) => return Ok(told),
                Outcome::Doubtful(why) if !only_reads(ask) => {
                    bail!(
                        "{why}; it may have been done or not: `chameleon ps` and `chameleon events` say"
                    )
                }
                Outcome::Back(why) | Outcome::Doubtful(why) if Instant::now() >= until => {
                    bail!("{}", why);
                }
                Outcome::Back(_) | Outcome::Doubtful(_) => std::thread::sleep(LOOK),
            }
        }
    }

    fn wait_for_ftm(&mut self, until: Instant) -> anyhow::Result<()> {
        while !self.link.is_up() || self.link.ftm().is_none() {
            if Instant::now() >= until {
                if !self.link.is_up() {
                    bail!("the daemon has ended; start it again with `chameleon daemon`");
                }
                bail!(
                    "this node's daemon knows of no FTM; on the environment's first node start one with \
                     `chameleon ftm`, or the daemon without --no-ftm"
                );
            }
            // What comes meanwhile is of no question that still waits.
            self.link.receive(Some(LOOK))?;
        }
        Ok(())
    }

    /// Sends it once and waits for what becomes of it.
    fn once(&mut self, ask: &Ask, until: Instant) -> anyhow::Result<Outcome> {
        let Some(ftm) = self.link.ftm() else { return Ok(Outcome::Back("no FTM is known".into())) };
        self.number += 1;
        let number = self.number;
        let text = serde_json::to_string(ask).context("the question cannot be written")?;
        match self.link.send(ftm, Message::Request(Request { number, text })) {
            Ok(()) => {}
            Err(LinkError::Down) => return Ok(Outcome::Back("the daemon has ended".into())),
            Err(error) => return Err(error.into()),
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.link.receive(Some(left))?;
            let envelope = match event {
                None => return Ok(Outcome::Doubtful(format!("the FTM ({ftm}) does not answer"))),
                Some(Event::Lost(lost)) => return Ok(lost_one(&lost)),
                Some(Event::Back | Event::Unreadable(_)) => continue,
                Some(Event::Message(envelope)) => envelope,
            };
            let Envelope { message, .. } = envelope;
            match message {
                Message::Answer(answer) if answer.number == number => {
                    let told = serde_json::from_str(&answer.text)
                        .context("the FTM answers what this version does not understand")?;
                    return Ok(Outcome::Told(told));
                }
                Message::Undeliverable(back) if back.destination == ftm => {
                    let why = format!("there is no way to the FTM ({ftm})");
                    return Ok(match back.why {
                        NoWay::Unreachable => Outcome::Doubtful(why),
                        _ => Outcome::Back(why),
                    });
                }
                // Nothing that is refused by a daemon has gone on; a newer epoch is the usual reason.
                Message::Refused(refused) => return Ok(Outcome::Back(refused.why)),
                _ => {}
            }
        }
    }
}

/// Whether it may be asked twice.
const fn only_reads(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::Status
            | Ask::Plan { .. }
            | Ask::Apps { .. }
            | Ask::Logs { .. }
            | Ask::Nodes
            | Ask::Events { .. }
    )
}

fn lost_one(lost: &Lost) -> Outcome {
    let why = "the daemon has ended".to_owned();
    let doubtful = lost.doubtful.iter().any(|sent| sent.kind == Kind::Request);
    if doubtful { Outcome::Doubtful(why) } else { Outcome::Back(why) }
}

/// Why there is no connection, and what to do.
fn no_daemon(socket: &Path, error: LinkError) -> anyhow::Error {
    let shown: PathBuf = socket.to_owned();
    let advice = match &error {
        LinkError::Call { source, .. } => match source.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "; name this user in `users` of the node's node.toml, or ask as root"
            }
            _ => {
                "; no daemon is there: `chameleon daemon` starts one (`chameleon init` before it, once), \
                 --dir says which"
            }
        },
        LinkError::Refused(_) => {
            "; name this user in `users` of the node's node.toml, or ask as root"
        }
        _ => "",
    };
    anyhow::anyhow!("cannot ask the daemon at {}: {error}{advice}", shown.display())
}
