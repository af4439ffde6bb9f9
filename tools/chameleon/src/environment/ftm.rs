//! `chameleon ftm`: the starter of the FTM. It has the FTM installed, and again when neither FTM nor Backup
//! FTM is there any more; to replace an FTM alone is the backup's.
//!
//! ```text
//!  Watching ──FTM is silent──► Doubting ──backup answers──► Watching (it promotes itself)
//!     ▲                            │ neither does
//!     └──── Installed ◄── Install (next life) ◄┘
//! ```
//!
//! Invariant: no two FTMs by the starter: a life of the FTM is used once, kept before it is installed.
//! Runs as a thread of `chameleon daemon` or as a process of its own.

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chameleon_link::{Event, Link, LinkError};
use chameleon_proto::ask::{Ask, Told};
use chameleon_proto::ids::{ArmorId, Incarnation, armors};
use chameleon_proto::message::env::{Install, Request};
use chameleon_proto::message::{Envelope, Message};
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::daemon::{log, tell};
use super::node_file::NodeFile;
use super::place::Place;
use crate::cli::FtmArgs;

/// Between two looks at FTM and backup.
const TURN: Duration = Duration::from_millis(500);
/// Looks without an answer until one is taken to be gone.
const MISSES: u32 = 4;
/// How long a daemon may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);
/// After an FTM was installed, until another is: the first wait and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// The number of the FTM that the starter installs.
const NUMBER: u32 = 1;

/// Looks after the FTM until it is told to end.
pub fn run(args: &FtmArgs) -> anyhow::Result<ExitCode> {
    log();
    let place = Place::of(&args.place)?;
    let file = NodeFile::load(&place)?;
    if !file.manager {
        bail!(
            "{} says that the FTM is on another node; it is started there",
            place.node_file().display()
        );
    }
    let beat = |beat| match beat {
        Beat::Turn => tell(&[NotifyState::Watchdog]),
        Beat::There => tell(&[NotifyState::Ready]),
    };
    match keep(&place, &file.socket(&place), beat)? {}
}

/// What whoever runs the starter is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It turns.
    Turn,
    /// There is an FTM that answers.
    There,
}

/// What the starter must know when it is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// The next life of the FTM.
    life: u32,
    /// The backup that was there last.
    backup: Option<ArmorId>,
}

impl Memory {
    fn load(place: &Place) -> anyhow::Result<Self> {
        let path = place.manager().join("starter.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} cannot be understood", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn save(&self, place: &Place) -> anyhow::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::DirBuilderExt;
        let directory = place.manager();
        let write = || -> anyhow::Result<()> {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let mut new = tempfile::NamedTempFile::new_in(&directory)?;
            new.write_all(&serde_json::to_vec_pretty(self)?)?;
            new.as_file().sync_all()?;
            new.persist(directory.join("starter.json"))?;
            Ok(())
        };
        write().with_context(|| format!("cannot write into {}", directory.display()))
    }
}

/// One who is asked whether it is there.
#[derive(Clone, Copy, Debug)]
struct Asked {
    armor: ArmorId,
    misses: u32,
}

struct Starter<'a> {
    place: &'a Place,
    link: Link,
    memory: Memory,
    nonce: u64,
    ftm: Option<Asked>,
    backup: Option<Asked>,
    /// When an FTM may be installed again, and how long is waited after that.
    not_before: Instant,
    wait: Duration,
    /// Whether the backup of this FTM is known.
    status: bool,
    /// Whether people have ended the environment.
    rests: bool,
}

/// Looks after the FTM for ever, and says so at each turn. An environment that people ended is left alone.
///
/// # Errors
/// There is no daemon, or the starter's memory cannot be kept.
pub fn keep(
    place: &Place,
    socket: &Path,
    mut beat: impl FnMut(Beat),
) -> anyhow::Result<Infallible> {
    let link = call(socket)?;
    let memory = Memory::load(place)?;
    // Whoever starts it again has it begin again.
    match std::fs::remove_file(place.ended()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("cannot remove {}", place.ended().display()));
        }
        _ => {}
    }
    let asked = |armor| Asked { armor, misses: 0 };
    let mut starter = Starter {
        place,
        nonce: 0,
        ftm: link.ftm().map(asked),
        backup: memory.backup.map(asked),
        not_before: Instant::now(),
        wait: AGAIN.0,
        link,
        memory,
        status: false,
        rests: false,
    };
    loop {
        starter.turn()?;
        beat(Beat::Turn);
        let until = Instant::now() + TURN;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match starter.link.receive(Some(left)) {
                Ok(Some(Event::Message(envelope))) => {
                    if starter.take(envelope)? {
                        beat(Beat::There);
                    }
                }
                Ok(_) => {}
                // A daemon that does not take this command now may do so later.
                Err(LinkError::Refused(why)) => {
                    warn!("the daemon does not take the starter: {why}");
                    std::thread::sleep(TURN);
                }
                Err(error) => return Err(error.into()),
            }
            if starter.is_gone() && starter.may_install() {
                break;
            }
        }
    }
}

/// The daemon, which may be about to be started.
fn call(socket: &Path) -> anyhow::Result<Link> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Link::client(socket) {
            Ok(link) => return Ok(link),
            Err(error) if Instant::now() >= until => {
                return Err(error).context("the FTM's starter needs this node's daemon");
            }
            Err(_) => std::thread::sleep(TURN / 10),
        }
    }
}

impl Starter<'_> {
    /// Asks who is there, and has an FTM installed if nobody is.
    fn turn(&mut self) -> anyhow::Result<()> {
        if !self.link.is_up() {
            return Ok(());
        }
        let known = self.link.ftm();
        if let Some(armor) = known
            && self.ftm.is_none_or(|ftm| ftm.armor != armor)
        {
            self.ftm = Some(Asked { armor, misses: 0 });
            self.status = false;
        }
        if self.is_gone() && !self.rests && self.place.ended().exists() {
            self.rests = true;
            info!("the environment was ended (chameleon shutdown); no FTM is started");
        }
        if self.is_gone() && self.may_install() {
            return self.install();
        }
        self.nonce += 1;
        let nonce = self.nonce;
        let mut silent = Vec::new();
        for asked in [&mut self.ftm, &mut self.backup].into_iter().flatten() {
            asked.misses = asked.misses.saturating_add(1);
            silent.push(asked.armor);
        }
        for armor in silent {
            // What does not go out is a miss.
            let _ = self.link.send(armor, Message::Ping { nonce });
        }
        if let (Some(ftm), false) = (self.ftm, self.status) {
            let text = serde_json::to_string(&Ask::Status)?;
            let _ = self.link.send(ftm.armor, Message::Request(Request { number: nonce, text }));
        }
        Ok(())
    }

    /// Whether neither FTM nor backup is there.
    fn is_gone(&self) -> bool {
        [self.ftm, self.backup].into_iter().flatten().all(|asked| asked.misses > MISSES)
    }

    fn may_install(&self) -> bool {
        self.link.is_up() && Instant::now() >= self.not_before && !self.rests
    }

    fn install(&mut self) -> anyhow::Result<()> {
        let known = self.link.ftm().filter(|ftm| ftm.kind == armors::FTM && ftm.number == NUMBER);
        let known = known.map_or(0, |ftm| ftm.incarnation.0.saturating_add(1));
        let life = self.memory.life.max(known);
        self.memory = Memory { life: life.saturating_add(1), backup: None };
        self.memory.save(self.place)?;
        let armor = ArmorId { kind: armors::FTM, number: NUMBER, incarnation: Incarnation(life) };
        let state = toml::Value::from(self.place.manager().to_string_lossy().as_ref());
        let parameters = format!("state = {state}\n");
        info!(%armor, "there is no FTM; one is installed");
        self.not_before = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(AGAIN.1);
        (self.ftm, self.backup, self.status) = (Some(Asked { armor, misses: 0 }), None, false);
        let install = Message::Install(Install { armor, parameters, program: None });
        if let Err(error) = self.link.send(ArmorId::daemon(self.link.node()), install) {
            warn!("the FTM cannot be installed: {error}");
        }
        Ok(())
    }

    /// Takes what came; whether it says that an FTM is there.
    fn take(&mut self, envelope: Envelope) -> anyhow::Result<bool> {
        let Envelope { source, message, .. } = envelope;
        match message {
            Message::Pong { .. } => {
                for asked in [&mut self.ftm, &mut self.backup].into_iter().flatten() {
                    if asked.armor == source {
                        asked.misses = 0;
                    }
                }
                return Ok(self.ftm.is_some_and(|ftm| ftm.armor == source));
            }
            Message::Undeliverable(back) => self.gone(back.destination),
            Message::ArmorDown(down) => {
                warn!(armor = %down.armor, how = ?down.how, "the FTM is down");
                self.gone(down.armor);
            }
            Message::Installed(installed) => {
                info!(armor = %installed.armor, pid = installed.pid, "the FTM is installed");
            }
            Message::Refused(refused) => warn!("refused: {}", refused.why),
            Message::Answer(answer) => {
                if let Ok(Told::Status(status)) = serde_json::from_str(&answer.text) {
                    self.wait = AGAIN.0;
                    let backup = status.backup.map(|row| ArmorId {
                        kind: if row.kind == "ftm" { armors::FTM } else { armors::BACKUP_FTM },
                        number: row.number,
                        incarnation: Incarnation(row.life),
                    });
                    // A backup that is still being installed is asked for again.
                    self.status = backup.is_some();
                    self.backup = backup.map(|armor| Asked { armor, misses: 0 });
                    if self.memory.backup != backup {
                        self.memory.backup = backup;
                        self.memory.save(self.place)?;
                    }
                }
            }
            _ => {}
        }
        Ok(false)
    }

    /// This one is not there.
    fn gone(&mut self, armor: ArmorId) {
        for asked in [&mut self.ftm, &mut self.backup].into_iter().flatten() {
            if asked.armor == armor {
                asked.misses = u32::MAX;
            }
        }
    }
}
